import AMQPCodec
import AMQPEndpoints

extension AMQPConnection {
    /// Attaches the 22 fixed links of an inter-router connection, in the order that defines their priorities.
    func attachRouterLinks() {
        let control = beginSession(.control)
        let data = (0..<10).map { beginSession(.data($0)) }
        controlReceiver = control.attach(kind: .control, role: .receiver, capability: WireNames.router)
        controlSender = control.attach(kind: .control, role: .sender, capability: WireNames.router)
        for (priority, session) in data.enumerated() {
            _ = session.attach(kind: .data(priority: priority), role: .receiver, capability: WireNames.routerData)
            dataSenders.append(
                session.attach(kind: .data(priority: priority), role: .sender, capability: WireNames.routerData))
        }
    }

    /// Both control links up: the neighbour can be told.
    func reportControlIfUp() {
        guard !isControlReported, controlSender?.machine.state == .attached, controlReceiver?.machine.state == .attached
        else {
            return
        }
        isControlReported = true
        worker.controlLinksUp(self)
    }

    /// Gives a streaming delivery a link of its own, now or when one is attached.
    func startStreaming(_ delivery: OutgoingDelivery) {
        while let link = idleStreamingLinks.popLast() {
            link.isIdle = false
            if link.mayStart { return delivery.start(on: link) }
            // Out of credit: it comes back to the pool when the peer grants more.
        }
        guard waitingStreams.count < AMQPConnection.waitingMaximum else { return delivery.linkLost() }
        waitingStreams.append(delivery)
        if streamingLinksAttaching < waitingStreams.count { attachStreamingLink() }
    }

    func attachStreamingLink() {
        let session = streamingSession ?? beginSession(.streaming)
        streamingSession = session
        streamingLinksAttaching += 1
        let capability = effectiveRole == .interRouter ? WireNames.routerData : nil
        _ = session.attach(kind: .streaming, role: .sender, capability: capability)
    }

    /// A pooled link can take deliveries: the longest waiting ones, or none.
    func streamingLinkFree(_ link: Link) {
        guard !link.isStarting, !link.isIdle else { return }
        link.isStarting = true
        defer { link.isStarting = false }
        while link.mayStart {
            guard let delivery = waitingStreams.popFirst() else {
                link.isIdle = true
                return idleStreamingLinks.append(link)
            }
            if !delivery.isCancelled { delivery.start(on: link) }
        }
    }

    /// Detaches pooled links beyond the number kept. Called in quiet times, again until it returns 0.
    func trimStreamingLinks(keep: Int, atMost: Int) -> Int {
        let count = min(atMost, idleStreamingLinks.count - keep)
        guard count > 0 else { return 0 }
        let links = idleStreamingLinks.suffix(count)
        idleStreamingLinks.removeLast(count)
        for link in links { link.session.detach(link, error: nil) }
        return count
    }

    /// Gives back the room of tables that were much larger than they are.
    func compact() {
        for case let session? in sessions { session.compact() }
        idleStreamingLinks = Array(idleStreamingLinks)
    }
}

extension Session {
    func compact() {
        outgoing = Session.compacted(outgoing)
        incoming = Session.compacted(incoming)
        localLinks = Session.compacted(localLinks)
        remoteLinks = Session.compacted(remoteLinks)
    }

    /// The same table, in a new and smaller room if it fills less than a quarter of the one it has.
    private static func compacted<Value>(_ table: [UInt32: Value]) -> [UInt32: Value] {
        guard table.capacity > 256, table.count < table.capacity / 4 else { return table }
        return Dictionary(uniqueKeysWithValues: table.map { ($0.key, $0.value) })
    }

    /// Links a peer may attach on one connection.
    private static let linkMaximum = 65536

    /// Attaches a link of ours between routers: both termini present, with the capability that tells what it is.
    func attach(kind: Link.Kind, role: Role, capability: String?) -> Link {
        let capabilities = capability.map { [$0] } ?? []
        return attach(
            kind: kind, role: role, source: Source(expiryPolicy: "link-detach", capabilities: capabilities),
            target: Target(expiryPolicy: "link-detach", capabilities: capabilities),
            number: connection.worker.takeLinkNumber())
    }

    /// Attaches a link of ours with these termini.
    func attach(
        kind: Link.Kind, role: Role, source: Source, target: Target, number: UInt64, isAutomatic: Bool = false
    ) -> Link {
        let link = Link(
            session: self, name: "qdlink." + connection.worker.randomName(), kind: kind, localHandle: takeHandle(),
            role: role, capacity: connection.settings.linkCapacity, number: number)
        link.isAutomatic = isAutomatic
        keep(link)
        attaching[Session.attachKey(role, link.name)] = link
        sendAttach(link, source: source, target: target)
        return link
    }

