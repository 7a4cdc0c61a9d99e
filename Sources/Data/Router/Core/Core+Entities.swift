import CLibuv
import Glibc
import HTTPServer
import RouterConfig

/// A `listener` entity at work.
struct AMQPListenerState {
    var entity: Entity
    var http: HTTPServer?
}

/// A `tcpListener` entity at work.
struct TCPListenerState {
    var entity: Entity
    var target: TCPListenerTarget
    var isListening = false
    var message = "waiting for a consumer of the address"
}

/// A `tcpConnector` entity at work.
struct TCPConnectorState {
    var entity: Entity
    var target: TCPConnectorTarget
    /// Identity of its row of `connection`.
    var number: UInt64
    /// Monotonic milliseconds.
    var createdAt: Int64
}

/// Why an entity could not be applied; becomes a management reply or a start-up error.
struct EntityFailure: Error {
    var status: Int32
    var text: String
}

extension Core {
    /// Applies one new entity.
    func create(_ entity: Entity) throws(EntityFailure) {
        switch entity.type {
        case "sslProfile":
            userNames[entity.name] = try certificateUserNames(entity)
            sslProfiles[entity.name] = entity
        case "listener":
            try createListener(entity)
        case "connector":
            try createConnector(entity)
        case "tcpListener":
            try createTCPListener(entity)
        case "tcpConnector":
            try createTCPConnector(entity)
        case "listenerAddress":
            try createListenerAddress(entity)
        case "router.config.address":
            _ = takeConfigurationNumber()
            createAddressRule(entity)
            otherEntities.append(entity)
        case "router.config.autoLink":
            createAutoLink(entity)
            otherEntities.append(entity)
        case "log":
            try applyLog(entity)
            otherEntities.append(entity)
        case "router":
            joinTenant(entity[string: "vanId"])
        case "network":
            joinTenant(entity[string: "tenantId"])
            joinNetwork(entity[string: "networkId"])
            otherEntities.append(entity)
        case "policy":
            configurePolicy(entity)
            otherEntities.append(entity)
        case "vhost":
            try checkIsOnlyVhost(entity)
            try defineVhost(entity)
            otherEntities.append(entity)
        default:
            warnOfNoEffect(entity)
            otherEntities.append(entity)
        }
    }

    /// What this router keeps and reports but does not act on is said plainly: it may be meant to protect something.
    private func warnOfNoEffect(_ entity: Entity) {
        guard entity.type == "vhostUserGroupSettings" else { return }
        Log.write(
            .policy, .warning,
            "vhostUserGroupSettings '\(entity.name)' has no effect: groups are part of their vhost, in groups")
    }

    /// Every configured entity, for queries and duplicate checks.
    var allEntities: [Entity] {
        [routerEntity] + sslProfiles.values.sorted { $0.name < $1.name }
            + amqpListeners.values.map(\.entity).sorted { $0.name < $1.name }
            + amqpConnectors.values.map(\.entity).sorted { $0.name < $1.name }
            + tcpListeners.values.map(\.entity).sorted { $0.name < $1.name }
            + tcpConnectors.values.map(\.entity).sorted { $0.name < $1.name } + otherEntities
    }

    /// Removes a configured entity.
    func delete(_ entity: Entity) throws(EntityFailure) {
        let cut = routerEntity.boolean("dropTcpConnections") ?? true
        let name = entity.name
        switch entity.type {
        case "sslProfile":
            sslProfiles[name] = nil
            userNames[name] = nil
        case "listener":
            deleteListener(name)
        case "connector":
            guard let state = amqpConnectors.removeValue(forKey: name) else { return }
            let older = connections.filter { $0.value.info.isConnector && $0.value.info.entity == name }.map(\.key)
            for ref in Set(state.dialers.compactMap(\.current) + older) {
                closeConnection(ref, reason: "connector \(name) was deleted", orderly: true)
            }
        case "tcpListener":
            if let address = listenerAddresses(of: name).first {
                throw EntityFailure(
                    status: 400,
                    text: "tcpListener '\(name)' has listenerAddress entities ('\(address.name)' is one); delete them "
                        + "first")
            }
            tcpListeners[name] = nil
            for worker in workers { worker.post { worker.dropListener(name, cutStreams: cut) } }
            // An edge router's stand-in at the interior for this listener goes.
            tablesChanged()
        case "tcpConnector":
            guard let state = tcpConnectors.removeValue(forKey: name) else { return }
            changeAddress("M" + state.target.address) { $0.connectors.removeAll { $0 === state.target } }
            for worker in workers { worker.post { worker.dropConnector(name, cutStreams: cut) } }
        case "listenerAddress":
            listenerTarget(entity)?.remove(name)
            otherEntities.removeAll { $0.identity == entity.identity }
            tablesChanged()
        case "router.config.address":
            treatments.rules.removeAll { $0.name == entity.identity }
            otherEntities.removeAll { $0.identity == entity.identity }
        case "vhost":
            policy.withTable { $0.remove(entity[string: "hostname"] ?? "") }
            otherEntities.removeAll { $0.identity == entity.identity }
        case "router.config.autoLink":
            deleteAutoLink(entity)
            otherEntities.removeAll { $0.identity == entity.identity }
        default:
            otherEntities.removeAll { $0.identity == entity.identity }
        }
    }

