import AMQPCodec
import Synchronization

/// What the control thread gets to know of a message besides its octets.
struct MessageContext: Sendable {
    /// What the message is for.
    enum Service: Sendable {
        /// An address that the router itself answers.
        case address
        /// It came on a control link.
        case routing
        /// It came on a link between edge router and interior.
        case tracking, meshDiscovery
        /// It came on a link between edge routers.
        case meshBid
    }

    var connection: ConnectionRef
    var service: Service
    var link: UInt64
    /// Hash key of the address it was matched by; nil on links of the routers themselves.
    var key: String?
    var head: MessageHead
    /// The producer link's target address.
    var target: String?

    /// A management request.
    var isRequest: Bool { service == .address && (key == "M$management" || key == "L$management") }
}

/// Octets of messages that wait for the control thread; shared by all loops.
final class MessageBudget: Sendable {
    /// Octets above which further messages are refused.
    static let maximum = 32 << 20
    private let waiting = Atomic<Int>(0)

    /// - Parameter isRequest: it asks the router for something. Such messages leave half of the room to the others.
    func admit(_ count: Int, isRequest: Bool) -> Bool {
        let maximum = isRequest ? MessageBudget.maximum / 2 : MessageBudget.maximum
        guard waiting.load(ordering: .relaxed) + count <= maximum else { return false }
        waiting.wrappingAdd(count, ordering: .relaxed)
        return true
    }

    func done(_ count: Int) { waiting.wrappingSubtract(count, ordering: .relaxed) }
}

/// Collects a whole message for the control thread: routing messages, management requests, multicasts.
final class CoreSink: DeliveryEnd {
    private unowned let core: Core
    private let context: MessageContext
    private var producer: DeliveryEnd?
    private var bytes: [UInt8] = []
    /// The largest message the control thread takes, octets.
    static let messageMaximum = 1 << 20

    init(core: Core, context: MessageContext, producer: DeliveryEnd) {
        self.core = core
        self.context = context
        self.producer = producer
    }

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        guard let producer else { return }
        guard self.bytes.count + count <= CoreSink.messageMaximum else {
            self.producer = nil
            self.bytes = []
            return producer.update(
                .rejected(
                    AMQPError(
                        condition: "amqp:link:message-size-exceeded",
                        description: "messages for the router itself are limited to \(CoreSink.messageMaximum) "
                            + "octets")),
                settled: true)
        }
        self.bytes.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
    }

    override func finish(settled: Bool) {
        guard let producer else { return }
        self.producer = nil
        let bytes = bytes
        let context = context
        let isRequest = context.isRequest
        guard core.messages.admit(bytes.count, isRequest: isRequest) else {
            Log.write(
                .core, .warning,
                "[C\(context.connection.id)] a message of \(bytes.count) octets for the router itself was dropped: "
                    + "too many octets wait already")
            if !settled { producer.update(.modified(failed: true, undeliverableHere: false), settled: true) }
            return
        }
        let receive: @Sendable () -> Void = { [core] in
            core.messages.done(bytes.count)
            core.received(context, bytes: bytes)
        }
        // Answers may take long where tables are large; HELLO, floods and link states do not wait for them.
        if isRequest { core.postPatiently(receive) } else { core.post(receive) }
        if !settled { producer.update(.accepted, settled: true) }
    }

    override func abort() { producer = nil }
    override func settledByProducer(_ state: DeliveryState) { producer = nil }
}
