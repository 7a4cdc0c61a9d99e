import AMQPCodec
import Glibc

extension Worker {
    func replyAddress(_ ref: StreamRef) -> String {
        AddressScope.address(
            ofLocal: "temp." + ref.text, selfID: routerID, isEdge: isEdge, network: networkID)
    }

    /// The head of a client stream, from the address's template when that has been made.
    func clientHead(_ target: ListenerAddress, _ client: TCPStream) -> [UInt8] {
        let ref = client.ref
        let offer = offer(for: client)
        if client.alpn != nil || client.flow != nil {
            return streamHead(
                to: target.address, replyTo: replyAddress(ref), offer, correlation: client.flow?.id, alpn: client.alpn)
        }
        return withUnsafeTemporaryAllocation(byteCount: StreamRef.textCount, alignment: 1) { name in
            ref.write(to: name)
            let known = client.isCautious ? cautiousHeads[target.address] : clientHeads[target.address]
            if let known { return known.named(name) }
            let address = replyAddress(ref)
            let bytes = streamHead(to: target.address, replyTo: address, offer)
            let template = StreamHead(bytes, name: address.utf8.suffix(StreamRef.textCount))
            if client.isCautious {
                if cautiousHeads.count < 1024 { cautiousHeads[target.address] = template }
            } else if clientHeads.count < 1024 {
                clientHeads[target.address] = template
            }
            return bytes
        }
    }

    /// Opens the server stream of a connector's TCP connection.
    func openReply(to address: String, producer: TCPStream) -> DeliveryEnd? {
        let offer = offer(for: producer)
        if let known = replyRoute, known.isCautious == producer.isCautious, known.leads(to: address) {
            guard let route = snapshot.routes[known.routerID] else { return nil }
            return openTowards(
                route, head: known.head.named(address.utf8.suffix(StreamRef.textCount)), producer: producer, load: nil,
                presettled: false, priority: nil, preferring: producer.arrival)
        }
        let scope = scope(address)
        switch scope {
        case .local(let name):
            guard name.utf8.starts(with: "temp.t".utf8), let ref = StreamRef(text: Substring(name).utf8.dropFirst(5))
            else { return openReply(toConsumersOf: scope, address, offer, producer: producer) }
            counters.egress += 1
            if ref.worker == index {
                guard let stream = stream(ref),
                    stream.attach(source: producer, farWindow: offer)
                else { return nil }
                return stream
            }
            guard ref.worker < peers.count else { return nil }
            return bridge(producer, to: peers[ref.worker]) { worker, exit in
                guard let stream = worker.stream(ref), stream.attach(source: exit, farWindow: offer) else {
                    return nil
                }
                return stream
            }
        case .router(let id):
            guard let route = snapshot.routes[id] else { return nil }
            let head = streamHead(to: address, replyTo: nil, offer)
            let name = address.utf8.suffix(StreamRef.textCount)
            if let template = StreamHead(head, name: name) {
                let prefix = String(decoding: address.utf8.dropLast(StreamRef.textCount), as: UTF8.self)
                replyRoute = ReplyRoute(prefix: prefix, routerID: id, head: template, isCautious: producer.isCautious)
            }
            return openTowards(
                route, head: head, producer: producer, load: nil, presettled: false, priority: nil,
                preferring: producer.arrival)
        case .edge, .uplink, .network:
            return openReply(toConsumersOf: scope, address, offer, producer: producer)
        case .all, .mobile:
            return nil
        }
    }

    /// A reply found no path, and new tables may bring one: nothing but the path was missing.
    func mayBeLearnt(_ replyTo: String) -> Bool { !isReachable(scope(replyTo)) }

    /// The stream's reply opens when new tables show a path to its client, who is let down after ``pathPatience``.
    func awaitPath(_ stream: TCPStream) { pathless.append((stream.ref, now + Worker.pathPatience)) }

    /// Milliseconds that a reply waits for a path to its client.
    static let pathPatience: Int64 = 3000

