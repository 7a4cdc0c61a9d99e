import AMQPCodec
import Glibc
import RouterConfig

/// Kinds of rows that only the loops can give.
enum OperationalRows {
    enum Kind: Sendable {
        case connection, link, allocator

        init?(_ type: String) {
            switch Schema.type(named: type)?.shortName {
            case "connection": self = .connection
            case "router.link": self = .link
            case "allocator": self = .allocator
            default: return nil
            }
        }
    }

    /// True for types whose rows are collected from the loops.
    static func isCollected(_ type: String) -> Bool { Kind(type) != nil }

    /// A row is the one that was asked for; the identity wins.
    static func isMeant(_ row: ManagementRow, identity: String?, name: String?) -> Bool {
        guard let identity else { return row["name"]?.stringValue == name }
        return row["identity"]?.stringValue == identity
    }

    /// Identities in the order of their numbers: connections and links in the order they were made.
    static func order(_ left: String, _ right: String) -> Bool {
        let (first, second) = (left.split(separator: ":"), right.split(separator: ":"))
        for (one, other) in zip(first, second) where one != other {
            if let low = UInt64(one), let high = UInt64(other) { return low < high }
            return one < other
        }
        return first.count < second.count
    }
}

extension Worker {
    /// Rows of this loop's connections or links.
    func rows(_ kind: OperationalRows.Kind) -> [ManagementRow] {
        let sorted = connections.values.sorted { $0.ref.id < $1.ref.id }
        switch kind {
        case .connection: return sorted.filter { $0.openedAt > 0 }.map { $0.row(now: now) }
        case .link: return sorted.flatMap { $0.linkRows(now: now) }
        case .allocator: return [poolRow]
        }
    }
}

extension Worker {
    fileprivate var poolRow: ManagementRow {
        func count(_ value: Int) -> AMQPValue { .long(Int64(value)) }
        let name = PoolCount.name(loop: index)
        return [
            "name": .string("allocator/\(name)"), "identity": .string("allocator/\(name)"),
            "type": .string("io.skupper.router.allocator"), "typeName": .string(name),
            "typeSize": count(pool.slabCapacity), "transferBatchSize": count(1), "localFreeListMax": count(pool.keep),
            "globalFreeListMax": count(0), "totalAllocFromHeap": count(pool.made),
            "totalFreeToHeap": count(pool.released), "heldByThreads": count(pool.made - pool.released),
            "batchesRebalancedToThreads": count(0), "batchesRebalancedToGlobal": count(0),
        ]
    }
}

extension AMQPConnection {
    fileprivate func row(now: Int64) -> ManagementRow {
        let id = String(ref.id)
        // As in skupper-router, a map that breaks the rules of Open (AMQP 1.0, 2.7.1) is shown up to where it does.
        let properties = remoteOpen?.properties.prefix { $0.key.stringValue != nil && $0.value != .null } ?? []
        return [
            "name": .string("connection/\(peerText)"), "identity": .string(id),
            "type": .string("io.skupper.router.connection"), "host": .string(peerText),
            "localSocket": .string(Sockets.local(of: poll?.descriptor ?? -1)?.text ?? ""),
            "role": .string(effectiveRole.rawValue), "protocol": .string("amqp"),
            "dir": .string(settings.isConnector ? "out" : "in"), "container": .string(remoteOpen?.containerID ?? ""),
            "sasl": mechanism.isEmpty ? .null : .string(mechanism),
            "isAuthenticated": .bool(mechanism == "EXTERNAL" || mechanism == "PLAIN"),
            "user": userName.map { .string($0) } ?? .string("anonymous"), "isEncrypted": .bool(tls != nil),
            "sslProto": tls.map { .string($0.protocolName) } ?? .null,
            "sslCipher": tls.map { .string($0.cipherName) } ?? .null, "properties": .map(Array(properties)),
            "sslSsf": .int(tls == nil ? 0 : 128), "ssl": .bool(tls != nil), "opened": .bool(openedAt > 0),
            "active": .bool(!(effectiveRole == .edge && settings.isConnector) || endpointSession != nil),
            "adminStatus": .string("enabled"), "operStatus": .string("up"),
            "uptimeSeconds": .int(Int32(clamping: (now - openedAt) / 1000)),
            "lastDlvSeconds": lastDeliveryAt > 0 ? .int(Int32(clamping: (now - lastDeliveryAt) / 1000)) : .null,
            "enableProtocolTrace": .bool(trace.isOn), "meshId": meshID.map { .string($0) } ?? .null,
            "tlsOrdinal": .int(Int32(clamping: settings.tls?.profile.ordinal ?? 0)),
            "groupOrdinal": .int(Int32(clamping: groupOrdinal)),
            "groupCorrelationId": (settings.groupCorrelator ?? property(WireNames.correlator)?.stringValue).map {
                .string($0)
            } ?? .null,
        ]
    }

