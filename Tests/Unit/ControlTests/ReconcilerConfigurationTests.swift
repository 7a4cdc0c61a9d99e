import ControlIO
import RouterConfig
import SiteModel
import SiteReconciler
import Testing

/// Resources to router configuration: goldens, stability, and what is left out with which text.
@Suite struct ReconcilerConfigurationTests {
    static let head = "apiVersion: skupper.io/v2alpha1"

    static func resources(_ items: String...) throws -> [Resource] {
        try Resource.parseAll(
            yaml: items.map { "{\($0.hasPrefix("kind: Secret") ? "apiVersion: v1" : head), \($0)}" }
                .joined(separator: "\n---\n"))
    }

    static func host(_ profiles: [String: ProfileFiles] = [:]) -> HostState {
        HostState(
            namespace: "ns", siteID: "7c2f", routerIDSuffix: "a1b2c3", version: "2.3.0", localPort: 5672,
            httpPort: 9091,
            ports: ["west-edge": 45680], certificateFolder: "/certs",
            profiles: profiles.merging(["skupper-local-server": full]) { old, _ in old },
            advertisedHosts: ["192.0.2.20", "west.example"])
    }

    static let full = ProfileFiles(hasKeyPair: true, hasAuthority: true)
    static let site = "kind: Site, metadata: {name: west}, spec: {linkAccess: default}"
    static let access =
        "kind: RouterAccess, metadata: {name: west}, spec: {tlsCredentials: skupper-site-server, "
        + "roles: [{name: inter-router}, {name: edge}]}"
    static let link =
        "kind: Link, metadata: {name: east-1}, spec: {cost: 5, tlsCredentials: east-1, endpoints: ["
        + "{name: inter-router, host: 192.0.2.7, port: \"55671\"}, {name: edge, host: 192.0.2.8, port: \"45671\"}]}"

    private func own(_ reconciliation: Reconciliation, except: Set<String> = []) -> [String] {
        reconciliation.configuration.renderJSON().split(separator: "\n").map(String.init).filter { line in
            line.hasPrefix("  [") && !["router", "site", "address"].contains { line.hasPrefix("  [\"\($0)\"") }
                && !line.contains("skupper-local") && !line.contains("\"@9091\"")
        }.map { $0.hasSuffix(",") ? String($0.dropLast()) : $0 }
    }