    private func keep(_ link: Link) {
        localLinks[link.localHandle] = link
        connection.linkCount += 1
        if link.kind.isNumbered || link.isAutomatic { connection.linksByNumber[link.number] = link }
    }

    func sendAttach(_ link: Link, source: Source?, target: Target?) {
        let attach = Attach(
            name: link.name, handle: link.localHandle, role: link.role, sndSettleMode: link.senderSettleMode,
            rcvSettleMode: link.receiverSettleMode, source: source, target: target,
             initialDeliveryCount: link.role == .sender ? 0 : nil,
            maxMessageSize: link.role == .receiver ? connection.messageMaximum : 0, properties: [])
        connection.send(encodeFrame(channel: localChannel) { attach.encode(into: &$0) })
        try? link.machine.apply(.attachSent)
    }

    func received(_ attach: Attach) throws {
        guard machine.state == .mapped else { return }
        guard attach.handle <= Session.handleMaximum, connection.linkCount < Session.linkMaximum else {
            throw EndpointError(
                .session, "amqp:resource-limit-exceeded",
                "attach of handle \(attach.handle), \(connection.linkCount) links on this connection")
        }
        guard remoteLinks[attach.handle] == nil else {
            throw EndpointError(.session, "amqp:session:handle-in-use", "attach reuses handle \(attach.handle)")
        }
        let ourRole: Role = attach.role == .sender ? .receiver : .sender
        if let link = attaching.removeValue(forKey: Session.attachKey(ourRole, attach.name)) {
            return try answerReceived(link, attach)
        }
        try attachedByPeer(attach, ourRole: ourRole)
    }

    /// Link names are unique per direction within a session.
    private static func attachKey(_ role: Role, _ name: String) -> String { (role == .sender ? ">" : "<") + name }

    /// The peer's half of an attach that we began.
    private func answerReceived(_ link: Link, _ attach: Attach) throws {
        link.remoteHandle = attach.handle
        remoteLinks[attach.handle] = link
        try link.machine.apply(.attachReceived)
        link.machine.remoteAttached(initialDeliveryCount: attach.initialDeliveryCount ?? 0)
        if awaitsMessageLink {
            awaitsMessageLink = false
            connection.messageLinksAttaching -= 1
        } else if link.kind == .streaming {
            connection.streamingLinksAttaching -= 1
        }
        if link.machine.state == .detachSent { return }
        guard attach.source != nil || attach.target != nil else { return }  // refused: a detach follows
        if link.isAutomatic { return automaticLinkAnswered(link, attach) }
        if link.role == .receiver {
            link.machine.grant(link.capacity)
            sendFlow(link)
        }
        if link.kind == .control { connection.reportControlIfUp() }
    }

    /// A link that the peer begins: classify, answer, grant credit.
    private func attachedByPeer(_ attach: Attach, ourRole: Role) throws {
        let terminus = ourRole == .receiver ? attach.target?.capabilities ?? [] : attach.source?.capabilities ?? []
        if let error = connection.refusal(of: attach, ourRole: ourRole) {
            return refuse(attach, ourRole: ourRole, error)
        }
        let kind: Link.Kind
        switch classify(attach, ourRole: ourRole, capabilities: terminus) {
        case .success(let found): kind = found
        case .failure(let refusal):
            return refuse(attach, ourRole: ourRole, refusal.error, isCounted: connection.policy != nil)
        }
        let link = Link(
            session: self, name: attach.name, kind: kind, localHandle: takeHandle(), role: ourRole,
            capacity: connection.settings.linkCapacity, number: connection.worker.takeLinkNumber())
        link.remoteHandle = attach.handle
        remoteLinks[attach.handle] = link
        keep(link)
        try link.machine.apply(.attachReceived)
        link.machine.remoteAttached(initialDeliveryCount: attach.initialDeliveryCount ?? 0)
        link.isCounted = connection.policy != nil
        link.senderSettleMode = attach.sndSettleMode
        link.receiverSettleMode = attach.rcvSettleMode
        link.takesStreams = ourRole == .receiver && terminus.contains(WireNames.streamingDeliveries)
        link.resendsReleased = ourRole == .receiver && terminus.contains(WireNames.resendReleased)
        link.sendsSettled = ourRole == .sender && attach.sndSettleMode == 1
        answer(attach, link)
        connection.worker.linkAttached(link, connection: connection)
        switch kind {
        case .control:
            if ourRole == .sender { connection.controlSender = link } else { connection.controlReceiver = link }
        case .data where ourRole == .sender:
            connection.dataSenders.append(link)
        default:
            break
        }
        if ourRole == .receiver, link.heldAttach == nil { giveFirstCredit(link) }
        if kind == .control { connection.reportControlIfUp() }
    }

