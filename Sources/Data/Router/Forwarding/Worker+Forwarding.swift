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

/// A delivery whose head is known, on its way to a consumer.
struct Passage {
    var incoming: IncomingDelivery
    var link: Link
    var head: MessageHead
    /// Address of the producer's link; nil = the message tells its own.
    var target: String?
    /// It leaves on a link of its own where it shares the way with others.
    var isStream: Bool
    /// The router where it entered the network; nil = this one.
    var origin: String?
    var arrival: Arrival
    /// A consumer that releases it is not the last one: see ``SecondChance``.
    var resends = false
    /// Stands between the incoming delivery and its consumer; nil = nothing does.
    var via: DeliveryEnd?
    /// The consumers that it has been sent to before.
    var tried: TriedConsumers?
    /// What the consumer takes for its producer.
    var producer: DeliveryEnd { via ?? incoming }
    /// Its consumer may stop it; TCP streams are marked as what nobody between their ends stops.
    var heedsConsumer: Bool { (head.annotations?.flags ?? 0) & RouterAnnotations.disableQ2 == 0 }
}

extension Worker {
    static let streamContentType = "application/octet-stream"

    /// Chooses the consumer of a delivery whose head is known. Runs once per delivery.
    func route(_ incoming: IncomingDelivery, link: Link, head parsed: MessageHead) -> RouteResult {
        var head = parsed
        // A client may not pretend that its message comes from a router.
        if !link.session.connection.takesAnnotations { head.annotations = nil }
        var target: String?
        switch link.kind {
        case .control: return toCore(incoming, link, head, key: nil)
        case .tracking, .meshDiscovery, .meshBid: return toCore(incoming, link, head, key: nil)
        case .producer(let address?), .proxy(let address): target = address
        default: break
        }
        guard let address = target ?? head.annotations?.toOverride ?? head.properties?.to, !address.isEmpty else {
            return .refused(
                .rejected(
                    AMQPError(condition: "amqp:precondition-failed", description: "Routing failure: no address present")
                ))
        }
        let hops = head.annotations?.trace.count ?? 0
        if !isEdge, hops > snapshot.radius + 1 { return released() }
        let connection = link.session.connection
        if let policy = connection.policy,
            let refusal = refusal(of: head, to: address, isOwnTarget: target == nil, policy)
        {
            return .refused(refusal)
        }
        let flags = head.annotations?.flags ?? 0
        // A message that is all in needs no link of its own, whatever its sender may send. TCP streams always do.
        let isMarked = flags & RouterAnnotations.streaming != 0
        let isStream =
            incoming.isLong && (isMarked || link.takesStreams)
            || isMarked && flags & RouterAnnotations.disableQ2 != 0
        var passage = Passage(
            incoming: incoming, link: link, head: head, target: target, isStream: isStream,
            origin: originRouter(head),
            arrival: Arrival(
                connection: connection.ref, viaEdge: connection.effectiveRole.joinsEdge,
                meshID: head.annotations?.meshID, viaNetwork: connection.effectiveRole == .interNetwork))
        passage.resends =
            !incoming.isSettled && (link.resendsReleased || flags & RouterAnnotations.resendReleased != 0)
        let scope = scope(address)
        if !isStream, incoming.isLong, leadsToRouters(scope) {
            return .message(
                HeldMessage(producer: incoming) { [unowned self, passage] isLong in
                    var held = passage
                    held.isStream = isLong
                    return forward(held, scope)
                })
        }
        return forward(passage, scope)
    }

    /// The scope of an address seen from this router.
    func scope(_ address: String) -> AddressScope {
        AddressScope(address, selfID: routerID, isEdge: isEdge, network: networkID)
    }

    private func forward(_ passage: Passage, _ scope: AddressScope) -> RouteResult {
        if passage.resends, passage.tried == nil {
            return SecondChance(passage) { [unowned self] in forward($0, scope) }.start()
        }
        let result = destination(of: passage, scope)
        if case .refused = result {
            // Its sender does not ask what became of it: the counters are all that tells.
            if passage.incoming.isSettled { passage.link.countDroppedPresettled() }
            passage.link.foundNobody()
        }
        return result
    }

