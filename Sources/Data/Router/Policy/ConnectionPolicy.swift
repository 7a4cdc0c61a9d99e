/// What the peer of one connection may do, and how much of it it does: decides about its sessions, links and messages.
///
/// The rules are those of the time at which it opened. Owned by the connection's loop.
final class ConnectionPolicy {
    /// Why a link or session is refused; the two have conditions of their own.
    enum Refusal: Equatable {
        case tooMany, forbidden

        var condition: String {
            switch self {
            case .tooMany: "amqp:resource-limit-exceeded"
            case .forbidden: "amqp:unauthorized-access"
            }
        }
    }

    let grant: PolicyTable.Grant
    private var sessions = 0
    private var senders = 0
    private var receivers = 0

    init(_ grant: PolicyTable.Grant) { self.grant = grant }

    /// The peer begins a session.
    func beginSession() -> Refusal? {
        let most = grant.rules.maxSessions
        if most > 0, sessions >= most { return .tooMany }
        sessions += 1
        return nil
    }

    func endSession() { sessions -= 1 }

    /// The peer attaches a sender; no target means that its messages tell theirs.
    func attachSender(target: String?) -> Refusal? {
        let rules = grant.rules
        if rules.maxSenders > 0, senders >= rules.maxSenders { return .tooMany }
        if let target, !target.isEmpty {
            guard rules.targets.admits(target, user: grant.user) else { return .forbidden }
        } else if !rules.allowsAnonymousSender {
            return .forbidden
        }
        senders += 1
        return nil
    }

    /// The peer attaches a receiver.
    func attachReceiver(source: String?, isDynamic: Bool) -> Refusal? {
        let rules = grant.rules
        if rules.maxReceivers > 0, receivers >= rules.maxReceivers { return .tooMany }
        let isAdmitted =
            isDynamic ? rules.allowsDynamicSource : rules.sources.admits(source ?? "", user: grant.user)
        guard isAdmitted else { return .forbidden }
        receivers += 1
        return nil
    }

    func detachSender() { senders -= 1 }
    func detachReceiver() { receivers -= 1 }

    /// A message may go to the address that it tells itself.
    func mayReach(_ address: String) -> Bool { grant.rules.targets.admits(address, user: grant.user) }

    /// A message may carry this user's name.
    func mayCarry(user: [UInt8]?) -> Bool {
        guard let user, !user.isEmpty, !grant.rules.allowsUserIDProxy else { return true }
        return user.elementsEqual(grant.user.utf8)
    }
}