    @Test func theWholeConfigurationOfASite() throws {
        let resources = try Self.resources(
            Self.site, Self.access, Self.link,
            "kind: Listener, metadata: {name: backend}, spec: {routingKey: backend, host: 0.0.0.0, port: 8080}",
            "kind: Connector, metadata: {name: db}, spec: {routingKey: db, host: 127.0.0.1, port: 5432}")
        let result = try SiteReconciler.reconcile(
            resources,
            host: Self.host([
                "skupper-site-server": ProfileFiles(
                    hasKeyPair: true, hasAuthority: true, ordinal: 3, oldestValidOrdinal: 1),
                "east-1-profile": Self.full,
            ]))
        #expect(result.errors.isEmpty)
        #expect(result.siteName == "west")
        let certs = { (name: String) in
            "\"caCertFile\": \"/certs/\(name)/ca.crt\", \"certFile\": \"/certs/\(name)/tls.crt\", "
                + "\"privateKeyFile\": \"/certs/\(name)/tls.key\""
        }
        let tls = "\"saslMechanisms\": \"EXTERNAL\", \"authenticatePeer\": true"
        let expected = """
            [
              ["router", {"id": "west-a1b2c3", "mode": "interior", "metadata": "{\\"id\\":\\"7c2f\\",\
            \\"version\\":\\"2.3.0\\",\\"platform\\":\\"linux\\"}", "helloMaxAgeSeconds": "3"}],
              ["site", {"name": "west", "version": "2.3.0", "platform": "linux", "namespace": "ns"}],
              ["sslProfile", {"name": "east-1-profile", \(certs("east-1-profile"))}],
              ["sslProfile", {"name": "skupper-local-server", \(certs("skupper-local-server"))}],
              ["sslProfile", {"name": "skupper-site-server", \(certs("skupper-site-server")), "ordinal": 3, \
            "oldestValidOrdinal": 1}],
              ["address", {"prefix": "mc", "distribution": "multicast"}],
              ["connector", {"name": "east-1", "host": "192.0.2.7", "port": "55671", "role": "inter-router", \
            "cost": 5, "sslProfile": "east-1-profile", "verifyHostname": true}],
              ["listener", {"name": "@9091", "host": "127.0.0.1", "port": 9091, "role": "normal", "healthz": true, \
            "metrics": true, "http": true, "httpRootDir": "disabled"}],
              ["listener", {"name": "skupper-local", "host": "127.0.0.1", "port": 5672, "role": "normal", \
            "sslProfile": "skupper-local-server", \(tls)}],
              ["listener", {"name": "west-inter-router", "port": 55671, "role": "inter-router", \
            "sslProfile": "skupper-site-server", \(tls)}],
              ["listener", {"name": "west-edge", "port": 45680, "role": "edge", \
            "sslProfile": "skupper-site-server", \(tls)}],
              ["tcpListener", {"name": "listener/backend", "address": "backend", "host": "0.0.0.0", "port": "8080", \
            "siteId": "7c2f"}],
              ["tcpConnector", {"name": "connector/db@127.0.0.1", "address": "db", "host": "127.0.0.1", \
            "port": "5432", "siteId": "7c2f"}]
            ]

            """
        #expect(result.configuration.renderJSON() == expected)
        #expect(
            result.endpoints == [
                Endpoint(name: "west-inter-router", host: "192.0.2.20", port: "55671", group: "west"),
                Endpoint(name: "west-edge", host: "192.0.2.20", port: "45680", group: "west"),
            ])
        #expect(result.linkEndpoints.map(\.name) == ["inter-router", "edge"])
    }

    @Test func theSecondPlanIsEmpty() throws {
        let resources = try Self.resources(
            Self.site, Self.access, Self.link,
            "kind: Listener, metadata: {name: l}, spec: {routingKey: k, host: 0.0.0.0, port: 80, tlsCredentials: c}")
        let host = Self.host([
            "skupper-site-server": Self.full, "east-1-profile": Self.full, "c": Self.full,
        ])
        let first = try SiteReconciler.reconcile(resources, host: host)
        let second = try SiteReconciler.reconcile(resources.reversed(), host: host)
        #expect(first == second)
        #expect(plan(from: first.configuration, to: second.configuration, protecting: .none).isEmpty)
        #expect(first.configuration.renderJSON() == second.configuration.renderJSON())
    }

    @Test func costIsChangedLive() throws {
        let host = Self.host(["east-1-profile": Self.full])
        let before = try SiteReconciler.reconcile(try Self.resources(Self.site, Self.link), host: host)
        let changed = Self.link.replacing("cost: 5", with: "cost: 9")
        let after = try SiteReconciler.reconcile(try Self.resources(Self.site, changed), host: host)
        let steps = plan(from: before.configuration, to: after.configuration, protecting: .none).steps
        #expect(steps.map(\.description) == ["update connector \"east-1\" (cost)"])
    }

    @Test func anEdgeSiteDialsTheEdgeEndpoint() throws {
        let resources = try Self.resources(
            "kind: Site, metadata: {name: west}, spec: {edge: true}", Self.access, Self.link)
        let result = try SiteReconciler.reconcile(
            resources, host: Self.host(["east-1-profile": Self.full, "skupper-site-server": Self.full]))
        let connector = try #require(result.configuration.entities(ofType: "connector").first)
        #expect(connector[string: "role"] == "edge")
        #expect(connector[string: "host"] == "192.0.2.8")
        #expect(result.configuration.router[string: "mode"] == "edge")
        #expect(
            result.errors == [
                ResourceKey(kind: "RouterAccess", name: "west"):
                    "Edge sites cannot accept incoming links from remote sites"
            ])
    }

    @Test func tlsOfServices() throws {
        let resources = try Self.resources(
            Self.site,
            "kind: Connector, metadata: {name: a}, spec: {routingKey: k, host: h, port: 1, tlsCredentials: s}",
            "kind: Connector, metadata: {name: b}, spec: {routingKey: k, host: h, port: 1, tlsCredentials: s, "
                + "useClientCert: true, verifyHostname: false}",
            "kind: Listener, metadata: {name: c}, spec: {routingKey: k, host: h, port: 1, tlsCredentials: s, "
                + "observer: none}")
        let needs = SiteReconciler.profileNeeds(resources)
        #expect(needs.map(\.profile) == ["s", "s-profile", "skupper-local-server"])
        #expect(needs.map(\.purpose) == [.connector, .connectorAuthority, .local])
        #expect(needs.map(\.needsKeyPair) == [true, false, true])
        let result = try SiteReconciler.reconcile(
            resources,
            host: Self.host(["s": Self.full, "s-profile": ProfileFiles(hasKeyPair: false, hasAuthority: true)]))
        #expect(result.errors.isEmpty)
        #expect(
            own(result) == [
                "  [\"sslProfile\", {\"name\": \"s\", \"caCertFile\": \"/certs/s/ca.crt\", \"certFile\": "
                    + "\"/certs/s/tls.crt\", \"privateKeyFile\": \"/certs/s/tls.key\"}]",
                "  [\"sslProfile\", {\"name\": \"s-profile\", \"caCertFile\": \"/certs/s-profile/ca.crt\"}]",
                "  [\"tcpListener\", {\"name\": \"listener/c\", \"address\": \"k\", \"host\": \"h\", \"port\": \"1\", "
                    + "\"siteId\": \"7c2f\", \"sslProfile\": \"s\", \"observer\": \"none\"}]",
                "  [\"tcpConnector\", {\"name\": \"connector/a@h\", \"address\": \"k\", \"host\": \"h\", \"port\": "
                    + "\"1\", \"siteId\": \"7c2f\", \"sslProfile\": \"s-profile\"}]",
                "  [\"tcpConnector\", {\"name\": \"connector/b@h\", \"address\": \"k\", \"host\": \"h\", \"port\": "
                    + "\"1\", \"siteId\": \"7c2f\", \"sslProfile\": \"s\", \"verifyHostname\": false}]",
            ])
    }

    @Test func aLinkAndAConnectorShareASecret() throws {
        let resources = try Self.resources(
            Self.site, Self.link,
            "kind: Connector, metadata: {name: a}, spec: {routingKey: k, host: h, port: 1, tlsCredentials: east-1}")
        #expect(SiteReconciler.profileNeeds(resources).first { $0.profile == "east-1-profile" }?.needsKeyPair == true)
        let result = try SiteReconciler.reconcile(resources, host: Self.host(["east-1-profile": Self.full]))
        let profiles = result.configuration.entities(ofType: "sslProfile").filter { $0.name == "east-1-profile" }
        #expect(profiles.count == 1)
        #expect(profiles.first?[string: "certFile"] == "/certs/east-1-profile/tls.crt")
    }

    @Test func multiKeyListeners() throws {
        let resources = try Self.resources(
            Self.site,
            "kind: MultiKeyListener, metadata: {name: p}, spec: {host: h, port: 1, requireClientCert: true, "
                + "tlsCredentials: s, strategy: {priority: {routingKeys: [x, y, z]}}}",
            "kind: MultiKeyListener, metadata: {name: w}, spec: {host: h, port: 2, "
                + "strategy: {weighted: {routingKeys: {x: 7, y: 1}}}}")
        let result = try SiteReconciler.reconcile(resources, host: Self.host(["s": Self.full]))
        #expect(result.errors.isEmpty)
        let listeners = result.configuration.entities(ofType: "tcpListener")
        #expect(listeners.map(\.name) == ["multiAddress/p", "multiAddress/w"])
        #expect(listeners.map { $0[string: "multiAddressStrategy"] } == ["priority", "weighted"])
        #expect(listeners.map { $0.boolean("authenticatePeer") } == [true, false])
        let addresses = result.configuration.entities(ofType: "listenerAddress")
        #expect(addresses.map(\.name) == ["p/x", "p/y", "p/z", "w/x", "w/y"])
        #expect(addresses.map { $0.integer("value") } == [2, 1, 0, 7, 1])
        #expect(addresses.map { $0[string: "listener"] }.prefix(4).last == "multiAddress/w")
    }

    @Test func whatCannotBeConfiguredIsLeftOutWithItsText() throws {
        let resources = try Self.resources(
            Self.site, Self.link, Self.access,
            "kind: Site, metadata: {name: zweite}",
            "kind: Link, metadata: {name: half}, spec: {tlsCredentials: half, endpoints: ["
                + "{name: edge, host: h, port: \"1\"}]}",
            "kind: Link, metadata: {name: proxied}, spec: {tlsCredentials: p, settings: {proxy-configuration: none}, "
                + "endpoints: [{name: inter-router, host: h, port: \"1\"}]}",
            "kind: Listener, metadata: {name: first}, spec: {routingKey: k, host: h, port: 80}",
            "kind: Listener, metadata: {name: second}, spec: {routingKey: k, host: h, port: 80}",
            "kind: Listener, metadata: {name: tls}, spec: {routingKey: k, host: h, port: 81, tlsCredentials: gone}",
            "kind: Connector, metadata: {name: pods}, spec: {routingKey: k, selector: app=x, port: 80}",
            "kind: Connector, metadata: {name: noca}, spec: {routingKey: k, host: h, port: 80, tlsCredentials: c}")
        let result = try SiteReconciler.reconcile(
            resources,
            host: Self.host([
                "half-profile": Self.full, "p-profile": Self.full,
                "skupper-site-server": ProfileFiles(hasKeyPair: false, hasAuthority: true),
                "c-profile": ProfileFiles(hasKeyPair: true, hasAuthority: false),
            ]))
        #expect(
            Dictionary(uniqueKeysWithValues: result.errors.map { ($0.key.description, $0.value) }) == [
                "Site/zweite": "An active site already exists in the namespace (west)",
                "Link/east-1": "TLS credentials secret \"east-1\" not found",
                "Link/half":
                    "the link has no endpoint named inter-router, which a site in interior mode needs: ask for a "
                    + "new token or link file",
                "Link/proxied": "Secret not found for proxy configuration",
                "Listener/second": "port 80 is already mapped for host \"h\"",
                "Listener/tls": "TLS credentials secret \"gone\" not found",
                "Connector/pods": "host is required: selectors name pods and have no meaning on this platform",
                "Connector/noca": "TLS credentials secret \"c\" has no ca.crt",
                "RouterAccess/west": "TLS credentials secret \"skupper-site-server\" has no tls.crt and tls.key",
            ])
        #expect(own(result).count == 1)
        #expect(result.endpoints.isEmpty)
    }

    @Test func proxiesAndSettings() throws {
        let resources = try Self.resources(
            "kind: Site, metadata: {name: west}, spec: {settings: {router-data-connection-count: \"4\", "
                + "router-logging: \"ROUTER_CORE:debug+, info+\"}}",
            "kind: Secret, metadata: {name: px}, stringData: {host: proxy, port: \"3128\", "
                + "username: u, password: secret}",
            "kind: Link, metadata: {name: l}, spec: {tlsCredentials: l, settings: {proxy-configuration: px}, "
                + "endpoints: [{name: ra-inter-router, host: h, port: \"1\"}]}")
        let result = try SiteReconciler.reconcile(resources, host: Self.host(["l-profile": Self.full]))
        #expect(result.errors.isEmpty)
        #expect(result.configuration.router[string: "dataConnectionCount"] == "4")
        let proxy = try #require(result.configuration.entities(ofType: "proxyProfile").first)
        #expect(proxy.name == "l-proxy")
        #expect(proxy[string: "port"] == "3128")
        #expect(proxy[string: "password"] == "literal:secret")
        #expect(result.configuration.entities(ofType: "connector").first?[string: "proxyProfile"] == "l-proxy")
        let logs = result.configuration.entities(ofType: "log").map {
            "\($0[string: "module"] ?? "") \($0[string: "enable"] ?? "")"
        }
        #expect(logs == ["DEFAULT info+", "ROUTER_CORE debug+"])
    }

    @Test func withoutSiteThereIsNoConfiguration() throws {
        let resources = try Self.resources(Self.link)
        #expect(throws: ReconcileError.noSite) { try SiteReconciler.reconcile(resources, host: Self.host()) }
    }

    @Test func theRememberedSiteStaysActive() throws {
        let resources = try Self.resources("kind: Site, metadata: {name: a}", "kind: Site, metadata: {name: b}")
        var host = Self.host()
        #expect(try SiteReconciler.reconcile(resources, host: host).siteName == "a")
        host.activeSite = "b"
        #expect(try SiteReconciler.reconcile(resources, host: host).siteName == "b")
        host.activeSite = "gone"
        #expect(try SiteReconciler.reconcile(resources, host: host).siteName == "a")
    }

    @Test func theDefaultRouterAccess() throws {
        func access(_ items: String...) throws -> RouterAccess? {
            let text = items.map { "{\(Self.head), \($0)}" }.joined(separator: "\n---\n")
            return SiteReconciler.defaultRouterAccess(try Resource.parseAll(yaml: text), hosts: ["h", "192.0.2.1"])
        }
        let made = try #require(try access(Self.site))
        #expect(made.name == "west")
        #expect(made.roles == [.init(name: "inter-router", port: 0), .init(name: "edge", port: 0)])
        #expect(made.tlsCredentials == "skupper-site-server")
        #expect(made.issuer == "skupper-site-ca")
        #expect(made.generateTlsCredentials)
        #expect(made.subjectAlternativeNames == ["h", "192.0.2.1"])
        #expect(ResourceValidation.validate(made.resource) == [])
        #expect(try access(Self.site, Self.access) == nil)
        #expect(try access("kind: Site, metadata: {name: west}") == nil)
        #expect(try access("kind: Site, metadata: {name: west}, spec: {linkAccess: none}") == nil)
        #expect(try access("kind: Site, metadata: {name: west}, spec: {linkAccess: default, edge: true}") == nil)
        #expect(
            try access("kind: Site, metadata: {name: west}, spec: {linkAccess: x, defaultIssuer: mine}")?.issuer
                == "mine")
    }
}

extension String {
    /// The text with every occurrence of a part replaced.
    fileprivate func replacing(_ part: String, with other: String) -> String {
        var result = ""
        var rest = Substring(self)
        while let range = rest.firstRange(of: part) {
            result += rest[..<range.lowerBound] + other
            rest = rest[range.upperBound...]
        }
        return result + rest
    }
}
