import ControlIO
import KubernetesReconciler
import SiteModel
import Testing

/// What plans make of Secrets that vanish or change and of rights that are missing.
@Suite struct FailurePlanTests {
    private func running() throws -> ClusterInMemory {
        var cluster = try ClusterInMemory(Sample.site)
        cluster.settle()
        try cluster.routerPod()
        cluster.balancer("skupper-router", ip: "192.0.2.1")
        cluster.settle()
        return cluster
    }

    private func key(_ name: String) -> ResourceKey { ResourceKey(kind: "Secret", name: name) }

    /// Every configuration on the way has the listener, else the adaptor would take it from the running router.
    @Test(arguments: [
        ["skupper-site-server"], ["skupper-local-server"], ["skupper-site-ca", "skupper-site-server"],
        ["skupper-local-ca", "skupper-local-server", "skupper-site-ca", "skupper-site-server"],
    ])
    func aSecretThatWasDeletedTakesNothingFromARouter(names: [String]) throws {
        var cluster = try running()
        let before = cluster.get("ConfigMap", "skupper-router")
        let listeners = cluster.entities("listener")
        let profiles = cluster.entities("sslProfile")
        for name in names { cluster.objects[key(name)] = nil }
        for _ in 0..<6 {
            cluster.carryOut(cluster.plan)
            #expect(cluster.entities("listener") == listeners)
            #expect(Set(cluster.entities("sslProfile").keys) == Set(profiles.keys))
        }
        cluster.settle()
        for name in names { #expect(cluster.get("Secret", name) != nil) }
        // The certificates of this test are made of names, so the same ones came back: no new generation.
        #expect(
            cluster.get("ConfigMap", "skupper-router")?.document["data"] == before?.document["data"])
    }

    @Test func certificatesFollowTheirCA() throws {
        var cluster = try running()
        let old = cluster.get("Secret", "skupper-site-server")
        let authority = cluster.get("Secret", "skupper-site-ca")
        var secret = try #require(authority.flatMap { Secret($0) })
        secret.setValue("tls.crt", Array("another CA".utf8))
        cluster.objects[key("skupper-site-ca")] = secret.resource
        #expect(cluster.plan.orders.map(\.name) == ["skupper-site-server"])
        cluster.settle()
        let new = try #require(cluster.get("Secret", "skupper-site-server").flatMap { Secret($0) })
        #expect(new.textValue("ca.crt") == "another CA")
        #expect(new.resource != old)
        // A CA that is not there now is no reason to throw away what it signed.
        secret.setValue("tls.crt", Array("a third".utf8))
        secret.resource.document.set(nil, at: ["data", "tls.key"])
        cluster.objects[key("skupper-site-ca")]?.document["data"] = secret.resource.document["data"]
        #expect(!cluster.plan.orders.contains { $0.name == "skupper-site-server" })
    }

    @Test func whatIsDueIsMadeAnewAndACAKeepsItsKey() throws {
        var cluster = try running()
        cluster.spoilt = ["skupper-site-server"]
        var orders = cluster.plan.orders
        #expect(orders.map(\.name) == ["skupper-site-server"])
        #expect(orders[0].previous == nil)
        cluster.spoilt = ["skupper-site-ca"]
        orders = cluster.plan.orders
        #expect(orders.map(\.name) == ["skupper-site-ca"])
        #expect(orders[0].previous?.resource == cluster.get("Secret", "skupper-site-ca"))
        // For another name it is another CA.
        cluster.objects[key("skupper-site-ca")]?.setAnnotation("internal.skupper.io/subject", "somebody")
        orders = cluster.plan.orders
        #expect(orders.map(\.name) == ["skupper-site-ca"])
        #expect(orders[0].previous == nil)
    }

    /// Else the API server would keep them when the site goes.
    @Test func secretsBelongToTheirCertificates() throws {
        let cluster = try running()
        let secrets = cluster.objects.values.filter { $0.kind == "Secret" }
        #expect(secrets.count >= 4)
        for secret in secrets {
            let owner = secret.document.value(at: ["metadata", "ownerReferences"])?[0]?["uid"]?.scalarText
            #expect(owner == cluster.get("Certificate", secret.name)?.uid)
        }
    }

    @Test func aListenerWithoutItsServiceWaitsForIt() throws {
        var cluster = try running()
        try cluster.add(Sample.listener)
        cluster.report(#"{"running": true, "faults": {}, "addresses": {"backend": [0, 1, 0]}}"#)
        cluster.settle()
        #expect(cluster.summary("Listener", "backend") == "Ready OK")
        // Its Service was deleted, and the API server takes no other.
        cluster.objects[ResourceKey(kind: "Service", name: "backend")] = nil
        let plan = cluster.plan
        #expect(plan.applies.map { $0.object["kind"]?.stringValue } == ["Service"])
        for resource in plan.statuses { cluster.objects[resource.key] = resource }
        #expect(cluster.summary("Listener", "backend") == "Pending waiting for Service backend")
        #expect(cluster.entities("tcpListener")["listener/backend"] != nil)
        cluster.settle()
        #expect(cluster.summary("Listener", "backend") == "Ready OK")
    }

    @Test func aMissingPermissionIsInTheSitesStatus() throws {
        var cluster = try running()
        cluster.denial = "services is forbidden"
        cluster.settle()
        #expect(cluster.summary("Site", "west") == "Error permission missing: services is forbidden")
        cluster.denial = ""
        cluster.settle()
        #expect(cluster.summary("Site", "west") == "Ready OK")
    }
}
