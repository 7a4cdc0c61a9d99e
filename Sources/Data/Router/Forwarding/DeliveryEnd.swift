import AMQPCodec

/// One end of a delivery inside this router: what produces its octets or what consumes them.
///
/// A delivery joins one producer (an AMQP link we receive on, or a TCP socket we read) with one consumer (an AMQP
/// link we send on, a TCP socket we write, the control thread, or a bridge to another loop). Both live on one loop
/// and call each other directly; ``Bridge`` joins ends of different loops.
class DeliveryEnd: EventTarget {
    // MARK: Called by the producer

    /// Octets of the message. They are only valid during the call.
    /// - Parameter headroom: the 64 octets in front of `bytes` may be overwritten.
    func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {}
    /// The message is complete. `settled`: the producer wants no outcome.
    func finish(settled: Bool) {}
    /// The message will never be complete.
    func abort() {}
    /// The producer settles a complete message itself, with this state.
    func settledByProducer(_ state: DeliveryState) {}
    /// False when the producer should pause; ``consumerReady()`` tells when to go on.
    var isReady: Bool { true }

    /// A state that the sender gave with the message itself, for whoever receives it.
    var senderState: DeliveryState? { nil }

    // MARK: Called by the consumer

    /// A delivery state reported by the receiving end. After `settled` nothing more comes.
    func update(_ state: DeliveryState?, settled: Bool) {}
    /// The consumer can take octets again.
    func consumerReady() {}
}

/// Swallows what is left of a delivery that was refused.
final class DiscardingEnd: DeliveryEnd {}
