import ControlIO
import SiteModel
import Testing

@testable import skupper

@Suite("Sites on a cluster")
struct ClusterSiteTests {
    private func ready(_ cluster: FakeCluster, _ name: String) {
        cluster.setStatus(
            .site, name, status: "Ready",
            conditions: [
                ("Configured", true, "OK"), ("Running", true, "OK"), ("Resolved", true, "OK"), ("Ready", true, "OK"),
            ])
    }

    @Test("create stores the site and waits until it is ready")
    func create() {
        let cluster = FakeCluster()
        cluster.controller = { if $0.waited > 2000 { ready($0, "west") } }
        let answer = cluster.run("site create west --enable-link-access --enable-ha")
        #expect(answer.output == "Site \"west\" is ready.\n")
        #expect(answer.code == 0)
        let site = cluster.object(.site, "west")
        #expect(site?.spec("linkAccess") == "default")
        #expect(site?.spec("ha") == true)
        #expect(cluster.waited > 2000)
    }

    @Test("create with a type of link access, waiting for the configuration only")
    func createConfigured() {
        let cluster = FakeCluster()
        cluster.controller = {
            $0.setStatus(.site, "west", status: "Pending", conditions: [("Configured", true, "OK")])
        }
        let answer = cluster.run(
            "site create west --enable-link-access --link-access-type route --wait configured --timeout 10s")
        #expect(answer.output == "Site \"west\" is configured.\n")
        #expect(cluster.object(.site, "west")?.spec("linkAccess") == "route")
    }

    @Test("a site nobody takes up: the time is up after the limit, with advice")
    func nobodyThere() {
        let cluster = FakeCluster()
        let answer = cluster.run("site create west --timeout 30s")
        #expect(answer.code == 1)
        #expect(answer.output.hasPrefix("Site \"west\" is not yet ready, check the status for more information\n"))
        #expect(answer.output.contains("controller of this cluster is likely not running"))
        #expect((30_000...31_000).contains(cluster.waited))
        #expect(cluster.object(.site, "west") != nil, "it is not taken back")
    }

    @Test("the message of the missing condition is the reason given")
    func pendingReason() {
        let cluster = FakeCluster()
        cluster.controller = {
            $0.setStatus(
                .site, "west", status: "Pending", message: "waiting for an address",
                conditions: [("Configured", true, "OK"), ("Ready", false, "waiting for an address")])
        }
        let answer = cluster.run("site create west --timeout 10s")
        #expect(answer.output == "Site \"west\" is not yet ready: waiting for an address\n")
        #expect(answer.code == 1)
    }

    @Test("without waiting nothing is said")
    func noWait() {
        let cluster = FakeCluster()
        let answer = cluster.run("site create west --wait none")
        #expect(answer.output == "")
        #expect(answer.code == 0)
        #expect(cluster.waited == 0)
    }

    @Test("validation collects its complaints and exits with 2, storing nothing")
    func validation() {
        let cluster = FakeCluster()
        cluster.put("{apiVersion: skupper.io/v2alpha1, kind: Site, metadata: {name: east}}")
        let answer = cluster.run("site create West --link-access-type mars --timeout 1s --wait soon")
        #expect(answer.code == 2)
        let lines = answer.output.split(separator: "\n")
        #expect(lines.count == 5)
        #expect(lines.contains("There is already a site created for this namespace"))
        #expect(lines.contains { $0.contains("[route loadbalancer default]") })
        #expect(cluster.names(.site) == ["east"])
    }

    @Test("update changes what was given and nothing else, and waits for the new generation")
    func update() {
        let cluster = FakeCluster()
        cluster.put(
            """
            apiVersion: skupper.io/v2alpha1
            kind: Site
            metadata: {name: west, generation: 4}
            spec: {serviceAccount: mine, edge: false, settings: {size: small}}
            """)
        cluster.setStatus(
            .site, "west", status: "Ready",
            conditions: [
                ("Configured", true, "OK"), ("Running", true, "OK"), ("Resolved", true, "OK"), ("Ready", true, "OK"),
            ])
        cluster.controller = { if $0.waited > 3000 { ready($0, "west") } }
        let answer = cluster.run("site update --enable-link-access")
        #expect(answer.output == "Site \"west\" is updated\n")
        #expect(cluster.bodies == [["spec": ["linkAccess": "default"]]])
        #expect(cluster.object(.site, "west")?.spec("settings", "size") == "small")
        #expect(cluster.waited > 3000, "the status of generation 4 says nothing about generation 5")
    }

