import Synchronization
import Threading

/// The one policy of the router, asked by every loop: at accept for the number of connections, at Open and at a refusal
/// for vhosts. Nothing of it is on the way of frames; a router without vhosts only counts connections.
final class PolicyGate: Sendable {
    private let table = Locked(PolicyTable())
    private let enforces = Atomic<Bool>(false)
    private let maxConnections = Atomic<Int>(65_535)
    private let current = Atomic<Int>(0)
    private let processed = Atomic<Int>(0)
    private let denied = Atomic<Int>(0)
    private let linksDenied = Atomic<Int>(0)
    private let messagesDenied = Atomic<Int>(0)
    private let totalDenials = Atomic<Int>(0)

    /// Vhosts apply.
    var isEnforced: Bool { enforces.load(ordering: .relaxed) }

    /// What the `policy` entity says.
    func configure(maxConnections: Int, isEnforced: Bool, settings: PolicyTable.Settings) {
        self.maxConnections.store(maxConnections, ordering: .relaxed)
        enforces.store(isEnforced, ordering: .relaxed)
        table.withLock { $0.settings = settings }
    }

    /// Reads or changes the rules.
    func withTable<Result>(_ body: (inout PolicyTable) -> Result) -> Result { table.withLock(body) }

    // MARK: Sockets

    /// A socket was accepted; false = one too many. An admitted one must be reported when it closes.
    func admitSocket() -> Bool {
        processed.wrappingAdd(1, ordering: .relaxed)
        let now = current.wrappingAdd(1, ordering: .relaxed).newValue
        guard now > maxConnections.load(ordering: .relaxed) else { return true }
        current.wrappingSubtract(1, ordering: .relaxed)
        denied.wrappingAdd(1, ordering: .relaxed)
        totalDenials.wrappingAdd(1, ordering: .relaxed)
        return false
    }

    func socketClosed() { current.wrappingSubtract(1, ordering: .relaxed) }

    // MARK: Connections

    func open(_ arrival: PolicyTable.Arrival) -> Result<PolicyTable.Grant, PolicyError> {
        let result = table.withLock { $0.open(arrival) }
        if case .failure = result { totalDenials.wrappingAdd(1, ordering: .relaxed) }
        return result
    }

    func closed(_ id: UInt64) { table.withLock { $0.closed(id) } }

    /// Counts what a client was refused.
    func count(_ denial: PolicyTable.Denial, vhost: String) {
        totalDenials.wrappingAdd(1, ordering: .relaxed)
        switch denial {
        case .session: break
        case .sender, .receiver: linksDenied.wrappingAdd(1, ordering: .relaxed)
        case .messageSize: messagesDenied.wrappingAdd(1, ordering: .relaxed)
        }
        table.withLock { $0.count(denial, vhost: vhost) }
    }

    /// Counts by the names that management has for them.
    var counts: [(name: String, value: Int)] {
        [
            ("connectionsProcessed", processed.load(ordering: .relaxed)),
            ("connectionsDenied", denied.load(ordering: .relaxed)),
            ("connectionsCurrent", current.load(ordering: .relaxed)),
            ("linksDenied", linksDenied.load(ordering: .relaxed)),
            ("maxMessageSizeDenied", messagesDenied.load(ordering: .relaxed)),
            ("totalDenials", totalDenials.load(ordering: .relaxed)),
        ]
    }
}