    private func destination(of passage: Passage, _ scope: AddressScope) -> RouteResult {
        switch scope {
        case .local(let name):
            if let ref = replyStream(name) { return toReplyStream(ref, passage.incoming, passage.head) }
            return toAddress("L" + name, nil, passage)
        case .router(let id):
            guard let route = snapshot.routes[id] else { return released() }
            return toRemote(route, load: nil, passage)
        case .all(let name):
            return toAddress("T" + name, nil, passage)
        case .edge(let id):
            return toAddress("H" + id, nil, passage)
        case .mobile(let text):
            return toAddress("M" + text, text, passage)
        case .network:
            return toAddress(scope.key, nil, passage)
        case .uplink:
            return toAddress(AddressScope.uplinkKey, nil, passage)
        }
    }

    private func leadsToRouters(_ scope: AddressScope) -> Bool {
        switch scope {
        case .router, .edge, .uplink: true
        case .local, .all: false
        case .mobile: snapshot.addresses[scope.key]?.leadsToRouters ?? isEdge
        case .network: snapshot.addresses[scope.key]?.leadsToRouters ?? false
        }
    }

    private func released() -> RouteResult {
        return .refused(.released)
    }

    /// The router id in the ingress annotation; nil = the message entered here, or at a router that nobody here knows
    /// (yet): there is no way from it that could be the wrong one, and the trace still ends loops.
    private func originRouter(_ head: MessageHead) -> String? {
        guard let ingress = head.annotations?.ingress, ingress.utf8.starts(with: "0/".utf8) else { return nil }
        let id = String(ingress.dropFirst(2))
        return snapshot.routes[id] == nil ? nil : id
    }

    private func replyStream(_ name: String) -> StreamRef? {
        guard name.utf8.starts(with: "temp.t".utf8) else { return nil }
        return StreamRef(text: Substring(name).utf8.dropFirst(5))
    }

    /// - Parameter text: a service address, which may have a treatment although no table has it.
    private func toAddress(_ key: String, _ text: String?, _ passage: Passage) -> RouteResult {
        guard let known = snapshot.addresses[key] else { return toUnknown(key, text, passage) }
        let entry = passage.tried?.left(of: known) ?? known
        if case .producer = passage.link.kind, passage.tried?.count ?? 0 == 0 {
            entry.traffic.countIngress()
            if let outside = passage.link.session.connection.effectiveRole.outside {
                counters.countIngress(from: outside)
                entry.traffic.countIngress(from: outside)
            }
        }
        if entry.treatment == .multicastOnce || entry.treatment == .multicastFlood { return toAll(entry, passage) }
        if entry.inProcess {
            entry.traffic.countToContainer()
            return toCore(passage.incoming, passage.link, passage.head, key: key)
        }
        let choice = ConsumerChoice.pick(entry, origin: passage.origin, arrival: passage.arrival, turn: nextTurn())
        passage.tried?.note(choice)
        switch choice {
        case .connector(let connector):
            entry.traffic.countEgress()
            return toConnector(connector, passage.incoming, passage.head)
        case .consumer(let consumer):
            countEgress(entry, to: consumer)
            return toConsumer(consumer, passage)
        case .remote(let route, let load):
            entry.traffic.countTransit()
            return toRemote(route, load: load, passage, priority: entry.priority)
        case .inProcess: return toCore(passage.incoming, passage.link, passage.head, key: key)
        case .nowhere: return toUnknown(key, text, passage)
        }
    }

    func countEgress(_ entry: AddressEntry, to consumer: LocalConsumer) {
        entry.traffic.countEgress()
        guard let outside = consumer.outside else { return }
        counters.countEgress(to: outside)
        entry.traffic.countEgress(to: outside)
    }

    /// Nobody here takes the message: the interior may, if we are an edge router.
    private func toUnknown(_ key: String, _ text: String?, _ passage: Passage) -> RouteResult {
        // Another edge router's address is nobody's but the interior's, whatever link the message came on; and who has
        // released it here may not be the last one there is, also while the address has no link of its own up there.
        let mayLeave = passage.target == nil || key.first == "H" || passage.tried.map { $0.count > 0 } ?? false
        if isEdge, mayLeave, !passage.arrival.viaEdge, key != AddressScope.uplinkKey,
            let uplink = snapshot.addresses[AddressScope.uplinkKey]?.consumers.first,
            passage.tried?.contains(uplink.connection) != true
        {
            passage.tried?.note(.consumer(uplink))
            return toConsumer(uplink, passage)
        }
        guard let text, case .producer = passage.link.kind, snapshot.treatments.treatment(of: text) == .unavailable
        else { return released() }
        let reason = "Deliveries cannot be sent to an unavailable address"
        return .refused(.rejected(AMQPError(condition: "amqp:not-found", description: reason)))
    }