    fileprivate func linkRows(now: Int64) -> [ManagementRow] {
        sessions.compactMap { $0 }.flatMap { session in
            session.localLinks.values.sorted { $0.localHandle < $1.localHandle }.map { link in
                link.row(connection: self, now: now)
            }
        }
    }
}

extension Link {
    fileprivate func row(connection: AMQPConnection, now: Int64) -> ManagementRow {
        func count(_ value: Int) -> AMQPValue { Int32(exactly: value).map { .int($0) } ?? .long(Int64(value)) }
        let type: String
        var address: AMQPValue = .null
        var priority = 4
        switch kind {
        case .control:
            type = "router-control"
            priority = 9
        case .data(let own):
            type = "inter-router"
            priority = own
        case .streaming: type = connection.effectiveRole == .interRouter ? "inter-router" : "endpoint"
        case .consumer(let key):
            // What an interior has for an edge router goes to the address of that router.
            let own = "H" + (connection.remoteOpen?.containerID ?? "")
            let isDownlink = connection.effectiveRole == .edge && key == own
            type = isDownlink ? "edge-downlink" : "endpoint"
            address = .string(key)
        case .producer(let text):
            type = "endpoint"
            address = text.map { .string(connection.worker.scope($0).key) } ?? .null
        case .proxy(let text):
            type = "endpoint"
            address = .string("M" + text)
        case .uplink:
            type = "endpoint"
            address = .string(AddressScope.uplinkKey)
        case .interEdge:
            type = "inter-edge"
            // What one sends to its neighbour is for that one's own addresses.
            if role == .sender { address = .string("H" + (connection.remoteOpen?.containerID ?? "")) }
        case .meshBid:
            type = "endpoint"
            if role == .receiver { address = .string("M" + WireNames.meshBid) }
        case .tracking, .meshDiscovery:
            type = "endpoint"
            // The address is the interior's.
            if !connection.settings.isConnector {
                address = .string("M" + (kind == .tracking ? WireNames.edgeTracking : WireNames.meshDiscovery))
            }
        case .downlink: type = "endpoint"
        }
        let unsettled =
            role == .sender
            ? session.outgoing.values.count { $0.link === self } : session.incoming.values.count { $0.link === self }
        return [
            "name": .string(name), "identity": .string("\(connection.ref.id):\(session.localChannel):\(localHandle)"),
            "type": .string("io.skupper.router.router.link"), "linkName": .string(name), "linkType": .string(type),
            "linkDir": .string(role == .sender ? "out" : "in"), "owningAddr": address, "capacity": count(Int(capacity)),
            "connectionId": .string(String(connection.ref.id)),
            "operStatus": .string(machine.state == .attached ? "up" : "down"),
            "ingressHistogram": .null, "undeliveredCount": count(waiting.count), "unsettledCount": count(unsettled),
            "deliveryCount": count(statistics.deliveries), "presettledCount": count(statistics.presettled),
            "droppedPresettledCount": count(statistics.droppedPresettled), "acceptedCount": count(statistics.accepted),
            "rejectedCount": count(statistics.rejected), "releasedCount": count(statistics.released),
            "modifiedCount": count(statistics.modified), "deliveriesDelayed1Sec": count(statistics.delayed1),
            "deliveriesDelayed10Sec": count(statistics.delayed10), "deliveriesStuck": count(statistics.stuck),
            "openMovedStreams": count(0), "priority": count(priority), "settleRate": count(statistics.settleRate),
            "creditAvailable": count(Int(machine.credit)),
            "zeroCreditSeconds": count(
                statistics.withoutCreditSince > 0 ? Int((now - statistics.withoutCreditSince) / 1000) : 0),
        ]
    }
}

