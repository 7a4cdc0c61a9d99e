/// The management operations that turn one configuration into another while the router runs.
package struct ConfigurationPlan: Hashable, Sendable {
    package enum Step: Hashable, Sendable {
        case create(Entity)
        /// `changes` are the attributes to write on the entity as it stands in the old configuration; `.null` unsets.
        case update(Entity, changes: [String: AttributeValue])
        case delete(Entity)

        /// The entity it is about, as it is before an update or deletion and after a creation.
        package var entity: Entity {
            switch self {
            case .create(let entity), .update(let entity, _), .delete(let entity): entity
            }
        }
    }

    /// In the order in which they are to be done, one after the other.
    package let steps: [Step]

    /// What differs and cannot be changed in a running router, such as `router.mode`; it takes a restart.
    package let needsRestart: [String]

    /// Whether there is nothing to do.
    package var isEmpty: Bool { steps.isEmpty && needsRestart.isEmpty }
}

extension ConfigurationPlan.Step: CustomStringConvertible {
    /// What is done to which entity; for an update the names of the attributes, whose values may be secrets.
    package var description: String {
        switch self {
        case .create(let entity): "create \(entity.type) \"\(entity.name)\""
        case .update(let entity, let changes):
            "update \(entity.type) \"\(entity.name)\" (\(changes.keys.sorted().joined(separator: ", ")))"
        case .delete(let entity): "delete \(entity.type) \"\(entity.name)\""
        }
    }
}

/// AMQP listeners and connectors which a plan leaves alone: the router's own management access.
package struct ProtectedNames: Hashable, Sendable {
    /// Names as they are.
    package let names: Set<String>
    /// Beginnings of names.
    package let prefixes: [String]

    package init(names: Set<String>, prefixes: [String] = []) {
        self.names = names
        self.prefixes = prefixes
    }

    /// What a Skupper controller never touches (router-protocol.md §6.2).
    package static let standard = ProtectedNames(names: ["@9090", "amqp", "amqps"], prefixes: ["auto-mesh"])
    /// Everything may be changed.
    package static let none = ProtectedNames(names: [])

    func covers(_ entity: Entity) -> Bool {
        guard entity.type == "listener" || entity.type == "connector" else { return false }
        return names.contains(entity.name) || prefixes.contains { entity.name.hasPrefix($0) }
    }
}

/// The steps that make a router which runs `from` run `to` (control-plane.md §4.8).
///
/// Entities are matched by type and name and compared with defaults applied, so spelling out a default changes
/// nothing. A change of updatable attributes only is an update, any other is a deletion and a creation. An entity
/// that refers to one which is made anew is made anew with it. Entities which `protecting` covers are in no step.
package func plan(
    from: RouterConfiguration, to: RouterConfiguration, protecting: ProtectedNames = .standard
) -> ConfigurationPlan {
    var planner = Planner(from: from, to: to, protecting: protecting)
    return planner.run()
}

private struct Planner {
    /// Types made and removed by request, in the order of creation. What others refer to comes first.
    private static let creationOrder = [
        "sslProfile", "proxyProfile", "router.config.address", "router.config.autoLink", "vhost", "tcpConnector",
        "tcpListener", "listenerAddress", "connector", "listener",
    ]
    /// Profiles go last, when nothing uses them any more.
    private static let profileTypes: Set<String> = ["sslProfile", "proxyProfile"]
    /// Types of which a router always has its entities: they can only be updated.
    private static let permanentTypes = ["log", "network"]
    /// Types that only a start reads.
    private static let startTypes = ["router", "site", "policy", "vhostUserGroupSettings"]
    /// Groups of types whose removals and additions belong together.
    private static let groups: [(removals: [String], additions: [String])] = [
        (["router.config.autoLink", "router.config.address"], ["router.config.address", "router.config.autoLink"]),
        (["vhost"], ["vhost"]),
        (["listenerAddress", "tcpConnector", "tcpListener"], ["tcpConnector", "tcpListener", "listenerAddress"]),
        (["connector"], ["connector"]),
        (["listener"], ["listener"]),
    ]

    private let protecting: ProtectedNames
    private let old: [EntityKey: Entity]
    private let new: [EntityKey: Entity]
    /// Keys in the order of their configuration, so that a plan depends on nothing else.
    private let oldKeys: [EntityKey]
    private let newKeys: [EntityKey]

    private var removed: Set<EntityKey> = []
    private var added: Set<EntityKey> = []
    private var changes: [EntityKey: [String: AttributeValue]] = [:]
    private var needsRestart: [String] = []
    private var steps: [ConfigurationPlan.Step] = []

    init(from: RouterConfiguration, to: RouterConfiguration, protecting: ProtectedNames) {
        self.protecting = protecting
        old = Dictionary(from.entities.map { (EntityKey($0), $0) }, uniquingKeysWith: { first, _ in first })
        new = Dictionary(to.entities.map { (EntityKey($0), $0) }, uniquingKeysWith: { first, _ in first })
        oldKeys = from.entities.map { EntityKey($0) }
        newKeys = to.entities.map { EntityKey($0) }
    }

    mutating func run() -> ConfigurationPlan {
        compareStartEntities()
        updatePermanentEntities()
        compareChangeableEntities()
        let replacedProfiles = spreadReplacement()
        keepProfilesInUse()
        emit(early: usersToRemoveFirst(replacedProfiles))
        return ConfigurationPlan(steps: steps, needsRestart: needsRestart)
    }

