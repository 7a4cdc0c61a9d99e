import ControlIO
import SiteModel

/// Everything of one namespace that a plan is made from, as the API server has it.
package struct NamespaceSnapshot: Hashable, Sendable {
    /// An AttachedConnector of another namespace with the pods there, for a binding in this one.
    package struct Attached: Hashable, Sendable {
        package var connector: Resource
        package var pods: [Resource]

        package init(connector: Resource, pods: [Resource]) {
            self.connector = connector
            self.pods = pods
        }
    }

    /// The namespace.
    package let namespace: String
    /// All objects of it: Skupper's kinds, Secrets, Services, ConfigMaps, Pods, Deployments, …
    package let resources: [Resource]
    /// AttachedConnectors elsewhere that name this namespace as their site's.
    package var attached: [Attached]
    /// AttachedConnectorBindings elsewhere, for AttachedConnectors in this namespace.
    package var bindings: [Resource]
    /// ConfigMaps of the controller's namespace that count for all sites: sizes and label templates.
    package var shared: [Resource]
    /// The Gateway of the controller's namespace, if there is one.
    package var gateway: Resource?
    /// Names of generated Secrets whose certificate is due for renewal, has expired or cannot be read.
    package var spoiltSecrets: Set<String>
    /// Where the grant server is reached (`https://host:port`), "" while it is not; and its CA.
    package var grantURL: String
    package var grantAuthority: String
    /// What the controller tried to write and is not permitted to; "" if nothing.
    package var denial: String

    private let index: [ResourceKey: Int]

    /// A snapshot; of two objects with one kind and name the first counts.
    package init(
        namespace: String, resources: [Resource], attached: [Attached] = [], bindings: [Resource] = [],
        shared: [Resource] = [], gateway: Resource? = nil, spoiltSecrets: Set<String> = [], grantURL: String = "",
        grantAuthority: String = "", denial: String = ""
    ) {
        self.namespace = namespace
        self.resources = resources.sorted { $0.key < $1.key }
        self.attached = attached
        self.bindings = bindings
        self.shared = shared
        self.gateway = gateway
        self.spoiltSecrets = spoiltSecrets
        self.grantURL = grantURL
        self.grantAuthority = grantAuthority
        self.denial = denial
        index = Dictionary(
            self.resources.enumerated().map { ($1.key, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The object of a kind and name.
    package func object(_ kind: String, _ name: String) -> Resource? {
        index[ResourceKey(kind: kind, name: name)].map { resources[$0] }
    }

    /// All objects of a kind, by name.
    package func objects(_ kind: String) -> [Resource] { resources.filter { $0.kind == kind } }
}

extension Resource {
    /// One label, nil when absent.
    func label(_ key: String) -> String? { document.value(at: ["metadata", "labels", key])?.scalarText }

    /// Made by the controller, and so its to change and delete.
    package var isControlled: Bool { annotation(Marks.controlled) == "true" }

    /// `metadata.labels`.
    var labels: [String: String] {
        var result: [String: String] = [:]
        for (key, value) in document.value(at: ["metadata", "labels"])?.mapValue?.entries ?? [] {
            result[key] = value.scalarText
        }
        return result
    }

    /// Being deleted.
    var isGoing: Bool { document.value(at: ["metadata", "deletionTimestamp"]) != nil }

    /// Whether an owner reference names this uid.
    func isOwned(by uid: String) -> Bool {
        (document.value(at: ["metadata", "ownerReferences"])?.listValue ?? []).contains {
            $0["uid"]?.scalarText == uid
        }
    }
}

/// Labels and annotations by which generated objects are known (sheet §4).
package enum Marks {
    package static let controlled = "internal.skupper.io/controlled"
    package static let digest = "internal.skupper.io/applied"
    package static let routerConfig = "internal.skupper.io/router-config"
    package static let listener = "internal.skupper.io/listener"
    package static let securedAccess = "internal.skupper.io/secured-access"
    package static let routerAccess = "internal.skupper.io/routeraccess"
    package static let certificate = "internal.skupper.io/certificate"
    package static let hosts = "internal.skupper.io/hosts"
    package static let profileContext = "internal.skupper.io/tls-profile-context"
    package static let generations = "internal.skupper.io/tls-generations"
    package static let priorRevisions = "skupper.io/tls-prior-valid-revisions"
    package static let group = "skupper.io/group"
    package static let component = "skupper.io/component"
    package static let attachedTo = "internal.skupper.io/attached-to"
}
