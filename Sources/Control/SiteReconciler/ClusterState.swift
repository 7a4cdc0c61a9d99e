import SiteModel

/// What a cluster knows beside its resources, where the site is a namespace and the router a pod (sheet §4.3).
package struct ClusterState: Hashable, Sendable {
    /// A pod that serves a connector.
    package struct Pod: Hashable, Sendable {
        /// `metadata.name`.
        package var name: String
        /// `status.podIP`.
        package var address: String
        /// `metadata.uid`.
        package var uid: String

        /// A pod.
        package init(name: String, address: String, uid: String) {
            self.name = name
            self.address = address
            self.uid = uid
        }
    }

    /// Router ports by port key: a Listener's name, or `portKey(multiKeyListener:)`.
    package var servicePorts: [String: Int]
    /// Usable pods by Connector or AttachedConnectorBinding.
    package var pods: [ResourceKey: [Pod]]
    /// The AttachedConnectors of other namespaces, by the name of the binding that they pair with.
    package var attached: [String: Resource]
    /// Names of remote pods by Listener: those of Listeners with `exposePodsByName`.
    package var remotePods: [String: [String]]
    /// In a site with two routers the second one dials the first, by this Service name; nil for the first.
    package var peerHost: String?

    /// The state of a cluster's namespace.
    package init(
        servicePorts: [String: Int] = [:], pods: [ResourceKey: [Pod]] = [:], attached: [String: Resource] = [:],
        remotePods: [String: [String]] = [:], peerHost: String? = nil
    ) {
        self.servicePorts = servicePorts
        self.pods = pods
        self.attached = attached
        self.remotePods = remotePods
        self.peerHost = peerHost
    }

    /// Folder of the proxies' passwords in the pod.
    package static let proxyFolder = "/etc/skupper-router-proxies"

    /// The port key of a MultiKeyListener.
    package static func portKey(multiKeyListener name: String) -> String { "multiaddress-\(name)" }
    /// The port key of one remote pod of a Listener.
    package static func portKey(listener name: String, pod: String) -> String { "\(name)@\(pod)" }
}