    /// Applies an update: costs live, profiles for new connections, everything else stored.
    func update(_ entity: Entity, from old: Entity) throws(EntityFailure) {
        switch entity.type {
        case "sslProfile":
            try updateProfile(entity, from: old)
        case "connector":
            updateConnector(entity.name) { state in
                state.entity = entity
                state.settings.cost = entity.integer("cost") ?? 1
            }
            setCost(entity.integer("cost") ?? 1, entity: entity.name)
        case "listener":
            amqpListeners[entity.name]?.entity = entity
            setCost(entity.integer("cost") ?? 1, entity: entity.name)
        case "tcpListener":
            tcpListeners[entity.name]?.entity = entity
            tcpListeners[entity.name]?.target.observer = ObserverChoice(name: entity[string: "observer"])
        case "log":
            try applyLog(entity)
            replaceOther(entity)
        case "network":
            // Not at once: the reply to who asks for it is to find its way, by an address with the older name.
            renaming = (entity[string: "networkId"], now + 1000)
            replaceOther(entity)
        case "vhost":
            try defineVhost(entity)
            replaceOther(entity)
        default:
            replaceOther(entity)
        }
    }

    private func replaceOther(_ entity: Entity) {
        otherEntities.removeAll { $0.identity == entity.identity }
        otherEntities.append(entity)
    }

    private func createAddressRule(_ entity: Entity) {
        let pattern = entity[string: "pattern"]
        guard let text = pattern ?? entity[string: "prefix"] else { return }
        treatments.rules.append(
            TreatmentRules.Rule(
                name: entity.identity, text: text, isPattern: pattern != nil,
                treatment: Treatment(name: entity[string: "distribution"] ?? "") ?? .balanced,
                priority: entity.integer("priority")))
        tablesChanged()
    }

    // MARK: AMQP listeners and connectors

    private func settings(_ entity: Entity, isConnector: Bool) throws(EntityFailure) -> ConnectionSettings {
        let role = ConnectionRole(rawValue: entity[string: "role"] ?? "normal") ?? .normal
        let frame = min(max(512, entity.integer("maxFrameSize") ?? 16384), ConnectionSettings.largestFrame)
        let windowOctets = role == .normal ? 8 << 20 : ConnectionSettings.windowMaximum
        let windowFrames = max(2, windowOctets / frame)
        let wantedFrames = entity.integer("maxSessionFrames") ?? 0
        let sessionFrames = min(
            max(2, wantedFrames > 0 ? wantedFrames : windowFrames), ConnectionSettings.windowMaximum / frame)
        let mechanisms = (entity[string: "saslMechanisms"] ?? "").split(separator: " ").map(String.init)
        let handshake = entity.integer("initialHandshakeTimeoutSeconds") ?? 0
        // To another network they go, but name no router: see ``Worker``.
        let strip = role == .interNetwork ? "no" : entity[string: "stripAnnotations"] ?? "both"
        return ConnectionSettings(
            role: role, entity: entity.name, isConnector: isConnector, host: entity[string: "host"] ?? "",
            port: entity[string: "port"] ?? "", cost: entity.integer("cost") ?? 1, maxFrameSize: frame,
            sessionFrames: UInt32(sessionFrames),
            idleTimeoutMilliseconds: Int64(entity.integer("idleTimeoutSeconds") ?? 16) * 1000,
            linkCapacity: UInt32(entity.integer("linkCapacity") ?? 250), choiceLimit: entity.integer("linkCapacity"),
            saslMechanisms: mechanisms,
            authenticatePeer: entity.boolean("authenticatePeer") ?? false,
            requireTLS: entity.boolean("requireSsl") == true || entity.boolean("requireEncryption") == true,
            verifyHostname: entity.boolean("verifyHostname") ?? true, tls: try context(entity, server: !isConnector),
            handshakeTimeoutMilliseconds: handshake > 0 ? Int64(handshake) * 1000 : 10_000,
            keepsIncomingAnnotations: strip == "no" || strip == "out",
            keepsOutgoingAnnotations: strip == "no" || strip == "in",
            groupCorrelator: nil, accessID: nil, policyVhost: entity[string: "policyVhost"],
            channelMax: channelMax(entity.integer("maxSessions") ?? 0),
            openProperties: openProperties(entity),
            family: AddressFamily(name: entity[string: "socketAddressFamily"]),
            loggedParts: loggedParts(entity).parts)
    }

