import ControlIO
import KubernetesReconciler
import SiteModel
import SiteReconciler
import TestKit
import Testing

/// The network's status in the form that adaptors and controllers share, and what controllers make of it.
@Suite struct NetworkStatusTests {
    /// Two sites, east linked to west, with one service.
    static func reports() -> [RouterReport] {
        var west = RouterReport(
            id: "west-skupper-router-a", host: "pod-a", version: "3.5",
            metadata: #"{"id":"id-west","platform":"kubernetes","version":"2.3.0","name":"west","namespace":"w"}"#)
        west.connectors = [.init(name: "connector/db@10.0.0.1", address: "db", host: "10.0.0.1", port: "5432")]
        var east = RouterReport(id: "east-1764042363-123456789", metadata: #"{"id":"id-east"}"#)
        east.links = [
            .init(name: "to-west", cost: 2, role: "inter-router", isUp: true, peer: west.id),
            .init(name: "dead", cost: 1, role: "inter-router", isUp: false, peer: ""),
        ]
        east.listeners = [.init(name: "listener/db", address: "db", host: "", port: "1024")]
        return [west, east]
    }

    @Test func reportsBecomeSites() {
        let status = NetworkStatus(reports: NetworkStatusTests.reports())
        #expect(status.sites.map(\.id) == ["id-east", "id-west"])
        #expect(status.sites.map(\.name) == ["east", "west"])
        #expect(status.sites[1].namespace == "w")
        #expect(status.sites[1].platform == "kubernetes")
        #expect(status.sites[0].routers[0].links.map(\.status) == ["down", "up"])
        let text = status.json(near: "id-east")
        let document = try? JSON.parse(text)
        #expect(document?["addresses"]?[0]?["name"] == "db")
        #expect(document?["addresses"]?[0]?["listenerCount"] == 1)
        #expect(document?["addresses"]?[0]?["connectorCount"] == 1)
        #expect(document?["siteStatus"]?[1]?["routerStatus"]?[0]?["router"]?["name"] == "0/west-skupper-router-a")
    }

    @Test func whatIsWrittenIsRead() {
        let status = NetworkStatus(reports: NetworkStatusTests.reports())
        let read = NetworkStatus(json: status.json(near: ""))
        // A connector's own name is not part of the form.
        #expect(read?.sites.map(\.id) == status.sites.map(\.id))
        #expect(read?.sites[0].routers[0].links == status.sites[0].routers[0].links)
        #expect(read?.sites[1].routers[0].accesses == status.sites[1].routers[0].accesses)
        #expect(read?.records(near: "") == status.records(near: ""))
        #expect(NetworkStatus(json: "nonsense") == nil)
        #expect(NetworkStatus(json: "[]") == nil)
        #expect(NetworkStatus(json: "{}")?.sites.isEmpty == true)
    }

    @Test func recordsNameTheOtherEndOfALink() {
        let records = NetworkStatus(reports: NetworkStatusTests.reports()).records(near: "id-east")
        #expect(
            records[0]
                == [
                    "id": "id-east", "name": "east",
                    "links": [
                        [
                            "name": "to-west", "remoteSiteId": "id-west", "remoteSiteName": "west",
                            "operational": true,
                        ]
                    ], "services": [["routingKey": "db", "listeners": ["listener/db"]]],
                ])
        #expect(records[1]?["services"] == [["routingKey": "db", "connectors": ["10.0.0.1"]]])
    }

    @Test func twoRoutersOfOneSiteAreOneSiteWithoutALink() {
        var second = RouterReport(id: "west-skupper-router-2-b", metadata: #"{"id":"id-west","name":"west"}"#)
        second.links = [
            .init(name: "skupper-router", cost: 1, role: "inter-router", isUp: true, peer: "west-skupper-router-a")
        ]
        let status = NetworkStatus(reports: NetworkStatusTests.reports() + [second])
        #expect(status.sites.count == 2)
        #expect(status.records(near: "")[1]?["links"] == nil)
    }

    @Test func aHundredSitesStayWithinTheBounds() {
        var reports: [RouterReport] = []
        for number in 0..<100 {
            var report = RouterReport(
                id: "site-\(number)-skupper-router-6d5f7c-x2x9z",
                metadata: "{\"id\":\"0d0c6f5e-8f0b-4a51-9f5c-6d7d0c6a\(1000 + number)\",\"name\":\"site-\(number)\"}")
            for key in 0..<100 {
                report.listeners.append(
                    .init(name: "listener/service-\(key)", address: "service-\(key)", port: "\(1024 + key)"))
                report.connectors.append(
                    .init(name: "c", address: "own-\(number)-\(key)", host: "10.0.0.\(key)", port: "80", process: "p"))
            }
            reports.append(report)
        }
        let status = NetworkStatus(reports: reports)
        let near = "0d0c6f5e-8f0b-4a51-9f5c-6d7d0c6a1007"
        let text = status.json(near: near)
        #expect(text.utf8.count <= NetworkStatus.textLimit)
        // Without a bound it would be larger than an object may be.
        #expect(status.json(near: near, limit: .max).utf8.count > 1 << 20)
        let read = NetworkStatus(json: text)
        #expect(read?.sites.count == 100)
        #expect(read?.sites.first { $0.id == near }?.routers[0].listeners.count == 100)
        let records = JSON.emit(status.records(near: near), pretty: false, sortedKeys: true)
        #expect(records.utf8.count <= NetworkStatus.recordLimit)
        #expect(records.contains("site-99"))
    }

    @Test func theSitesStatusShowsTheNetwork() throws {
        var cluster = try ClusterInMemory(Sample.plainSite)
        try cluster.routerPod()
        let network = NetworkStatus(reports: NetworkStatusTests.reports())
        cluster.report([
            "router.skupper-router": .string(
                RouterObservation(isRunning: true, routers: [RouterNode(id: "a"), RouterNode(id: "b")]).json()),
            "NetworkStatus": .string(network.json(near: "")),
        ])
        cluster.settle()
        let site = cluster.get("Site", "east")
        #expect(site?.status("network") == network.records(near: ""))
        #expect(site?.status("sitesInNetwork") == 2)
        // Without a router that runs nothing of it is known to be true.
        cluster.objects = cluster.objects.filter { $0.key.kind != "Pod" }
        cluster.settle()
        #expect(cluster.get("Site", "east")?.status("network") == nil)
    }

    @Test func theAdaptorMayBeUpstreams() throws {
        var cluster = try ClusterInMemory(
            Sample.plainSite, Sample.secret,
            "kind: Link, metadata: {name: to-west}, spec: {tlsCredentials: link-1, endpoints: ["
                + "{name: inter-router, host: 192.0.2.7, port: \"55671\"}]}",
            "kind: Listener, metadata: {name: db}, spec: {routingKey: db, host: db, port: 5432}")
        try cluster.routerPod()
        cluster.settle()
        let uid = cluster.get("Site", "east")?.uid ?? ""
        var reports = NetworkStatusTests.reports()
        reports[1].metadata = "{\"id\":\"\(uid)\"}"
        cluster.report(["NetworkStatus": .string(NetworkStatus(reports: reports).json(near: ""))])
        cluster.settle()
        #expect(cluster.summary("Link", "to-west") == "Ready OK")
        #expect(cluster.get("Link", "to-west")?.status("remoteSiteName") == "west")
        #expect(cluster.summary("Listener", "db") == "Ready OK")
        #expect(cluster.get("Site", "east")?.status("sitesInNetwork") == 2)
        // The link goes down, the connector goes.
        reports[1].links[0].isUp = false
        reports[0].connectors = []
        cluster.report(["NetworkStatus": .string(NetworkStatus(reports: reports).json(near: ""))])
        cluster.settle()
        #expect(cluster.summary("Link", "to-west").hasPrefix("Pending Not operational"))
        #expect(cluster.summary("Listener", "db") == "Pending No matching connectors")
    }

    @Test func aRouterWhosePodWentSaysNothingAnyMore() throws {
        var cluster = try ClusterInMemory(
            "kind: Site, metadata: {name: west}, spec: {linkAccess: local, ha: true}", Sample.secret, Sample.link)
        try cluster.routerPod("skupper-router-2")
        let up = RouterObservation(
            isRunning: true, links: ["link-1": .init(connectionStatus: "SUCCESS", isNeighbourUp: true)])
        let down = RouterObservation(
            isRunning: true, links: ["link-1": .init(connectionStatus: "FAILED", isNeighbourUp: false)])
        cluster.report(["router.skupper-router": .string(up.json()), "router.skupper-router-2": .string(down.json())])
        cluster.settle()
        #expect(cluster.summary("Link", "link-1").hasPrefix("Pending"))
        try cluster.routerPod("skupper-router")
        cluster.settle()
        #expect(cluster.summary("Link", "link-1") == "Ready OK")
    }
}