extension Core {
    /// The management row of a configured entity, with its read-only attributes as they are now.
    func row(_ entity: Entity) -> ManagementRow {
        var row = entity.replyAttributes.mapValues(\.amqp)
        func count(_ value: Int) -> AMQPValue { Int32(exactly: value).map { .int($0) } ?? .long(Int64(value)) }
        switch entity.type {
        case "router":
            row["version"] = .string(RouterVersion.text)
            row["area"] = .string("0")
            row["hostName"] = .string(HostName.current)
            row["problem"] = .string(doubleIDs ?? "")
        case "policy":
            addPolicyCounts(to: &row)
        case "router.config.autoLink":
            row["identity"] = .string(shownIdentity(entity))
            row["operStatus"] = .string(autoLinks.status(of: entity.identity).rawValue)
            row["lastError"] = autoLinks.lastError(of: entity.identity).map { .string($0) } ?? .null
            row["linkRef"] = autoLinks.linkIdentity(of: entity.identity).map { .string($0) } ?? .null
        case "connector":
            guard let state = amqpConnectors[entity.name] else { break }
            row["failoverUrls"] = .string(state.places.text)
            row["connectionStatus"] = .string(state.status)
            row["connectionMsg"] = .string(message(of: state))
        case "tcpListener":
            guard let state = tcpListeners[entity.name] else { break }
            row["operStatus"] = .string(state.isListening ? "up" : "down")
            row["connectionMsg"] = .string(state.message)
            row["connectionsOpened"] = count(state.target.load.total)
            row["connectionsClosed"] = count(state.target.closed.total)
            let octets = sum(state.target.octets)
            row["bytesIn"] = count(Int(octets.octetsIn))
            row["bytesOut"] = count(Int(octets.octetsOut))
        case "tcpConnector":
            guard let state = tcpConnectors[entity.name] else { break }
            // skrouterd counts the connector's own place in the network here, and readers take it off.
            row["connectionsOpened"] = count(state.target.load.total + 1)
            row["connectionsClosed"] = count(state.target.closed.total)
            let octets = sum(state.target.octets)
            row["bytesIn"] = count(Int(octets.octetsIn))
            row["bytesOut"] = count(Int(octets.octetsOut))
        case "listenerAddress":
            let address = listenerTarget(entity)?.addresses.first { $0.name == entity.name }
            row["connectionsOpened"] = count(address?.load.total ?? 0)
        default:
            break
        }
        return row
    }

    /// The agent as an entity.
    var agentRow: ManagementRow {
        ["name": .string("self"), "identity": .string("self"), "type": .string("io.skupper.router.management")]
    }

    /// Every entity of a kind, except those only the loops know; all if `type` is nil.
    func allRows(_ type: RequestedType?) -> [ManagementRow] {
        let own = ["management", "router.node", "logStats", "vhostStats"].compactMap { Schema.type(named: $0) }
        return own.filter { type?.includes($0) ?? true }.flatMap { rows($0) }
            + allEntities.filter { type?.includes($0.entityType) ?? true }.map { row($0) }
    }

    /// Rows that answer a READ but are not part of a QUERY for everything.
    var coreRows: [ManagementRow] { addressRows() + [metricsRow()] }

    /// Ids of the interior routers of the network, this one first if it is one.
    var interiorIDs: [String] {
        let isInterior = routerEntity[string: "mode"] == "interior"
        return (isInterior ? [routerID] : []) + routing.routes.map(\.id)
    }

    /// Every row of a type that the control thread knows by itself.
    func rows(_ type: EntityType) -> [ManagementRow] {
        switch type.shortName {
        case "router.node": nodeRows()
        case "router.address": addressRows()
        case "routerMetrics": [metricsRow()]
        case "management": [agentRow]
        case "logStats": logStatisticsRows(type)
        case "vhostStats": vhostStatisticsRows()
        default: allEntities.filter { $0.type == type.shortName }.map { row($0) }
        }
    }

    private func nodeRows() -> [ManagementRow] {
        guard routerEntity[string: "mode"] == "interior" else { return [] }
        func int(_ value: Int64) -> AMQPValue { Int32(exactly: value).map { .int($0) } ?? .long(value) }
        func node(_ id: String, _ index: Int, _ version: Int, _ instance: Int64, _ peers: [String]) -> [String:
            AMQPValue]
        {
            [
                "name": .string("router.node/\(id)"), "identity": .string("router.node/\(id)"),
                "type": .string("io.skupper.router.router.node"), "id": .string(id), "index": int(Int64(index)),
                "protocolVersion": int(Int64(version)), "instance": int(instance),
                "linkState": .list(peers.sorted().map { .string($0) }),
                "address": .string("amqp:/_topo/0/\(id)"),
            ]
        }
        var own = node(routerID, 0, 1, startedSeconds, Array(routing.ownPeers.keys))
        own["nextHop"] = .string("(self)")
        own["validOrigins"] = .list([])
        own["cost"] = .int(0)
        own["lastTopoChange"] = int(topologyChangedAt)
        let remotes = routing.routes.map { entry -> ManagementRow in
            var row = node(entry.id, entry.maskBit, entry.protocolVersion, entry.instance, Array(entry.peers.keys))
            row["nextHop"] = entry.nextHopID.map { .string($0) } ?? .null
            row["validOrigins"] = .list(entry.validOrigins.sorted().map { .string($0) })
            row["routerLink"] = entry.neighbourSlot.map { int(Int64($0)) } ?? .null
            row["cost"] = entry.isReachable ? int(Int64(entry.cost)) : .null
            return row
        }
        return [own] + remotes
    }

