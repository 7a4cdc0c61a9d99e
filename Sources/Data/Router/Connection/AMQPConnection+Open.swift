import AMQPCodec
import AMQPEndpoints
import RouterConfig

/// Capability and property names of the inter-router protocol (router-protocol sheet, section 1.4).
enum WireNames {
    static let capabilities = ["ANONYMOUS-RELAY", "qd.streaming-links", "qd.connection_trunking"]
    static let trunking = "qd.connection_trunking"
    static let streamingLinks = "qd.streaming-links"
    /// Capability of a client's target: forward its messages before they are complete.
    static let streamingDeliveries = "qd.streaming-deliveries"
    /// Capability of a client's target: a message that a consumer releases is sent to another one.
    static let resendReleased = "qd.resend-released"
    static let edgeDownlink = "qd.router-edge-downlink"
    static let edgeTracking = "_$qd.edge_addr_tracking"
    static let meshBid = "_$qd.mesh_id_negotiation"
    static let interEdge = "qd.router-inter-edge"
    static let meshDiscovery = "_$qd.mesh_discovery"
    static let router = "qd.router"
    static let routerData = "qd.router-data"
    static let cost = "qd.inter-router-cost"
    static let role = "qd.inter-router-role"
    static let correlator = "qd.group-correlator"
    static let ordinal = "qd.group-ordinal"
    static let accessID = "qd.access-id"
    static let annotationsVersion = "qd.annotations-version"
    /// Ours: the sender understands cost changes on a live link.
    static let liveCost = "skupper.live-cost"
    /// Ours: the sender of this Open never lets a control connection be silent for longer, in milliseconds.
    static let heartbeat = "skupper.heartbeat"
    static let connectionID = "qd.conn-id"
    static let dataRole: Int32 = 4
}

extension AMQPConnection {
    /// Protocol header and Open in one go.
    func sendOpen() {
        do {
            if settings.isConnector { try sendHeader() }
            let open = makeOpen()
            send(encodeFrame(channel: 0) { open.encode(into: &$0) })
            try machine.apply(.openSent)
        } catch {
            close("cannot open: \(error)")
        }
    }

    func sendHeader() throws(EndpointError) {
        send(amqpHeader)
        try machine.apply(.headerSent)
    }

    private func makeOpen() -> Open {
        var open = Open(containerID: worker.routerID)
        if settings.isConnector { open.hostname = settings.host }
        open.maxFrameSize = UInt32(settings.maxFrameSize)
        open.channelMax = settings.channelMax
        if settings.idleTimeoutMilliseconds > 0 {
            open.idleTimeoutMilliseconds = UInt32(clamping: settings.idleTimeoutMilliseconds / 2)
        }
        open.offeredCapabilities = WireNames.capabilities
        if settings.role == .interEdge {
            // skupper-router has no links of their own for streams towards a neighbour in a mesh, and loses a stream
            // for which it is offered one; without the offer it sends streams on the links of their addresses.
            open.offeredCapabilities.removeAll { $0 == WireNames.streamingLinks }
            open.offeredCapabilities.append(WireNames.interEdge)
        }
        open.desiredCapabilities = open.offeredCapabilities
        var properties: [MapEntry] = []
        func add(_ key: String, _ value: AMQPValue) { properties.append(MapEntry(key: .symbol(key), value: value)) }
        add("product", .string("skupper-router"))
        add("version", .string(RouterVersion.text))
        add(WireNames.connectionID, .int(Int32(truncatingIfNeeded: ref.id)))
        if settings.cost > 1, settings.role != .normal { add(WireNames.cost, .int(Int32(clamping: settings.cost))) }
        if settings.isConnector, settings.role == .interRouterData { add(WireNames.role, .int(WireNames.dataRole)) }
        if let correlator = settings.groupCorrelator, settings.isConnector {
            add(WireNames.correlator, .string(correlator))
            if let tls = settings.tls { add(WireNames.ordinal, .ulong(UInt64(clamping: tls.profile.ordinal))) }
        }
        if !settings.isConnector, let accessID = settings.accessID { add(WireNames.accessID, .string(accessID)) }
        if settings.role.carriesAnnotations {
            add(WireNames.annotationsVersion, .int(2))
            add(WireNames.liveCost, .int(1))
        }
        if !settings.failover.isEmpty { add(FailoverAddress.property, .list(settings.failover.map(\.amqp))) }
        for (name, value) in settings.openProperties.sorted(by: { $0.key < $1.key }) { add(name, value.amqp) }
        if settings.role == .interRouter { add(WireNames.heartbeat, .int(Int32(AMQPConnection.controlHeartbeat))) }
        open.properties = properties
        return open
    }

