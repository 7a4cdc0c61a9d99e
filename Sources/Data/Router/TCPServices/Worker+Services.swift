import AMQPCodec
import Glibc

extension Worker {
    /// A client was accepted: choose where its stream goes, once.
    func accepted(_ descriptor: Int32, for target: TCPListenerTarget) {
        target.load.increment()
        counters.ingress += 1
        guard let entry = snapshot.addresses[target.key] else { return refuse(descriptor, target, "no consumer") }
        switch ConsumerChoice.pick(entry, origin: nil, turn: nextTurn()) {
        case .connector(let connector):
            openLocalPair(descriptor, target, connector)
        case .remote(let route, let load):
            guard let group = snapshot.groups[route.slot] else {
                return refuse(descriptor, target, "no connection to the next hop")
            }
            if let other = betterWorker(for: group) {
                other.post { other.openClientStream(descriptor, target, route, load) }
            } else {
                openClientStream(descriptor, target, route, load)
            }
        case .consumer(let consumer) where consumer.isRouter:
            let owner = peers[consumer.connection.worker]
            if owner === self {
                openClientStream(descriptor, target, consumer)
            } else {
                owner.post { owner.openClientStream(descriptor, target, consumer) }
            }
        case .consumer, .inProcess, .nowhere:
            refuse(descriptor, target, "no TCP consumer")
        }
    }

    /// - Parameter isCounted: the stream was made and has been closed again.
    private func refuse(
        _ descriptor: Int32, _ target: TCPListenerTarget, _ reason: String, isCounted: Bool = false
    ) {
        Log.write(.tcp, .info, "listener \(target.name): client refused: \(reason) for address \(target.address)")
        Sockets.resetOnClose(descriptor)
        Glibc.close(descriptor)
        if !isCounted { target.closed.increment() }
    }

    /// Listener and connector on this router: the two sockets face each other.
    private func openLocalPair(_ descriptor: Int32, _ target: TCPListenerTarget, _ connector: TCPConnectorTarget) {
        guard let client = makeStream(.listener(target)) else { return refuse(descriptor, target, MemoryLimit.refusal) }
        guard
            let server = openConnectorStream(
                connector, source: client, replyTo: replyAddress(client.ref), arrival: nil,
                farWindow: core.memory.offeredWindow)
        else {
            streamClosed(client)
            return refuse(descriptor, target, MemoryLimit.refusal, isCounted: true)
        }
        client.accepted(descriptor, out: server)
    }

    private func openClientStream(
        _ descriptor: Int32, _ target: TCPListenerTarget, _ route: RemoteRoute, _ load: LoadCounter?
    ) {
        guard let client = makeStream(.listener(target)) else { return refuse(descriptor, target, MemoryLimit.refusal) }
        let head = clientHead(target, client.ref)
        guard
            let out = openTowards(
                route, head: head, producer: client, load: load, presettled: false, priority: nil, preferring: nil)
        else {
            streamClosed(client)
            return refuse(descriptor, target, "the next hop went away", isCounted: true)
        }
        client.accepted(descriptor, out: out)
    }

    /// To the interior, or to an edge router below us.
    private func openClientStream(_ descriptor: Int32, _ target: TCPListenerTarget, _ consumer: LocalConsumer) {
        guard let client = makeStream(.listener(target)) else { return refuse(descriptor, target, MemoryLimit.refusal) }
        let head = clientHead(target, client.ref)
        guard let out = openTowards(consumer, head: head, producer: client, presettled: false, isStream: true) else {
            streamClosed(client)
            return refuse(descriptor, target, "the connection to the next router went away", isCounted: true)
        }
        client.accepted(descriptor, out: out)
    }

    private func replyAddress(_ ref: StreamRef) -> String {
        isEdge ? "amqp:/_edge/\(routerID)/temp.\(ref.text)" : "amqp:/_topo/0/\(routerID)/temp.\(ref.text)"
    }

    /// The head of a client stream, from the listener's template when that has been made.
    private func clientHead(_ target: TCPListenerTarget, _ ref: StreamRef) -> [UInt8] {
        withUnsafeTemporaryAllocation(byteCount: StreamRef.textCount, alignment: 1) { name in
            ref.write(to: name)
            if let template = clientHeads[target.address] { return template.named(name) }
            let address = replyAddress(ref)
            let bytes = streamHead(to: target.address, replyTo: address)
            if clientHeads.count < 1024 {
                clientHeads[target.address] = StreamHead(bytes, name: address.utf8.suffix(StreamRef.textCount))
            }
            return bytes
        }
    }