    // MARK: Consumers

    private func toCore(_ incoming: IncomingDelivery, _ link: Link, _ head: MessageHead, key: String?) -> RouteResult {
        return .message(CoreSink(core: core, context: context(link, head, key: key), producer: incoming))
    }

    private func context(_ link: Link, _ head: MessageHead, key: String?) -> MessageContext {
        let service: MessageContext.Service =
            switch link.kind {
            case .control: .routing
            case .tracking: .tracking
            case .meshDiscovery: .meshDiscovery
            case .meshBid: .meshBid
            default: .address
            }
        return MessageContext(
            connection: link.session.connection.ref, service: service, link: link.number, key: key, head: head,
            target: { if case .producer(let address) = link.kind { address } else { nil } }())
    }

    /// One copy to each local consumer and to each next hop that leads to one.
    private func toAll(_ entry: AddressEntry, _ passage: Passage) -> RouteResult {
        let incoming = passage.incoming
        let fan = FanOut(producer: passage.producer)
        var consumers = entry.consumers.filter { !passage.arrival.bars($0) }
        if isEdge, passage.target == nil, !passage.arrival.viaEdge,
            !consumers.contains(where: { $0.peer == .interior }),
            let uplink = snapshot.addresses[AddressScope.uplinkKey]?.consumers.first
        {
            consumers.append(uplink)
        }
        for consumer in consumers {
            countEgress(entry, to: consumer)
            fan.add { branch in open(to: consumer, passage, producer: branch) }
        }
        var trace: Set<Int> = []
        for hop in passage.head.annotations?.trace ?? [] where hop.utf8.starts(with: "0/".utf8) {
            if let slot = snapshot.routes[String(hop.dropFirst(2))]?.slot { trace.insert(slot) }
        }
        for remote in entry.remotes {
            if let origin = passage.origin, !remote.route.validOrigins.contains(origin) { continue }
            if passage.arrival.bars(remote) { continue }
            guard trace.insert(remote.route.slot).inserted else { continue }
            entry.traffic.countTransit()
            fan.add { branch in
                openTowards(
                    remote.route, head: routedHead(passage), producer: branch, load: nil,
                    presettled: incoming.isSettled, priority: priority(passage, entry.priority), preferring: nil,
                    isLongMessage: passage.heedsConsumer)
            }
        }
        if entry.inProcess {
            entry.traffic.countToContainer()
            let context = context(passage.link, passage.head, key: entry.key)
            fan.add { branch in CoreSink(core: core, context: context, producer: branch) }
        }
        return fan.isEmpty ? released() : .message(fan)
    }

    private func toConnector(_ target: TCPConnectorTarget, _ incoming: IncomingDelivery, _ head: MessageHead)
        -> RouteResult
    {
        guard head.properties?.contentType == Worker.streamContentType, let replyTo = head.properties?.replyTo else {
            return released()
        }
        let stream = openConnectorStream(
            target, source: incoming, replyTo: replyTo, arrival: incoming.connection.ref, farWindow: head.streamWindow,
            alpn: target.serviceTLS == nil ? nil : head.alpn, flow: head.flowTrace)
        guard let stream else {
            Log.write(.tcp, .info, "connector \(target.name): stream refused: \(MemoryLimit.refusal)")
            return released()
        }
        return .stream(stream)
    }

