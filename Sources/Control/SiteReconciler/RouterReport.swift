import ControlIO

/// What one router of the network says about itself when it is asked through management.
package struct RouterReport: Hashable, Sendable {
    /// A link as its router has it: the router at its other end instead of an access there.
    package struct Link: Hashable, Sendable {
        package var name: String
        package var cost: Int64
        package var role: String
        package var isUp: Bool
        /// Router id, "" while the link is down.
        package var peer: String

        package init(name: String, cost: Int64, role: String, isUp: Bool, peer: String) {
            self.name = name
            self.cost = cost
            self.role = role
            self.isUp = isUp
            self.peer = peer
        }
    }

    package var id: String
    package var mode: String
    package var host: String
    package var version: String
    /// The attribute of that name: JSON with the site's id.
    package var metadata: String
    /// The entity `site`, where the router has one: `name`, `namespace`, `platform`, `version`.
    package var site: [String: String]
    package var links: [Link] = []
    package var listeners: [NetworkStatus.Service] = []
    package var connectors: [NetworkStatus.Service] = []

    package init(
        id: String, mode: String = "interior", host: String = "", version: String = "", metadata: String = "",
        site: [String: String] = [:]
    ) {
        self.id = id
        self.mode = mode
        self.host = host
        self.version = version
        self.metadata = metadata
        self.site = site
    }
}

extension NetworkStatus {
    /// The network that routers tell of, site by site. A router whose metadata names no site is a site of its own.
    package init(reports: [RouterReport]) {
        var found: [String: Site] = [:]
        let linked = Set(reports.flatMap(\.links).map(\.peer))
        for report in reports.sorted(by: { $0.id < $1.id }) {
            let metadata = try? JSON.parse(report.metadata)
            func field(_ name: String) -> String {
                report.site[name].flatMap { $0.isEmpty ? nil : $0 } ?? metadata?[name]?.stringValue ?? ""
            }
            let remote = RemoteSite(router: RouterNode(id: report.id, metadata: report.metadata))
            let id = remote.id.flatMap { $0.isEmpty ? nil : $0 } ?? report.id
            let name = field("name")
            var site =
                found[id]
                ?? Site(
                    id: id, name: name.isEmpty ? remote.name : name, namespace: field("namespace"),
                    platform: field("platform"), version: field("version"))
            var router = Router(id: report.id, mode: report.mode, host: report.host, version: report.version)
            router.listeners = report.listeners
            router.connectors = report.connectors
            router.links = report.links.map {
                Link(
                    name: $0.name, cost: $0.cost, status: $0.isUp ? "up" : "down", role: $0.role,
                    peer: $0.peer.isEmpty ? "" : NetworkStatus.access(of: $0.peer))
            }
            // Which of its accesses a link ends at makes no difference to anybody: one stands for all.
            if linked.contains(report.id) { router.accesses = [NetworkStatus.access(of: report.id)] }
            site.routers.append(router)
            found[id] = site
        }
        self.init(sites: Array(found.values))
        sort()
    }

    private static func access(of router: String) -> String { "\(router)/access" }
}
