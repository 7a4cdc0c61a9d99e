import AMQPCodec

/// A multicast delivery on its way: one producer, a copy for each consumer.
///
/// The producer is told one outcome, when every copy has one: rejected before accepted before modified before
/// released. It is settled when every copy is; until then consumers that wait for the producer to settle get that.
/// The slowest consumer sets the pace; what a consumer may hold is bounded as for any delivery.
final class FanOut: DeliveryEnd {
    private var producer: DeliveryEnd?
    private var branches: [FanOutBranch] = []
    /// Copies without an outcome.
    private var open = 0
    /// Copies that their consumer has not settled.
    private var unsettled = 0
    private var producerWaits = false
    private var outcome: DeliveryState?

    init(producer: DeliveryEnd) { self.producer = producer }

    /// Adds a copy; `connect` opens it for the branch it is given, or returns nil when that consumer takes none.
    func add(_ connect: (DeliveryEnd) -> DeliveryEnd?) {
        let branch = FanOutBranch(fan: self, senderState: producer?.senderState)
        guard let consumer = connect(branch) else { return branch.fan = nil }
        // It may have been refused at once.
        guard branch.fan != nil else { return }
        branch.consumer = consumer
        branches.append(branch)
        open += 1
        unsettled += 1
    }

    /// No consumer took a copy.
    var isEmpty: Bool { branches.isEmpty }

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        for branch in branches { branch.consumer?.deliver(bytes, count, headroom: false) }
    }

    override var isReady: Bool {
        var all = true
        // Each one that is not ready has to know that we wait.
        for branch in branches where branch.consumer?.isReady == false { all = false }
        producerWaits = !all
        return all
    }

    override func finish(settled: Bool) {
        for branch in branches { branch.consumer?.finish(settled: settled) }
        if settled { end() }
    }

    override func abort() {
        for branch in branches { branch.consumer?.abort() }
        end()
    }

    override func settledByProducer(_ state: DeliveryState) {
        for branch in branches { branch.consumer?.settledByProducer(state) }
        end()
    }

    fileprivate func ready() {
        guard producerWaits, isReady else { return }
        producer?.consumerReady()
    }

    /// A copy has its outcome, or its consumer settles what it had told before.
    fileprivate func decided(_ state: DeliveryState?, isFirst: Bool, settled: Bool) {
        if isFirst {
            let state = state ?? .released
            if outcome.map({ FanOut.rank(state) > FanOut.rank($0) }) ?? true { outcome = state }
            open -= 1
        }
        if settled { unsettled -= 1 }
        guard open == 0, let producer else { return ready() }
        let isSettled = unsettled == 0
        if isSettled { end() }
        producer.update(outcome, settled: isSettled)
    }

    private static func rank(_ state: DeliveryState) -> Int {
        switch state {
        case .rejected: 3
        case .accepted: 2
        case .modified: 1
        default: 0
        }
    }

    private func end() {
        producer = nil
        for branch in branches {
            branch.fan = nil
            branch.consumer = nil
        }
        branches = []
    }
}

/// What one consumer of a multicast delivery takes for its producer.
final class FanOutBranch: DeliveryEnd {
    fileprivate var fan: FanOut?
    fileprivate var consumer: DeliveryEnd?
    private var isDecided = false
    private var isSettled = false
    private let stateOfSender: DeliveryState?

    fileprivate init(fan: FanOut, senderState: DeliveryState?) {
        self.fan = fan
        stateOfSender = senderState
    }

    override var senderState: DeliveryState? { stateOfSender }

    override func update(_ state: DeliveryState?, settled: Bool) {
        guard let fan, settled || state?.isTerminal == true, !isSettled else { return }
        let isFirst = !isDecided
        guard isFirst || settled else { return }
        isDecided = true
        isSettled = settled
        if settled { consumer = nil }
        // Refused while it was being added: it never counted.
        guard fan.has(self) else { return self.fan = nil }
        fan.decided(state, isFirst: isFirst, settled: settled)
    }

    override func consumerReady() { fan?.ready() }
}

extension FanOut {
    fileprivate func has(_ branch: FanOutBranch) -> Bool { branches.contains { $0 === branch } }
}