    /// The peer's Open: settles role, limits and cost, and brings up the inter-router links.
    func received(_ open: Open) throws {
        guard remoteOpen == nil else {
            throw EndpointError(.connection, "amqp:connection:framing-error", "second open")
        }
        try machine.apply(.openReceived)
        // A client or server may be nameless, as Proton's are; a router that comes to us is known by its id.
        guard !open.containerID.isEmpty || settings.isConnector || settings.role == .normal else {
            throw EndpointError(.connection, "amqp:invalid-field", "open without a container id")
        }
        remoteOpen = open
        guard isAdmitted(open) else { return }
        peerMaxFrame = max(512, min(Int(clamping: open.maxFrameSize), ConnectionSettings.largestFrame))
        if let idle = open.idleTimeoutMilliseconds, idle > 0 { 
            peerHeartbeat = max(50, Int64(idle) / 2)
            worker.tickFaster(for: peerHeartbeat)
        }
        if !settings.isConnector {
            if settings.role == .interRouter, property(WireNames.role)?.intValue == Int64(WireNames.dataRole) {
                effectiveRole = .interRouterData
            }
            sendOpen()
        }
        // Not for clients: what comes in is taken for an edge router's.
        guard settings.role != .interEdge || open.offeredCapabilities.contains(WireNames.interEdge) else {
            throw EndpointError(
                .connection, "amqp:not-allowed", "role inter-edge is for edge routers; \(open.containerID) is none")
        }
        // Both of ours promise the same. Who promises it also wants it.
        if effectiveRole == .interRouter, let promised = property(WireNames.heartbeat)?.intValue,
            (1...AMQPConnection.controlHeartbeat).contains(promised)
        {
            watchesSilence = true
            peerHeartbeat = min(peerHeartbeat > 0 ? peerHeartbeat : .max, AMQPConnection.controlHeartbeat)
        }
        if effectiveRole.carriesAnnotations, let version = property(WireNames.annotationsVersion)?.intValue {
            Log.write(.router, .debug, "Remote router annotations version: \(version) [C\(ref.id)]")
        }
        // Routers of ours take them between edge routers too, where they do not offer them.
        peerTakesStreamingLinks =
            open.offeredCapabilities.contains(WireNames.streamingLinks)
            || effectiveRole == .interEdge && property(WireNames.liveCost) != nil
        openedAt = worker.now
        closeReason = nil
        worker.connectionOpened(self, info: makeInfo(open))
        if settings.isConnector, settings.role == .interRouter { attachRouterLinks() }
    }

    /// A property of the peer's Open.
    func property(_ name: String) -> AMQPValue? {
        remoteOpen?.properties.first { $0.key.stringValue == name }?.value
    }

    /// Generation that the connector's side gave this connection's group.
    var groupOrdinal: Int {
        if settings.isConnector { return settings.tls?.profile.ordinal ?? 0 }
        return property(WireNames.ordinal)?.uintValue.map { Int(clamping: $0) } ?? 0
    }

    private func makeInfo(_ open: Open) -> ConnectionInfo {
        // Only an AMQP int counts as a cost, as skupper-router reads it.
        var cost = settings.cost
        if case .int(let remote)? = property(WireNames.cost), remote > 1 { cost = max(cost, Int(remote)) }
        return ConnectionInfo(
            ref: ref, role: effectiveRole, entity: settings.entity, isConnector: settings.isConnector,
            container: open.containerID, host: peerText, cost: cost,
            groupCorrelator: settings.isConnector
                ? settings.groupCorrelator : property(WireNames.correlator)?.stringValue,
            peerTrunking: open.offeredCapabilities.contains(WireNames.trunking), user: userName,
            maySetAdminStatus: policy?.grant.rules.allowsAdminStatusUpdate ?? true,
            mechanism: mechanism, tlsProtocol: tls?.protocolName, tlsCipher: tls?.cipherName,
            choiceLimit: settings.choiceLimit,
            tlsOrdinal: settings.tls?.profile.ordinal ?? 0, groupOrdinal: groupOrdinal,
            properties: open.properties.compactMap { entry in
                guard let key = entry.key.stringValue else { return nil }
                return (key, entry.value.stringValue ?? entry.value.intValue.map(String.init) ?? "")
            },
            failover: settings.isConnector ? FailoverAddress.read(property(FailoverAddress.property)) : nil,
            openedMilliseconds: worker.now)
    }

    // MARK: Performatives

    /// A frame other than a transfer.
    func received(_ performative: Performative, channel: UInt16) throws {
        switch performative {
        case .open(let open):
            return try received(open)
        case .close(let close):
            return try received(close)
        default:
            break
        }
        if machine.state == .discarding || machine.state == .closeSent { return }
        guard machine.acceptsFrames else {
            throw EndpointError(
                .connection, "amqp:connection:framing-error", "frame before open (state \(machine.state))")
        }
        switch performative {
        case .begin(let begin): try received(begin, channel: channel)
        case .end(let end): try received(end, channel: channel)
        case .attach(let attach): try inSession(channel) { try $0.received(attach) }
        case .detach(let detach): try inSession(channel) { try $0.received(detach) }
        case .flow(let flow): try inSession(channel) { try $0.received(flow) }
        case .disposition(let disposition): try inSession(channel) { try $0.received(disposition) }
        case .transfer, .open, .close: break
        }
    }

    private func received(_ close: Close) throws {
        try machine.apply(.closeReceived)
        let reason = close.error.map { "\($0.condition): \($0.description ?? "")" } ?? "peer closed the AMQP connection"
        if machine.state == .closeRcvd { sendClose(nil) }
        self.close(reason)
    }

    /// Runs `body` for the session of a channel; ends only that session when the peer broke session or link rules.
    private func inSession(_ channel: UInt16, _ body: (Session) throws -> Void) throws {
        let session = try session(channel)
        do {
            try body(session)
        } catch let error as EndpointError where error.scope != .connection {
            session.fail(error)
        }
    }

    func session(_ channel: UInt16) throws -> Session {
        guard Int(channel) < sessionsByRemoteChannel.count, let session = sessionsByRemoteChannel[Int(channel)] else {
            throw EndpointError(.connection, "amqp:not-allowed", "frame on channel \(channel), which has no session")
        }
        return session
    }
}
