import Glibc

/// Clients of TCP listeners: where the stream of each goes is chosen once, when it opens.
extension Worker {
    /// A client was accepted.
    func accepted(_ descriptor: Int32, for target: TCPListenerTarget) {
        target.load.increment()
        counters.ingress += 1
        acceptedInTick += 1
        if let context = target.tls {
            boundServiceHandshakes()
            guard let client = makeStream(.listener(target)) else {
                return refuse(descriptor, target, MemoryLimit.refusal)
            }
            return client.accepted(descriptor, context: context)
        }
        guard let (address, choice) = destination(target) else {
            return refuse(descriptor, target, "no consumer is reachable")
        }
        let owner: Worker
        switch choice {
        case .remote(let route, _):
            guard let group = snapshot.groups[route.slot] else {
                return refuse(descriptor, target, "no connection to the next hop")
            }
            owner = betterWorker(for: group) ?? self
        case .consumer(let consumer): owner = peers[consumer.connection.worker]
        default: owner = self
        }
        if owner === self {
            openClient(descriptor, target, address, choice)
        } else {
            owner.post { owner.openClient(descriptor, target, address, choice) }
        }
    }

    private func openClient(
        _ descriptor: Int32, _ target: TCPListenerTarget, _ address: ListenerAddress, _ choice: Choice
    ) {
        guard let client = makeStream(.listener(target)) else { return refuse(descriptor, target, MemoryLimit.refusal) }
        guard let out = open(choice, for: client, address) else {
            streamClosed(client)
            return refuse(descriptor, target, "no memory is left, or the way to a consumer is gone", isCounted: true)
        }
        client.accepted(descriptor, out: out)
    }

    /// A client's TLS handshake is done.
    func handshakeDone(_ client: TCPStream) {
        guard case .listener(let target) = client.side else { return }
        if let (address, choice) = destination(target), let out = open(choice, for: client, address) {
            return client.opened(out: out)
        }
        Log.write(.tcp, .info, "listener \(target.name): client refused: no consumer is reachable")
        client.fail()
    }

    /// Which address a new connection goes to, and which consumer of it.
    private func destination(_ target: TCPListenerTarget) -> (ListenerAddress, Choice)? {
        let snapshot = snapshot
        guard
            let address = target.choose(
                random: { randomNumber() }, isReachable: { snapshot.addresses[$0.key]?.takesStreams ?? false }),
            let entry = snapshot.addresses[address.key]
        else { return nil }
        switch ConsumerChoice.pick(entry, origin: nil, turn: nextTurn()) {
        case .inProcess, .nowhere: return nil
        case let choice:
            entry.traffic.countIngress()
            switch choice {
            case .remote: entry.traffic.countTransit()
            case .consumer(let consumer): countEgress(entry, to: consumer)
            default: entry.traffic.countEgress()
            }
            return (address, choice)
        }
    }

    /// What takes the client's octets; nil when the way is gone meanwhile.
    private func open(_ choice: Choice, for client: TCPStream, _ address: ListenerAddress) -> DeliveryEnd? {
        address.load.increment()
        client.flow = startFlow(client)
        client.listenerAddress = address
        switch choice {
        case .connector(let connector):
            // Listener and connector on this router: the two sockets face each other.
            return openConnectorStream(
                connector, source: client, replyTo: replyAddress(client.ref), arrival: nil,
                farWindow: offer(for: client), alpn: client.alpn,
                flow: client.flow.map { FlowTrace(id: $0.id, route: isEdge ? "Local" : "0/" + routerID) })
        case .remote(let route, let load):
            let head = clientHead(address, client)
            return openTowards(
                route, head: head, producer: client, load: load, presettled: false, priority: nil, preferring: nil)
        case .consumer(let consumer):
            // To the interior, to an edge router below us, to another network, or to an AMQP client that stands for a
            // server.
            let leavesNetwork = consumer.outside == .network
            let head =
                consumer.isAnnotated && !leavesNetwork
                ? clientHead(address, client)
                : streamHead(
                    to: address.address, replyTo: replyAddress(client.ref), offer(for: client),
                    correlation: client.flow?.id, alpn: client.alpn, isAnnotated: consumer.isAnnotated,
                    leavesNetwork: leavesNetwork)
            return openTowards(consumer, head: head, producer: client, presettled: false, isStream: true)
        case .inProcess, .nowhere: return nil
        }
    }

    /// - Parameter isCounted: the stream was made and has been closed again.
    private func refuse(
        _ descriptor: Int32, _ target: TCPListenerTarget, _ reason: String, isCounted: Bool = false
    ) {
        Log.write(.tcp, .info, "listener \(target.name): client refused: \(reason) for address \(target.title)")
        Sockets.resetOnClose(descriptor)
        Glibc.close(descriptor)
        if !isCounted { target.closed.increment() }
    }

    // MARK: Time limits

    /// TLS handshakes of clients that one loop has under way; beyond that the oldest is cut.
    private static let serviceHandshakeMaximum = 2048

    private func boundServiceHandshakes() {
        guard limited.count > Worker.serviceHandshakeMaximum else { return }
        let waiting = limited.compactMap { stream($0) }.filter { $0.deadline > 0 && $0.tls?.isEstablished == false }
        guard waiting.count > Worker.serviceHandshakeMaximum else { return }
        waiting.first?.deadlinePassed()
    }

    /// A connect or handshake of a stream gets this long.
    func limit(_ stream: TCPStream, milliseconds: Int64) {
        let isListed = stream.deadline > 0
        stream.deadline = now + milliseconds
        if !isListed { limited.append(stream.ref) }
    }

    /// Every tick: connects and handshakes that took too long.
    func checkDeadlines(now: Int64) {
        guard !limited.isEmpty else { return }
        let list = limited
        limited = []
        for ref in list {
            guard let stream = stream(ref), stream.deadline > 0 else { continue }
            if now < stream.deadline {
                limited.append(ref)
            } else {
                stream.deadlinePassed()  // lists itself when the next address is under way
            }
        }
    }
}
