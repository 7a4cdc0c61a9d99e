import ControlIO
import SiteModel
import Testing

@testable import skupper

@Suite("Listeners and connectors on a cluster")
struct ClusterServiceTests {
    /// A cluster whose controller configures every listener and connector.
    private func cluster() -> FakeCluster {
        let cluster = FakeCluster()
        cluster.controller = { cluster in
            for kind in [ResourceKind.listener, .connector] {
                for name in cluster.names(kind) {
                    cluster.setStatus(
                        kind, name, status: "Pending", message: "No matching peer",
                        conditions: [("Configured", true, "OK")])
                }
            }
        }
        return cluster
    }

    @Test("a listener's host is its name, its routing key too")
    func listener() {
        let cluster = cluster()
        #expect(cluster.run("listener create backend 8080").output == "Listener \"backend\" is configured.\n")
        let listener = cluster.object(.listener, "backend")
        #expect(listener?.spec("host") == "backend")
        #expect(listener?.spec("routingKey") == "backend")
        #expect(listener?.spec("port") == 8080)
        #expect(
            cluster.run("listener update backend --port 9090 --host db").output == "Listener \"backend\" is updated\n")
        #expect(cluster.bodies.last == ["spec": ["port": 9090, "host": "db"]])
        let table = cluster.run("listener status").output
        #expect(
            table.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }[1].prefix(5)
                == ["backend", "Pending", "backend", "db", "9090"])
        #expect(cluster.run("listener delete backend").output == "Listener \"backend\" deleted\n")
        #expect(cluster.run("listener status").output == "No listeners found\n")
        #expect(cluster.run("listener delete backend").code == 2)
    }

    @Test("a connector has one of selector, workload and host")
    func connector() {
        let cluster = cluster()
        #expect(cluster.run("connector create a 80").output == "Connector \"a\" is configured.\n")
        #expect(cluster.object(.connector, "a")?.spec("selector") == "app=a")
        #expect(cluster.object(.connector, "a")?.spec("host") == nil)
        #expect(cluster.run("connector create b 80 --host db --wait none").code == 0)
        #expect(cluster.object(.connector, "b")?.spec("selector") == nil)
        #expect(cluster.run("connector create c 80 --selector x=y --include-not-ready").code == 0)
        #expect(cluster.object(.connector, "c")?.spec("includeNotReadyPods") == true)
        let both = cluster.run("connector create d 80 --selector x=y --host db")
        #expect(both.code == 2)
        #expect(both.output.contains("If host is configured, cannot configure workload or selector"))
        #expect(cluster.run("connector update a --host db").code == 0)
        #expect(cluster.object(.connector, "a")?.spec("selector") == nil)
        #expect(cluster.object(.connector, "a")?.spec("host") == "db")
        #expect(
            cluster.run("connector create a 80").output
                == "There is already a connector a created for namespace west\n")
    }

    @Test(
        "a workload lends its labels",
        arguments: [
            ("deployment", "Deployment", "spec: {selector: {matchLabels: {app: x, tier: db}}}"),
            ("StatefulSet", "StatefulSet", "spec: {selector: {matchLabels: {app: x, tier: db}}}"),
            ("daemonset", "DaemonSet", "spec: {selector: {matchLabels: {app: x, tier: db}}}"),
            ("service", "Service", "spec: {selector: {app: x, tier: db}}"),
        ])
    func workload(word: String, kind: String, spec: String) {
        let cluster = cluster()
        cluster.put("apiVersion: v1\nkind: \(kind)\nmetadata: {name: shop}\n\(spec)")
        #expect(cluster.run("connector create a 80 --workload \(word)/shop").code == 0)
        #expect(cluster.object(.connector, "a")?.spec("selector") == "app=x,tier=db")
    }

    @Test("a workload that is not there, may not be read, or selects nothing")
    func workloadFails() {
        let cluster = cluster()
        var answer = cluster.run("connector create a 80 --workload deployment/shop")
        #expect(answer.code == 2)
        #expect(answer.output.hasPrefix("failed trying to get Deployment specified by workload: "))
        cluster.put(
            "{apiVersion: v1, kind: Deployment, metadata: {name: shop}, spec: {selector: {matchExpressions: []}}}")
        answer = cluster.run("connector create a 80 --workload deployment/shop")
        #expect(answer.output == "workload, no selector Matchlabels found\n")
        cluster.faults["get deployments"] = (403, "Forbidden", "no")
        answer = cluster.run("connector create a 80 --workload deployment/shop")
        #expect(answer.output.contains("You are not allowed to get deployments.apps in namespace \"west\""))
        #expect(cluster.names(.connector) == [])
    }

    @Test("credentials have to be there")
    func credentials() {
        let cluster = cluster()
        let answer = cluster.run("listener create a 80 --tls-credentials mine")
        #expect(answer.output == "tls-secret is not valid: does not exist\n")
        #expect(answer.code == 2)
        cluster.put("{apiVersion: v1, kind: Secret, metadata: {name: mine}}")
        #expect(cluster.run("listener create a 80 --tls-credentials mine").code == 0)
    }

    @Test("a configuration that fails is the reason given")
    func fails() {
        let cluster = FakeCluster()
        cluster.controller = {
            $0.setStatus(
                .connector, "a", status: "Error", message: "No matches for selector",
                conditions: [("Configured", false, "No matches for selector")])
        }
        let answer = cluster.run("connector create a 80 --timeout 10s")
        #expect(answer.output == "Connector \"a\" is not yet configured: No matches for selector\n")
        #expect(answer.code == 1)
    }
}