    @Test("update that changes nothing writes nothing")
    func updateNothing() {
        let cluster = FakeCluster()
        cluster.put(
            "{apiVersion: skupper.io/v2alpha1, kind: Site, metadata: {name: west}, spec: {linkAccess: default}}")
        ready(cluster, "west")
        #expect(cluster.run("site update west --enable-link-access").code == 0)
        #expect(!cluster.requests.contains { $0.hasPrefix("patch") })
    }

    @Test("which site to update: none, an unknown one, one of several")
    func updateWhich() {
        let cluster = FakeCluster()
        #expect(cluster.run("site update").output == "there is no existing Skupper site resource to update\n")
        cluster.put("{apiVersion: skupper.io/v2alpha1, kind: Site, metadata: {name: west}}")
        #expect(cluster.run("site update north").output == "site with name \"north\" is not available\n")
        cluster.put("{apiVersion: skupper.io/v2alpha1, kind: Site, metadata: {name: east}}")
        let answer = cluster.run("site update")
        #expect(answer.output == "site name is required because there are several sites in this namespace\n")
        #expect(answer.code == 2)
    }

    @Test("delete waits until the site is gone; --all takes what a user may have made along")
    func delete() {
        let cluster = FakeCluster()
        cluster.put("{apiVersion: skupper.io/v2alpha1, kind: Site, metadata: {name: west}}")
        let kinds: [ResourceKind] = [
            .connector, .listener, .multiKeyListener, .accessToken, .accessGrant, .routerAccess, .securedAccess,
            .certificate, .attachedConnector, .attachedConnectorBinding,
        ]
        for kind in kinds {
            cluster.put("{apiVersion: skupper.io/v2alpha1, kind: \(kind.rawValue), metadata: {name: a}}")
        }
        cluster.missingTypes = ["multikeylisteners.skupper.io"]
        #expect(cluster.run("site delete --all").output == "Site \"west\" is deleted\n")
        #expect(cluster.names(.site) == [])
        for kind in kinds where kind != .multiKeyListener { #expect(cluster.names(kind) == [], "\(kind)") }
    }

    @Test("a site that does not go is told of when the time is up")
    func deleteHangs() {
        let cluster = FakeCluster()
        cluster.put("{apiVersion: skupper.io/v2alpha1, kind: Site, metadata: {name: west, finalizers: [a/b]}}")
        let answer = cluster.run("site delete west --timeout 10s")
        #expect(answer.output == "Site \"west\" not deleted yet, check the status for more information\n")
        #expect(answer.code == 1)
        #expect(cluster.run("site delete west --wait=false").output == "")
        #expect(cluster.run("site delete east").code == 2)
    }

    @Test("status: none, a table, resources as text")
    func status() {
        let cluster = FakeCluster()
        #expect(cluster.run("site status").output == "There is no existing Skupper site resource\n")
        cluster.put(
            "{apiVersion: skupper.io/v2alpha1, kind: Site, metadata: {name: west}, spec: {linkAccess: default}}")
        var rows = cluster.run("site status").output.split(separator: "\n").map { $0.split(separator: " ") }
        #expect(rows == [["NAME", "STATUS", "MESSAGE"], ["west", "Pending", "Not", "Configured"]])
        ready(cluster, "west")
        rows = cluster.run("site status").output.split(separator: "\n").map { $0.split(separator: " ") }
        #expect(rows == [["NAME", "STATUS", "MESSAGE"], ["west", "Ready", "OK"]])
        #expect(cluster.run("site status -o yaml").output.contains("linkAccess: default\n"))
        #expect(cluster.run("site status west").code == 2)
    }
}
