import SiteModel

/// Which files of a TLS profile are present, and which generation they are.
package struct ProfileFiles: Hashable, Sendable {
    /// `tls.crt` and `tls.key` are there.
    package var hasKeyPair: Bool
    /// `ca.crt` is there.
    package var hasAuthority: Bool
    /// Generation: +1 whenever the files change; 0 when never changed.
    package var ordinal: Int64
    /// Connections of older generations are closed.
    package var oldestValidOrdinal: Int64

    /// Files of a profile.
    package init(hasKeyPair: Bool, hasAuthority: Bool, ordinal: Int64 = 0, oldestValidOrdinal: Int64 = 0) {
        self.hasKeyPair = hasKeyPair
        self.hasAuthority = hasAuthority
        self.ordinal = ordinal
        self.oldestValidOrdinal = oldestValidOrdinal
    }
}

/// What the host remembers and has, beside the resources.
package struct HostState: Hashable, Sendable {
    /// Namespace (folder name).
    package var namespace: String
    /// Site id, remembered across restarts.
    package var siteID: String
    /// End of the router id: `<site>-<suffix>`; the same until the namespace is started anew.
    package var routerIDSuffix: String
    /// Version for metadata and the site entity.
    package var version: String
    /// Port of the local AMQPS listener on 127.0.0.1.
    package var localPort: Int
    /// Port of the health and metrics listener; nil for none.
    package var httpPort: Int?
    /// Chosen ports by AMQP listener name (`<router access>-<role>`); where absent the resource's port is used.
    package var ports: [String: Int]
    /// Folder that holds one folder per TLS profile.
    package var certificateFolder: String
    /// Profiles present in that folder, by name.
    package var profiles: [String: ProfileFiles]
    /// Host names and addresses that other sites are told to connect to, best first.
    package var advertisedHosts: [String]
    /// Name of the Site that is active; nil picks the first by name.
    package var activeSite: String?
    /// What a cluster knows beside; nil on hosts.
    package var cluster: ClusterState?
    /// Resources that the platform refuses, with the text for their Configured condition.
    package var faults: [ResourceKey: String]

    /// The state of a host's namespace.
    package init(
        namespace: String, siteID: String, routerIDSuffix: String, version: String, localPort: Int = 5671,
        httpPort: Int? = nil, ports: [String: Int] = [:], certificateFolder: String,
        profiles: [String: ProfileFiles] = [:], advertisedHosts: [String] = [], activeSite: String? = nil,
        cluster: ClusterState? = nil,
        faults: [ResourceKey: String] = [:]
    ) {
        self.namespace = namespace
        self.siteID = siteID
        self.routerIDSuffix = routerIDSuffix
        self.version = version
        self.localPort = localPort
        self.httpPort = httpPort
        self.ports = ports
        self.certificateFolder = certificateFolder
        self.profiles = profiles
        self.advertisedHosts = advertisedHosts
        self.activeSite = activeSite
        self.cluster = cluster
        self.faults = faults
    }
}
