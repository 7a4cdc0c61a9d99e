import AMQPCodec

/// Stands between a client's message and its consumer where messages may not be of any size. Without a limit there is
/// none, so that nothing is counted.
final class SizeLimit: DeliveryEnd {
    private let consumer: DeliveryEnd
    private var left: Int
    private var isOver = false
    /// Called once, when the message turns out to be too large.
    private let exceeded: () -> Void

    /// - Parameter left: octets that may still come.
    init(_ consumer: DeliveryEnd, left: Int, exceeded: @escaping () -> Void) {
        self.consumer = consumer
        self.left = left
        self.exceeded = exceeded
    }

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        guard !isOver else { return }
        left -= count
        guard left < 0 else { return consumer.deliver(bytes, count, headroom: headroom) }
        isOver = true
        consumer.abort()
        exceeded()
    }

    override func finish(settled: Bool) { if !isOver { consumer.finish(settled: settled) } }
    override func abort() { if !isOver { consumer.abort() } }
    override func settledByProducer(_ state: DeliveryState) { if !isOver { consumer.settledByProducer(state) } }
    override var isReady: Bool { isOver || consumer.isReady }
}
