import AMQPCodec
import Glibc

/// Where an incoming delivery goes.
enum RouteResult {
    /// To a TCP stream: only what follows the head is delivered.
    case stream(DeliveryEnd)
    /// To another AMQP link or the control thread: the bare message is delivered.
    case message(DeliveryEnd)
    case refused(DeliveryState)
}

extension Worker {
    private static let streamContentType = "application/octet-stream"

    /// Chooses the consumer of a delivery whose head is known. Runs once per delivery.
    func route(_ incoming: IncomingDelivery, link: Link, head: MessageHead) -> RouteResult {
        if link.kind == .control { return toCore(incoming, link: link, head: head, control: true, key: nil) }
        var target: String?
        if case .producer(let address?) = link.kind { target = address }
        guard let address = target ?? head.annotations?.toOverride ?? head.properties?.to, !address.isEmpty else {
            counters.rejected += 1
            return .refused(
                .rejected(
                    AMQPError(condition: "amqp:precondition-failed", description: "Routing failure: no address present")
                ))
        }
        let origin = originRouter(head)
        let hops = head.annotations?.trace.count ?? 0
        if hops > snapshot.radius + 1 { return released() }
        switch AddressScope(address, selfID: routerID) {
        case .local(let name):
            if let ref = replyStream(name) { return toReplyStream(ref, incoming, head) }
            return anycast("L" + name, incoming, link, head, origin: origin, target: target)
        case .router(let id):
            guard let route = snapshot.routes[id] else { return released() }
            return toRemote(route, load: nil, incoming, head, target: target)
        case .all:
            return released()  // control only
        case .edge(let id):
            return anycast("H" + id, incoming, link, head, origin: origin, target: target)
        case .mobile(let text):
            return anycast("M" + text, incoming, link, head, origin: origin, target: target)
        }
    }

    private func released() -> RouteResult {
        counters.released += 1
        return .refused(.released)
    }

    /// The router id in the ingress annotation; nil = the message entered here.
    private func originRouter(_ head: MessageHead) -> String? {
        guard let ingress = head.annotations?.ingress, ingress.utf8.starts(with: "0/".utf8) else { return nil }
        let id = String(ingress.dropFirst(2))
        return id == routerID ? nil : id
    }

    private func replyStream(_ name: String) -> StreamRef? {
        guard name.utf8.starts(with: "temp.t".utf8) else { return nil }
        return StreamRef(text: Substring(name).utf8.dropFirst(5))
    }

    private func anycast(
        _ key: String, _ incoming: IncomingDelivery, _ link: Link, _ head: MessageHead, origin: String?, target: String?
    ) -> RouteResult {
        guard let entry = snapshot.addresses[key] else { return released() }
        if entry.inProcess || entry.treatment == .multicastOnce || entry.treatment == .multicastFlood {
            return toCore(incoming, link: link, head: head, control: false, key: key)
        }
        switch ConsumerChoice.pick(entry, origin: origin, turn: nextTurn()) {
        case .connector(let connector): return toConnector(connector, incoming, head)
        case .consumer(let consumer): return toConsumer(consumer, incoming, link, head)
        case .remote(let route, let load): return toRemote(route, load: load, incoming, head, target: target)
        case .inProcess: return toCore(incoming, link: link, head: head, control: false, key: key)
        case .nowhere: return released()
        }
    }

    // MARK: Consumers

    private func toCore(
        _ incoming: IncomingDelivery, link: Link, head: MessageHead, control: Bool, key: String?
    ) -> RouteResult {
        counters.egress += 1
        let context = MessageContext(
            connection: link.session.connection.ref, isControl: control, link: link.number, key: key, head: head,
            target: { if case .producer(let address) = link.kind { address } else { nil } }())
        return .message(CoreSink(core: core, context: context, producer: incoming))
    }

    private func toConnector(_ target: TCPConnectorTarget, _ incoming: IncomingDelivery, _ head: MessageHead)
        -> RouteResult
    {
        guard head.properties?.contentType == Worker.streamContentType, let replyTo = head.properties?.replyTo else {
            return released()
        }
        counters.egress += 1
        return .stream(
            openConnectorStream(target, source: incoming, replyTo: replyTo, arrival: incoming.connection.ref))
    }

    /// Dials a connector's server for a client stream.
    func openConnectorStream(
        _ target: TCPConnectorTarget, source: DeliveryEnd, replyTo: String, arrival: ConnectionRef?
    ) -> TCPStream {
        target.load.increment()
        let stream = makeStream(.connector(target))
        stream.hold(source: source, replyTo: replyTo, arrival: arrival)
        if let addresses = target.cachedAddresses(now: now) {
            stream.dial(addresses)
        } else {
            Resolver.resolve(loop: loop, host: target.host, port: target.port) { [self] result in
                switch result {
                case .success(let addresses):
                    target.cache(addresses, now: now)
                    stream.dial(addresses)
                case .failure(let failure):
                    stream.dialFailed(failure.reason)
                }
            }
        }
        return stream
    }

    private func toReplyStream(_ ref: StreamRef, _ incoming: IncomingDelivery, _ head: MessageHead) -> RouteResult {
        guard head.properties?.contentType == Worker.streamContentType else {
            return .refused(
                .rejected(AMQPError(condition: "amqp:invalid-field", description: "content-type of a reply stream")))
        }
        counters.egress += 1
        if ref.worker == index {
            guard let stream = stream(ref), stream.attach(source: incoming) else { return released() }
            return .stream(stream)
        }
        guard ref.worker < peers.count else { return released() }
        let entry = bridge(incoming, to: peers[ref.worker]) { worker, exit in
            guard let stream = worker.stream(ref), stream.attach(source: exit) else { return nil }
            return stream
        }
        return .stream(entry)
    }

