import AMQPCodec

/// A message of several frames whose end is not in sight and that leads to other routers.
///
/// Messages of one sender keep their order on a shared link, streams do not; so a message is kept here until it is
/// complete and leaves on a shared link, or is found to be long and leaves on a link of its own.
final class HeldMessage: DeliveryEnd {
    /// Octets at which a message is long: what skupper-router buffers of one.
    static let maximum = 256 * 1024

    private var producer: IncomingDelivery?
    private var bytes: [UInt8] = []
    private var consumer: DeliveryEnd?
    /// Chooses where the message goes; true = it is long.
    private let choose: (Bool) -> RouteResult

    init(producer: IncomingDelivery, choose: @escaping (Bool) -> RouteResult) {
        self.producer = producer
        self.choose = choose
    }

    private func leave(isLong: Bool) {
        guard let producer else { return }
        self.producer = nil
        var kept: [UInt8] = []
        swap(&kept, &bytes)
        switch choose(isLong) {
        case .refused(let state):
            producer.update(state, settled: true)
        case .stream(let end):
            // Streams say that they are; this is a message that pretends.
            end.abort()
            producer.update(.released, settled: true)
        case .message(let end):
            consumer = end
            kept.withUnsafeMutableBytes { buffer in
                guard let base = buffer.baseAddress else { return }
                end.deliver(base, buffer.count, headroom: false)
            }
        }
    }

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        if let consumer { return consumer.deliver(bytes, count, headroom: false) }
        self.bytes.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
        if self.bytes.count > HeldMessage.maximum { leave(isLong: true) }
    }

    override var isReady: Bool { consumer?.isReady ?? true }

    override func finish(settled: Bool) {
        leave(isLong: false)
        consumer?.finish(settled: settled)
    }

    override func abort() {
        producer = nil
        bytes = []
        consumer?.abort()
    }

    override func settledByProducer(_ state: DeliveryState) { consumer?.settledByProducer(state) }
}