    /// Our half of an attach that the peer began: its termini, with the addresses that it asked us to make.
    private func answer(_ attach: Attach, _ link: Link) {
        var source = attach.source ?? Source()
        var target = attach.target ?? Target()
        if link.kind == .control || isRouterLink(link.kind) {
            source.expiryPolicy = "session-end"
            target.expiryPolicy = "session-end"
        }
        let worker = connection.worker
        if case .consumer(let key) = link.kind, source.dynamic {
            source.address = AddressScope.address(
                ofLocal: key.dropFirst(), selfID: worker.routerID, isEdge: worker.isEdge,
                network: worker.networkID)
        }
        if case .producer(let address?) = link.kind, target.dynamic { target.address = "amqp:/" + address }
        if case .consumer = link.kind {
            link.heldAttach = (source, target)
            heldLinks.append(link)
        } else if case .producer = link.kind, !heldLinks.isEmpty {
            // Attaches are answered in their order: who asks for a reply address first has it before it may send.
            link.heldAttach = (source, target)
            link.isAnswerDue = true
            heldLinks.append(link)
        } else {
            sendAttach(link, source: source, target: target)
        }
    }

    func giveFirstCredit(_ link: Link) {
        // An edge router's proxies may always send.
        if case .producer(let address?) = link.kind, !connection.effectiveRole.joinsEdge {
            let scope = connection.worker.scope(address)
            link.scope = scope
            connection.targetedProducers.append(link)
            link.isStarved = !connection.worker.isReachable(scope)
        }
        guard !link.isStarved else { return }
        link.machine.grant(link.capacity)
        sendFlow(link)
    }

    private func isRouterLink(_ kind: Link.Kind) -> Bool {
        switch kind {
        case .data, .streaming: true
        default: false
        }
    }

    private func classify(_ attach: Attach, ourRole: Role, capabilities: [String]) -> Result<Link.Kind, Refusal> {
        let connection = connection
        if attach.target?.isCoordinator == true {
            return .failure(Refusal("amqp:not-implemented", "transactions are not supported"))
        }
        if capabilities.contains(WireNames.router) || capabilities.contains(WireNames.routerData) {
            guard connection.effectiveRole == .interRouter else {
                return .failure(Refusal("qd:forbidden", "router links are only allowed on inter-router connections"))
            }
            if capabilities.contains(WireNames.router) {
                let existing = ourRole == .sender ? connection.controlSender : connection.controlReceiver
                guard existing == nil else {
                    return .failure(Refusal("qd:forbidden", "a control link of this direction exists"))
                }
                return .success(.control)
            }
            if ourRole == .sender {
                return .success(
                    connection.dataSenders.count < 10 ? .data(priority: connection.dataSenders.count) : .streaming)
            }
            connection.dataReceiverCount += 1
            return .success(
                connection.dataReceiverCount <= 10 ? .data(priority: connection.dataReceiverCount - 1) : .streaming)
        }
        switch connection.effectiveRole {
        case .interRouterData:
            return .success(.streaming)
        case .interRouter:
            guard connection.controlSender != nil else {
                return .failure(Refusal("qd:connection-role", "links before the control links are up"))
            }
            return ourRole == .receiver && attach.target?.address == nil
                ? .success(.streaming) : endpoint(attach, ourRole)
        case .interEdge where ourRole == .receiver && capabilities.contains(WireNames.interEdge):
            return .success(.interEdge)
        case .normal, .edge, .interEdge, .routeContainer, .interNetwork:
            return endpoint(attach, ourRole)
        }
    }

    private static var unavailable: Refusal { Refusal("amqp:not-found", "Node not found") }

