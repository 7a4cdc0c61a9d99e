/// The links that the router opens towards containers by itself: which are wanted on which connections, how each of
/// them stands and when a lost one is tried again (router-protocol sheet, section 6.3).
///
/// Pure: what happened goes in, what is to be done comes out. Links are told apart by the numbers that this table asks
/// for with each attach.
struct AutoLinks {
    /// Whether deliveries come from the container or go to it.
    enum Direction: String, Sendable { case incoming = "in", outgoing = "out" }

    /// One `autoLink` entity.
    struct Rule: Equatable, Sendable {
        /// Identity of the entity.
        var id: String
        var direction: Direction
        /// Address in the router network; nil = messages that come in tell theirs.
        var address: String?
        /// Address at the container.
        var externalAddress: String?
        /// At most one of the two is set; a rule with neither has no connection to be on.
        var container: String?
        var connection: String?
    }

    /// An open connection whose peer may get such links.
    struct Peer: Equatable, Sendable {
        var container: String
        /// Name of its listener or connector.
        var entity: String
    }

    /// skupper-router's words for how a link stands.
    enum Status: String { case inactive, attaching, failed, active }

    enum Effect: Equatable {
        case attach(Rule, ConnectionRef, number: UInt64)
        case detach(ConnectionRef, number: UInt64)
        case log(String)
    }

    /// A link of a rule on one connection.
    private struct Link {
        var rule: String
        var connection: ConnectionRef
        var status = Status.attaching
        /// nil = there is none and it is to be tried again.
        var number: UInt64?
        var retryAt: Int64 = .max
        var hasFailed = false
        /// As management names it.
        var identity: String?
    }

    private(set) var rules: [Rule] = []
    private var peers: [ConnectionRef: Peer] = [:]
    private var links: [Link] = []
    private var errors: [String: String] = [:]
    private var takeNumber: () -> UInt64

    /// Milliseconds until the first attempt after a failure, and until each one after that.
    static let firstRetry: Int64 = 2000
    static let retry: Int64 = 5000

    /// - Parameter takeNumber: gives the number of a new link.
    init(takeNumber: @escaping () -> UInt64) { self.takeNumber = takeNumber }

    // MARK: Events

    mutating func add(_ rule: Rule) -> [Effect] {
        rules.append(rule)
        return peers.keys.sorted { $0.id < $1.id }.flatMap { attach(rule, $0) }
    }

    mutating func remove(_ id: String) -> [Effect] {
        rules.removeAll { $0.id == id }
        errors[id] = nil
        let gone = links.filter { $0.rule == id }
        links.removeAll { $0.rule == id }
        return gone.flatMap { link -> [Effect] in
            guard let number = link.number else { return [] }
            return [
                .log("Auto Link Deactivated: \(id) on [C\(link.connection.id)]: it was deleted"),
                .detach(link.connection, number: number),
            ]
        }
    }

    mutating func opened(_ ref: ConnectionRef, _ peer: Peer) -> [Effect] {
        peers[ref] = peer
        return rules.flatMap { attach($0, ref) }
    }

    mutating func closed(_ ref: ConnectionRef) {
        guard peers.removeValue(forKey: ref) != nil else { return }
        links.removeAll { $0.connection == ref }
    }

    /// The peer has answered the attach, with a terminus of its own.
    mutating func attached(_ number: UInt64, identity: String) {
        guard let index = index(number) else { return }
        links[index].status = .active
        links[index].hasFailed = false
        links[index].identity = identity
    }

    /// The peer refused the link or ended it.
    mutating func detached(_ number: UInt64, error: String?, now: Int64) -> [Effect] {
        guard let index = index(number) else { return [] }
        let link = links[index]
        links[index].number = nil
        links[index].identity = nil
        links[index].status = .failed
        links[index].retryAt = now + (link.hasFailed ? AutoLinks.retry : AutoLinks.firstRetry)
        links[index].hasFailed = true
        errors[link.rule] = error
        return [
            .log("Auto Link Activation Failed. \(error ?? "no reason given"): \(link.rule) on [C\(link.connection.id)]")
        ]
    }

    /// Attaches again what is due.
    mutating func tick(now: Int64) -> [Effect] {
        var effects: [Effect] = []
        for index in links.indices where links[index].retryAt <= now {
            guard let rule = rules.first(where: { $0.id == links[index].rule }) else { continue }
            let number = takeNumber()
            links[index].retryAt = .max
            links[index].number = number
            links[index].status = .attaching
            effects += activation(rule, links[index].connection, number)
        }
        return effects
    }

    // MARK: Answers

    /// How a rule stands: as the best of its links does.
    func status(of id: String) -> Status {
        let all = links.filter { $0.rule == id }.map(\.status)
        return [.active, .attaching, .failed].first { all.contains($0) } ?? .inactive
    }

    /// What its peer said when a link of the rule last failed.
    func lastError(of id: String) -> String? { errors[id] }

    /// The identity of a link of the rule that is up.
    func linkIdentity(of id: String) -> String? { links.first { $0.rule == id && $0.identity != nil }?.identity }

    /// The rule and connection that a link is of.
    func owner(of number: UInt64) -> (rule: String, connection: ConnectionRef)? {
        index(number).map { (links[$0].rule, links[$0].connection) }
    }

    // MARK: Parts

    private func index(_ number: UInt64) -> Int? { links.firstIndex { $0.number == number } }

    private mutating func attach(_ rule: Rule, _ ref: ConnectionRef) -> [Effect] {
        guard let peer = peers[ref] else { return [] }
        let isMeant =
            rule.connection.map { $0 == peer.entity } ?? rule.container.map { $0 == peer.container } ?? false
        guard isMeant else { return [] }
        let number = takeNumber()
        links.append(Link(rule: rule.id, connection: ref, number: number))
        return activation(rule, ref, number)
    }

    private func activation(_ rule: Rule, _ ref: ConnectionRef, _ number: UInt64) -> [Effect] {
        [
            .log("Auto Link Activated: \(rule.id) on [C\(ref.id)]"),
            .attach(rule, ref, number: number),
        ]
    }
}
