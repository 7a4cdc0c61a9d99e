import ControlIO

/// Which cluster and namespace a command line chooses. What is nil, the kubeconfig decides.
struct ClusterSelection {
    var kubeconfig: String?
    var context: String?
    var namespace: String?
}

/// What the commands need of a cluster's API server. `ClusterConnection` asks a real one.
protocol ClusterAPI {
    /// The namespace of namespaced objects.
    var namespace: String { get }

    /// One object. A fault of which `isObjectMissing` is true when there is none of the name.
    func get(_ type: ClusterType, _ name: String) throws(ClusterFault) -> Document
    /// All objects of a type, or those with the labels (`key=value,…`); at most `limit`, others are left out.
    func list(_ type: ClusterType, labels: String, limit: Int) throws(ClusterFault) -> [Document]
    /// Makes an object and returns it as the server has it.
    func create(_ type: ClusterType, _ object: Document) throws(ClusterFault) -> Document
    /// Applies a merge patch (RFC 7396).
    func patch(_ type: ClusterType, _ name: String, _ patch: Document) throws(ClusterFault) -> Document
    /// Deletes an object; what it owns goes after it.
    func delete(_ type: ClusterType, _ name: String) throws(ClusterFault)
    /// The last lines a container of a pod has logged, at most `limit` octets.
    func log(pod: String, container: String, previous: Bool, limit: Int) throws(ClusterFault) -> [UInt8]
    /// What the server says of its version.
    func serverVersion() throws(ClusterFault) -> Document
    /// The same server with another namespace.
    func inNamespace(_ namespace: String) -> any ClusterAPI
}
