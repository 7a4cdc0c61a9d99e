import ControlIO
import KubernetesAPI
import SiteModel
import Threading

/// The objects of all watched kinds, as last seen. What the controller writes goes in at once, so that the next plan
/// knows of it before the watch does; an older version never replaces a newer one.
final class ObjectCache: Sendable {
    private struct State {
        var namespaces: [String: [ResourceKey: Resource]] = [:]
        /// Namespaces that have AttachedConnectors or bindings: looked at for every other one.
        var attaching: Set<String> = []
        /// Uids of objects that watches said are gone, and the order in which they came.
        var gone: Set<String> = []
        var goneOrder: [String] = []
        var oldest = 0
    }

    /// Uids of that kind that are kept.
    private static let goneLimit = 4096

    private static let attachingKinds: Set<String> = ["AttachedConnector", "AttachedConnectorBinding"]
    private let state = Locked(State())

    /// Takes an object in; false if a newer version is there or nothing changed.
    @discardableResult
    func put(_ document: Document) -> Bool {
        var document = document
        document.set(nil, at: ["metadata", "managedFields"])
        ObjectCache.trim(&document)
        guard let resource = try? Resource(document: document) else { return false }
        return state.withLock { state in
            // The answer to a write may come after the event that its object is gone.
            if !resource.uid.isEmpty, state.gone.contains(resource.uid) { return false }
            let old = state.namespaces[resource.namespace]?[resource.key]
            if let old, old.uid == resource.uid, ObjectCache.version(old) >= ObjectCache.version(resource) {
                return false
            }
            state.namespaces[resource.namespace, default: [:]][resource.key] = resource
            if ObjectCache.attachingKinds.contains(resource.kind) { state.attaching.insert(resource.namespace) }
            return true
        }
    }

    /// Leaves out what no plan reads of kinds of which a cluster may have many and large objects.
    static func trim(_ document: inout Document) {
        func keep(_ keys: [String], at path: [String]) {
            guard let entries = document.value(at: path)?.mapValue?.entries else { return }
            document.set(
                .map(DocumentMap(entries.filter { keys.contains($0.key) }.map { ($0.key, $0.value) })), at: path)
        }
        switch document["kind"]?.stringValue {
        case "Pod":
            document["spec"] = nil
            keep(["phase", "podIP", "conditions"], at: ["status"])
        case "Secret":
            keep(
                ["tls.crt", "tls.key", "ca.crt", "host", "port", "username", "password"], at: ["data"])
        case "Service": keep(["type", "ports", "selector"], at: ["spec"])
        default: return
        }
        document.set(
            nil, at: ["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"])
    }

    /// Takes an object out, unless another one of its name came meanwhile.
    /// - Parameter isGone: a watch said so; what was only told to go may come once more, with the time of its end.
    func remove(_ document: Document, isGone: Bool = false) {
        guard let resource = try? Resource(document: document) else { return }
        state.withLock { state in
            if isGone, !resource.uid.isEmpty, state.gone.insert(resource.uid).inserted {
                if state.goneOrder.count < ObjectCache.goneLimit {
                    state.goneOrder.append(resource.uid)
                } else {
                    state.gone.remove(state.goneOrder[state.oldest])
                    state.goneOrder[state.oldest] = resource.uid
                    state.oldest = (state.oldest + 1) % ObjectCache.goneLimit
                }
            }
            let old = state.namespaces[resource.namespace]?[resource.key]
            guard old?.uid == resource.uid else { return }
            state.namespaces[resource.namespace]?[resource.key] = nil
            if state.namespaces[resource.namespace]?.isEmpty == true { state.namespaces[resource.namespace] = nil }
        }
    }

    /// All objects of a namespace.
    func resources(in namespace: String) -> [Resource] {
        state.withLock { state in state.namespaces[namespace].map { Array($0.values) } ?? [] }
    }

    /// One object.
    func get(_ kind: String, _ name: String, in namespace: String) -> Resource? {
        state.withLock { $0.namespaces[namespace]?[ResourceKey(kind: kind, name: name)] }
    }

    /// Whether a namespace has anything of ours: a resource of Skupper's, or an object that was generated.
    func isOurs(_ namespace: String) -> Bool {
        state.withLock { state in
            state.namespaces[namespace]?.values.contains {
                $0.apiVersion.hasPrefix("skupper.io/") || $0.isControlled
            } ?? false
        }
    }

    /// Namespaces that have anything.
    var names: [String] { state.withLock { Array($0.namespaces.keys) } }

    /// Objects of a kind in all namespaces that have AttachedConnectors or bindings.
    func attaching(_ kind: String) -> [Resource] {
        state.withLock { state in
            state.attaching.sorted().flatMap { name in
                (state.namespaces[name] ?? [:]).values.filter { $0.kind == kind }
            }
        }
    }

    /// Versions are opaque to clients in general; those of one object grow as numbers on every API server there is.
    private static func version(_ resource: Resource) -> UInt64 {
        UInt64(resource.document.value(at: ["metadata", "resourceVersion"])?.scalarText ?? "") ?? 0
    }
}
