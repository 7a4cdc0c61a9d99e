import ControlIO
import SiteModel

extension NetworkStatus {
    /// Reads the ConfigMap's form, whoever wrote it; nil if the text is something else.
    package init?(json text: String) {
        guard let document = try? JSON.parse(text), document.mapValue != nil else { return nil }
        self.init()
        for node in document["siteStatus"]?.listValue ?? [] {
            func field(_ name: String) -> String { node.value(at: ["site", name])?.scalarText ?? "" }
            var site = Site(
                id: field("identity"), name: field("name"), namespace: field("namespace"),
                platform: field("platform"), version: field("siteVersion"))
            site.routers = (node["routerStatus"]?.listValue ?? []).map(NetworkStatus.router)
            sites.append(site)
        }
    }

    private static func router(_ node: Document) -> Router {
        func field(_ name: String) -> String { node.value(at: ["router", name])?.scalarText ?? "" }
        let name = field("name")
        var router = Router(
            id: name.split(separator: "/", maxSplits: 1).last.map(String.init) ?? name, mode: field("mode"),
            host: field("hostname"), version: field("imageVersion"))
        router.links = (node["links"]?.listValue ?? []).map { link in
            Link(
                name: link["name"]?.scalarText ?? "", cost: link["linkCost"]?.intValue ?? 1,
                status: link["status"]?.scalarText ?? "", role: link["role"]?.scalarText ?? "",
                peer: link["peer"]?.scalarText ?? "")
        }
        router.accesses = (node["routerAccess"]?.listValue ?? []).compactMap { $0["identity"]?.scalarText }
        router.listeners = (node["listeners"]?.listValue ?? []).map(service)
        router.connectors = (node["connectors"]?.listValue ?? []).map(service)
        return router
    }

    private static func service(_ node: Document) -> Service {
        func field(_ name: String) -> String { node[name]?.scalarText ?? "" }
        return Service(
            name: field("name"), address: field("address"), host: field("destHost"), port: field("destPort"),
            process: field("process"), target: field("target"))
    }
}

extension RouterObservation {
    /// What the network's status says about the routers of one site: for a site whose adaptor is upstream's, which
    /// writes nothing else. Such an adaptor says of a link that is down no cause.
    package init?(network: NetworkStatus, siteID: String) {
        guard network.sites.contains(where: { $0.id == siteID }) else { return nil }
        self.init(isRunning: true)
        var routerOfAccess: [String: String] = [:]
        for site in network.sites {
            for router in site.routers {
                let metadata = JSON.emit(["id": .string(site.id)], pretty: false, sortedKeys: true)
                routers.append(RouterNode(id: router.id, metadata: metadata))
                for access in router.accesses { routerOfAccess[access] = router.id }
                let isOwn = site.id == siteID
                for item in router.connectors {
                    addresses[item.address, default: .init()].count(isOwn ? \.localConsumers : \.remoteConsumers)
                }
                for item in router.listeners where !isOwn {
                    addresses[item.address, default: .init()].count(\.remoteListeners)
                }
            }
        }
        for link in network.sites.first(where: { $0.id == siteID })?.routers.flatMap(\.links) ?? [] {
            let isUp = link.status.lowercased() == "up"
            links[link.name] = LinkObservation(
                connectionStatus: isUp ? "SUCCESS" : "CONNECTING", isNeighbourUp: isUp,
                remoteRouterID: routerOfAccess[link.peer] ?? "")
        }
    }
}

extension AddressObservation {
    fileprivate mutating func count(_ path: WritableKeyPath<AddressObservation, Int>) { self[keyPath: path] = 1 }
}
