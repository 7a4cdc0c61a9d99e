import ControlIO
import KubernetesReconciler
import SiteModel
import Testing

/// Listeners, connectors, links, grants and tokens.
@Suite struct ServicePlanTests {
    private func targetPort(_ cluster: ClusterInMemory, _ service: String, _ index: Int = 0) -> Document? {
        cluster.get("Service", service)?.spec("ports")?[index]?["targetPort"]
    }

    @Test func aListenerGetsAServiceAndAPortThatStays() throws {
        var cluster = try ClusterInMemory(Sample.plainSite, Sample.listener)
        cluster.settle()
        let service = cluster.get("Service", "backend")
        #expect(service?.spec("ports")?[0]?["port"] == 8080)
        #expect(service?.spec("selector", "application") == "skupper-router")
        #expect(targetPort(cluster, "backend") == 1024)
        #expect(cluster.entities("tcpListener")["listener/backend"]?["port"] == "1024")
        #expect(cluster.entities("tcpListener")["listener/backend"]?["address"] == "backend")
        try cluster.add("kind: Listener, metadata: {name: aaa}, spec: {routingKey: a, host: aaa, port: 80}")
        cluster.settle()
        #expect(targetPort(cluster, "backend") == 1024)
        #expect(targetPort(cluster, "aaa") == 1025)
        cluster.objects[ResourceKey(kind: "Listener", name: "backend")] = nil
        cluster.settle()
        #expect(cluster.get("Service", "backend") == nil)
        #expect(targetPort(cluster, "aaa") == 1025)
    }