    /// Dials a connector's server for a client stream; nil when no memory is left for it.
    func openConnectorStream(
        _ target: TCPConnectorTarget, source: DeliveryEnd, replyTo: String, arrival: ConnectionRef?,
        farWindow: WindowOffer?,
        alpn: String?, flow: FlowTrace? = nil
    ) -> TCPStream? {
        guard let stream = makeStream(.connector(target), farEndIsOurs: farWindow != nil) else { return nil }
        target.load.increment()
        counters.egress += 1
        stream.flow = flow
        stream.hold(source: source, replyTo: replyTo, arrival: arrival, farWindow: farWindow, alpn: alpn)
        if let addresses = target.cachedAddresses(now: now) {
            stream.dial(addresses)
        } else {
            Resolver.resolve(loop: self, host: target.host, port: target.port) { [self] result in
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
        return toReplyStream(ref, incoming, farWindow: head.streamWindow)
    }

    /// To a stream of this router whose client waits for the reply.
    func toReplyStream(_ ref: StreamRef, _ incoming: IncomingDelivery, farWindow: WindowOffer?) -> RouteResult {
        counters.egress += 1
        if ref.worker == index {
            guard let stream = stream(ref), stream.attach(source: incoming, farWindow: farWindow) else {
                return released()
            }
            return .stream(stream)
        }
        guard ref.worker < peers.count else { return released() }
        let entry = bridge(incoming, to: peers[ref.worker]) { worker, exit in
            guard let stream = worker.stream(ref), stream.attach(source: exit, farWindow: farWindow) else { return nil }
            return stream
        }
        return .stream(entry)
    }

    private func toConsumer(_ consumer: LocalConsumer, _ passage: Passage) -> RouteResult {
        guard let end = open(to: consumer, passage, producer: passage.producer) else { return released() }
        return .message(end)
    }

    private func open(to consumer: LocalConsumer, _ passage: Passage, producer: DeliveryEnd) -> DeliveryEnd? {
        openTowards(
            consumer, head: consumer.isAnnotated ? localHead(consumer, passage) : [], producer: producer,
            presettled: passage.incoming.isSettled, isStream: passage.isStream,
            isLongMessage: passage.heedsConsumer)
    }

    private func toRemote(_ route: RemoteRoute, load: LoadCounter?, _ passage: Passage, priority given: Int? = nil)
        -> RouteResult
    {
        let end = openTowards(
            route, head: routedHead(passage), producer: passage.producer, load: load,
            presettled: passage.incoming.isSettled, priority: priority(passage, given), preferring: nil,
            isLongMessage: passage.heedsConsumer)
        return end.map { .message($0) } ?? released()
    }

    /// Nil = a link of its own.
    private func priority(_ passage: Passage, _ given: Int?) -> Int? {
        passage.isStream ? nil : min(9, given ?? Int(passage.head.priority ?? 4))
    }

    /// Annotations of a message that goes on to another interior router.
    private func routedHead(_ passage: Passage) -> [UInt8] {
        var annotations = passage.head.annotations ?? RouterAnnotations()
        if let target = passage.target { annotations.toOverride = target }
        if passage.link.takesStreams { annotations.flags |= RouterAnnotations.streaming }
        if passage.resends { annotations.flags |= RouterAnnotations.resendReleased }
        if annotations.ingress == nil { annotations.ingress = "0/" + routerID }
        annotations.trace.append("0/" + routerID)
        var encoder = AMQPEncoder()
        annotations.encode(into: &encoder)
        return encoder.bytes
    }

    /// Annotations of a message for a local consumer that gets them. An edge router names neither itself nor what lies
    /// behind it, to nobody; an interior router does so towards other networks.
    private func localHead(_ consumer: LocalConsumer, _ passage: Passage) -> [UInt8] {
        guard isEdge || consumer.outside == .network else { return routedHead(passage) }
        var annotations = passage.head.annotations ?? RouterAnnotations()
        if let target = passage.target { annotations.toOverride = target }
        if passage.link.takesStreams { annotations.flags |= RouterAnnotations.streaming }
        if passage.resends { annotations.flags |= RouterAnnotations.resendReleased }
        annotations.ingress = nil
        annotations.trace = []
        annotations.meshID = consumer.peer == .client ? nil : snapshot.meshID
        var encoder = AMQPEncoder()
        annotations.encode(into: &encoder)
        return encoder.bytes
    }
}

extension MessageHead {
    /// What the client of a TCP stream and its listener agreed to speak.
    fileprivate var alpn: String? {
        applicationProperties.first { $0.key.stringValue == "alpn" }?.value.stringValue
    }

    /// The telemetry record of a TCP stream, named by the listener's router.
    fileprivate var flowTrace: FlowTrace? {
        guard let id = properties?.correlationID.stringValue, id.utf8.count <= 64, id.utf8.contains(UInt8(ascii: ":"))
        else { return nil }
        let hops = annotations?.trace ?? []
        return FlowTrace(id: id, route: hops.isEmpty ? "Local" : hops.joined(separator: "|"))
    }
}