    private mutating func compareStartEntities() {
        for type in Planner.startTypes {
            let keys = Set((oldKeys + newKeys).filter { $0.type == type })
            if type == "router", let oldKey = oldKeys.first(where: { $0.type == type }),
                let newKey = newKeys.first(where: { $0.type == type }), let before = old[oldKey],
                let after = new[newKey]
            {
                needsRestart += differences(before, after).keys.sorted().map { "router.\($0)" }
                continue
            }
            for key in keys.sorted(by: { $0.name < $1.name }) {
                let unset = Entity(type: type, attributes: [:])
                let different = differences(old[key] ?? unset, new[key] ?? unset)
                needsRestart += different.keys.sorted().map { "\(type).\($0)" }
            }
        }
    }

    private mutating func updatePermanentEntities() {
        for type in Planner.permanentTypes {
            var seen: Set<EntityKey> = []
            for key in (oldKeys + newKeys) where key.type == type && seen.insert(key).inserted {
                let fixed = (new[key] ?? old[key])?.attributes.filter { item in
                    !(Schema.type(named: type)?.attribute(item.key)?.isUpdatable ?? false)
                }
                let bare = Entity(type: type, attributes: fixed ?? [:])
                let before = old[key] ?? bare
                let different = differences(before, new[key] ?? bare)
                let writable = different.filter { before.entityType.attribute($0.key)?.isUpdatable ?? false }
                if !writable.isEmpty { steps.append(.update(before, changes: writable)) }
                needsRestart += different.keys.filter { writable[$0] == nil }.sorted().map { "\(type).\($0)" }
            }
        }
    }

    private mutating func compareChangeableEntities() {
        let changeable = Set(Planner.creationOrder)
        for key in oldKeys where changeable.contains(key.type) {
            guard let before = old[key], !protecting.covers(before) else { continue }
            guard let after = new[key] else {
                removed.insert(key)
                continue
            }
            let different = differences(before, after)
            if different.isEmpty { continue }
            if different.keys.allSatisfy({ before.entityType.attribute($0)?.isUpdatable ?? false }) {
                changes[key] = different
            } else {
                replace(key)
            }
        }
        for key in newKeys where changeable.contains(key.type) && old[key] == nil {
            if let after = new[key], !protecting.covers(after) { added.insert(key) }
        }
    }

    private mutating func replace(_ key: EntityKey) {
        changes[key] = nil
        removed.insert(key)
        added.insert(key)
    }

    /// Replaces what refers to a replaced entity; gives the profiles that are replaced.
    private mutating func spreadReplacement() -> Set<EntityKey> {
        var profiles = removed.intersection(added).filter { Planner.profileTypes.contains($0.type) }
        for key in oldKeys {
            guard let before = old[key], protecting.covers(before) else { continue }
            for target in targets(of: before) where profiles.contains(target) {
                // Its user may not be touched, so the profile cannot go either.
                profiles.remove(target)
                removed.remove(target)
                added.remove(target)
                needsRestart.append("\(target.type) \(target.name)")
            }
        }
        for key in oldKeys where new[key] != nil && !removed.contains(key) {
            guard let before = old[key], !protecting.covers(before) else { continue }
            let goes = targets(of: before).contains { removed.contains($0) && added.contains($0) }
            if goes { replace(key) }
        }
        return profiles
    }

    /// A profile that an untouched entity of the old configuration uses stays, whatever the new one says.
    private mutating func keepProfilesInUse() {
        for key in oldKeys {
            guard let before = old[key], protecting.covers(before) else { continue }
            removed.subtract(targets(of: before).filter { !added.contains($0) })
        }
    }

    private func targets(of entity: Entity) -> [EntityKey] {
        Schema.references(of: entity.type).compactMap { reference in
            entity[string: reference.attribute].map { EntityKey(type: reference.type, name: $0) }
        }
    }

    /// The replaced profiles with all that must go before them: their users, and the addresses of such listeners.
    private func usersToRemoveFirst(_ profiles: Set<EntityKey>) -> Set<EntityKey> {
        // In processing order what is referred to stands before what refers to it, so one pass finds all.
        oldKeys.reduce(into: profiles) { early, key in
            guard removed.contains(key), let before = old[key] else { return }
            if targets(of: before).contains(where: { early.contains($0) }) { early.insert(key) }
        }
    }

    private mutating func emit(early: Set<EntityKey>) {
        for type in Planner.groups.flatMap(\.removals) + Planner.profileTypes.sorted() {
            delete(type) { early.contains($0) }
        }
        for type in ["sslProfile", "proxyProfile"] { createAndUpdate(type) }
        for group in Planner.groups {
            for type in group.removals { delete(type) { _ in true } }
            for type in group.additions { createAndUpdate(type) }
        }
        for type in ["proxyProfile", "sslProfile"] { delete(type) { _ in true } }
    }

    private mutating func delete(_ type: String, where condition: (EntityKey) -> Bool) {
        for key in oldKeys where key.type == type && removed.contains(key) && condition(key) {
            removed.remove(key)
            if let before = old[key] { steps.append(.delete(before)) }
        }
    }

    private mutating func createAndUpdate(_ type: String) {
        for key in newKeys where key.type == type {
            if let change = changes[key], let before = old[key] {
                steps.append(.update(before, changes: change))
            } else if added.contains(key), let after = new[key] {
                steps.append(.create(after))
            }
        }
    }

    /// The attributes whose effective values differ, with the values of `after`; `.null` where it has none.
    private func differences(_ before: Entity, _ after: Entity) -> [String: AttributeValue] {
        let (left, right) = (before.effectiveAttributes, after.effectiveAttributes)
        var result: [String: AttributeValue] = [:]
        for name in Set(left.keys).union(right.keys) where left[name] != right[name] {
            result[name] = right[name] ?? .null
        }
        // The name is what they were matched by; one may have it spelled out and the other as its identity.
        result["name"] = nil
        return result
    }
}