    /// After new tables: replies that have a path now. Those without one keep their time limit.
    func openPathless() {
        let list = pathless
        pathless = []
        for (ref, until) in list {
            guard let stream = stream(ref), let replyTo = stream.replyTo, !stream.isClosed else { continue }
            if mayBeLearnt(replyTo) {
                pathless.append((ref, until))
            } else {
                stream.isReplyDue = true
                stream.openReply()
            }
        }
    }

    /// Every tick: replies that have waited too long for a path.
    func dropPathless(now: Int64) {
        let late = pathless.prefix { $0.until <= now }
        pathless.removeFirst(late.count)
        for (ref, _) in late { stream(ref)?.pathNotLearnt() }
    }

    /// The server stream towards a client that is an edge router's, that only the interior knows, or that speaks AMQP
    /// to us.
    private func openReply(
        toConsumersOf scope: AddressScope, _ address: String, _ offer: WindowOffer, producer: TCPStream
    ) -> DeliveryEnd? {
        let fallback = isEdge ? snapshot.addresses[AddressScope.uplinkKey] : nil
        guard let entry = snapshot.addresses[scope.key] ?? fallback else { return nil }
        switch ConsumerChoice.pick(entry, origin: nil, turn: nextTurn()) {
        case .consumer(let consumer):
            let head = streamHead(
                to: address, replyTo: nil, offer, isAnnotated: consumer.isAnnotated,
                leavesNetwork: consumer.outside == .network)
            return openTowards(consumer, head: head, producer: producer, presettled: false, isStream: true)
        case .remote(let route, let load):
            return openTowards(
                route, head: streamHead(to: address, replyTo: nil, offer), producer: producer, load: load,
                presettled: false, priority: nil, preferring: producer.arrival)
        default:
            return nil
        }
    }

    /// Application property of a stream's head: octets its writer takes of one stream. skupper-router ignores it.
    static let windowProperty = "W"
    /// The same until the stream has written ``WindowOffer/provenAfter``; left out where it is as many.
    static let firstWindowProperty = "S"

    /// What a stream's head says that it takes; the stream then keeps to it.
    func offer(for stream: TCPStream) -> WindowOffer {
        let offer = core.memory.offer(isCautious: isCautious)
        stream.isCautious = offer.first != nil
        return offer
    }

    /// The head of a TCP stream message (section 5.4): annotations, properties, mapping version, null body marker.
    ///
    /// - Parameters:
    ///   - correlation: name of the flow's telemetry record.
    ///   - alpn: what a TLS client and this router agreed to speak.
    ///   - isAnnotated: false for clients, which get the bare message.
    ///   - leavesNetwork: no router is named in the annotations.
    func streamHead(
        to address: String, replyTo: String?, _ offer: WindowOffer, correlation: String? = nil, alpn: String? = nil,
        isAnnotated: Bool = true, leavesNetwork: Bool = false
    ) -> [UInt8] {
        var encoder = AMQPEncoder()
        let own = "0/" + routerID
        let isNamed = !isEdge && !leavesNetwork
        if isAnnotated {
            RouterAnnotations(
                flags: RouterAnnotations.streaming | RouterAnnotations.disableQ2, toOverride: nil,
                ingress: isNamed ? own : nil, trace: isNamed ? [own] : [],
                meshID: leavesNetwork ? nil : snapshot.meshID
            ).encode(into: &encoder)
        }
        encoder.described(0x73)
        encoder.list(7) { list in
            list.null()
            list.null()
            list.string(address)
            list.null()
            if let replyTo { list.string(replyTo) } else { list.null() }
            if let correlation { list.string(correlation) } else { list.null() }
            list.string("application/octet-stream")
        }
        encoder.described(0x74)
        encoder.map(2 + (alpn == nil ? 0 : 1) + (offer.first == nil ? 0 : 1)) { map in
            map.string("V")
            map.uint(1)
            map.string(Worker.windowProperty)
            map.uint(UInt32(clamping: offer.most))
            if let first = offer.first {
                map.string(Worker.firstWindowProperty)
                map.uint(UInt32(clamping: first))
            }
            if let alpn {
                map.string("alpn")
                map.string(alpn)
            }
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