    /// A peer may use channels from 0 on: one less than there may be sessions.
    private func channelMax(_ sessions: Int) -> UInt16 { UInt16((1...32768).contains(sessions) ? sessions - 1 : 32767) }

    private func openProperties(_ entity: Entity) -> [String: AttributeValue] {
        guard case .map(let properties)? = entity["openProperties"] else { return [:] }
        return properties
    }

    func listenerSettings(_ entity: Entity) throws(EntityFailure) -> ConnectionSettings {
        var settings = try settings(entity, isConnector: false)
        settings.users = try users(for: settings)
        do {
            settings.failover = try FailoverAddress.list(entity[string: "failoverUrls"] ?? "")
        } catch {
            throw EntityFailure(
                status: 400, text: "listener '\(entity.name)': failoverUrls: '\(error.item)' is no URL of a host")
        }
        if settings.role == .interRouter || settings.role.joinsEdge {
            settings.accessID = telemetry.identity(Core.accessRecord(entity.name), names: flowNames)
        }
        return settings
    }

    private func createListener(_ entity: Entity) throws(EntityFailure) {
        if entity.speaksHTTP { return try createHTTPListener(entity) }
        let settings = try listenerSettings(entity)
        if isEdge, settings.role == .interRouter || settings.role == .edge {
            throw EntityFailure(
                status: 400,
                text: "listener '\(entity.name)': an edge router serves no other routers; use role normal, or mode "
                    + "interior for the router")
        }
        warnOfLoggedParts(entity)
        guard let worker = workers.first else { return }
        let descriptor = try bind(entity, backlog: 128, shared: false)
        amqpListeners[entity.name] = AMQPListenerState(entity: entity, http: nil)
        let name = entity.name
        worker.post {
            let acceptor = AMQPAcceptor(worker: worker, settings: settings)
            acceptor.open(descriptor)
            worker.acceptors[name] = acceptor
        }
        Log.write(
            .connectionManager, .info,
            "listening on \(entity[string: "host"] ?? ""):\(entity[string: "port"] ?? "") (\(entity.name), role "
                + "\(settings.role.rawValue))"
        )
    }

    private func deleteListener(_ name: String) {
        guard let state = amqpListeners.removeValue(forKey: name) else { return }
        state.http?.stop()
        guard let worker = workers.first else { return }
        worker.post { worker.acceptors.removeValue(forKey: name)?.close() }
        for (ref, connection) in connections where connection.info.entity == name {
            closeConnection(ref, reason: "listener \(name) was deleted", orderly: true)
        }
    }

    private func createConnector(_ entity: Entity) throws(EntityFailure) {
        var settings = try settings(entity, isConnector: true)
        if settings.role == .edge, !isEdge {
            throw EntityFailure(
                status: 400,
                text: "connector '\(entity.name)': role edge is for routers of mode edge; use role inter-router")
        }
        if settings.role == .interRouter, isEdge {
            throw EntityFailure(
                status: 400,
                text: "connector '\(entity.name)': role inter-router is not for routers of mode edge; use role edge")
        }
        guard entity.port() != nil else {
            throw EntityFailure(status: 400, text: "connector '\(entity.name)': port '\(settings.port)' is no port")
        }
        warnOfPassword(entity, settings)
        warnOfLoggedParts(entity)
        var dialers = [Dialer(role: settings.role, worker: 0)]
        if settings.role == .interRouter {
            settings.groupCorrelator = randomText(15)
            for index in 0..<dataConnectionCount { dialers.append(Dialer(role: .interRouterData, worker: index)) }
        }
        amqpConnectors[entity.name] = AMQPConnectorState(
            entity: entity, settings: settings,
            places: FailoverList(own: FailoverAddress(scheme: "amqp", host: settings.host, port: settings.port)),
            dialers: dialers)
        dialDue(now: now)
    }

    /// One data connection for each loop, unless configured otherwise.
    private var dataConnectionCount: Int {
        guard let text = routerEntity[string: "dataConnectionCount"], text != "auto", let count = Int(text) else {
            return workers.count
        }
        return min(max(0, count), 64)
    }
}
