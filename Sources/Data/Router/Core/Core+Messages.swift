import AMQPCodec
import Glibc
import LinkStateRouting

extension Core {
    /// A whole message from a loop. `bytes` is the bare message, without router annotations.
    func received(_ context: MessageContext, bytes: [UInt8]) {
        let destination = context.target ?? context.head.annotations?.toOverride ?? context.head.properties?.to ?? ""
        switch context.service {
        case .routing:
            receivedControl(context, bytes: bytes, scope: AddressScope(destination, selfID: routerID))
        case .tracking: trackingReceived(context, bytes: bytes)
        case .meshDiscovery: meshAnnounced(context)
        case .meshBid: bidReceived(context)
        case .address where context.isRequest:
            agent.received(bytes, context: context, core: self)
        case .address:
            if receivedTelemetry(context, bytes: bytes) || receivedTest(context) { return }
            Log.write(.core, .debug, "message to \(destination) dropped: the router answers nothing there")
        }
    }

    // MARK: Routing messages

    private func receivedControl(_ context: MessageContext, bytes: [UInt8], scope: AddressScope) {
        guard let slot = connections[context.connection]?.slot else { return }
        switch scope {
        case .local(let name) where name == "qdhello" || name == "qdrouter" || name == "qdrouter.ma":
            handleRouting(context, bytes: bytes, slot: slot)
        case .all(let name) where name == "qdrouter" || name == "qdrouter.ma":
            handleRouting(context, bytes: bytes, slot: slot)
            relayFlood(context, bytes: bytes, from: slot)
        case .router(let id):
            relay(context, bytes: bytes, to: id)
        default:
            Log.write(.core, .debug, "control message to \(context.head.properties?.to ?? "?") dropped")
        }
    }

    private func handleRouting(_ context: MessageContext, bytes: [UInt8], slot: Int) {
        guard
            let opcode = context.head.applicationProperties.first(where: { $0.key.stringValue == "opcode" })?.value
                .stringValue,
            let body = bodyValue(bytes)
        else {
            Log.write(.core, .warning, "[C\(context.connection.id)] routing message without opcode or body dropped")
            return
        }
        if opcode == "COST" { return receivedCost(body, context.connection, slot: slot) }
        perform(
            routing.handle(
                .messageReceived(slot: slot, opcode: opcode, body: body, ingress: context.head.annotations?.ingress),
                now: now))
    }

