import ControlIO

/// One kind of objects that an API server keeps: where it is found and how its objects call themselves.
package struct APIResource: Hashable, Sendable {
    /// The API group; empty for the core group.
    package let group: String
    /// The version within the group, for example `v1`.
    package let version: String
    /// The name in paths, for example `deployments`.
    package let plural: String
    /// The word in an object's `kind`.
    package let kind: String
    /// Whether its objects live in namespaces.
    package let isNamespaced: Bool

    /// - Parameter group: empty for the core group.
    package init(_ group: String, _ version: String, _ plural: String, _ kind: String, isNamespaced: Bool = true) {
        self.group = group
        self.version = version
        self.plural = plural
        self.kind = kind
        self.isNamespaced = isNamespaced
    }

    /// What an object of this kind has as `apiVersion`.
    package var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }

    /// The path segments of the collection, of one object, or of a part of it.
    /// - Parameters:
    ///   - namespace: nil for all namespaces; without meaning for kinds outside of namespaces.
    ///   - name: nil for the collection.
    ///   - subresource: `status`, `log` and the like.
    package func path(namespace: String?, name: String? = nil, subresource: String? = nil) -> [String] {
        var segments = group.isEmpty ? ["api", version] : ["apis", group, version]
        if isNamespaced, let namespace { segments += ["namespaces", namespace] }
        segments.append(plural)
        if let name { segments.append(name) }
        if let subresource { segments.append(subresource) }
        return segments
    }

    /// The object with `apiVersion` and `kind`, which objects within lists of built-in kinds lack, and without the
    /// record of who wrote which field, which is most of its size and nothing that a controller reads.
    package func completed(_ object: Document) -> Document {
        var result = object
        if result["kind"] == nil { result["kind"] = .string(kind) }
        if result["apiVersion"] == nil { result["apiVersion"] = .string(apiVersion) }
        result.set(nil, at: ["metadata", "managedFields"])
        return result
    }
}

/// The name of one object within its kind.
package struct ObjectKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Empty for kinds outside of namespaces.
    package let namespace: String
    package let name: String

    /// - Parameter namespace: empty for kinds outside of namespaces.
    package init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    /// The key of an object; nil when it has no name.
    package init?(of object: Document) {
        guard let metadata = object["metadata"], let name = metadata["name"]?.stringValue, !name.isEmpty else {
            return nil
        }
        self.init(namespace: metadata["namespace"]?.stringValue ?? "", name: name)
    }

    package var description: String { namespace.isEmpty ? name : "\(namespace)/\(name)" }

    package static func < (left: ObjectKey, right: ObjectKey) -> Bool {
        (left.namespace, left.name) < (right.namespace, right.name)
    }
}

extension APIResource {
    package static let namespaces = APIResource("", "v1", "namespaces", "Namespace", isNamespaced: false)
    package static let configMaps = APIResource("", "v1", "configmaps", "ConfigMap")
    package static let secrets = APIResource("", "v1", "secrets", "Secret")
    package static let services = APIResource("", "v1", "services", "Service")
    package static let serviceAccounts = APIResource("", "v1", "serviceaccounts", "ServiceAccount")
    package static let pods = APIResource("", "v1", "pods", "Pod")
    package static let nodes = APIResource("", "v1", "nodes", "Node", isNamespaced: false)
    package static let events = APIResource("", "v1", "events", "Event")
    package static let deployments = APIResource("apps", "v1", "deployments", "Deployment")
    package static let roles = APIResource("rbac.authorization.k8s.io", "v1", "roles", "Role")
    package static let roleBindings = APIResource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
    package static let ingresses = APIResource("networking.k8s.io", "v1", "ingresses", "Ingress")
    package static let leases = APIResource("coordination.k8s.io", "v1", "leases", "Lease")
    package static let definitions = APIResource(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", isNamespaced: false)
}