    private func endpoint(_ attach: Attach, _ ourRole: Role) -> Result<Link.Kind, Refusal> {
        let worker = connection.worker
        if ourRole == .receiver {
            if attach.target?.dynamic == true { return .success(.producer("_$temp." + worker.randomName())) }
            guard let address = attach.target?.address, !address.isEmpty else { return .success(.producer(nil)) }
            if connection.effectiveRole == .edge, address == WireNames.meshDiscovery {
                return .success(.meshDiscovery)
            }
            if connection.effectiveRole == .interEdge, address == WireNames.meshBid { return .success(.meshBid) }
            if worker.isUnavailable(worker.scope(address)) { return .failure(Session.unavailable) }
            return .success(.producer(address))
        }
        if attach.source?.dynamic == true { return .success(.consumer("Ltemp.a" + worker.randomName().dropFirst())) }
        guard let address = attach.source?.address, !address.isEmpty else {
            return .failure(Refusal("amqp:invalid-field", "a receiver needs a source address"))
        }
        if connection.effectiveRole == .edge {
            if address == WireNames.edgeTracking { return .success(.tracking) }
            if attach.source?.capabilities.contains(WireNames.edgeDownlink) == true {
                return .success(.consumer("H" + address))
            }
        }
        let scope = worker.scope(address)
        switch scope {
        case .router, .edge, .uplink:
            return .failure(Refusal("qd:no-route-to-dest", "No route to the destination node"))
        case .local, .all, .mobile, .network:
            if worker.isUnavailable(scope) { return .failure(Session.unavailable) }
            return .success(.consumer(scope.key))
        }
    }

    private func refuse(_ attach: Attach, ourRole: Role, _ error: AMQPError, isCounted: Bool = false) {
        let link = Link(
            session: self, name: attach.name, kind: .producer(nil), localHandle: takeHandle(), role: ourRole,
            capacity: 0, number: 0)
        link.isCounted = isCounted
        link.remoteHandle = attach.handle
        remoteLinks[attach.handle] = link
        keep(link)
        try? link.machine.apply(.attachReceived)
        sendAttach(link, source: nil, target: nil)
        detach(link, error: error)
        Log.write(
            .server, .warning,
            "[C\(connection.ref.id)] link \(attach.name) refused: \(error.condition): \(error.description ?? "")")
    }

    /// Detaches a link of which we want no more.
    func detach(_ link: Link, error: AMQPError?) {
        releaseAttach(link, atOnce: true)
        guard link.machine.state == .attached || link.machine.state == .attachSent else { return }
        try? link.machine.apply(.detachSent)
        let detach = Detach(handle: link.localHandle, closed: true, error: error)
        connection.send(encodeFrame(channel: localChannel) { detach.encode(into: &$0) })
        endDeliveries(of: link)
    }

    func received(_ detach: Detach) throws {
        guard machine.state == .mapped else { return }
        guard let link = remoteLinks[detach.handle] else {
            throw EndpointError(.session, "amqp:session:unattached-handle", "detach of handle \(detach.handle)")
        }
        guard detach.closed else {
            throw EndpointError(.connection, "amqp:not-implemented", "link detach/reattach not supported")
        }
        releaseAttach(link, atOnce: true)
        try link.machine.apply(.detachReceived)
        remoteLinks[detach.handle] = nil
        let began = link.machine.state == .detached
        if !began {
            let answer = Detach(handle: link.localHandle, closed: true, error: nil)
            connection.send(encodeFrame(channel: localChannel) { answer.encode(into: &$0) })
            try link.machine.apply(.detachSent)
            endDeliveries(of: link)
        }
        localLinks[link.localHandle] = nil
        connection.linkCount -= 1
        connection.linksByNumber[link.number] = nil
        releaseHandle(link.localHandle)
        connection.worker.linkGone(link, connection: connection, error: detach.error)
        if link.kind == .control { connection.worker.controlLinkDetached(connection) }
        if isForLongMessages { endOfOurs() }
    }

    private func endDeliveries(of link: Link) {
        connection.idleStreamingLinks.removeAll { $0 === link }
        if let receiving = link.receiving {
            link.receiving = nil
            receiving.linkLost()
        }
        for delivery in link.waiting.removeAll() { delivery.linkLost() }
        let leaving = outgoing.values.filter { $0.link === link }
        for delivery in leaving { delivery.linkLost() }
        // A pre-settled delivery in progress stands in no table but on its link.
        link.sending?.linkLost()
        link.sending = nil
        // Complete ones as well: what their consumer still decides has no link to travel on.
        let arriving = incoming.values.filter { $0.link === link }
        for delivery in arriving {
            incoming[delivery.id] = nil
            delivery.linkLost()
        }
        connection.dataSenders.removeAll { $0 === link }
        connection.forgetProducer(link)
    }
}

/// Why a link is refused.
struct Refusal: Error {
    var error: AMQPError
    init(_ condition: String, _ description: String) {
        error = AMQPError(condition: condition, description: description)
    }
}
