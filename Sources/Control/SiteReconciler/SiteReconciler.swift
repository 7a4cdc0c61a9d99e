import ControlIO
import RouterConfig
import SiteModel

/// A TLS profile that resources refer to: what the platform has to have in `HostState.certificateFolder`.
package struct ProfileNeed: Hashable, Sendable {
    /// Folder and sslProfile name.
    package let profile: String
    /// Secret (or, without one, certificate to issue) it comes from.
    package let secretName: String
    /// What it is for.
    package enum Purpose: Hashable, Sendable {
        /// The router's local management listener: server and client certificates of `skupper-local-ca`.
        case local
        /// A RouterAccess's server certificate.
        case routerAccess
        /// A Link's client certificate.
        case link
        /// A Listener's or MultiKeyListener's server certificate.
        case listener
        /// A Connector's client certificate.
        case connector
        /// A Connector's CA alone.
        case connectorAuthority
    }
    /// What it is for; the first resource's when several share it.
    package let purpose: Purpose
    /// Whether `tls.crt` and `tls.key` are needed; otherwise `ca.crt` alone.
    package let needsKeyPair: Bool
}

/// The result of reconciling: a configuration, and what could not get into it.
package struct Reconciliation: Hashable, Sendable {
    /// What the router should run.
    package let configuration: RouterConfiguration
    /// Resources left out, with the text for their Configured condition.
    package let errors: [ResourceKey: String]
    /// The active Site's name.
    package let siteName: String
    /// AMQP listener names with the ports and roles other sites can link to.
    package let endpoints: [Endpoint]
}

/// Why there is no configuration at all.
package enum ReconcileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No usable Site among the resources.
    case noSite
    /// The configuration as a whole is refused by the router's rules.
    case invalidConfiguration(detail: String)

    /// What happened and what to do.
    package var description: String {
        switch self {
        case .noSite: "No active site in namespace: create one with \"skupper site create\""
        case .invalidConfiguration(let detail): "the router configuration is not valid: \(detail)"
        }
    }
}

/// Desired resources and host state to router configuration (sheet §4.3, §5.2), and router truth to statuses.
package enum SiteReconciler {
    /// The TLS profiles the resources ask for, sorted by name. The platform provides them, then reconciles.
    package static func profileNeeds(_ resources: [Resource]) -> [ProfileNeed] { fatalError("declared only") }

    /// The configuration that the resources ask for on this host.
    package static func reconcile(
        _ resources: [Resource], host: HostState
    ) throws(ReconcileError) -> Reconciliation { fatalError("declared only") }

    /// Statuses of all resources of the namespace.
    /// - Parameter reconciliation: nil when there is no site.
    package static func statuses(
        _ resources: [Resource], reconciliation: Reconciliation?, observation: RouterObservation
    ) -> [ResourceStatus] { fatalError("declared only") }

    /// The RouterAccess `<site>` that a host makes for a Site with link access that has none of its own name
    /// (§5.2 step 6); nil when it is not wanted.
    package static func defaultRouterAccess(_ resources: [Resource], hosts: [String]) -> RouterAccess? {
        fatalError("declared only")
    }
}