    @Test func listenersOfOneHostShareAService() throws {
        var cluster = try ClusterInMemory(
            Sample.plainSite, Sample.listener,
            "kind: Listener, metadata: {name: second}, spec: {routingKey: b, host: backend, port: 8081}",
            "kind: Listener, metadata: {name: third}, spec: {routingKey: c, host: backend, port: 8080}")
        cluster.settle()
        #expect(cluster.get("Service", "backend")?.spec("ports")?.listValue?.count == 2)
        #expect(
            cluster.summary("Listener", "third")
                == "Error Listener backend with host backend and port 8080 already exists in namespace")
        #expect(cluster.entities("tcpListener")["listener/third"] == nil)
        cluster.objects[ResourceKey(kind: "Listener", name: "backend")] = nil
        cluster.settle()
        #expect(cluster.condition("Listener", "third", .configured) == "Ready OK")
    }

    @Test func aChangedHostMovesTheServiceAndADeletedOneComesBack() throws {
        var cluster = try ClusterInMemory(Sample.plainSite, Sample.listener)
        cluster.settle()
        cluster.objects[ResourceKey(kind: "Service", name: "backend")] = nil
        cluster.settle()
        #expect(targetPort(cluster, "backend") == 1024)
        cluster.objects[ResourceKey(kind: "Listener", name: "backend")]?.setSpec("other", "host")
        cluster.settle()
        #expect(cluster.get("Service", "backend") == nil)
        #expect(targetPort(cluster, "other") == 1024)
    }

    @Test func aForeignServiceIsRefused() throws {
        var cluster = try ClusterInMemory(
            "kind: Service, metadata: {name: backend}, spec: {ports: []}", Sample.plainSite, Sample.listener)
        cluster.settle()
        #expect(cluster.summary("Listener", "backend") == "Error Service backend already exists in namespace")
        #expect(cluster.get("Service", "backend")?.isControlled == false)
        cluster.objects[ResourceKey(kind: "Service", name: "backend")] = nil
        cluster.settle()
        #expect(cluster.get("Service", "backend")?.isControlled == true)
    }

    @Test(arguments: ["Backend", "a.b", "9x", "-a", "skupper-router-local"])
    func hostsThatCannotBeServices(host: String) throws {
        var cluster = try ClusterInMemory(
            Sample.plainSite,
            "kind: Listener, metadata: {name: backend}, spec: {routingKey: b, host: \"\(host)\", port: 80}")
        cluster.settle()
        #expect(cluster.summary("Listener", "backend").hasPrefix("Error "))
        #expect(cluster.entities("tcpListener").isEmpty)
    }

    @Test func aConnectorTakesReadyPods() throws {
        var cluster = try ClusterInMemory(Sample.plainSite, Sample.connector)
        cluster.settle()
        #expect(cluster.summary("Connector", "db") == "Error No matches for selector")
        try cluster.pod("db-0", labels: "app: db", ip: "10.1.0.7")
        try cluster.pod("db-1", labels: "app: db", ip: "10.1.0.9", ready: false)
        try cluster.pod("web", labels: "app: web", ip: "10.1.0.8")
        cluster.settle()
        let entity = cluster.entities("tcpConnector")["connector/db@10.1.0.7"]
        #expect(cluster.entities("tcpConnector").count == 1)
        #expect(entity?["port"] == "5432")
        #expect(entity?["address"] == "db")
        #expect(entity?["processId"] == .string(cluster.get("Pod", "db-0")!.uid))
        #expect(cluster.get("Connector", "db")?.status("selectedPods") == [["name": "db-0", "ip": "10.1.0.7"]])
        cluster.objects[ResourceKey(kind: "Connector", name: "db")]?.setSpec(true, "includeNotReadyPods")
        cluster.objects[ResourceKey(kind: "Connector", name: "db")]?.setSpec(true, "exposePodsByName")
        cluster.settle()
        #expect(
            Set(cluster.entities("tcpConnector").keys) == [
                "connector/db@10.1.0.7", "connector/db@10.1.0.9", "connector/db@db-0", "connector/db@db-1",
            ])
        #expect(cluster.entities("tcpConnector")["connector/db@db-0"]?["address"] == "db.db-0")
    }

    @Test(arguments: [
        ("app=db", true), ("app==db,tier!=x", true), ("app", true), ("!old", true), ("app in (db, web)", true),
        ("app notin (db)", false), ("app=web", false), ("", false), ("app=", false), ("a b", false), ("!app", false),
        ("app=db,tier", false),
    ])
    func selectors(text: String, matches: Bool) {
        #expect((PodSelector(text)?.matches(["app": "db"]) ?? false) == matches)
    }

    @Test func tlsOfConnectors() throws {
        var cluster = try ClusterInMemory(
            Sample.plainSite,
            "kind: Connector, metadata: {name: t}, spec: {routingKey: t, host: db.example, port: 1, "
                + "tlsCredentials: link-1, "
                + "verifyHostname: false}")
        cluster.settle()
        #expect(cluster.summary("Connector", "t") == "Error TLS credentials secret \"link-1\" not found")
        try cluster.add(Sample.secret)
        cluster.settle()
        #expect(cluster.entities("tcpConnector")["connector/t@db.example"]?["sslProfile"] == "link-1-profile")
        #expect(cluster.entities("sslProfile")["link-1-profile"]?["certFile"] == nil)
        #expect(
            cluster.get("Secret", "link-1")?.annotation(Marks.profileContext)
                == "[{\"ordinal\":1,\"profileName\":\"link-1-profile\"}]")
    }

    @Test func aLinkGoesThroughItsStates() throws {
        var cluster = try ClusterInMemory(Sample.plainSite, Sample.link)
        cluster.settle()
        #expect(cluster.summary("Link", "link-1") == "Error TLS credentials secret \"link-1\" not found")
        try cluster.add(Sample.secret)
        try cluster.routerPod()
        cluster.settle()
        #expect(cluster.summary("Link", "link-1") == "Pending Not Operational")
        let connector = cluster.entities("connector")["link-1"]
        #expect(connector?["port"] == "55671")
        #expect(connector?["cost"] == 2)
        #expect(connector?["sslProfile"] == "link-1-profile")
        cluster.report(
            "{\"running\":true,\"links\":{\"link-1\":{\"status\":\"FAILED\",\"up\":false,"
                + "\"message\":\"Connection refused\"}}}"
        )
        cluster.settle()
        #expect(
            cluster.summary("Link", "link-1")
                == "Pending Not operational: connect 192.0.2.7:55671: Connection refused")
        cluster.report(
            "{\"running\":true,\"links\":{\"link-1\":{\"status\":\"SUCCESS\",\"up\":true,\"router\":\"west-x\"}},"
                + "\"routers\":{\"west-x\":\"{\\\"id\\\":\\\"site-w\\\"}\",\"east-y\":\"{\\\"id\\\":\\\"uid-1\\\"}\"}}")
        cluster.settle()
        #expect(cluster.summary("Link", "link-1") == "Ready OK")
        #expect(cluster.get("Link", "link-1")?.status("remoteSiteId") == "site-w")
        #expect(cluster.get("Site", "east")?.status("sitesInNetwork") == 2)
        cluster.objects[ResourceKey(kind: "Secret", name: "link-1")] = nil
        cluster.settle()
        #expect(cluster.entities("connector").isEmpty)
    }

    @Test func matching() throws {
        var cluster = try ClusterInMemory(Sample.plainSite, Sample.listener, Sample.connector)
        try cluster.pod("db-0", labels: "app: db", ip: "10.1.0.7")
        try cluster.routerPod()
        cluster.report("{\"running\":true,\"addresses\":{\"backend\":[0,0,0]}}")
        cluster.settle()
        #expect(cluster.summary("Listener", "backend") == "Pending No matching connectors")
        #expect(cluster.summary("Connector", "db") == "Pending No matching listeners")
        cluster.report("{\"running\":true,\"addresses\":{\"backend\":[0,1,0],\"db\":[1,0,2]}}")
        cluster.settle()
        #expect(cluster.summary("Listener", "backend") == "Ready OK")
        #expect(cluster.get("Listener", "backend")?.status("hasMatchingConnector") == true)
        #expect(cluster.summary("Connector", "db") == "Ready OK")
    }

    @Test func remotePodsGetServicesByName() throws {
        var cluster = try ClusterInMemory(
            Sample.plainSite, "kind: Service, metadata: {name: db-9}, spec: {ports: []}",
            "kind: Listener, metadata: {name: db}, spec: {routingKey: db, host: db, port: 5432, exposePodsByName: true}"
        )
        try cluster.routerPod()
        cluster.report("{\"running\":true,\"addresses\":{\"db\":[0,1,0],\"db.db-0\":[0,1,0],\"db.db-9\":[0,1,0]}}")
        cluster.settle()
        #expect(targetPort(cluster, "db") == 1024)
        #expect(targetPort(cluster, "db-0") == 1025)
        #expect(cluster.entities("tcpListener")["listener/db@db-0"]?["address"] == "db.db-0")
        #expect(cluster.entities("tcpListener")["listener/db@db-9"] == nil)
        #expect(cluster.get("Service", "db-9")?.isControlled == false)
        cluster.report("{\"running\":true,\"addresses\":{\"db\":[0,1,0]}}")
        cluster.settle()
        #expect(cluster.get("Service", "db-0") == nil)
        #expect(targetPort(cluster, "db") == 1024)
    }

    @Test func multiKeyListeners() throws {
        var cluster = try ClusterInMemory(
            Sample.plainSite,
            "kind: MultiKeyListener, metadata: {name: m}, spec: {host: m, port: 80, strategy: "
                + "{priority: {routingKeys: [a, b]}}}")
        cluster.settle()
        #expect(targetPort(cluster, "m") == 1024)
        #expect(cluster.entities("tcpListener")["multiAddress/m"]?["multiAddressStrategy"] == "priority")
        #expect(cluster.entities("listenerAddress")["m/a"]?["value"] == 1)
        try cluster.add("kind: Listener, metadata: {name: x}, spec: {routingKey: x, host: x, port: 80}")
        cluster.settle()
        #expect(targetPort(cluster, "m") == 1024)
        #expect(cluster.summary("MultiKeyListener", "m") == "Pending No matching connectors")
    }

    @Test func attachedConnectors() throws {
        var other = try ClusterInMemory(
            "kind: AttachedConnector, metadata: {name: att}, spec: {siteNamespace: ns, port: 90, selector: app=w}")
        var connector = try #require(other.get("AttachedConnector", "att"))
        connector.namespace = "workload"
        try other.pod("w-0", labels: "app: w", ip: "10.2.0.1")
        var cluster = try ClusterInMemory(
            Sample.plainSite,
            "kind: AttachedConnectorBinding, metadata: {name: att}, spec: {connectorNamespace: workload, routingKey: w}"
        )
        cluster.settle()
        #expect(cluster.summary("AttachedConnectorBinding", "att") == "Error No matching AttachedConnector")
        cluster.attached = [.init(connector: connector, pods: [other.get("Pod", "w-0")!])]
        cluster.settle()
        #expect(cluster.entities("tcpConnector")["connector/att@10.2.0.1"]?["address"] == "w")
        #expect(cluster.summary("AttachedConnectorBinding", "att") == "Pending No matching listeners")
        // In the other namespace: no binding, then one that allows another namespace, then the right one.
        other.settle()
        #expect(
            other.summary("AttachedConnector", "att") == "Error No matching AttachedConnectorBinding in site namespace")
        var binding = try #require(cluster.get("AttachedConnectorBinding", "att"))
        binding.namespace = "ns"
        binding.setSpec("elsewhere", "connectorNamespace")
        other.bindings = [binding]
        other.settle()
        #expect(other.summary("AttachedConnector", "att").contains("does not allow AttachedConnector in ns"))
        binding.setSpec("ns", "connectorNamespace")
        other.bindings = [binding]
        other.settle()
        #expect(other.summary("AttachedConnector", "att") == "Ready OK")
        other.settings.isClusterScoped = false
        other.settle()
        #expect(other.summary("AttachedConnector", "att").hasPrefix("Error AttachedConnectors need"))
    }

    @Test func grants() throws {
        var cluster = try ClusterInMemory(
            Sample.site, "kind: AccessGrant, metadata: {name: g}, spec: {redemptionsAllowed: 2, expirationWindow: 15m}",
            "kind: AccessGrant, metadata: {name: bad}, spec: {expirationWindow: soon}")
        cluster.settle()
        #expect(cluster.summary("AccessGrant", "g") == "Pending waiting for the grant server's address")
        #expect(cluster.summary("AccessGrant", "bad").hasPrefix("Error Invalid duration \"soon\""))
        cluster.grantURL = "https://192.0.2.1:9090"
        cluster.settle()
        #expect(cluster.summary("AccessGrant", "g") == "Pending waiting for an endpoint of the site")
        cluster.balancer("skupper-router", ip: "192.0.2.20")
        cluster.now += 100
        cluster.settle()
        #expect(cluster.summary("AccessGrant", "g") == "Ready OK")
        let grant = try #require(cluster.get("AccessGrant", "g").flatMap { AccessGrant($0) })
        #expect(grant.statusURL == "https://192.0.2.1:9090/\(grant.uid)")
        #expect(grant.statusCode == "code-of-g")
        #expect(grant.statusCA == "CA")
        let expected: Int64 = 1_764_000_900
        #expect(Timestamp.parse(grant.expirationTime) == expected)
        #expect(cluster.plan.linkEndpoints.count == 2)
        cluster.settings.grantsEnabled = false
        cluster.settle()
        #expect(cluster.summary("AccessGrant", "g") == "Error AccessGrants are not enabled")
    }

    @Test func grantsOfSitesWithoutLinkAccess() throws {
        var cluster = try ClusterInMemory(Sample.plainSite, "kind: AccessGrant, metadata: {name: g}")
        cluster.settle()
        #expect(cluster.summary("AccessGrant", "g").hasPrefix("Error link access is not enabled"))
    }

    @Test func tokensWaitForASiteAndAreRedeemedOnce() throws {
        let token =
            "kind: AccessToken, metadata: {name: t}, spec: {url: \"https://192.0.2.1:9090/x\", code: c, ca: CA}"
        var cluster = try ClusterInMemory(token)
        cluster.settle()
        #expect(cluster.summary("AccessToken", "t") == "Pending waiting for an active site in the namespace")
        #expect(cluster.plan.redemptions.isEmpty)
        try cluster.add(Sample.plainSite)
        #expect(cluster.plan.redemptions.map(\.name) == ["t"])
        let key = ResourceKey(kind: "AccessToken", name: "t")
        cluster.objects[key]?.setCondition(.redeemed, .error("404"), nowUnix: 1)
        #expect(cluster.plan.redemptions.isEmpty)
        cluster.objects[key]?.generation = 2
        #expect(cluster.plan.redemptions.count == 1)
        cluster.objects[key]?.setStatus(true, "redeemed")
        #expect(cluster.plan.redemptions.isEmpty)
        try cluster.add("kind: AccessToken, metadata: {name: http}, spec: {url: \"http://x\", code: c, ca: CA}")
        cluster.settle()
        #expect(cluster.summary("AccessToken", "http") == "Error token url scheme must be https")
    }

    @Test func manyServicesStaySmallAndSettle() throws {
        var cluster = try ClusterInMemory(Sample.plainSite)
        for number in 0..<500 {
            try cluster.add(
                "kind: Listener, metadata: {name: l\(number)}, "
                    + "spec: {routingKey: k\(number), host: h\(number), port: 80}"
            )
            try cluster.add(
                "kind: Connector, metadata: {name: c\(number)}, "
                    + "spec: {routingKey: k\(number), host: x\(number), port: 80}"
            )
        }
        cluster.settle()
        #expect(cluster.entities("tcpListener").count == 500)
        let text = cluster.get("ConfigMap", "skupper-router")?.document.value(at: ["data", "skrouterd.json"])?
            .stringValue
        #expect((text?.utf8.count ?? .max) < 300_000)
        #expect(cluster.plan.isEmpty)
    }
}
