import ManagementClient
import SiteReconciler

/// What other routers of the network say about themselves, asked through the own router.
package struct NetworkScan: Hashable, Sendable {
    /// Most routers asked in one scan.
    static let routerLimit = 64
    /// Longest wait for one router's answer, milliseconds.
    static let answerLimit = 1_500

    /// `metadata` by router id.
    package var metadata: [String: String] = [:]
    /// How many listeners of other sites use a routing key.
    package var listeners: [String: Int] = [:]
    /// How many connectors of other sites serve a routing key.
    package var connectors: [String: Int] = [:]

    /// Nothing known.
    package init() {}

    /// Asks every router but the own one. Blocks; to be done on a worker. A router that does not answer is left out.
    package static func run(_ address: ManagementAddress, own: String, routers: [String]) -> NetworkScan {
        var result = NetworkScan()
        var client: ManagementClient?
        for id in routers.filter({ $0 != own }).prefix(routerLimit) {
            let agent = "amqp:/_topo/0/\(id)/$management"
            do throws(ManagementError) {
                let current: ManagementClient
                if let client {
                    current = client
                } else {
                    current = try ManagementClient(connectingTo: address, timeoutMilliseconds: answerLimit)
                    client = current
                }
                try result.ask(agent, of: id, through: current)
            } catch {
                // After a time-out a late answer could be taken for the next one's: begin anew.
                if !error.leavesConnectionUsable { client = nil }
            }
        }
        client?.close()
        return result
    }

    private mutating func ask(
        _ agent: String, of id: String, through client: ManagementClient
    ) throws(ManagementError) {
        let router = try client.query("io.skupper.router.router", attributes: ["id", "metadata"], agent: agent)
        metadata[id] = router.first?["metadata"]?.text ?? ""
        for (type, path) in [
            ("tcpListener", \NetworkScan.listeners), ("listenerAddress", \.listeners), ("tcpConnector", \.connectors),
        ] {
            let rows = try client.query(
                "io.skupper.router.\(type)", attributes: ["name", "address"], agent: agent)
            for row in rows {
                if let key = row["address"]?.text, !key.isEmpty { self[keyPath: path][key, default: 0] += 1 }
            }
        }
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
        for (key, count) in scan.listeners {
            addresses[key, default: AddressObservation()].remoteListeners = count
        }
    }
}
