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
    /// Where other sites can link to, as in `Site.status.endpoints` on hosts: named `<router access>-<role>`,
    /// grouped by router access.
    package let endpoints: [Endpoint]

    /// The endpoints as Links and redemptions need them: named by role.
    package var linkEndpoints: [Endpoint] {
        endpoints.map { endpoint in
            var copy = endpoint
            copy.name = endpoint.name.hasSuffix("-edge") ? "edge" : "inter-router"
            return copy
        }
    }
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
    /// Name of the local management listener.
    package static let localListener = "skupper-local"
    /// TLS profile of the local management listener.
    package static let localProfile = "skupper-local-server"
    /// CA and server Secret of a site's own link listeners.
    package static let siteIssuer = "skupper-site-ca"
    /// Server Secret of a site's own link listeners.
    package static let siteServer = "skupper-site-server"

    /// The TLS profiles the resources ask for, sorted by name. The platform provides them, then reconciles.
    package static func profileNeeds(_ resources: [Resource]) -> [ProfileNeed] {
        var needs: [String: ProfileNeed] = [:]
        func need(_ profile: String, _ secret: String, _ purpose: ProfileNeed.Purpose, keyPair: Bool = true) {
            guard let old = needs[profile] else {
                needs[profile] = ProfileNeed(
                    profile: profile, secretName: secret, purpose: purpose, needsKeyPair: keyPair)
                return
            }
            // A Link and a Connector may name one Secret: the Link's need of a key covers both.
            if keyPair, !old.needsKeyPair {
                needs[profile] = ProfileNeed(profile: profile, secretName: secret, purpose: purpose, needsKeyPair: true)
            }
        }
        need(localProfile, localProfile, .local)
        for resource in resources.sorted(by: { $0.key < $1.key }) {
            if let access = RouterAccess(resource) {
                need(profile(of: access), profile(of: access), .routerAccess)
            } else if let link = Link(resource), !link.tlsCredentials.isEmpty {
                need("\(link.tlsCredentials)-profile", link.tlsCredentials, .link)
            } else if let listener = Listener(resource), !listener.tlsCredentials.isEmpty {
                need(listener.tlsCredentials, listener.tlsCredentials, .listener)
            } else if let listener = MultiKeyListener(resource), !listener.tlsCredentials.isEmpty {
                need(listener.tlsCredentials, listener.tlsCredentials, .listener)
            } else if let connector = Connector(resource), !connector.tlsCredentials.isEmpty {
                let secret = connector.tlsCredentials
                if connector.useClientCert {
                    need(secret, secret, .connector)
                } else {
                    need("\(secret)-profile", secret, .connectorAuthority, keyPair: false)
                }
            }
        }
        return needs.values.sorted { $0.profile < $1.profile }
    }

    /// The configuration that the resources ask for on this host. Resources that cannot be configured are left
    /// out and reported in `Reconciliation.errors`.
    package static func reconcile(
        _ resources: [Resource], host: HostState
    ) throws(ReconcileError) -> Reconciliation {
        guard let site = activeSite(resources, host: host) else { throw .noSite }
        var builder = ConfigurationBuilder(site: site, host: host, resources: resources)
        return try builder.build()
    }

    /// The RouterAccess `<site>` that a host makes for a Site with link access that has none of its own name
    /// (§5.2 step 6); nil when it is not wanted. Its certificate is signed by the Site's default issuer.
    /// - Parameter hosts: names for the certificate.
    package static func defaultRouterAccess(_ resources: [Resource], hosts: [String]) -> RouterAccess? {
        guard let site = resources.compactMap(Site.init).min(by: { $0.name < $1.name }), site.acceptsLinks,
            !site.edge, !resources.contains(where: { $0.knownKind == .routerAccess && $0.name == site.name })
        else { return nil }
        var access = RouterAccess(name: site.name)
        access.roles = [.init(name: "inter-router", port: 0), .init(name: "edge", port: 0)]
        access.tlsCredentials = siteServer
        access.generateTlsCredentials = true
        access.issuer = site.defaultIssuer.isEmpty ? siteIssuer : site.defaultIssuer
        access.subjectAlternativeNames = hosts
        return access
    }

    /// The Site in force: the remembered one, else the first by name.
    package static func activeSite(_ resources: [Resource], host: HostState) -> Site? {
        let sites = resources.compactMap(Site.init).sorted { $0.name < $1.name }
        return sites.first { $0.name == host.activeSite } ?? sites.first
    }

    /// The endpoint of a link that a router of the site dials: named like the role it needs, or, in static links
    /// of hosts, ending in it.
    package static func endpoint(of link: Link, isEdge: Bool) -> Endpoint? {
        let role = isEdge ? "edge" : "inter-router"
        return link.endpoints.first { $0.name == role } ?? link.endpoints.first { $0.name.hasSuffix("-\(role)") }
    }

    /// The sslProfile of a RouterAccess: its credentials, or its name.
    package static func profile(of access: RouterAccess) -> String {
        access.tlsCredentials.isEmpty ? access.name : access.tlsCredentials
    }
}