    /// Opens the server stream of a connector's TCP connection.
    func openReply(to address: String, producer: TCPStream) -> DeliveryEnd? {
        if let known = replyRoute, known.leads(to: address) {
            guard let route = snapshot.routes[known.routerID] else { return nil }
            return openTowards(
                route, head: known.head.named(address.utf8.suffix(StreamRef.textCount)), producer: producer, load: nil,
                presettled: false, priority: nil, preferring: producer.arrival)
        }
        let scope = scope(address)
        switch scope {
        case .local(let name):
            guard name.utf8.starts(with: "temp.t".utf8), let ref = StreamRef(text: Substring(name).utf8.dropFirst(5))
            else { return nil }
            if ref.worker == index {
                guard let stream = stream(ref),
                    stream.attach(source: producer, farWindow: core.memory.offeredWindow)
                else { return nil }
                return stream
            }
            guard ref.worker < peers.count else { return nil }
            let farWindow = core.memory.offeredWindow
            return bridge(producer, to: peers[ref.worker]) { worker, exit in
                guard let stream = worker.stream(ref), stream.attach(source: exit, farWindow: farWindow) else {
                    return nil
                }
                return stream
            }
        case .router(let id):
            guard let route = snapshot.routes[id] else { return nil }
            let head = streamHead(to: address, replyTo: nil)
            let name = address.utf8.suffix(StreamRef.textCount)
            if let template = StreamHead(head, name: name) {
                let prefix = String(decoding: address.utf8.dropLast(StreamRef.textCount), as: UTF8.self)
                replyRoute = ReplyRoute(prefix: prefix, routerID: id, head: template)
            }
            return openTowards(
                route, head: head, producer: producer, load: nil, presettled: false, priority: nil,
                preferring: producer.arrival)
        case .edge, .uplink:
            return openEdgeReply(scope, to: address, producer: producer)
        case .all, .mobile:
            return nil
        }
    }

    /// The server stream towards a client that is an edge router's, or that only the interior knows.
    private func openEdgeReply(_ scope: AddressScope, to address: String, producer: TCPStream) -> DeliveryEnd? {
        let fallback = isEdge ? snapshot.addresses[AddressScope.uplinkKey] : nil
        guard let entry = snapshot.addresses[scope.key] ?? fallback else { return nil }
        let head = streamHead(to: address, replyTo: nil)
        switch ConsumerChoice.pick(entry, origin: nil, turn: nextTurn()) {
        case .consumer(let consumer) where consumer.isRouter:
            return openTowards(consumer, head: head, producer: producer, presettled: false, isStream: true)
        case .remote(let route, let load):
            return openTowards(
                route, head: head, producer: producer, load: load, presettled: false, priority: nil,
                preferring: producer.arrival)
        default:
            return nil
        }
    }

    /// Application property of a stream's head: octets its writer takes of one stream. skupper-router ignores it.
    static let windowProperty = "W"

    /// The head of a TCP stream message (section 5.4): annotations, properties, mapping version, null body marker.
    private func streamHead(to address: String, replyTo: String?) -> [UInt8] {
        var encoder = AMQPEncoder()
        let own = "0/" + routerID
        RouterAnnotations(
            flags: RouterAnnotations.streaming | RouterAnnotations.disableQ2, toOverride: nil,
            ingress: isEdge ? nil : own, trace: isEdge ? [] : [own], meshID: isEdge ? core.meshID : nil
        ).encode(into: &encoder)
        encoder.described(0x73)
        encoder.list(7) { list in
            list.null()
            list.null()
            list.string(address)
            list.null()
            if let replyTo { list.string(replyTo) } else { list.null() }
            list.null()
            list.string("application/octet-stream")
        }
        encoder.described(0x74)
        encoder.map(2) { map in
            map.string("V")
            map.uint(1)
            map.string(Worker.windowProperty)
            map.uint(UInt32(clamping: core.memory.offeredWindow))
        }
        encoder.described(0x77)
        encoder.null()
        return encoder.bytes
    }

    // MARK: Ordered by the control thread

    /// Listens for a service. The control thread has bound the descriptor.
    func openListener(_ target: TCPListenerTarget, descriptor: Int32) {
        listenerSockets[target.name]?.close()
        let socket = TCPListenerSocket(worker: self, target: target)
        socket.open(descriptor)
        listenerSockets[target.name] = socket
    }

    func closeListener(_ name: String) { listenerSockets.removeValue(forKey: name)?.close() }

    func dropListener(_ name: String, cutStreams: Bool) {
        closeListener(name)
        if cutStreams {
            self.cutStreams { side in if case .listener(let target) = side { target.name == name } else { false } }
        }
    }

    func dropConnector(_ name: String, cutStreams: Bool) {
        if cutStreams {
            self.cutStreams { side in if case .connector(let target) = side { target.name == name } else { false } }
        }
    }
}
