import ControlIO

/// What is known of all sites of a network, in the form in which adaptors and controllers of Skupper tell each other
/// (sheet §4.9): the key `NetworkStatus` of the ConfigMap `skupper-network-status`.
package struct NetworkStatus: Hashable, Sendable {
    /// A link that a site has made.
    package struct Link: Hashable, Sendable {
        package var name: String
        package var cost: Int64
        /// `up` or `down`.
        package var status: String
        /// `inter-router` or `edge`.
        package var role: String
        /// Identity of the access at the other end, "" while that is not known.
        package var peer: String

        package init(name: String, cost: Int64 = 1, status: String, role: String, peer: String) {
            self.name = name
            self.cost = cost
            self.status = status
            self.role = role
            self.peer = peer
        }
    }

    /// A listener or a connector of a router.
    package struct Service: Hashable, Sendable {
        package var name: String
        /// The routing key.
        package var address: String
        package var host: String
        package var port: String
        /// The pod of a connector, by its uid; and by its name where it can be reached by that.
        package var process: String
        package var target: String

        package init(
            name: String = "", address: String, host: String = "", port: String = "", process: String = "",
            target: String = ""
        ) {
            self.name = name
            self.address = address
            self.host = host
            self.port = port
            self.process = process
            self.target = target
        }
    }

    /// One router.
    package struct Router: Hashable, Sendable {
        /// Its id, without the area.
        package var id: String
        package var mode: String
        package var host: String
        package var version: String
        package var links: [Link] = []
        /// Identities of its accesses: where links of others end.
        package var accesses: [String] = []
        package var listeners: [Service] = []
        package var connectors: [Service] = []

        package init(id: String, mode: String = "interior", host: String = "", version: String = "") {
            self.id = id
            self.mode = mode
            self.host = host
            self.version = version
        }
    }

    /// One site.
    package struct Site: Hashable, Sendable {
        package var id: String
        package var name: String
        package var namespace: String
        package var platform: String
        package var version: String
        package var routers: [Router] = []

        package init(
            id: String, name: String, namespace: String = "", platform: String = "", version: String = ""
        ) {
            self.id = id
            self.name = name
            self.namespace = namespace
            self.platform = platform
            self.version = version
        }
    }

    /// All sites; `sort()` gives them, and what they have, the order in which they are told.
    package var sites: [Site]

    package init(sites: [Site] = []) { self.sites = sites }

    /// Orders everything by name, so that equal networks are equal texts.
    package mutating func sort() {
        sites.sort { ($0.name, $0.id) < ($1.name, $1.id) }
        for index in sites.indices {
            sites[index].routers.sort { $0.id < $1.id }
            for other in sites[index].routers.indices {
                sites[index].routers[other].links.sort { $0.name < $1.name }
                sites[index].routers[other].accesses.sort()
                sites[index].routers[other].listeners.sort { ($0.address, $0.name) < ($1.address, $1.name) }
                sites[index].routers[other].connectors.sort { ($0.address, $0.name) < ($1.address, $1.name) }
            }
        }
    }

    // MARK: Bounds

    /// Largest text for a ConfigMap, octets: half of what an object may be, as the rest of the map is in it too.
    package static let textLimit = 512 << 10
    /// Largest list in a Site's status, octets.
    package static let recordLimit = 256 << 10
    /// Most sites that are told of one by one.
    package static let siteLimit = 1_000

    /// How much is told; each step leaves out what the one before had most of.
    private enum Detail: CaseIterable {
        case everything, nearServices, links, names

        func hasServices(_ site: Site, near: String) -> Bool {
            switch self {
            case .everything: true
            case .nearServices: site.id == near
            case .links, .names: false
            }
        }
        var hasLinks: Bool { self != .names }
    }

    /// The first text that is not too long.
    private func bounded(_ limit: Int, _ text: (Detail) -> Document) -> Document {
        var result = Document.null
        for detail in Detail.allCases {
            result = text(detail)
            if JSON.emit(result, pretty: false, sortedKeys: true).utf8.count <= limit { break }
        }
        return result
    }

    // MARK: The ConfigMap's form

    /// The text of the key `NetworkStatus`. A network that is too large is told without the services of sites other
    /// than `near`, then without services, then without links and counts of addresses.
    package func json(near: String, limit: Int = textLimit) -> String {
        JSON.emit(bounded(limit) { document($0, near: near) }, pretty: false, sortedKeys: true)
    }

    private func document(_ detail: Detail, near: String) -> Document {
        [
            "addresses": .list(addresses(detail, near: near)),
            "siteStatus": .list(
                sites.prefix(NetworkStatus.siteLimit).map { site in
                    [
                        "site": NetworkStatus.filled([
                            ("identity", site.id), ("name", site.name), ("namespace", site.namespace),
                            ("platform", site.platform), ("siteVersion", site.version),
                        ]),
                        "routerStatus": .list(site.routers.map { document($0, of: site, detail, near: near) }),
                    ]
                }),
        ]
    }

    private func document(_ router: Router, of site: Site, _ detail: Detail, near: String) -> Document {
        let hasServices = detail.hasServices(site, near: near)
        let links = router.links.map { link -> Document in
            var node = NetworkStatus.filled([
                ("name", link.name), ("status", link.status), ("role", link.role), ("peer", link.peer),
            ])
            if link.cost > 0 { node["linkCost"] = .int(link.cost) }
            return node
        }
        return [
            "router": NetworkStatus.filled([
                ("name", "0/\(router.id)"), ("namespace", site.namespace), ("mode", router.mode),
                ("hostname", router.host), ("imageVersion", router.version),
            ]),
            "links": .list(detail.hasLinks ? links : []),
            "routerAccess": .list(router.accesses.map { ["identity": .string($0)] }),
            "listeners": .list(
                hasServices ? router.listeners.map { NetworkStatus.document($0, isListener: true) } : []),
            "connectors": .list(
                hasServices ? router.connectors.map { NetworkStatus.document($0, isListener: false) } : []),
        ]
    }

    private static func document(_ service: Service, isListener: Bool) -> Document {
        var fields = [("address", service.address), ("destHost", service.host), ("destPort", service.port)]
        if isListener {
            fields += [("name", service.name), ("protocol", "tcp")]
        } else {
            fields += [("process", service.process), ("target", service.target)]
        }
        return filled(fields)
    }

    private static func filled(_ fields: [(String, String)]) -> Document {
        .map(DocumentMap(fields.filter { !$0.1.isEmpty }.map { ($0.0, .string($0.1)) }))
    }

    /// How many listeners and connectors use each routing key in the network: of all keys, or of those that the near
    /// site has a use for.
    private func addresses(_ detail: Detail, near: String) -> [Document] {
        if detail == .names { return [] }
        var nearKeys: Set<String> = []
        for router in sites.filter({ $0.id == near }).flatMap(\.routers) {
            nearKeys.formUnion((router.listeners + router.connectors).map(\.address))
        }
        var counts: [String: (listeners: Int, connectors: Int)] = [:]
        for router in sites.flatMap(\.routers) {
            for item in router.listeners { counts[item.address, default: (0, 0)].listeners += 1 }
            for item in router.connectors { counts[item.address, default: (0, 0)].connectors += 1 }
        }
        let told = detail == .everything ? counts : counts.filter { nearKeys.contains($0.key) }
        return told.sorted { $0.key < $1.key }.map { key, count in
            [
                "name": .string(key), "protocol": "tcp", "startTime": 0, "endTime": 0,
                "listenerCount": .int(Int64(count.listeners)), "connectorCount": .int(Int64(count.connectors)),
            ]
        }
    }

    // MARK: The Site's form

    /// `Site.status.network`: each site with its links and, by routing key, its services. Bounded as `json` is.
    package func records(near: String, limit: Int = recordLimit) -> Document {
        var siteOfAccess: [String: Site] = [:]
        for site in sites {
            for access in site.routers.flatMap(\.accesses) { siteOfAccess[access] = site }
        }
        return bounded(limit) { detail in
            .list(
                sites.prefix(NetworkStatus.siteLimit).map { site in
                    var record = NetworkStatus.filled([
                        ("id", site.id), ("name", site.name), ("namespace", site.namespace),
                        ("platform", site.platform), ("version", site.version),
                    ])
                    let links = detail.hasLinks ? NetworkStatus.links(of: site, siteOfAccess) : []
                    if !links.isEmpty { record["links"] = .list(links) }
                    let services = detail.hasServices(site, near: near) ? NetworkStatus.services(of: site) : []
                    if !services.isEmpty { record["services"] = .list(services) }
                    return record
                })
        }
    }

    private static func links(of site: Site, _ siteOfAccess: [String: Site]) -> [Document] {
        site.routers.flatMap(\.links).compactMap { link in
            // Two routers of one site are no news to anybody.
            guard let other = siteOfAccess[link.peer], other.id != site.id else { return nil }
            var node = filled([("name", link.name), ("remoteSiteId", other.id), ("remoteSiteName", other.name)])
            node["operational"] = .bool(link.status == "up")
            return node
        }
    }

    private static func services(of site: Site) -> [Document] {
        var keys: [String: (connectors: Set<String>, listeners: Set<String>)] = [:]
        for router in site.routers {
            for item in router.connectors where !item.host.isEmpty {
                keys[item.address, default: ([], [])].connectors.insert(item.host)
            }
            for item in router.listeners { keys[item.address, default: ([], [])].listeners.insert(item.name) }
        }
        return keys.sorted { $0.key < $1.key }.map { key, users in
            var node: Document = ["routingKey": .string(key)]
            if !users.connectors.isEmpty { node["connectors"] = .list(users.connectors.sorted().map { .string($0) }) }
            if !users.listeners.isEmpty { node["listeners"] = .list(users.listeners.sorted().map { .string($0) }) }
            return node
        }
    }
}
