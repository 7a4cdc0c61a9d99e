import ControlIO
import KubernetesReconciler
import SiteModel
import TestKit
import Testing

/// Labels, sizes, gateways and proxies: what users say beside the resources.
@Suite struct TemplatePlanTests {
    private static func map(_ text: String) throws -> Resource {
        try Resource.parseAll(yaml: "{apiVersion: v1, kind: ConfigMap, \(text)}")[0]
    }

    private func label(_ cluster: ClusterInMemory, _ kind: String, _ name: String, _ key: String) -> String? {
        cluster.get(kind, name)?.document.value(at: ["metadata", "labels", key])?.scalarText
    }

    @Test func templatesLabelWhatTheyMean() throws {
        var cluster = try ClusterInMemory(
            Sample.site, Sample.listener,
            "kind: ConfigMap, metadata: {name: t1, labels: {skupper.io/label-template: \"\", team: blue}, "
                + "annotations: {owner: me, skipped: x}}, data: {kind: Service, exclude: skipped}",
            "kind: ConfigMap, metadata: {name: t2, labels: {skupper.io/label-template: \"true\", only: one}}, "
                + "data: {name: backend}",
            "kind: ConfigMap, metadata: {name: t3, labels: {skupper.io/label-template: \"true\", sel: s}}, "
                + "data: {labelSelector: \"app.kubernetes.io/part-of=skupper\"}")
        cluster.shared = [
            try Self.map(
                "metadata: {name: all, namespace: skupper, labels: {skupper.io/label-template: \"true\", cost: c1}}")
        ]
        cluster.settle()
        #expect(label(cluster, "Service", "backend", "team") == "blue")
        #expect(label(cluster, "Service", "backend", "only") == "one")
        #expect(label(cluster, "Service", "backend", "cost") == "c1")
        #expect(label(cluster, "Service", "backend", "sel") == nil)
        #expect(label(cluster, "Deployment", "skupper-router", "team") == nil)
        #expect(label(cluster, "Deployment", "skupper-router", "sel") == "s")
        #expect(label(cluster, "Deployment", "skupper-router", "cost") == "c1")
        #expect(label(cluster, "Service", "backend", "skupper.io/label-template") == nil)
        #expect(cluster.get("Service", "backend")?.annotation("owner") == "me")
        #expect(cluster.get("Service", "backend")?.annotation("skipped") == nil)
        // What is no longer wanted is left out of the next object.
        cluster.shared = []
        let applied = cluster.plan.applies.map(\.object)
        #expect(!applied.isEmpty)
        #expect(applied.allSatisfy { $0.value(at: ["metadata", "labels", "cost"]) == nil })
    }

