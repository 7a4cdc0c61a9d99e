import AMQPCodec
import RouterConfig

/// The control thread's part of the policy: entities in, rows out.
extension Core {
    func configurePolicy(_ entity: Entity) {
        policy.configure(
            maxConnections: entity.integer("maxConnections") ?? 65_535,
            isEnforced: entity.boolean("enableVhostPolicy") ?? false,
            settings: PolicyTable.Settings(
                usesNamePatterns: entity.boolean("enableVhostNamePatterns") ?? false,
                defaultVhost: entity[string: "defaultVhost"] ?? "$default",
                maxMessageSize: entity.integer("maxMessageSize") ?? 0))
    }

    /// Rules are kept by host name: those of a second entity would take the place of the first one's, and go with
    /// either.
    func checkIsOnlyVhost(_ entity: Entity) throws(EntityFailure) {
        let hostname = entity[string: "hostname"] ?? ""
        let other = otherEntities.first { $0.type == "vhost" && ($0[string: "hostname"] ?? "") == hostname }
        guard let other else { return }
        throw EntityFailure(
            status: 400, text: "vhost '\(other.name)' is for hostname '\(hostname)' already; update or delete that one")
    }

    /// Makes or changes the rules of a vhost. The words of the failure begin as skrouterd's do, for its clients.
    func defineVhost(_ entity: Entity) throws(EntityFailure) {
        let hostname = entity[string: "hostname"] ?? ""
        let lookup = hostLookup()
        do throws(PolicyError) {
            let rules = try VhostRules(entity, resolve: lookup.numbers)
            let failure: PolicyError? = policy.withTable { table in
                do throws(PolicyError) {
                    try table.define(rules)
                    return nil
                } catch {
                    return error
                }
            }
            if let failure { throw failure }
            for warning in rules.warnings { Log.write(.policy, .warning, warning) }
        } catch {
            var text = "PolicyError: Policy '\(hostname)' is invalid: \(error.text)"
            if let complaint = lookup.complaint { text += complaint }
            throw EntityFailure(status: 500, text: text)
        }
        if !policy.isEnforced {
            Log.write(
                .policy, .warning,
                "vhost '\(hostname)' has no effect as long as the policy does not have enableVhostPolicy")
        }
    }

    /// Counters of the `policy` entity.
    func addPolicyCounts(to row: inout ManagementRow) {
        for (name, value) in policy.counts { row[name] = .long(Int64(value)) }
    }

    func vhostStatisticsRows() -> [ManagementRow] {
        func count(_ value: Int) -> AMQPValue { .long(Int64(value)) }
        func names(_ table: [String: [String]]) -> AMQPValue {
            .map(
                table.sorted { $0.key < $1.key }.map {
                    MapEntry(key: .string($0.key), value: .list($0.value.map { .string($0) }))
                })
        }
        return policy.withTable { $0.states }.sorted { $0.key < $1.key }.map { hostname, state in
            [
                "name": .string("vhostStats/\(hostname)"), "identity": .string("vhostStats/\(hostname)"),
                "type": .string("io.skupper.router.vhostStats"), "hostname": .string(hostname),
                "connectionsApproved": count(state.approved), "connectionsDenied": count(state.denied),
                "connectionsCurrent": count(state.current), "perUserState": names(state.users),
                "perHostState": names(state.hosts), "sessionDenied": count(state.sessionsDenied),
                "senderDenied": count(state.sendersDenied), "receiverDenied": count(state.receiversDenied),
                "maxMessageSizeDenied": count(state.messagesDenied),
            ]
        }
    }

    /// The policy has refused the peer of a connector: dialling again at once would not help.
    func connectorRefused(_ ref: ConnectionRef, entity: String) {
        updateConnector(entity) { state in
            guard let index = state.dialers.firstIndex(where: { $0.current == ref }) else { return }
            state.dialers[index].failures = max(state.dialers[index].failures, 5)
        }
    }
}