    /// The value of an amqp-value body.
    func bodyValue(_ bytes: [UInt8]) -> AMQPValue? {
        bytes.withUnsafeBytes { buffer -> AMQPValue? in
            guard case .head(let head) = try? MessageHead.scan(buffer, complete: true), head.bodyOffset < buffer.count
            else { return nil }
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: buffer[head.bodyOffset...]))
            guard case .described(_, let value)? = try? AMQPValue.decode(from: &reader) else { return nil }
            return value
        }
    }

    func perform(_ effects: [RoutingEffect]) {
        for effect in effects {
            switch effect {
            case .sendToNeighbour(let slot, let message):
                sendControl(message.encode(selfID: routerID), slot: slot)
            case .sendToRouter(let id, let message):
                guard let slot = routing.route(to: id)?.slot else { continue }
                sendControl(message.encode(selfID: routerID), slot: slot)
            case .flood(let message):
                let bytes = message.encode(selfID: routerID)
                for slot in slots.keys { sendControl(bytes, slot: slot) }
            case .routesChanged:
                topologyChangedAt = Int64(time(nil))
                tablesChanged()
            case .neighbourUp(let id, let slot, let cost):
                Log.write(.hello, .info, "neighbour \(id) is up on slot \(slot), cost \(cost)")
            case .neighbourLost(let id, let slot, let reason):
                Log.write(.hello, .info, "neighbour \(id) on slot \(slot) is lost: \(reason)")
            case .wakeAfter(let milliseconds):
                wake(after: milliseconds)
            case .log(let level, let text):
                Log.write(.linkState, LogLevel(name: level.rawValue) ?? .info, text)
            }
        }
    }

    private func sendControl(_ bytes: [UInt8], slot: Int) {
        guard let ref = slots[slot] else { return }
        let worker = workers[ref.worker]
        worker.post { worker.sendMessage(bytes, on: ref.id, .control) }
    }

    /// Annotations of a message that passes through: own id added to the trace.
    private func passing(_ context: MessageContext, bytes: [UInt8]) -> [UInt8] {
        var annotations =
            context.head.annotations
            ?? RouterAnnotations(
                flags: 0, toOverride: nil, ingress: "0/" + routerID, trace: [], meshID: nil)
        annotations.trace.append("0/" + routerID)
        var encoder = AMQPEncoder()
        annotations.encode(into: &encoder)
        return encoder.bytes + bytes
    }

    private func relay(_ context: MessageContext, bytes: [UInt8], to id: String) {
        let trace = context.head.annotations?.trace ?? []
        guard trace.count <= routing.radius + 1, !trace.contains("0/" + routerID),
            let slot = routing.route(to: id)?.slot
        else { return }
        sendControl(passing(context, bytes: bytes), slot: slot)
    }

    /// Floods go to every neighbour that has not had them, see `FloodRelay`.
    private func relayFlood(_ context: MessageContext, bytes: [UInt8], from slot: Int) {
        let trace = (context.head.annotations?.trace ?? []).map { hop in
            hop.utf8.starts(with: "0/".utf8) ? String(hop.dropFirst(2)) : hop
        }
        let targets = routing.relaySlots(content: bytes, from: slot, trace: trace, now: now)
        guard !targets.isEmpty else { return }
        let message = passing(context, bytes: bytes)
        for other in targets { sendControl(message, slot: other) }
    }

    // MARK: Live cost, between routers of ours

    func sendCost(_ cost: Int, to ref: ConnectionRef) {
        guard let slot = connections[ref]?.slot else { return }
        let own = "0/" + routerID
        var encoder = AMQPEncoder()
        RouterAnnotations(flags: 0, toOverride: nil, ingress: own, trace: [own], meshID: nil).encode(into: &encoder)
        encoder.described(0x70)
        encoder.list(1) { $0.bool(false) }
        encoder.described(0x73)
        encoder.list(3) { list in
            list.null()
            list.null()
            list.string(RoutingMessage.helloAddress)
        }
        encoder.described(0x74)
        encoder.map(1) { map in
            map.string("opcode")
            map.string("COST")
        }
        encoder.described(0x77)
        encoder.map(2) { map in
            map.string("id")
            map.string(routerID)
            map.string("cost")
            map.int(Int32(clamping: cost))
        }
        sendControl(encoder.bytes, slot: slot)
    }

    private func receivedCost(_ body: AMQPValue, _ ref: ConnectionRef, slot: Int) {
        guard let cost = body["cost"]?.intValue, cost >= 1, cost <= Int64(Int32.max), connections[ref] != nil else {
            return
        }
        connections[ref]?.info.cost = Int(cost)
        Log.write(.core, .info, "[C\(ref.id)] neighbour set the link's cost to \(cost)")
        perform(routing.handle(.costChanged(slot: slot, cost: Int(cost)), now: now))
    }

    // MARK: Messages of the router itself

    /// Sends a pre-settled message to an address: one consumer, or all of a multicast address.
    /// - Parameter bare: the message without annotations.
    func send(_ bare: [UInt8], to address: String) {
        switch AddressScope(address, selfID: routerID, isEdge: isEdge, network: networkID) {
        case .router(let id): sendTowards(id, bare, address)
        case .all: break
        case let scope:
            // The record, not what was published last: a client may ask in the same breath in which it attaches.
            guard let record = addresses[scope.key] else { return sendUp(bare, address) }
            let remotes = current.addresses[scope.key]?.remotes ?? []
            if record.treatment == .multicastOnce || record.treatment == .multicastFlood {
                return sendToAll(bare, distinct(record.consumers), remotes, address)
            }
            if !record.consumers.isEmpty {
                addresses[scope.key]?.turn &+= 1
                return sendLocal(bare, record.consumers[record.turn % record.consumers.count], address)
            }
            if let remote = remotes.first { return sendTowards(remote.route.id, bare, address) }
            sendUp(bare, address)
        }
    }

    /// What an edge router does not know goes to the interior.
    private func sendUp(_ bare: [UInt8], _ address: String) {
        guard isEdge, let consumer = addresses[AddressScope.uplinkKey]?.consumers.first else { return }
        sendLocal(bare, consumer, address)
    }

    private func sendToAll(
        _ bare: [UInt8], _ consumers: [LocalConsumer], _ remotes: [RemoteConsumer], _ address: String
    ) {
        for consumer in consumers { sendLocal(bare, consumer, address) }
        var served: Set<Int> = []
        for remote in remotes where served.insert(remote.route.slot).inserted {
            sendTowards(remote.route.id, bare, address)
        }
        if !consumers.contains(where: { $0.peer == .interior }) { sendUp(bare, address) }
    }

    private func sendLocal(_ bare: [UInt8], _ consumer: LocalConsumer, _ address: String) {
        let worker = workers[consumer.connection.worker]
        let bytes: [UInt8]
        switch consumer.peer {
        case .client where consumer.outside == .network: bytes = annotations(to: address, leavesNetwork: true) + bare
        case .client: bytes = bare
        case .edge, .interior, .meshPeer: bytes = annotations(to: address) + bare
        }
        worker.post { worker.sendMessage(bytes, on: consumer.connection.id, .number(consumer.link)) }
    }

    private func sendTowards(_ id: String, _ bare: [UInt8], _ address: String) {
        guard let slot = routing.route(to: id)?.slot, let ref = slots[slot] else { return }
        let bytes = annotations(to: address) + bare
        let worker = workers[ref.worker]
        worker.post { worker.sendMessage(bytes, on: ref.id, .priority(4)) }
    }

    /// Annotations of a message that enters the network here.
    private func annotations(to address: String, leavesNetwork: Bool = false) -> [UInt8] {
        let own = "0/" + routerID
        let isNamed = !isEdge && !leavesNetwork
        var encoder = AMQPEncoder()
        RouterAnnotations(
            flags: 0, toOverride: address, ingress: isNamed ? own : nil, trace: isNamed ? [own] : [],
            meshID: isEdge && !leavesNetwork ? meshID : nil
        ).encode(into: &encoder)
        return encoder.bytes
    }
}
