import ControlIO
import SiteModel

/// The resources of a namespace in a cluster. What a user asked for and what the controller says are one object there.
struct ClusterResources: SiteResources {
    /// The most objects of a kind that are looked at.
    private static let listLimit = 10_000

    let api: any ClusterAPI

    var namespace: String { api.namespace }

    // MARK: What the user asked for

    func list(_ kind: ResourceKind) throws -> [Resource] {
        try api.list(kind.clusterType, labels: "", limit: Self.listLimit)
            .compactMap { Self.resource($0, kind) }.sorted { $0.name < $1.name }
    }

    func get(_ kind: ResourceKind, _ name: String) throws -> Resource? {
        do {
            return Self.resource(try api.get(kind.clusterType, name), kind)
        } catch {
            guard error.isObjectMissing else { throw error }
            return nil
        }
    }

    func create(_ resource: Resource) throws -> String? {
        guard let kind = resource.knownKind else { return nil }
        _ = try api.create(kind.clusterType, resource.document)
        return nil
    }

    func change(_ original: Resource, into wanted: Resource) throws -> String? {
        guard let kind = wanted.knownKind else { return nil }
        let patch = MergePatch.between(original.document, wanted.document)
        guard patch != .emptyMap else { return nil }
        _ = try api.patch(kind.clusterType, wanted.name, patch)
        return nil
    }

    @discardableResult
    func delete(_ kind: ResourceKind, _ name: String) throws -> Bool {
        do {
            try api.delete(kind.clusterType, name)
            return true
        } catch {
            guard error.isObjectMissing else { throw error }
            return false
        }
    }

    func deleteSite(_ name: String, all: Bool) throws {
        try delete(.site, name)
        guard all else { return }
        // Links, and the Secrets received with them, belong to the site and go after it.
        let kinds: [ResourceKind] = [
            .connector, .listener, .multiKeyListener, .accessToken, .accessGrant, .routerAccess, .securedAccess,
            .certificate, .attachedConnector, .attachedConnectorBinding,
        ]
        for kind in kinds {
            do {
                for resource in try list(kind) { try delete(kind, resource.name) }
            } catch let fault as ClusterFault where fault.isTypeMissing {
                // Definitions of an earlier version lack some kinds.
                continue
            }
        }
    }

    func hasCredentials(_ name: String) throws -> Bool {
        try get(.secret, name) != nil
    }

    // MARK: What the controller says

    func observedList(_ kind: ResourceKind) throws -> [Resource] { try list(kind) }

    func observed(_ kind: ResourceKind, _ name: String) throws -> Resource? { try get(kind, name) }

    /// A status tells by its condition `Configured` for which generation of the resource it was made; one that does not
    /// tell is taken as it is.
    func isCurrent(_ seen: Resource, written: Resource) -> Bool {
        guard let observed = seen.condition(.configured)?.observedGeneration, observed > 0 else { return true }
        return observed >= seen.generation
    }

    func expectsController() -> Bool { true }

    func warnWhenStale() {}

    // MARK: Waiting

    var pollMicroseconds: UInt32 { 300_000 }

    func adviceWhenUntouched(_ kind: ResourceKind, _ name: String) -> String? {
        "The Skupper controller of this cluster is likely not running, or does not serve namespace \(namespace). Look "
            + "with: kubectl get deployments --all-namespaces --field-selector metadata.name=skupper-controller"
    }

    /// The items of lists of the core group come without their kind.
    private static func resource(_ document: Document, _ kind: ResourceKind) -> Resource? {
        var document = document
        if document["kind"] == nil { document["kind"] = .string(kind.rawValue) }
        if document["apiVersion"] == nil { document["apiVersion"] = .string(kind.apiVersion) }
        return try? Resource(document: document)
    }
}
