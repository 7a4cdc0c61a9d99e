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

    /// Detaches pooled links that have been idle beyond the number kept. Called now and then.
    func trimStreamingLinks(keep: Int, atMost: Int) {
        var left = atMost
        while idleStreamingLinks.count > keep, left > 0 {
            let link = idleStreamingLinks.removeFirst()
            link.session.detach(link, error: nil)
            left -= 1
        }
    }
}

extension Session {
    /// Links a peer may attach on one connection.
    private static let linkMaximum = 65536

    /// Attaches a link of ours between routers: both termini present, with the capability that tells what it is.
    func attach(kind: Link.Kind, role: Role, capability: String?) -> Link {
        let link = Link(
            session: self, name: "qdlink." + connection.worker.randomName(), kind: kind, localHandle: takeHandle(),
            role: role,
            capacity: connection.settings.linkCapacity, number: connection.worker.takeLinkNumber())
        keep(link)
        attaching[Session.attachKey(role, link.name)] = link
        let capabilities = capability.map { [$0] } ?? []
        sendAttach(
            link, source: Source(expiryPolicy: "link-detach", capabilities: capabilities),
            target: Target(expiryPolicy: "link-detach", capabilities: capabilities))
        return link
    }

    private func keep(_ link: Link) {
        localLinks[link.localHandle] = link
        connection.linkCount += 1
        if case .consumer = link.kind { connection.linksByNumber[link.number] = link }
    }

    func sendAttach(_ link: Link, source: Source?, target: Target?) {
        let attach = Attach(
            name: link.name, handle: link.localHandle, role: link.role, sndSettleMode: 2, rcvSettleMode: 0,
            source: source,
            target: target, initialDeliveryCount: link.role == .sender ? 0 : nil, maxMessageSize: 0, properties: [])
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
        if link.kind == .streaming { connection.streamingLinksAttaching -= 1 }
        if link.machine.state == .detachSent { return }
        guard attach.source != nil || attach.target != nil else { return }  // refused: a detach follows
        if link.role == .receiver {
            link.machine.grant(link.capacity)
            sendFlow(link)
        }
        if link.kind == .control { connection.reportControlIfUp() }
    }

    /// A link that the peer begins: classify, answer, grant credit.
    private func attachedByPeer(_ attach: Attach, ourRole: Role) throws {
        let terminus = ourRole == .receiver ? attach.target?.capabilities ?? [] : attach.source?.capabilities ?? []
        let kind: Link.Kind
        switch classify(attach, ourRole: ourRole, capabilities: terminus) {
        case .success(let found): kind = found
        case .failure(let refusal): return refuse(attach, ourRole: ourRole, refusal.error)
        }
        let link = Link(
            session: self, name: attach.name, kind: kind, localHandle: takeHandle(), role: ourRole,
            capacity: connection.settings.linkCapacity, number: connection.worker.takeLinkNumber())
        link.remoteHandle = attach.handle
        remoteLinks[attach.handle] = link
        keep(link)
        try link.machine.apply(.attachReceived)
        link.machine.remoteAttached(initialDeliveryCount: attach.initialDeliveryCount ?? 0)
        var source = attach.source ?? Source()
        var target = attach.target ?? Target()
        if kind == .control || isRouterLink(kind) {
            source.expiryPolicy = "session-end"
            target.expiryPolicy = "session-end"
        }
        if case .consumer(let key) = kind, source.dynamic {
            source.address = "amqp:/_topo/0/\(connection.worker.routerID)/\(key.dropFirst())"
        }
        sendAttach(link, source: source, target: target)
        connection.worker.linkAttached(link, connection: connection)
        switch kind {
        case .control:
            if ourRole == .sender { connection.controlSender = link } else { connection.controlReceiver = link }
        case .data where ourRole == .sender:
            connection.dataSenders.append(link)
        default:
            break
        }
        if ourRole == .receiver {
            if case .producer(let address?) = kind, !connection.worker.isReachable(address) {
                link.isStarved = true
            } else {
                link.machine.grant(link.capacity)
                sendFlow(link)
            }
        }
        if kind == .control { connection.reportControlIfUp() }
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
        case .normal, .edge, .routeContainer:
            return endpoint(attach, ourRole)
        }
    }

    private func endpoint(_ attach: Attach, _ ourRole: Role) -> Result<Link.Kind, Refusal> {
        if ourRole == .receiver {
            if attach.target?.dynamic == true {
                return .failure(Refusal("amqp:not-implemented", "dynamic targets are not supported"))
            }
            return .success(.producer(attach.target?.address))
        }
        if attach.source?.dynamic == true {
            return .success(.consumer("Ltemp.a" + connection.worker.randomName().dropFirst()))
        }
        guard let address = attach.source?.address, !address.isEmpty else {
            return .failure(Refusal("amqp:invalid-field", "a receiver needs a source address"))
        }
        return .success(.consumer(AddressScope(address, selfID: connection.worker.routerID).key))
    }

    private func refuse(_ attach: Attach, ourRole: Role, _ error: AMQPError) {
        let link = Link(
            session: self, name: attach.name, kind: .producer(nil), localHandle: takeHandle(), role: ourRole,
            capacity: 0, number: 0)
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
        guard link.machine.state == .attached || link.machine.state == .attachSent else { return }
        try? link.machine.apply(.detachSent)
        let detach = Detach(handle: link.localHandle, closed: true, error: error)
        connection.send(encodeFrame(channel: localChannel) { detach.encode(into: &$0) })
        endDeliveries(of: link)
    }

    func received(_ detach: Detach) throws {
        guard let link = remoteLinks[detach.handle] else {
            throw EndpointError(.session, "amqp:session:unattached-handle", "detach of handle \(detach.handle)")
        }
        guard detach.closed else {
            throw EndpointError(.connection, "amqp:not-implemented", "link detach/reattach not supported")
        }
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
        connection.worker.linkGone(link, connection: connection)
        if link.kind == .control { connection.close("peer detached its control link") }
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
    }
}

/// Why a link is refused.
struct Refusal: Error {
    var error: AMQPError
    init(_ condition: String, _ description: String) {
        error = AMQPError(condition: condition, description: description)
    }
}

extension Link {
    /// The next delivery may begin.
    var mayStart: Bool {
        sending == nil && machine.credit > 0 && machine.state == .attached
            && session.outgoing.count < Session.unsettledMaximum
    }

    /// Sender: a flow of the peer gave credit, took it back or asks for a word.
    func creditArrived(echo: Bool) {
        guard machine.state == .attached else { return }
        becameFree()
        // Asked to drain with nothing to send: the credit goes back at once.
        let drains = machine.drain && (waiting.isEmpty || machine.credit == 0)
        if drains { machine.drained() }
        if drains || echo { session.sendFlow(self, drain: drains) }
    }

    /// No delivery is under way: the next may start.
    func becameFree() {
        if kind == .streaming { session.connection.streamingLinkFree(self) } else { startNext() }
    }

    /// Starts waiting deliveries while the link is free and has credit.
    private func startNext() {
        guard !isStarting else { return }
        isStarting = true
        while mayStart, let delivery = waiting.popFirst() {
            if !delivery.isCancelled { delivery.start(on: self) }
        }
        isStarting = false
    }

    /// Receiver: one more delivery needs no more credit held back; tell the sender in batches.
    func replenish() {
        consumed += 1
        guard consumed >= max(1, capacity / 4), machine.state == .attached else { return }
        machine.grant(machine.credit &+ consumed)
        consumed = 0
        session.sendFlow(self)
    }
}
