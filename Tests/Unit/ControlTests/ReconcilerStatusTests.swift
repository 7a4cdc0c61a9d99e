import ControlIO
import SiteModel
import SiteReconciler
import Testing

/// Router truth to statuses: what people read in every stage.
@Suite struct ReconcilerStatusTests {
    private typealias Shapes = ReconcilerConfigurationTests

    /// Resources with the status they get, by kind and name.
    private func published(
        _ items: [String], profiles: [String] = [], _ observation: RouterObservation, before: RouterObservation? = nil
    ) throws -> [String: Resource] {
        var resources = try items.flatMap { try Shapes.resources($0) }
        let host = Shapes.host(Dictionary(uniqueKeysWithValues: profiles.map { ($0, Shapes.full) }))
        for seen in [before, observation].compactMap({ $0 }) {
            let reconciliation = try? SiteReconciler.reconcile(resources, host: host)
            let statuses = SiteReconciler.statuses(resources, reconciliation: reconciliation, observation: seen)
            for status in statuses {
                guard let index = resources.firstIndex(where: { $0.key == status.key }) else { continue }
                status.apply(to: &resources[index], nowUnix: 100)
                let isChangedAgain = status.apply(to: &resources[index], nowUnix: 200)
                #expect(!isChangedAgain, "a status that is in place is no change")
            }
        }
        return Dictionary(uniqueKeysWithValues: resources.map { ($0.key.description, $0) })
    }

    private func row(_ resource: Resource?) -> String {
        "\(resource?.statusWord ?? "-") \(resource?.statusMessage ?? "-")"
    }

    private func linkRow(_ link: LinkObservation?, isRunning: Bool = true, before: RouterObservation? = nil) throws
        -> String
    {
        let observation = RouterObservation(isRunning: isRunning, links: link.map { ["east-1": $0] } ?? [:])
        let result = try published(
            [Shapes.site, Shapes.link], profiles: ["east-1-profile"], observation, before: before)
        return row(result["Link/east-1"])
    }

