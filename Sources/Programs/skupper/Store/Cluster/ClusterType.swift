import SiteModel

/// A type of objects in a cluster, as its API addresses it.
struct ClusterType {
    /// Empty for the core group.
    let group: String
    let version: String
    /// The plural in paths, for example `deployments`.
    let plural: String
    let kind: String
    /// Whether its objects are in namespaces.
    let isNamespaced: Bool

    init(_ group: String, _ version: String, _ plural: String, _ kind: String, isNamespaced: Bool = true) {
        self.group = group
        self.version = version
        self.plural = plural
        self.kind = kind
        self.isNamespaced = isNamespaced
    }

    var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }

    /// As access rules and error texts name it: `sites.skupper.io`, `secrets`.
    var qualifiedName: String { group.isEmpty ? plural : "\(plural).\(group)" }

    static let pods = ClusterType("", "v1", "pods", "Pod")
    static let services = ClusterType("", "v1", "services", "Service")
    static let configMaps = ClusterType("", "v1", "configmaps", "ConfigMap")
    static let serviceAccounts = ClusterType("", "v1", "serviceaccounts", "ServiceAccount")
    static let events = ClusterType("", "v1", "events", "Event")
    static let deployments = ClusterType("apps", "v1", "deployments", "Deployment")
    static let replicaSets = ClusterType("apps", "v1", "replicasets", "ReplicaSet")
    static let daemonSets = ClusterType("apps", "v1", "daemonsets", "DaemonSet")
    static let statefulSets = ClusterType("apps", "v1", "statefulsets", "StatefulSet")
    static let endpointSlices = ClusterType("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
    static let roles = ClusterType("rbac.authorization.k8s.io", "v1", "roles", "Role")
    static let roleBindings = ClusterType("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
    static let customResourceDefinitions = ClusterType(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", isNamespaced: false)
}

extension ResourceKind {
    /// The type in a cluster.
    var clusterType: ClusterType {
        switch self {
        case .secret: ClusterType("", "v1", "secrets", rawValue)
        case .routerAccess, .securedAccess:
            ClusterType("skupper.io", "v2alpha1", rawValue.lowercased() + "es", rawValue)
        default: ClusterType("skupper.io", "v2alpha1", rawValue.lowercased() + "s", rawValue)
        }
    }
}