    private func toConsumer(
        _ consumer: LocalConsumer, _ incoming: IncomingDelivery, _ link: Link, _ head: MessageHead
    ) -> RouteResult {
        counters.egress += 1
        let settled = incoming.isSettled
        if consumer.connection.worker == index {
            guard let end = openLocal(consumer, producer: incoming, presettled: settled) else { return released() }
            return .message(end)
        }
        return .message(
            bridge(incoming, to: peers[consumer.connection.worker]) { worker, exit in
                worker.openLocal(consumer, producer: exit, presettled: settled)
            })
    }

    private func openLocal(_ consumer: LocalConsumer, producer: DeliveryEnd, presettled: Bool) -> OutgoingDelivery? {
        guard let connection = connections[consumer.connection.id], let link = connection.consumerLink(consumer.link),
            connection.mayQueue(on: link)
        else { return nil }
        let delivery = OutgoingDelivery(
            connection: connection, head: [], presettled: presettled, producer: producer, load: consumer.load)
        delivery.begin(on: link)
        return delivery
    }

    private func toRemote(
        _ route: RemoteRoute, load: LoadCounter?, _ incoming: IncomingDelivery, _ head: MessageHead, target: String?
    ) -> RouteResult {
        counters.transit += 1
        var annotations = head.annotations ?? RouterAnnotations()
        if let target { annotations.toOverride = target }
        if annotations.ingress == nil { annotations.ingress = "0/" + routerID }
        annotations.trace.append("0/" + routerID)
        var encoder = AMQPEncoder()
        annotations.encode(into: &encoder)
        let isStream = annotations.flags & RouterAnnotations.streaming != 0 || incoming.isLong
        let priority = Int(head.priority ?? 4)
        let end = openTowards(
            route, head: encoder.bytes, producer: incoming, load: load, presettled: incoming.isSettled,
            priority: isStream ? nil : min(9, priority), preferring: nil)
        return end.map { .message($0) } ?? released()
    }

    // MARK: Opening outgoing deliveries

    /// Opens a delivery towards a router, here or through a bridge on the loop that has a connection to the next hop.
    /// - Parameter priority: nil = streaming.
    func openTowards(
        _ route: RemoteRoute, head: [UInt8], producer: DeliveryEnd, load: LoadCounter?, presettled: Bool,
        priority: Int?,
        preferring preferred: ConnectionRef?
    ) -> DeliveryEnd? {
        guard let group = snapshot.groups[route.slot] else { return nil }
        let connection = priority == nil ? streamConnection(group, preferring: preferred) : group.control
        if connection.worker == index {
            return open(
                on: connection.id, head: head, producer: producer, load: load, presettled: presettled,
                priority: priority)
        }
        return bridge(producer, to: peers[connection.worker]) { worker, exit in
            worker.open(
                on: connection.id, head: head, producer: exit, load: load, presettled: presettled, priority: priority)
        }
    }

    private func open(
        on id: UInt64, head: [UInt8], producer: DeliveryEnd, load: LoadCounter?, presettled: Bool, priority: Int?
    ) -> OutgoingDelivery? {
        guard let connection = connections[id], connection.phase == .frames, connection.machine.state == .opened else {
            return nil
        }
        let delivery = OutgoingDelivery(
            connection: connection, head: head, presettled: presettled, producer: producer, load: load)
        guard let priority else {
            connection.startStreaming(delivery)
            return delivery
        }
        guard
            let link = connection.dataSenders.last(where: { link in
                if case .data(let own) = link.kind { own <= priority } else { false }
            }), connection.mayQueue(on: link)
        else {
            delivery.linkLost()
            return nil
        }
        delivery.begin(on: link)
        return delivery
    }

    /// The data connection for a new stream: the preferred one, else one of this loop, else any; the control connection
    /// when the peer does not trunk.
    func streamConnection(_ group: NeighbourGroup, preferring preferred: ConnectionRef?) -> ConnectionRef {
        if group.data.isEmpty { return group.control }
        if let preferred, group.data.contains(preferred) { return preferred }
        let start = nextTurn()
        let count = group.data.count
        for step in 0..<count {
            let candidate = group.data[(start + step) % count]
            if candidate.worker == index { return candidate }
        }
        return group.data[start % count]
    }

    /// The loop that should own a new client stream towards this group; nil = this one.
    func betterWorker(for group: NeighbourGroup) -> Worker? {
        let owners = group.data.isEmpty ? [group.control] : group.data
        if owners.contains(where: { $0.worker == index }) { return nil }
        guard let owner = owners.first else { return nil }
        return peers[owner.worker]
    }

    func bridge(
        _ producer: DeliveryEnd, to other: Worker,
        _ connect: @escaping @Sendable (Worker, BridgeExit) -> DeliveryEnd?
    ) -> BridgeEntry {
        let entryID = takeBridge()
        let exitID = entryID | 1 << 63
        let entry = BridgeEntry(worker: self, id: entryID, producer: producer, exitWorker: other, exitID: exitID)
        bridges[entryID] = entry
        let here = self
        other.post {
            let exit = BridgeExit(worker: other, id: exitID, entryWorker: here, entryID: entryID)
            other.bridges[exitID] = exit
            guard let consumer = connect(other, exit) else { return exit.update(.released, settled: true) }
            exit.consumer = consumer
        }
        return entry
    }
}