    @Test func aLinkGoesThroughItsStages() throws {
        #expect(try linkRow(nil) == "Pending Not Operational")
        #expect(try linkRow(nil, isRunning: false) == "Pending Not Operational")
        let down = LinkObservation(connectionStatus: "CONNECTING", isNeighbourUp: false)
        #expect(try linkRow(down) == "Pending Not operational")
        let up = LinkObservation(connectionStatus: "SUCCESS", isNeighbourUp: true)
        #expect(try linkRow(up) == "Ready OK")
        let half = LinkObservation(connectionStatus: "SUCCESS", isNeighbourUp: false)
        #expect(
            try linkRow(half)
                == "Pending Not operational: connected; waiting for the routing exchange with the remote router")
        let wasUp = RouterObservation(isRunning: true, links: ["east-1": up])
        #expect(try linkRow(nil, before: wasUp) == "Pending Not operational")
        #expect(
            try linkRow(up, isRunning: false, before: wasUp) == "Pending Not operational: the router is not running")
        #expect(try linkRow(up, before: RouterObservation(isRunning: true, links: ["east-1": down])) == "Ready OK")
    }

    @Test(arguments: [
        ("connection refused", "connect 192.0.2.7:55671: connection refused"),
        ("connect 192.0.2.7:55671: connection refused", "connect 192.0.2.7:55671: connection refused"),
        ("SSL: certificate verify failed: certificate has expired", "connect 192.0.2.7:55671: certificate has expired"),
        (
            "192.0.2.7: certificate verify failed",
            "connect 192.0.2.7:55671: peer certificate is not signed by this link's CA"
        ),
        ("tls: self-signed certificate in certificate chain", "peer certificate is not signed by this link's CA"),
        ("tls: Hostname mismatch", "peer certificate is for another host name"),
        ("tlsv1 alert unknown ca", "the remote site does not trust this link's certificate: ask for a new token"),
        ("wrong version number", "the remote port does not speak TLS: check host and port of the link"),
    ])
    func causesAreTold(raw: String, cause: String) throws {
        for link in [
            LinkObservation(connectionStatus: "FAILED", connectionMessage: raw, isNeighbourUp: false),
            LinkObservation(connectionStatus: "CONNECTING", isNeighbourUp: false, lastError: raw),
        ] {
            let text = try linkRow(link)
            #expect(text.hasPrefix("Pending Not operational: "))
            #expect(text.hasSuffix(cause), "\(text)")
        }
    }

    @Test func aLinkWithoutSecretOrSite() throws {
        let seen = RouterObservation(
            isRunning: true, links: ["east-1": LinkObservation(connectionStatus: "SUCCESS", isNeighbourUp: true)])
        let noSecret = try published([Shapes.site, Shapes.link], seen)
        #expect(row(noSecret["Link/east-1"]) == "Error TLS credentials secret \"east-1\" not found")
        let noSite = try published([Shapes.link], profiles: ["east-1-profile"], seen)
        #expect(row(noSite["Link/east-1"]) == "Error No active site in namespace")
    }

    @Test(arguments: [
        ("east-1764042363-123456789", "east"), ("east-a1b2c3", "east"),
        ("far-east-skupper-router-6d5f-x2x9z", "far-east"),
        ("far-east-k3j2", "far-east"), ("single", "single"),
    ])
    func theRemoteSiteIsTold(router: String, name: String) throws {
        let seen = RouterObservation(
            isRunning: true,
            links: [
                "east-1": LinkObservation(connectionStatus: "SUCCESS", isNeighbourUp: true, remoteRouterID: router)
            ],
            routers: [
                RouterNode(id: "west-a1b2c3", metadata: "{\"id\":\"7c2f\"}"),
                RouterNode(id: router, metadata: "{\"id\":\"e5e5\",\"version\":\"2\"}"),
                RouterNode(id: router + "2", metadata: "{\"id\":\"e5e5\"}"), RouterNode(id: "third"),
            ])
        let result = try published([Shapes.site, Shapes.link], profiles: ["east-1-profile"], seen)
        let link = try #require(result["Link/east-1"].flatMap { Link($0) })
        #expect(link.remoteSiteID == "e5e5")
        #expect(link.remoteSiteName == name)
        #expect(result["Site/west"]?.status("sitesInNetwork") == 3)
    }

    @Test func aSite() throws {
        func site(
            _ observation: RouterObservation, profiles: [String] = ["skupper-site-server"], spec: String? = nil
        ) throws -> Resource? {
            try published([spec ?? Shapes.site, Shapes.access], profiles: profiles, observation)["Site/west"]
        }
        let ready = try #require(try site(RouterObservation(isRunning: true)))
        #expect(row(ready) == "Ready OK")
        #expect(ready.condition(.ready)?.isTrue == true)
        #expect(ready.status("defaultIssuer") == "skupper-site-ca")
        #expect(ready.status("endpoints", "x") == nil)
        #expect(
            Site(ready)?.endpoints.first
                == Endpoint(name: "west-inter-router", host: "192.0.2.20", port: "55671", group: "west"))
        #expect(row(try site(RouterObservation(isRunning: false))) == "Pending The router is not running")
        #expect(
            row(try site(RouterObservation(isRunning: false, fault: "exit 1")))
                == "Pending The router is not running: exit 1")
        #expect(
            row(try site(RouterObservation(isRunning: true), profiles: []))
                == "Pending RouterAccess west: TLS credentials secret \"skupper-site-server\" not found")
        #expect(
            row(try site(RouterObservation(isRunning: true, linkListenerFaults: ["west-edge": "address in use"])))
                == "Pending waiting for link listener west-edge: address in use")
        let plain = "kind: Site, metadata: {name: west}"
        #expect(row(try site(RouterObservation(isRunning: true), profiles: [], spec: plain)) == "Ready OK")
        let both = "kind: Site, metadata: {name: west}, spec: {edge: true, ha: true}"
        #expect(
            row(try site(RouterObservation(isRunning: true), spec: both)) == "Error Edge sites cannot have HA enabled")
        let two = try published(
            [Shapes.site, "kind: Site, metadata: {name: zweite}"], RouterObservation(isRunning: true))
        #expect(row(two["Site/zweite"]) == "Error An active site already exists in the namespace (west)")
    }

    @Test func listenersAndConnectors() throws {
        let listener = "kind: Listener, metadata: {name: l}, spec: {routingKey: k, host: h, port: 80}"
        let connector = "kind: Connector, metadata: {name: c}, spec: {routingKey: k, host: h, port: 81}"
        func rows(_ items: [String], _ observation: RouterObservation) throws -> [String] {
            let result = try published([Shapes.site] + items, observation)
            return ["Listener/l", "Connector/c"].compactMap { result[$0] }.map {
                let match = $0.status("hasMatchingConnector") ?? $0.status("hasMatchingListener")
                return "\(row($0)) \(match?.scalarText ?? "")"
            }
        }
        let idle = RouterObservation(isRunning: true)
        #expect(try rows([listener], idle) == ["Pending No matching connectors false"])
        #expect(try rows([connector], idle) == ["Pending No matching listeners false"])
        for address in [AddressObservation(localConsumers: 1), AddressObservation(remoteConsumers: 2)] {
            let seen = RouterObservation(isRunning: true, addresses: ["k": address])
            #expect(try rows([listener], seen) == ["Ready OK true"])
            #expect(
                try rows([connector], seen) == ["Pending No matching listeners false"],
                "its own consumer is no listener")
        }
        #expect(try rows([listener, connector], idle) == ["Pending No matching connectors false", "Ready OK true"])
        let remote = RouterObservation(isRunning: true, addresses: ["k": AddressObservation(remoteListeners: 1)])
        #expect(try rows([connector], remote) == ["Ready OK true"])
        let stopped = RouterObservation(isRunning: false, addresses: ["k": AddressObservation(localConsumers: 1)])
        #expect(try rows([listener, connector], stopped).allSatisfy { $0.hasPrefix("Pending No matching") })
        let inUse = RouterObservation(
            isRunning: true,
            listeners: ["listener/l": ListenerObservation(operStatus: "down", message: "address in use")])
        #expect(try rows([listener], inUse) == ["Error cannot listen on h:80: address in use false"])
        let waiting = RouterObservation(
            isRunning: true, listeners: ["listener/l": ListenerObservation(operStatus: "down", message: "no consumers")]
        )
        #expect(try rows([listener], waiting) == ["Pending No matching connectors false"])
        let alone = try published([listener], idle)
        #expect(row(alone["Listener/l"]) == "Error No active site in namespace")
    }

    @Test func multiKeyListeners() throws {
        let priority =
            "kind: MultiKeyListener, metadata: {name: p}, spec: {host: h, port: 1, "
            + "strategy: {priority: {routingKeys: [x, y]}}}"
        let weighted =
            "kind: MultiKeyListener, metadata: {name: w}, spec: {host: h, port: 2, "
            + "strategy: {weighted: {routingKeys: {x: 3, y: 1}}}}"
        let seen = RouterObservation(isRunning: true, addresses: ["x": AddressObservation(remoteConsumers: 1)])
        let result = try published([Shapes.site, priority, weighted], seen)
        #expect(row(result["MultiKeyListener/p"]) == "Ready OK")
        #expect(result["MultiKeyListener/p"]?.condition(.ready) == nil)
        #expect(result["MultiKeyListener/p"]?.status("strategy", "priority", "routingKeysReachable") == ["x"])
        #expect(result["MultiKeyListener/w"]?.status("strategy", "weighted", "routingKeysReachable") == ["x": 3])
        #expect(result["MultiKeyListener/w"]?.status("hasDestination") == true)
        let none = try published([Shapes.site, priority], RouterObservation(isRunning: true))
        #expect(row(none["MultiKeyListener/p"]) == "Pending No matching connectors")
        #expect(none["MultiKeyListener/p"]?.status("hasDestination") == false)
    }

    @Test func routerAccesses() throws {
        func access(_ observation: RouterObservation) throws -> String {
            row(
                try published([Shapes.site, Shapes.access], profiles: ["skupper-site-server"], observation)[
                    "RouterAccess/west"])
        }
        #expect(try access(RouterObservation(isRunning: true)) == "Ready OK")
        #expect(
            try access(RouterObservation(isRunning: false)) == "Pending waiting for the router to listen for links")
        #expect(
            try access(RouterObservation(isRunning: true, linkListenerFaults: ["west-edge": "permission denied"]))
                == "Error cannot listen as west-edge: permission denied")
    }

    @Test func grantsAndTokens() throws {
        var grant = AccessGrant(name: "g").resource
        func apply(fault: String?, url: String) throws {
            SiteReconciler.grantStatus(
                try #require(AccessGrant(grant)), fault: fault, url: url, ca: "pem", code: "c",
                expirationTime: "2026-11-25T04:00:00Z", redemptions: 1
            ).apply(to: &grant, nowUnix: 1)
        }
        try apply(fault: nil, url: "")
        #expect(row(grant) == "Pending waiting for the grant server's address")
        try apply(fault: nil, url: "https://h/1")
        #expect(row(grant) == "Ready OK")
        #expect(AccessGrant(grant)?.redemptions == 1)
        #expect(AccessGrant(grant)?.expirationTime == "2026-11-25T04:00:00Z")
        try apply(fault: "Invalid duration \"x\"", url: "https://h/1")
        #expect(row(grant) == "Error Invalid duration \"x\"")

        var token = AccessToken(name: "t").resource
        let view = try #require(AccessToken(token))
        SiteReconciler.tokenStatus(view, fault: "later", isFinal: false).apply(to: &token, nowUnix: 1)
        #expect(row(token) == "Pending later")
        SiteReconciler.tokenStatus(view, fault: "never", isFinal: true).apply(to: &token, nowUnix: 1)
        #expect(row(token) == "Error never")
        #expect(AccessToken(token)?.redeemed == false)
        SiteReconciler.tokenStatus(view, fault: nil, isFinal: true).apply(to: &token, nowUnix: 1)
        #expect(row(token) == "Ready OK")
        #expect(AccessToken(token)?.redeemed == true)
    }
}
