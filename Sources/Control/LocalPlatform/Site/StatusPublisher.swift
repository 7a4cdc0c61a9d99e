import ControlIO
import SiteModel
import SiteReconciler

/// Writes resources with their statuses to `runtime/resources`, each only when it changed.
struct StatusPublisher {
    private let store: NamespaceStore
    private var published: [ResourceKey: Resource] = [:]

    /// Takes over what an earlier controller wrote, so that times of transition stay.
    init(store: NamespaceStore) {
        self.store = store
        for resource in (try? store.load(.runtime).resources) ?? [] { published[resource.key] = resource }
    }

    /// The resources with the statuses they have now: what new ones are computed from.
    func withStatus(_ resources: [Resource]) -> [Resource] {
        resources.map { resource in
            var result = resource
            result.document["status"] = published[resource.key]?.document["status"]
            return result
        }
    }

    /// Publishes all resources but Secrets; removes those that are no longer among them.
    ///
    /// A remark takes the place of the message that the conditions give; what is left out is in error whatever
    /// they say.
    mutating func publish(
        _ resources: [Resource], statuses: [ResourceStatus], remarks: [ResourceKey: String],
        leftOut: [ResourceKey: String], now: Int64
    ) throws {
        let byKey = Dictionary(statuses.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        var kept: Set<ResourceKey> = []
        for var current in withStatus(resources)
        where current.knownKind != nil && current.knownKind != .secret {
            let key = current.key
            guard kept.insert(key).inserted else { continue }
            byKey[key]?.apply(to: &current, nowUnix: now)
            let summary = current.aggregatedStatus()
            if current.status("conditions") != nil || leftOut[key] != nil {
                current.setStatus(.string(leftOut[key] == nil ? summary.status : "Error"), "status")
                current.setStatus(.string(leftOut[key] ?? remarks[key] ?? summary.message), "message")
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
