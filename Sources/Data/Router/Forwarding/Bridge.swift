import AMQPCodec

/// Joins a producer on one loop with a consumer on another.
///
/// The producer talks to a ``BridgeEntry`` on its loop, the consumer to a ``BridgeExit`` on the other; octets are
/// copied into messages between the two inboxes. A producer is told to pause while more than
/// ``BridgeEntry/congestedAbove`` octets have not been taken by the consumer.
/// Where every neighbour has a data connection on every loop, which is the default, streams do not need bridges.
final class BridgeEntry: DeliveryEnd {
    unowned(unsafe) let worker: Worker  // loops live as long as the process
    let id: UInt64
    private let exitWorker: Worker
    private let exitID: UInt64
    private var producer: DeliveryEnd?
    private var isFinished = false
    /// Octets on their way to the consumer.
    private var underWay = 0
    /// Small pieces of this turn: one message takes them over, together with the end if that comes in the same turn,
    /// so that the other loop can send both in one frame.
    private var held: [UInt8] = []
    private var producerWaits = false
    /// Octets under way above which the producer pauses; it goes on at half of that.
    static let congestedAbove = 512 * 1024

    init(worker: Worker, id: UInt64, producer: DeliveryEnd, exitWorker: Worker, exitID: UInt64) {
        self.worker = worker
        self.id = id
        self.producer = producer
        self.exitWorker = exitWorker
        self.exitID = exitID
    }

    /// Runs `body` on the other loop, after all that was delivered before.
    private func forward(_ body: @escaping @Sendable (BridgeExit) -> Void) {
        let exitWorker = exitWorker
        let exitID = exitID
        let pieces = held
        held = []
        exitWorker.post {
            guard let exit = exitWorker.bridges[exitID] as? BridgeExit else { return }
            if !pieces.isEmpty { exit.deliver(pieces) }
            body(exit)
        }
    }

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        underWay += count
        let octets = UnsafeRawBufferPointer(start: bytes, count: count)
        if count < OutgoingDelivery.gatheredBelow, held.count < OutgoingDelivery.gatheredBelow {
            if held.isEmpty { worker.bridgeHolds(self) }
            held.append(contentsOf: octets)
        } else {
            let copy = [UInt8](octets)
            forward { $0.deliver(copy) }
        }
    }

    /// The turn is over and nothing has come after the pieces held.
    func sendHeld() {
        if !held.isEmpty { forward { _ in } }
    }

    override var isReady: Bool {
        producerWaits = underWay > BridgeEntry.congestedAbove
        return !producerWaits
    }

    /// The consumer has taken octets.
    func taken(_ count: Int) {
        underWay -= count
        guard producerWaits, underWay < BridgeEntry.congestedAbove / 2 else { return }
        producerWaits = false
        producer?.consumerReady()
    }

    override func finish(settled: Bool) {
        isFinished = true
        forward {
            $0.consumer?.finish(settled: settled)
            // No state is wanted: nothing more will pass here.
            if settled { $0.end() }
        }
        if settled { end() }
    }

    override func abort() {
        forward {
            $0.consumer?.abort()
            $0.end()
        }
        end()
    }

    override func settledByProducer(_ state: DeliveryState) {
        let isFinished = isFinished
        forward {
            $0.consumer?.settledByProducer(state)
            if isFinished { $0.end() }
        }
        // Before the end of the message its octets still have to pass.
        if isFinished { end() }
    }

    /// A state from the other loop.
    func returned(_ state: DeliveryState?, settled: Bool) {
        let target = producer
        if settled { end() }
        target?.update(state, settled: settled)
    }

    private func end() {
        producer = nil
        worker.bridges[id] = nil
    }
}

/// The consumer's end of a bridge; see ``BridgeEntry``.
final class BridgeExit: DeliveryEnd {
    unowned(unsafe) let worker: Worker  // loops live as long as the process
    let id: UInt64
    private let entryWorker: Worker
    private let entryID: UInt64
    var consumer: DeliveryEnd?
    /// Octets taken that the entry has not been told of.
    private var untold = 0
    private static let tellEvery = 64 * 1024
    private let stateOfSender: DeliveryState?

    init(worker: Worker, id: UInt64, entryWorker: Worker, entryID: UInt64, senderState: DeliveryState?) {
        stateOfSender = senderState
        self.worker = worker
        self.id = id
        self.entryWorker = entryWorker
        self.entryID = entryID
    }

    override var senderState: DeliveryState? { stateOfSender }

    func deliver(_ bytes: [UInt8]) {
        guard let consumer else { return }
        var bytes = bytes
        bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            consumer.deliver(base, buffer.count, headroom: false)
            worker.flushStreams()
        }
        untold += bytes.count
        if untold >= BridgeExit.tellEvery, consumer.isReady { consumerReady() }
    }

    override func consumerReady() {
        let count = untold
        untold = 0
        let entryWorker = entryWorker
        let entryID = entryID
        entryWorker.post { (entryWorker.bridges[entryID] as? BridgeEntry)?.taken(count) }
    }

    override func update(_ state: DeliveryState?, settled: Bool) {
        let entryWorker = entryWorker
        let entryID = entryID
        entryWorker.post {
            (entryWorker.bridges[entryID] as? BridgeEntry)?.returned(state, settled: settled)
        }
        if settled { end() }
    }

    func end() {
        consumer = nil
        worker.bridges[id] = nil
    }
}
