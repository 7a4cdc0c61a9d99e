import AMQPCodec

/// The consumers that one delivery has been sent to, so that it is not sent there again.
final class TriedConsumers {
    private struct Key: Hashable {
        var connection: ConnectionRef
        var link: UInt64
    }

    private var links: Set<Key> = []
    /// Neighbours: whoever is behind one, the neighbour has tried them all.
    private var slots: Set<Int> = []

    var count: Int { links.count + slots.count }

    func note(_ choice: Choice) {
        switch choice {
        case .consumer(let consumer): links.insert(Key(connection: consumer.connection, link: consumer.link))
        case .remote(let route, _): slots.insert(route.slot)
        case .connector, .inProcess, .nowhere: break
        }
    }

    func contains(_ consumer: LocalConsumer) -> Bool {
        links.contains(Key(connection: consumer.connection, link: consumer.link))
    }

    /// One of them is on that connection.
    func contains(_ connection: ConnectionRef) -> Bool { links.contains { $0.connection == connection } }

    /// The entry without what has been tried. A connector is only ever the first choice: its stream starts behind the
    /// message's head, which a copy kept for others still has.
    func left(of entry: AddressEntry) -> AddressEntry {
        guard count > 0 else { return entry }
        var left = entry
        left.connectors = []
        // An interior router has tried all it knows, whichever of our links to it the delivery was on.
        left.consumers.removeAll { contains($0) || $0.peer == .interior && contains($0.connection) }
        left.remotes.removeAll { slots.contains($0.route.slot) }
        return left
    }
}

/// A delivery that goes to another consumer when one releases it, as its sender asked (router annotation flag
/// resend-released): released only when each one has released it.
///
/// What its sender has sent so far is kept for that, till the first answer that is no release, or till it is too much.
final class SecondChance: DeliveryEnd {
    private var producer: IncomingDelivery?
    private var passage: Passage
    private let tried = TriedConsumers()
    /// Chooses a consumer that has not been tried, and opens the delivery there.
    private let choose: (Passage) -> RouteResult
    private var attempt: Attempt?
    private var consumer: DeliveryEnd?
    private var kept: [UInt8] = []
    /// The consumer may still be changed.
    private var isOpen = true
    /// The message is complete; the value says whether its sender settled it.
    private var finished: Bool?

    init(_ passage: Passage, choose: @escaping (Passage) -> RouteResult) {
        producer = passage.incoming
        self.passage = passage
        self.choose = choose
        self.passage.tried = tried
    }

    /// The first attempt. What it returns stands for the delivery's consumer.
    func start() -> RouteResult {
        let result = next()
        if case .message = result { return .message(self) }
        producer = nil
        return result
    }

    private func next() -> RouteResult {
        while true {
            let before = tried.count
            let attempt = Attempt(self)
            passage.via = attempt
            let result = choose(passage)
            passage.via = nil
            if case .message(let end) = result, attempt.owner != nil {
                self.attempt = attempt
                consumer = end
                // What is no choice among several has no alternative either.
                if tried.count == before { close() }
                return result
            }
            attempt.owner = nil
            switch result {
            case .stream: return result
            case .refused(let state) where state != .released: return result
            case .refused, .message: if tried.count == before { return .refused(.released) }
            }
        }
    }

    /// The answer that came is the one that counts.
    private func close() {
        isOpen = false
        kept = []
    }

    private func end() {
        attempt?.owner = nil
        attempt = nil
        consumer = nil
        producer = nil
        close()
    }

    // MARK: From the producer

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        if isOpen {
            if kept.count + count > HeldMessage.maximum {
                close()
            } else {
                kept.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
            }
        }
        consumer?.deliver(bytes, count, headroom: false)
    }

    override var isReady: Bool { consumer?.isReady ?? true }

    override func finish(settled: Bool) {
        finished = settled
        let consumer = consumer
        if settled { end() }
        consumer?.finish(settled: settled)
    }

    override func abort() {
        let consumer = consumer
        end()
        consumer?.abort()
    }

    override func settledByProducer(_ state: DeliveryState) {
        let consumer = consumer
        end()
        consumer?.settledByProducer(state)
    }

    // MARK: From the consumer

    fileprivate func answered(_ attempt: Attempt, _ state: DeliveryState?, settled: Bool) {
        // An attempt that is answered while it is being opened is over before it has a consumer.
        guard attempt === self.attempt, let producer else { return attempt.owner = nil }
        guard isOpen, state == .released else {
            close()
            if settled { end() }
            return producer.update(state, settled: settled)
        }
        let last = consumer
        attempt.owner = nil
        self.attempt = nil
        consumer = nil
        if !settled {
            // It waits for the sender to settle.
            if finished == nil { last?.abort() } else { last?.settledByProducer(.released) }
        }
        switch next() {
        case .message(let end):
            sendKept(to: end)
            if self.producer != nil, end.isReady { producer.consumerReady() }
        case .stream(let stream):
            stream.abort()
            end()
            producer.update(.released, settled: true)
        case .refused(let state):
            end()
            producer.update(state, settled: true)
        }
    }

    private func sendKept(to end: DeliveryEnd) {
        var copy = kept
        copy.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            end.deliver(base, buffer.count, headroom: false)
        }
        if let finished, consumer === end { end.finish(settled: finished) }
    }

    fileprivate func ready(_ attempt: Attempt) {
        guard attempt === self.attempt else { return }
        producer?.consumerReady()
    }

    fileprivate var senderStateOfProducer: DeliveryState? { producer?.senderState }
}

/// What one of the consumers takes for the delivery's producer.
private final class Attempt: DeliveryEnd {
    fileprivate var owner: SecondChance?
    private let stateOfSender: DeliveryState?

    fileprivate init(_ owner: SecondChance) {
        self.owner = owner
        stateOfSender = owner.senderStateOfProducer
    }

    override var senderState: DeliveryState? { stateOfSender }

    override func update(_ state: DeliveryState?, settled: Bool) {
        guard let owner else { return }
        owner.answered(self, state, settled: settled)
    }

    override func consumerReady() { owner?.ready(self) }
}
