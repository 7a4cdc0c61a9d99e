import ManagementClient
import RouterConfig
import SiteReconciler

/// The controller's hold on its router: what it runs, what it reports, and how it is changed. Used from one thread.
package final class RouterManagement {
    /// Types whose entities are compared and changed while the router runs.
    private static let liveTypes = [
        "sslProfile", "proxyProfile", "router.config.address", "router.config.autoLink", "tcpConnector", "tcpListener",
        "listenerAddress", "connector", "listener",
    ]
    /// Wait between attempts to connect, milliseconds.
    private static let retryWait: Int64 = 200
    /// Longest wait for one answer, milliseconds: the controller does nothing else meanwhile.
    private static let answerLimit = 2_000

    private let address: ManagementAddress
    private var client: ManagementClient?
    private var nextAttempt: Int64 = 0
    /// Why the last request failed, "" when it did not.
    package private(set) var lastError = ""

    /// The management of the router at an address; it is connected to when needed.
    package init(address: ManagementAddress) { self.address = address }

    /// Gives up the connection, for when the router was stopped or replaced.
    package func disconnect() {
        client?.close()
        client = nil
        nextAttempt = 0
    }

    /// The connection, made if there is none; nil if it cannot be made now.
    private func connected(now: Int64) -> ManagementClient? {
        if let client { return client }
        guard now >= nextAttempt else { return nil }
        nextAttempt = now + RouterManagement.retryWait
        do {
            client = try ManagementClient(
                connectingTo: address, timeoutMilliseconds: RouterManagement.answerLimit)
            lastError = ""
        } catch {
            lastError = "\(error)"
        }
        return client
    }

    /// Runs `body` with a connection; nil, with `lastError` set, if there is none or it fails.
    private func with<Value>(now: Int64, _ body: (ManagementClient) throws -> Value) -> Value? {
        guard let client = connected(now: now) else { return nil }
        do {
            return try body(client)
        } catch let error as ManagementError {
            if !error.leavesConnectionUsable { self.client = nil }
            lastError = "\(error)"
        } catch {
            lastError = "\(error)"
        }
        return nil
    }

    // MARK: Configuration

    /// What the router runs now; entities that only a start reads are taken from `started`.
    package func configuration(startedWith started: RouterConfiguration, now: Int64) -> RouterConfiguration? {
        with(now: now) { client in
            var entities = started.entities.filter { !RouterManagement.liveTypes.contains($0.type) }
            for type in RouterManagement.liveTypes {
                for row in try client.query("io.skupper.router.\(type)") {
                    let attributes = row.mapValues(\.attribute).filter { $0.value != .null }
                    entities.append(try Schema.validate(type: type, attributes: attributes, for: .file))
                }
            }
            return try RouterConfiguration(entities: entities)
        }
    }

    /// Carries out the steps of a plan in order; the first failure ends it. True if all were done.
    package func apply(_ plan: ConfigurationPlan, now: Int64) -> Bool {
        with(now: now) { client in
            for step in plan.steps {
                switch step {
                case .create(let entity):
                    var attributes = entity.attributes.mapValues(ManagementValue.init)
                    attributes["name"] = nil
                    try client.create(entity.entityType.longName, name: entity.name, attributes: attributes)
                case .update(let entity, let changes):
                    try client.update(
                        entity.entityType.longName, name: entity.name,
                        attributes: changes.mapValues(ManagementValue.init))
                case .delete(let entity):
                    try client.delete(entity.entityType.longName, name: entity.name)
                }
            }
            return true
        } ?? false
    }

    // MARK: Observation

    /// The router's truth now; nil if it does not answer.
    package func observe(now: Int64) -> RouterObservation? {
        with(now: now) { client in
            var result = RouterObservation(isRunning: true)
            let nodes = try client.query("io.skupper.router.router.node")
            let connections = try client.query("io.skupper.router.connection")
            result.routers = nodes.compactMap { $0["id"]?.text }.map { RouterNode(id: $0) }
            for row in try client.query("io.skupper.router.connector") {
                guard let name = row["name"]?.text else { continue }
                result.links[name] = RouterManagement.link(row, name: name, connections: connections, nodes: nodes)
            }
            for row in try client.query("io.skupper.router.router.address") {
                guard let key = row["key"]?.text ?? row["identity"]?.text, key.hasPrefix("M") else { continue }
                result.addresses[String(key.dropFirst())] = AddressObservation(
                    localConsumers: Int(row["subscriberCount"]?.number ?? 0),
                    remoteConsumers: Int(row["remoteCount"]?.number ?? 0))
            }
            for row in try client.query("io.skupper.router.tcpListener") {
                guard let name = row["name"]?.text else { continue }
                result.listeners[name] = ListenerObservation(
                    operStatus: row["operStatus"]?.text ?? "", message: row["connectionMsg"]?.text ?? "")
            }
            return result
        }
    }

    /// The connection that a connector has made.
    static func connection(
        of row: ManagementRow, name: String, among connections: [ManagementRow]
    ) -> ManagementRow? {
        let place = "\(row["host"]?.text ?? ""):\(row["port"]?.scalarText ?? "")"
        let role = row["role"]?.text ?? ""
        return connections.first { other in
            guard other["dir"]?.text == "out", other["role"]?.text == role, other["operStatus"]?.text != "closing"
            else {
                return false
            }
            return other["name"]?.text == name || other["name"]?.text == "connection/\(place)"
                || other["host"]?.text == place
        }
    }

    /// A link is up when its connection stands and the router behind it is a neighbour that lists us, or, for an
    /// edge router, when the connection is the active one.
    private static func link(
        _ row: ManagementRow, name: String, connections: [ManagementRow], nodes: [ManagementRow]
    ) -> LinkObservation {
        let role = row["role"]?.text ?? ""
        let connection = RouterManagement.connection(of: row, name: name, among: connections)
        let remote = connection?["container"]?.text ?? ""
        let status = row["connectionStatus"]?.text ?? ""
        let isUp: Bool
        if role == "edge" {
            isUp = status == "SUCCESS" && connection?["active"]?.flag ?? (connection != nil)
        } else {
            isUp = status == "SUCCESS" && isNeighbour(remote, nodes: nodes)
        }
        return LinkObservation(
            connectionStatus: status, connectionMessage: row["connectionMsg"]?.text ?? "", isNeighbourUp: isUp,
            remoteRouterID: remote)
    }

    private static func isNeighbour(_ id: String, nodes: [ManagementRow]) -> Bool {
        guard !id.isEmpty, let node = nodes.first(where: { $0["id"]?.text == id }) else { return false }
        // A neighbour is reached without a next hop; its link state shows that the exchange was completed both ways.
        let hop = node["nextHop"]?.text ?? ""
        guard hop.isEmpty || hop == "-" || hop == id else { return false }
        let own = nodes.first { $0["nextHop"]?.text == "(self)" }?["id"]?.text
        guard let own, let peers = node["linkState"]?.items, !peers.isEmpty else { return true }
        return peers.contains { $0.text == own }
    }
}

extension ManagementValue {
    /// The value as the configuration has it.
    var attribute: AttributeValue {
        switch self {
        case .string(let text): .string(text)
        case .integer(let number): .integer(number)
        case .boolean(let flag): .boolean(flag)
        case .list(let items): .list(items.map(\.attribute))
        case .map(let map): .map(map.mapValues(\.attribute))
        case .null: .null
        }
    }

    init(_ attribute: AttributeValue) {
        switch attribute {
        case .string(let text): self = .string(text)
        case .integer(let number): self = .integer(number)
        case .boolean(let flag): self = .boolean(flag)
        case .real(let number): self = .string(String(number))
        case .list(let items): self = .list(items.map(ManagementValue.init))
        case .map(let map): self = .map(map.mapValues { ManagementValue($0) })
        case .null: self = .null
        }
    }

    /// The text of a string or integer.
    var scalarText: String? {
        switch self {
        case .string(let text): text
        case .integer(let number): String(number)
        default: nil
        }
    }
}
