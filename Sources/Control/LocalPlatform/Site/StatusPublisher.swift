import ControlIO
import SiteModel
import SiteReconciler

/// Conditions and fields that the platform itself gives a resource, beside those of the reconciler.
struct StatusEdit: Sendable {
    var conditions: [(type: ConditionType, state: ConditionState)] = []
    var fields: [(name: String, value: Document)] = []
}

/// Writes resources with their statuses to `runtime/resources`, each only when it changed.
struct StatusPublisher {
    private let store: NamespaceStore
    private var published: [ResourceKey: Resource] = [:]

    /// Takes over what an earlier controller wrote, so that times of transition stay.
    init(store: NamespaceStore) {
        self.store = store
        for resource in (try? store.load(.runtime).resources) ?? [] { published[resource.key] = resource }
    }

    /// The status a resource has now.
    func status(of key: ResourceKey) -> Document? { published[key]?.document["status"] }

    /// Publishes all resources but Secrets; removes those that are no longer among them.
    ///
    /// A remark takes the place of the message that the conditions give.
    mutating func publish(
        _ resources: [Resource], statuses: [ResourceStatus], edits: [ResourceKey: StatusEdit],
        remarks: [ResourceKey: String], now: Int64
    ) throws {
        let byKey = Dictionary(statuses.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        var kept: Set<ResourceKey> = []
        for resource in resources where resource.knownKind != nil && resource.knownKind != .secret {
            let key = resource.key
            guard kept.insert(key).inserted else { continue }
            var current = resource
            current.document["status"] = published[key]?.document["status"]
            if let edit = edits[key] {
                for (name, value) in edit.fields { current.setStatus(value, name) }
                for (type, state) in edit.conditions { current.setCondition(type, state, nowUnix: now) }
            } else {
                byKey[key]?.apply(to: &current, nowUnix: now)
            }
            if resource.knownKind == .connector {
                current.setStatus(.string(remarks[key] ?? current.aggregatedStatus().message), "message")
            }
            guard current != published[key] else { continue }
            try store.put(current, in: .runtime)
            published[key] = current
        }
        for key in published.keys where !kept.contains(key) {
            try Files.remove(store.path(of: key, in: .runtime))
            published[key] = nil
        }
    }
}
