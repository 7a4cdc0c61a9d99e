import ControlIO
import KubernetesReconciler
import SiteModel
import Testing

/// Site, access, certificates and routers: what is made, when it waits and for what.
@Suite struct SitePlanTests {
    @Test func aSiteWithLinkAccessBecomesReady() throws {
        var cluster = try ClusterInMemory(Sample.site)
        cluster.settle()
        for (kind, name) in [
            ("ConfigMap", "skupper-router"), ("Deployment", "skupper-router"), ("ServiceAccount", "skupper-router"),
            ("Role", "skupper-router"), ("RoleBinding", "skupper-router"), ("Service", "skupper-router"),
            ("Service", "skupper-router-local"), ("RouterAccess", "skupper-router"),
            ("SecuredAccess", "skupper-router"), ("Certificate", "skupper-site-ca"),
            ("Secret", "skupper-site-ca"), ("Secret", "skupper-site-server"), ("Secret", "skupper-local-ca"),
            ("Secret", "skupper-local-server"),
        ] { #expect(cluster.get(kind, name) != nil, "\(kind) \(name)") }
        #expect(cluster.summary("Site", "west") == "Pending No router pod is ready")
        try cluster.routerPod(ready: false, fault: "containers with unready status: [router kube-adaptor]")
        cluster.settle()
        #expect(cluster.summary("Site", "west") == "Pending containers with unready status: [router kube-adaptor]")
        try cluster.routerPod()
        cluster.settle()
        #expect(cluster.summary("Site", "west") == "Pending waiting for external address of Service skupper-router")
        #expect(
            cluster.condition("RouterAccess", "skupper-router", .resolved)
                == "Pending waiting for external address of Service skupper-router")
        cluster.balancer("skupper-router", ip: "192.0.2.20")
        cluster.settle()
        #expect(cluster.summary("Site", "west") == "Ready OK")
        #expect(cluster.summary("RouterAccess", "skupper-router") == "Ready OK")
        #expect(cluster.summary("SecuredAccess", "skupper-router") == "Ready OK")
        let endpoints = Site(cluster.get("Site", "west")!)?.endpoints ?? []
        #expect(
            endpoints == [
                Endpoint(name: "inter-router", host: "192.0.2.20", port: "55671", group: "skupper-router"),
                Endpoint(name: "edge", host: "192.0.2.20", port: "45671", group: "skupper-router"),
            ])
        #expect(
            cluster.get("Certificate", "skupper-site-server")?.spec("hosts")
                == ["192.0.2.20", "skupper-router", "skupper-router.ns"])
        #expect(
            Set(cluster.entities("listener").keys) == [
                "@9090", "amqp", "amqps", "skupper-router-inter-router", "skupper-router-edge",
            ])
        #expect(cluster.get("Site", "west")?.status("controller", "name") == "skupper-controller")
    }

    @Test func theRouterIsNamedAfterItsPodAndTellsItsSite() throws {
        var cluster = try ClusterInMemory(Sample.plainSite)
        cluster.settle()
        let text = cluster.get("ConfigMap", "skupper-router")?.document.value(at: ["data", "skrouterd.json"])?
            .stringValue
        #expect(text?.contains("\"id\": \"east-${HOSTNAME}\"") == true)
        #expect(text?.contains("\\\"id\\\":\\\"uid-1\\\"") == true)
        #expect(text?.contains("[\"site\"") == false)
        #expect(cluster.get("RouterAccess", "skupper-router") == nil)
        #expect(cluster.get("Service", "skupper-router") == nil)
    }

    @Test(arguments: [
        ("local", "skupper-router.ns", "55671"), ("nodeport", "node.example", "30001"),
        ("contour-http-proxy", "skupper-router-inter-router.ns.px.example", "443"),
        ("ingress-nginx", "inter-router.ns.in.example", "443"),
        ("route", "skupper-router-inter-router.in.example", "443"),
    ])
    func accessTypes(type: String, host: String, port: String) throws {
        var cluster = try ClusterInMemory("kind: Site, metadata: {name: west}, spec: {linkAccess: \(type)}")
        cluster.settings.enabledAccessTypes = AccessType.allCases.map(\.rawValue)
        cluster.settings.clusterHost = "node.example"
        cluster.settings.proxyDomain = "px.example"
        cluster.settings.ingressDomain = "in.example"
        cluster.settle()
        if type == "nodeport" {
            #expect(
                cluster.condition("SecuredAccess", "skupper-router", .resolved)
                    == "Pending waiting for node ports of Service skupper-router")
            let key = ResourceKey(kind: "Service", name: "skupper-router")
            var ports = cluster.objects[key]?.spec("ports")?.listValue ?? []
            for index in ports.indices { ports[index]["nodePort"] = .int(30_001 + Int64(index)) }
            cluster.objects[key]?.setSpec(.list(ports), "ports")
            cluster.settle()
        }
        try cluster.routerPod()
        cluster.settle()
        let first = Site(cluster.get("Site", "west")!)?.endpoints.first { $0.name == "inter-router" }
        #expect(first?.host == host)
        #expect(first?.port == port)
        #expect(cluster.summary("Site", "west") == "Ready OK")
        #expect(cluster.get("Secret", "skupper-site-server")?.annotation(Marks.hosts)?.contains(host) == true)
    }

    @Test func anAccessTypeThatIsNotEnabledIsAnError() throws {
        var cluster = try ClusterInMemory("kind: Site, metadata: {name: west}, spec: {linkAccess: gateway}")
        cluster.settle()
        #expect(cluster.summary("Site", "west") == "Error Unsupported value for LinkAccess: gateway")
        #expect(cluster.get("Deployment", "skupper-router") == nil)
    }

    @Test func aWrongFieldDoesNotStopARunningSite() throws {
        var cluster = try ClusterInMemory(Sample.site)
        cluster.settle()
        let key = ResourceKey(kind: "Site", name: "west")
        cluster.objects[key]?.setSpec("nonsense", "linkAccess")
        cluster.objects[key]?.generation = 2
        cluster.settle()
        #expect(cluster.summary("Site", "west") == "Error Unsupported value for LinkAccess: nonsense")
        #expect(cluster.get("Deployment", "skupper-router") != nil)
        #expect(cluster.get("Service", "skupper-router") != nil)
        #expect(cluster.get("Site", "west")?.condition(.configured)?.observedGeneration == 2)
    }

    @Test func aCertificateThatIsMadeAnewTakesNoListenerAway() throws {
        var cluster = try ClusterInMemory(Sample.site)
        cluster.balancer("skupper-router", ip: "192.0.2.20")
        cluster.settle()
        #expect(cluster.entities("listener")["skupper-router-inter-router"] != nil)
        cluster.objects[ResourceKey(kind: "Secret", name: "skupper-site-server")] = nil
        let plan = cluster.plan
        #expect(plan.orders.map(\.name) == ["skupper-site-server"])
        #expect(!plan.applies.contains { $0.object["kind"] == "ConfigMap" })
        cluster.settle()
        #expect(cluster.entities("listener")["skupper-router-inter-router"] != nil)
    }

    @Test func linkAccessThatIsTakenBackIsRemoved() throws {
        var cluster = try ClusterInMemory(Sample.site)
        cluster.settle()
        cluster.objects[ResourceKey(kind: "Site", name: "west")]?.setSpec("none", "linkAccess")
        cluster.settle()
        #expect(cluster.get("RouterAccess", "skupper-router") == nil)
        #expect(cluster.get("SecuredAccess", "skupper-router") == nil)
        #expect(cluster.get("Service", "skupper-router") == nil)
        #expect(cluster.get("Secret", "skupper-site-server") == nil)
        #expect(cluster.get("Secret", "skupper-site-ca") != nil)
        #expect(Set(cluster.entities("listener").keys) == ["@9090", "amqp", "amqps"])
    }

    @Test func twoRoutersForHighAvailability() throws {
        var cluster = try ClusterInMemory("kind: Site, metadata: {name: west}, spec: {linkAccess: local, ha: true}")
        cluster.settle()
        for name in ["skupper-router", "skupper-router-2"] {
            #expect(cluster.get("Deployment", name) != nil)
            #expect(cluster.get("ConfigMap", name) != nil)
            #expect(cluster.get("SecuredAccess", name)?.spec("selector", Marks.group) == .string(name))
        }
        let peer = cluster.entities("connector", group: "skupper-router-2")["skupper-router"]
        #expect(peer?["host"] == "skupper-router")
        #expect(peer?["port"] == "55671")
        #expect(cluster.entities("connector").isEmpty)
        #expect(
            Set(Site(cluster.get("Site", "west")!)!.endpoints.map(\.group)) == ["skupper-router", "skupper-router-2"])
        #expect(cluster.get("Certificate", "skupper-site-server")?.spec("hosts")?.listValue?.count == 4)
        cluster.objects[ResourceKey(kind: "Site", name: "west")]?.setSpec(nil, "ha")
        cluster.settle()
        #expect(cluster.get("Deployment", "skupper-router-2") == nil)
        #expect(cluster.get("Service", "skupper-router-2") == nil)
        #expect(cluster.get("Deployment", "skupper-router") != nil)
    }

    @Test func edgeSites() throws {
        var cluster = try ClusterInMemory(
            "kind: Site, metadata: {name: e}, spec: {edge: true}", Sample.secret, Sample.link)
        cluster.settle()
        #expect(cluster.entities("connector")["link-1"]?["role"] == "edge")
        #expect(cluster.entities("connector")["link-1"]?["port"] == "45671")
        cluster.objects[ResourceKey(kind: "Site", name: "e")]?.setSpec(true, "ha")
        cluster.settle()
        #expect(cluster.summary("Site", "e") == "Error Edge sites cannot have HA enabled")
    }

    @Test func theSecondSiteIsAnErrorAndTakesOver() throws {
        var cluster = try ClusterInMemory(Sample.site, "kind: Site, metadata: {name: a-later}")
        cluster.settle()
        #expect(
            cluster.summary("Site", "a-later")
                == "Error An active site already exists in the namespace (west)")
        cluster.objects[ResourceKey(kind: "Site", name: "west")] = nil
        cluster.settle()
        try cluster.routerPod()
        cluster.settle()
        #expect(cluster.summary("Site", "a-later") == "Ready OK")
        let owner = cluster.get("ConfigMap", "skupper-router")?.document.value(at: ["metadata", "ownerReferences"])?[0]
        #expect(owner?["name"] == "a-later")
    }

    @Test func aDeletedSiteTakesWhatWasGeneratedWithIt() throws {
        var cluster = try ClusterInMemory(Sample.site, Sample.listener, Sample.secret, Sample.link)
        cluster.settle()
        #expect(cluster.get("Service", "backend") != nil)
        cluster.objects[ResourceKey(kind: "Site", name: "west")] = nil
        cluster.settle()
        #expect(Set(cluster.objects.keys.map(\.description)) == ["Listener/backend", "Secret/link-1", "Link/link-1"])
        #expect(cluster.summary("Listener", "backend") == "Error No active site in namespace")
        #expect(cluster.summary("Link", "link-1") == "Error No active site in namespace")
    }

    @Test func foreignObjectsAreNotTakenOver() throws {
        var cluster = try ClusterInMemory(
            "kind: Deployment, metadata: {name: skupper-router}, spec: {replicas: 3}", Sample.site)
        cluster.settle()
        #expect(
            cluster.summary("Site", "west")
                == "Error Deployment skupper-router already exists in namespace and is not controlled by skupper")
        #expect(cluster.get("Deployment", "skupper-router")?.spec("replicas") == 3)
        var other = try ClusterInMemory("kind: Service, metadata: {name: skupper-router}, spec: {x: 1}", Sample.site)
        other.settle()
        #expect(
            other.summary("RouterAccess", "skupper-router")
                == "Error Service skupper-router already exists in namespace")
        #expect(other.get("Service", "skupper-router")?.spec("x") == 1)
    }

    @Test func certificatesAreMadeAnewWhenTheyMust() throws {
        var cluster = try ClusterInMemory(Sample.site)
        cluster.settle()
        let key = ResourceKey(kind: "Secret", name: "skupper-site-server")
        #expect(cluster.entities("sslProfile")["skupper-site-server"]?["ordinal"] == 1)
        cluster.spoilt = ["skupper-site-server"]
        #expect(cluster.plan.orders.map(\.name) == ["skupper-site-server"])
        cluster.spoilt = []
        cluster.objects[key] = nil
        #expect(cluster.plan.orders.map(\.name) == ["skupper-site-server"])
        cluster.settle()
        cluster.balancer("skupper-router", ip: "192.0.2.20")
        cluster.settle()
        // Other hosts, another certificate, another generation; two older ones stay valid.
        #expect(cluster.entities("sslProfile")["skupper-site-server"]?["ordinal"] == 2)
        #expect(
            cluster.get("Secret", "skupper-site-server")?.annotation(Marks.profileContext)
                == "[{\"ordinal\":2,\"profileName\":\"skupper-site-server\"}]")
    }

    @Test func aBroughtSecretIsUsedAndNeverWritten() throws {
        var cluster = try ClusterInMemory(
            Sample.site, Sample.secret.replacing("link-1", with: "skupper-site-ca"),
            "kind: Certificate, metadata: {name: mine}, spec: {subject: x, signing: true}",
            Sample.secret.replacing("link-1", with: "mine"))
        cluster.settle()
        #expect(Secret(cluster.get("Secret", "skupper-site-ca")!)?.textValue("tls.crt") == "a")
        #expect(
            cluster.condition("Certificate", "mine", .ready)
                == "Error secret exists but is not controlled by skupper")
    }
}
