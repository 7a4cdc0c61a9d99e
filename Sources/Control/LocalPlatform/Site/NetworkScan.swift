import ManagementClient
import SiteReconciler

/// What other routers of the network say about themselves, asked through the own router.
package struct NetworkScan: Hashable, Sendable {
    /// Most routers asked in one scan.
    static let routerLimit = 256
    /// Longest wait for one router's answer, milliseconds.
    static let answerLimit = 1_500
    /// Most listeners, and connectors, of one router that are remembered one by one.
    static let serviceLimit = 1_000

    /// `metadata` by router id.
    package var metadata: [String: String] = [:]
    /// How many listeners of other sites use a routing key.
    package var listeners: [String: Int] = [:]
    /// How many connectors of other sites serve a routing key.
    package var connectors: [String: Int] = [:]
    /// What every router that answered said; with the own one if that was asked for.
    package var reports: [RouterReport] = []

    /// Nothing known.
    package init() {}

    /// Asks every router but the own one, edge routers at their interior ones too. Blocks; to be done on a worker.
    /// A router that does not answer is left out.
    /// - Parameter includesOwn: the own router is reported as well, and if it is an edge router then so are those
    ///   that its interior router knows.
    package static func run(
        _ address: ManagementAddress, own: String, routers: [String], includesOwn: Bool = false
    ) -> NetworkScan {
        var result = NetworkScan()
        var client: ManagementClient?
        var known: Set<String> = [own]
        var waiting: [Target] = includesOwn ? [Target(id: own, agent: nil, isEdge: false)] : []
        func add(_ ids: [String], isEdge: Bool = false) {
            for id in ids where known.count <= routerLimit && known.insert(id).inserted {
                waiting.append(
                    Target(id: id, agent: "amqp:/\(isEdge ? "_edge" : "_topo/0")/\(id)/$management", isEdge: isEdge))
            }
        }
        add(routers)
        var next = 0
        while next < waiting.count {
            let target = waiting[next]
            next += 1
            do throws(ManagementError) {
                let current: ManagementClient
                if let client {
                    current = client
                } else {
                    current = try ManagementClient(connectingTo: address, timeoutMilliseconds: answerLimit)
                    client = current
                }
                let found = try result.ask(target, own: own, through: current)
                add(found.interior)
                add(found.edges, isEdge: true)
            } catch {
                // After a time-out a late answer could be taken for the next one's: begin anew.
                if !error.leavesConnectionUsable { client = nil }
            }
        }
        client?.close()
        return result
    }

    /// With what an earlier scan knew of routers that are still there but did not answer in time this once.
    package func keeping(_ earlier: NetworkScan, of present: Set<String>) -> NetworkScan {
        var result = self
        let answered = Set(reports.map(\.id))
        for report in earlier.reports where present.contains(report.id) && !answered.contains(report.id) {
            result.reports.append(report)
            result.metadata[report.id] = earlier.metadata[report.id]
        }
        return result
    }

    private struct Target {
        let id: String
        /// nil for the own router.
        let agent: String?
        let isEdge: Bool
    }

    /// Asks one router, and gives the routers that are known through it alone.
    private mutating func ask(
        _ target: Target, own: String, through client: ManagementClient
    ) throws(ManagementError) -> (interior: [String], edges: [String]) {
        let agent = target.agent
        let router = try client.query(
            "io.skupper.router.router", attributes: ["id", "metadata", "mode", "hostName", "version"], agent: agent
        ).first
        var report = RouterReport(
            id: target.id, mode: router?["mode"]?.text ?? "", host: router?["hostName"]?.text ?? "",
            version: router?["version"]?.text ?? "", metadata: router?["metadata"]?.text ?? "")
        if target.id != own { metadata[target.id] = report.metadata }
        for (type, attributes, path, services) in [
            ("tcpListener", ["name", "address", "host", "port"], \NetworkScan.listeners, \RouterReport.listeners),
            ("listenerAddress", ["name", "address"], \NetworkScan.listeners, \RouterReport.listeners),
            (
                "tcpConnector", ["name", "address", "host", "port", "processId"], \NetworkScan.connectors,
                \RouterReport.connectors
            ),
        ] {
            let rows = try NetworkScan.rows(of: type, attributes, agent, through: client)
            for row in rows {
                guard let key = row["address"]?.text, !key.isEmpty else { continue }
                if target.id != own { self[keyPath: path][key, default: 0] += 1 }
                guard report[keyPath: services].count < NetworkScan.serviceLimit else { continue }
                report[keyPath: services].append(
                    NetworkStatus.Service(
                        name: row["name"]?.text ?? "", address: key, host: row["host"]?.text ?? "",
                        port: row["port"]?.scalarText ?? "", process: row["processId"]?.text ?? ""))
            }
        }
        let connections = try client.query(
            "io.skupper.router.connection",
            attributes: ["name", "container", "dir", "role", "host", "operStatus", "active"], agent: agent)
        report.links = try client.query("io.skupper.router.connector", agent: agent).compactMap {
            NetworkScan.link($0, connections: connections)
        }
        let names = ["name", "namespace", "platform", "version"]
        let site = try NetworkScan.rows(of: "site", names, agent, through: client).first
        for name in names { report.site[name] = site?[name]?.text }
        reports.append(report)
        if report.mode == "edge" {
            guard target.agent == nil, let uplink = report.links.first(where: \.isUp)?.peer, !uplink.isEmpty else {
                return ([], [])
            }
            let nodes = try client.query(
                "io.skupper.router.router.node", attributes: ["id"],
                agent: "amqp:/_topo/0/\(uplink)/$management")
            return (nodes.compactMap { $0["id"]?.text }, [])
        }
        let edges = connections.filter { $0["role"]?.text == "edge" && $0["dir"]?.text == "in" }
        return ([], edges.compactMap { $0["container"]?.text }.filter { !$0.isEmpty })
    }

    /// Entities of a type that older routers may not know.
    private static func rows(
        of type: String, _ attributes: [String], _ agent: String?, through client: ManagementClient
    ) throws(ManagementError) -> [ManagementRow] {
        do throws(ManagementError) {
            return try client.query("io.skupper.router.\(type)", attributes: attributes, agent: agent)
        } catch {
            guard error.leavesConnectionUsable else { throw error }
            return []
        }
    }

    private static func link(_ row: ManagementRow, connections: [ManagementRow]) -> RouterReport.Link? {
        guard let name = row["name"]?.text, let role = row["role"]?.text, role == "inter-router" || role == "edge"
        else { return nil }
        let isUp = row["connectionStatus"]?.text == "SUCCESS"
        let connection = RouterManagement.connection(of: row, name: name, among: connections)
        return RouterReport.Link(
            name: name, cost: row["cost"]?.number ?? 1, role: role, isUp: isUp,
            peer: isUp ? connection?["container"]?.text ?? "" : "")
    }
}

extension RouterObservation {
    /// Adds what the router itself does not tell: the network as last scanned, and of each link that is down the last
    /// error that was told, which `lastLinkErrors` keeps by the link's name.
    package mutating func complete(with scan: NetworkScan, lastLinkErrors: inout [String: String]) {
        for (name, link) in links {
            if link.isNeighbourUp {
                lastLinkErrors[name] = nil
            } else if !link.connectionMessage.isEmpty {
                lastLinkErrors[name] = link.connectionMessage
            }
            links[name]?.lastError = lastLinkErrors[name] ?? ""
        }
        for index in routers.indices { routers[index].metadata = scan.metadata[routers[index].id] ?? "" }
        // Edge routers, and those beyond an edge router's interior one, are in no table of the own router.
        let known = Set(routers.map(\.id))
        for (id, metadata) in scan.metadata.sorted(by: { $0.key < $1.key }) where !known.contains(id) {
            routers.append(RouterNode(id: id, metadata: metadata))
        }
        for (key, count) in scan.listeners {
            addresses[key, default: AddressObservation()].remoteListeners = count
        }
    }
}