    @Test func aTemplateThatComesLaterLabelsSecretsAndLeavesTheirCertificates() throws {
        var cluster = try ClusterInMemory(Sample.site)
        cluster.settle()
        let before = try #require(cluster.get("Secret", "skupper-site-server"))
        cluster.objects[before.key]?.document.set("7", at: ["metadata", "resourceVersion"])
        cluster.shared = [
            try Self.map(
                "metadata: {name: all, namespace: skupper, labels: {skupper.io/label-template: \"\", cost: c1}}, "
                    + "data: {kind: Secret}")
        ]
        let plan = cluster.plan
        #expect(plan.orders.isEmpty)
        let apply = try #require(
            plan.applies.first { $0.object.value(at: ["metadata", "name"])?.stringValue == before.name })
        #expect(apply.object.value(at: ["metadata", "resourceVersion"])?.stringValue == "7")
        cluster.settle()
        #expect(label(cluster, "Secret", before.name, "cost") == "c1")
        #expect(cluster.get("Secret", before.name)?.document["data"] == before.document["data"])
    }

    @Test func aTemplateCannotTakeOurMarksAway() throws {
        var cluster = try ClusterInMemory(
            Sample.site,
            "kind: ConfigMap, metadata: {name: t, labels: {skupper.io/label-template: \"\", skupper.io/group: x, "
                + "internal.skupper.io/router-config: no}}")
        cluster.settle()
        #expect(label(cluster, "Deployment", "skupper-router", "skupper.io/group") == "skupper-router")
        #expect(label(cluster, "ConfigMap", "skupper-router", "internal.skupper.io/router-config") == "true")
    }

    @Test func aTemplateThatCannotBeReadIsToldAndNotUsed() throws {
        var cluster = try ClusterInMemory(
            Sample.site,
            "kind: ConfigMap, metadata: {name: t, namespace: ns, labels: {skupper.io/label-template: \"\", a: b}}, "
                + "data: {labelSelector: \"a in (\"}")
        cluster.settle()
        #expect(label(cluster, "Deployment", "skupper-router", "a") == nil)
        #expect(
            cluster.plan.notes == ["label template ns/t: labelSelector \"a in (\" cannot be read"])
    }

    private func resources(_ cluster: ClusterInMemory, _ container: Int) -> Document? {
        cluster.get("Deployment", "skupper-router")?.document
            .value(at: ["spec", "template", "spec", "containers"])?[container]?["resources"]
    }

    @Test func aSizeGivesRequestsAndLimits() throws {
        var cluster = try ClusterInMemory(
            "kind: Site, metadata: {name: west}, spec: {settings: {size: big}}")
        cluster.shared = [
            try Self.map(
                "metadata: {name: s1, namespace: skupper, labels: {skupper.io/site-sizing: big}}, data: {"
                    + "router-cpu-request: \"2000m\", router-memory-limit: 1Gi, adaptor-cpu-limit: \"1\", "
                    + "router-cpu-limit: lots, router-disk-limit: 1Gi}"),
            try Self.map(
                "metadata: {name: s2, namespace: skupper, labels: {skupper.io/site-sizing: small}, annotations: {"
                    + "skupper.io/default-site-sizing: \"\"}}, data: {router-cpu-request: 10m}"),
        ]
        cluster.settle()
        #expect(resources(cluster, 0) == ["requests": ["cpu": "2000m"], "limits": ["memory": "1Gi"]])
        #expect(resources(cluster, 1) == ["limits": ["cpu": "1"]])
        #expect(
            cluster.plan.notes.sorted() == [
                "s1: key router-disk-limit is not known", "s1: router-cpu-limit is no quantity",
            ])
        // The API server writes the quantity its own way.
        let key = ResourceKey(kind: "Deployment", name: "skupper-router")
        var containers =
            cluster.objects[key]?.document.value(at: ["spec", "template", "spec", "containers"])?.listValue ?? []
        containers[0].set("2", at: ["resources", "requests", "cpu"])
        cluster.objects[key]?.document.set(.list(containers), at: ["spec", "template", "spec", "containers"])
        #expect(cluster.plan.isEmpty)
        containers[0].set("3", at: ["resources", "requests", "cpu"])
        cluster.objects[key]?.document.set(.list(containers), at: ["spec", "template", "spec", "containers"])
        #expect(!cluster.plan.isEmpty)
        // Sites that name no size get the standard one; those that name an unknown one do too, and it is told.
        cluster.objects[ResourceKey(kind: "Site", name: "west")]?.setSpec("huge", "settings", "size")
        cluster.settle()
        #expect(resources(cluster, 0) == ["requests": ["cpu": "10m"]])
        #expect(cluster.plan.notes.first?.hasPrefix("size huge: no ConfigMap") == true)
        cluster.shared = []
        cluster.settle()
        #expect(resources(cluster, 0) == nil)
    }

    @Test func aGatewayIsMadeAndTLSRoutesGoThroughIt() throws {
        var cluster = try ClusterInMemory("kind: Site, metadata: {name: west}, spec: {linkAccess: gateway}")
        cluster.settings.enabledAccessTypes = ["gateway"]
        #expect(cluster.settings.faults == ["Gateway class must be set to enable gateway access type."])
        cluster.settings.gatewayClass = "eg"
        #expect(cluster.settings.faults.isEmpty)
        try cluster.routerPod()
        cluster.settle()
        #expect(cluster.get("Gateway", "skupper") == nil)
        #expect(cluster.summary("Site", "west") == "Pending waiting for the address of Gateway skupper/skupper")
        cluster.gateway = try Resource.parseAll(
            yaml: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: skupper}, status: {"
                + "addresses: [{type: IPAddress, value: 192.0.2.9}]}}")[0]
        cluster.settle()
        #expect(cluster.summary("Site", "west") == "Ready OK")
        let route = cluster.get("TLSRoute", "skupper-router-inter-router")
        let host = "skupper-router-inter-router.ns.192.0.2.9.nip.io"
        #expect(route?.spec("hostnames") == [.string(host)])
        #expect(route?.spec("parentRefs")?[0]?["namespace"] == "skupper")
        #expect(Site(cluster.get("Site", "west")!)?.endpoints.first?.host == host)
        #expect(Site(cluster.get("Site", "west")!)?.endpoints.first?.port == "8443")
        #expect(cluster.get("Secret", "skupper-site-server")?.annotation(Marks.hosts)?.contains(host) == true)
        // The Gateway is the controller's namespace's.
        var own = try ClusterInMemory()
        own.settings = cluster.settings
        own.settings.controllerNamespace = "ns"
        own.settle()
        #expect(own.get("Gateway", "skupper")?.spec("gatewayClassName") == "eg")
        #expect(own.get("Gateway", "skupper")?.spec("listeners")?[0]?["port"] == 8443)
    }

    @Test func waysInThatAreSomebodyElsesAreLeftAlone() throws {
        var cluster = try ClusterInMemory("kind: Site, metadata: {name: west}, spec: {linkAccess: ingress}")
        cluster.settings.enabledAccessTypes = ["ingress"]
        cluster.settings.ingressDomain = "in.example"
        cluster.put([
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": ["name": "skupper-router"],
        ])
        cluster.settle()
        #expect(
            cluster.summary("SecuredAccess", "skupper-router")
                == "Error Ingress skupper-router already exists in namespace")
        #expect(cluster.get("Ingress", "skupper-router")?.spec("rules") == nil)
    }

    @Test func anAPIThatTheClusterLacksIsNamed() throws {
        var cluster = try ClusterInMemory("kind: Site, metadata: {name: west}, spec: {linkAccess: route}")
        cluster.settings.availableGroups = ["apps"]
        cluster.settle()
        #expect(
            cluster.summary("SecuredAccess", "skupper-router")
                == "Error access type route needs the API route.openshift.io, which this cluster does not have")
        #expect(cluster.get("Route", "skupper-router-inter-router") == nil)
    }

    @Test func aLinkThroughAProxy() throws {
        var cluster = try ClusterInMemory(
            Sample.plainSite, Sample.secret,
            "kind: Link, metadata: {name: link-1}, spec: {tlsCredentials: link-1, settings: {proxy-configuration: px}, "
                + "endpoints: [{name: inter-router, host: 192.0.2.7, port: \"55671\"}]}")
        try cluster.routerPod()
        cluster.settle()
        #expect(cluster.summary("Link", "link-1") == "Error Secret not found for proxy configuration")
        #expect(cluster.entities("connector").isEmpty)
        // host proxy.example, port 3128, user u, password p
        try cluster.add(
            "kind: Secret, metadata: {name: px}, type: kubernetes.io/basic-auth, data: {host: cHJveHkuZXhhbXBsZQ==, "
                + "port: MzEyOA==, username: dQ==, password: cA==}")
        cluster.settle()
        #expect(cluster.entities("connector")["link-1"]?["proxyProfile"] == "px")
        let profile = cluster.entities("proxyProfile")["px"]
        #expect(profile?["host"] == "proxy.example")
        #expect(profile?["port"]?.scalarText == "3128")
        #expect(profile?["username"] == "u")
        #expect(profile?["password"] == "file:/etc/skupper-router-proxies/px/password.txt")
        #expect(cluster.condition("Link", "link-1", .configured) == "Ready OK")
    }
}