    private func addressRows() -> [ManagementRow] {
        func int(_ value: Int) -> AMQPValue { .int(Int32(clamping: value)) }
        // Temporary addresses come and go while a client asks page by page; last, they do not shift the others.
        func isTemporary(_ entry: AddressEntry) -> Bool { entry.key.hasPrefix("Ltemp.") }
        let sorted = current.addresses.values.sorted {
            isTemporary($0) == isTemporary($1) ? $0.key < $1.key : isTemporary($1)
        }
        return sorted.map { entry in
            let record = addresses[entry.key]
            let counts = entry.traffic.counts
            let containers = entry.traffic.containerCounts
            let networks = entry.traffic.networkCounts
            // Of other treatments nobody keeps count.
            let isBalanced = entry.treatment == .balanced
            return [
                "name": .string(entry.key), "identity": .string(entry.key), "key": .string(entry.key),
                "type": .string("io.skupper.router.router.address"), "distribution": .string(entry.treatment.name),
                "inProcess": int(entry.inProcess ? 1 : 0),
                "subscriberCount": int(entry.connectors.count + entry.consumers.count),
                "remoteCount": int(entry.remotes.count),
                "remoteHostRouters": .list(entry.remotes.map { .string($0.route.id) }),
                "deliveriesIngress": int(counts.ingress), "deliveriesEgress": int(counts.egress),
                "deliveriesTransit": int(counts.transit), "deliveriesToContainer": int(counts.toContainer),
                "deliveriesFromContainer": int(counts.fromContainer),
                "deliveriesEgressRouteContainer": int(containers.egress),
                "deliveriesIngressRouteContainer": int(containers.ingress),
                "deliveriesEgressInterNetwork": int(networks.egress),
                "deliveriesIngressInterNetwork": int(networks.ingress),
                "transitOutstanding": isBalanced ? .list(entry.remotes.map { int($0.load.value) }) : .null,
                "trackedDeliveries": int(isBalanced ? entry.remotes.reduce(0) { $0 + $1.load.value } : 0),
                "priority": int(entry.priority ?? -1), "deliveriesRedirectedToFallback": int(0),
                "watch": .bool(record == nil || isWatched(entry.key)),
            ]
        }
    }

    private func metricsRow() -> ManagementRow {
        func long(_ value: Int) -> AMQPValue { .long(Int64(value)) }
        let totals = totalCounters
        return [
            "name": .string("routerMetrics"), "identity": .string("1"),
            "type": .string("io.skupper.router.routerMetrics"),
            "id": .string(routerID), "version": .string(RouterVersion.text), "addrCount": long(current.addresses.count),
            "nodeCount": long(routing.routes.count), "linkCount": long(totals.links),
            "autoLinkCount": long(autoLinks.rules.count),
            "connectionCount": long(connections.count + tcpConnectionCount(totals)),
            "deliveriesIngress": long(totals.ingress),
            "deliveriesEgress": long(totals.egress), "deliveriesTransit": long(totals.transit),
            "acceptedDeliveries": long(totals.accepted), "releasedDeliveries": long(totals.released),
            "rejectedDeliveries": long(totals.rejected), "modifiedDeliveries": long(totals.modified),
            "presettledDeliveries": long(totals.presettled),
            "droppedPresettledDeliveries": long(totals.droppedPresettled),
            "deliveriesDelayed1Sec": long(totals.delayed1), "deliveriesDelayed10Sec": long(totals.delayed10),
            "deliveriesStuck": long(totals.stuck), "linksBlocked": long(totals.blockedLinks),
            "deliveriesIngressRouteContainer": long(totals.containerIngress),
            "deliveriesEgressRouteContainer": long(totals.containerEgress),
            "deliveriesIngressInterNetwork": long(totals.networkIngress),
            "deliveriesEgressInterNetwork": long(totals.networkEgress),
            "deliveriesRedirectedToFallback": long(0),
            "uptimeSeconds": long(Int(time(nil)) - Int(startedSeconds)),
            "residentMemoryUsage": long(ProcessMemory.residentOctets),
            "memoryUsage": long(ProcessMemory.virtualOctets),
            "connectionCounters": .map(
                serviceConnections(totals).map { MapEntry(key: .string($0.protocol), value: long($0.count)) }),
        ]
    }
}
