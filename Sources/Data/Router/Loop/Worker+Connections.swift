import AMQPCodec
import CLibuv
import Glibc

/// A socket that accepts AMQP connections; accepted ones go round the loops.
final class AMQPAcceptor: EventTarget {
    unowned(unsafe) let worker: Worker  // loops live as long as the process
    /// Replaced when the certificate files change; accepted connections keep what they had.
    var settings: ConnectionSettings
    private var poll: SocketPoll?
    private var next = 0

    init(worker: Worker, settings: ConnectionSettings) {
        self.worker = worker
        self.settings = settings
    }

    func open(_ descriptor: Int32) {
        poll = SocketPoll(loop: worker, descriptor: descriptor, target: self)
        poll?.watch(read: true, write: false)
    }

    func close() { poll.take()?.close() }

    /// After a pause for want of descriptors.
    func resume() { poll?.watch(read: true, write: false) }

    override func socketReady(readable: Bool, writable: Bool, failed: Bool) {
        for _ in 0..<16 {
            guard let listener = poll?.descriptor else { return }
            let descriptor = Sockets.accept(listener)
            if descriptor < 0 {
                if errno == EMFILE || errno == ENFILE {
                    Log.write(
                        .connectionManager, .error,
                        "listener \(settings.entity): cannot accept: \(Sockets.text(errno)); "
                            + "raise the limit of open files (ulimit -n)")
                    poll?.watch(read: false, write: false)
                    worker.pauseAccepting(self)
                }
                return
            }
            guard worker.core.policy.admitSocket() else {
                Glibc.close(descriptor)
                Log.write(
                    .policy, .info,
                    "DENY connection at listener \(settings.entity): the policy's maxConnections are there already")
                continue
            }
            let owner = worker.peers[next % worker.peers.count]
            next += 1
            let settings = settings
            let id = worker.core.takeConnectionID()
            owner.post { owner.takeOver(descriptor, id: id, settings: settings, connected: true) }
        }
    }
}

extension Worker {
    /// A connected or connecting socket becomes an AMQP connection of this loop.
    ///
    /// - Parameter peer: who is at the other end, if the socket does not know.
    func takeOver(
        _ descriptor: Int32, id: UInt64, settings: ConnectionSettings, connected: Bool, peer: String? = nil
    ) {
        let peer = peer ?? (connected ? Sockets.peer(of: descriptor)?.text : nil)
        let connection = AMQPConnection(
            worker: self, id: id, settings: settings, peerText: peer ?? "\(settings.host):\(settings.port)")
        connections[id] = connection
        if connected, !settings.isConnector { boundHandshakes(adding: id) }
        connection.start(descriptor: descriptor, connected: connected)
    }

    /// Peers that connect and never get as far as their open push each other out, the oldest first.
    private func boundHandshakes(adding id: UInt64) {
        func isWaiting(_ id: UInt64) -> Bool { connections[id].map { $0.openedAt == 0 } ?? false }
        while let oldest = handshakes.first, !isWaiting(oldest) { _ = handshakes.popFirst() }
        handshakes.append(id)
        guard handshakes.count > Worker.handshakeMaximum else { return }
        while let oldest = handshakes.popFirst() {
            guard isWaiting(oldest) else { continue }
            connections[oldest]?.close("more than \(Worker.handshakeMaximum) connections without an AMQP open")
            return
        }
    }

    /// Dials a connector's host. The outcome reaches the control thread as an opened or closed connection.
    func dial(id: UInt64, settings: ConnectionSettings, port: UInt16) {
        let (host, dialled) = settings.proxy.map { ($0.host, $0.port) } ?? (settings.host, port)
        Resolver.resolve(loop: self, host: host, port: dialled, family: settings.family) { [self] result in
            switch result {
            case .failure(let failure):
                dialFailed(id, settings, "resolve \(failure.host): \(failure.reason)")
            case .success(let addresses):
                let connection = AMQPConnection(
                    worker: self, id: id, settings: settings, peerText: "\(settings.host):\(port)")
                connections[id] = connection
                connection.untried = addresses
                connection.connectNext("no address for \(host)")
            }
        }
    }

    /// Asks the user database; the answer reaches the connection on this loop, if it is still there.
    func check(mechanism: String, response: [UInt8], for connection: AMQPConnection) {
        guard let users = connection.settings.users else {
            return connection.checked(.unavailable("there is no user database"))
        }
        let id = connection.ref.id
        users.check(mechanism: mechanism, response: response) { [self] verdict in
            post { [self] in connections[id]?.checked(verdict) }
        }
    }

    private func dialFailed(_ id: UInt64, _ settings: ConnectionSettings, _ reason: String) {
        let ref = ConnectionRef(worker: index, id: id)
        core.post { [core] in core.connectionClosed(ref, entity: settings.entity, reason: reason, wasOpen: false) }
    }

    // MARK: Told by connections, passed to the control thread

    func connectionOpened(_ connection: AMQPConnection, info: ConnectionInfo) {
        core.post { [core] in core.connectionOpened(info) }
    }

    func refusedByPolicy(_ connection: AMQPConnection) {
        let ref = connection.ref
        let entity = connection.settings.entity
        core.post { [core] in core.connectorRefused(ref, entity: entity) }
    }

    func controlLinksUp(_ connection: AMQPConnection) {
        let ref = connection.ref
        core.post { [core] in core.controlLinksUp(ref) }
    }

    /// Ends the connection, unless a newer one of its group has taken over.
    func controlLinkDetached(_ connection: AMQPConnection) {
        let ref = connection.ref
        core.post { [core] in core.controlLinkDetached(ref) }
    }

    /// A newer connection has taken over: this one only carries on the streams it has.
    func detachControlLinks(_ id: UInt64) {
        guard let connection = connections[id], connection.phase == .frames else { return }
        for link in [connection.controlSender, connection.controlReceiver] {
            if let link { link.session.detach(link, error: nil) }
        }
    }

    func connectionSilent(_ connection: AMQPConnection) {
        let ref = connection.ref
        core.post { [core] in core.connectionSilent(ref) }
    }

    func connectionClosed(_ connection: AMQPConnection, reason: String, wasOpen: Bool) {
        connections[connection.ref.id] = nil
        connection.leavePolicy()
        if !connection.settings.isConnector { core.policy.socketClosed() }
        let ref = connection.ref
        let entity = connection.settings.entity
        let level: LogLevel = wasOpen || connection.settings.isConnector ? .info : .warning
        Log.write(
            .server, level,
            "[C\(ref.id)] connection \(connection.settings.isConnector ? "to" : "from") \(connection.peerText) "
                + "(\(entity)) closed: \(reason)"
        )
        core.post { [core] in core.connectionClosed(ref, entity: entity, reason: reason, wasOpen: wasOpen) }
    }

    func linkAttached(_ link: Link, connection: AMQPConnection) {
        let ref = connection.ref
        let number = link.number
        switch link.kind {
        case .consumer(let key):
            let keeps = connection.settings.keepsOutgoingAnnotations
            core.post { [core] in
                core.consumerAttached(key: key, connection: ref, link: number, seesAnnotations: keeps)
            }
        case .producer(let address?):
            let key = scope(address).key
            core.post { [core] in core.producerAttached(key: key, connection: ref, link: number) }
        case .tracking:
            core.post { [core] in core.trackingAttached(connection: ref, link: number) }
        case .meshBid:
            core.post { [core] in core.bidderAttached(ref) }
        default: break
        }
    }

    /// Every loop knows these consumers: their attaches may be answered.
    func releaseAttaches(_ consumers: [(connection: ConnectionRef, link: UInt64)]) {
        for (ref, number) in consumers {
            let worker = ref.worker == index ? self : peers[ref.worker]
            worker.post {
                guard let link = worker.connections[ref.id]?.consumerLink(number) else { return }
                link.session.releaseAttach(link)
            }
        }
    }

    /// An automatic link is up.
    func automaticLinkAttached(_ link: Link, connection: AMQPConnection) {
        let number = link.number
        let identity = "\(connection.ref.id):\(link.session.localChannel):\(link.localHandle)"
        core.post { [core] in core.autoLinkAttached(number, identity: identity) }
    }

    /// - Parameter error: what the peer said.
    func linkGone(_ link: Link, connection: AMQPConnection, error: AMQPError? = nil) {
        link.leavePolicy()
        let ref = connection.ref
        let number = link.number
        if link.isAutomatic, connection.phase != .closed {
            let text = error.map { $0.description ?? $0.condition }
            core.post { [core] in core.autoLinkDetached(number, error: text) }
        }
        switch link.kind {
        case .consumer, .producer(.some):
            core.post { [core] in core.linkDetached(link: number) }
        case .tracking, .uplink, .downlink, .proxy:
            let isProxy = if case .proxy = link.kind { true } else { false }
            core.post { [core] in core.edgeLinkGone(connection: ref, link: number, isProxy: isProxy) }
        case .meshBid, .interEdge:
            core.post { [core] in core.meshLinkGone(ref, number) }
        default: break
        }
    }

    // MARK: Floods

    /// After a read: what the control thread must see piles up, so the connection that brought more of it waits.
    func restIfCoreIsBusy(_ connection: AMQPConnection) {
        guard core.backlog > Worker.coreBusyAbove, connection.phase != .closed, !connection.isReadingPaused else {
            return
        }
        connection.isReadingPaused = true
        connection.poll?.watch(read: false, write: connection.queuedOctets > 0)
        let id = connection.ref.id
        let goOn: @Sendable () -> Void = { [self] in post { self.endRest(of: id) } }
        // What a router brings is for many; it does not wait until all requests of clients are answered.
        if connection.effectiveRole == .normal { core.postPatiently(goOn) } else { core.post(goOn) }
    }

    /// The control thread has caught up.
    private func endRest(of id: UInt64) {
        guard let connection = connections[id], connection.phase != .closed else { return }
        connection.isReadingPaused = false
        connection.lastReceived = now
        connection.poll?.watch(read: true, write: connection.queuedOctets > 0)
    }

    // MARK: Ordered by the control thread

    /// Sends a complete message on a link of a connection here. Messages to a full link are dropped when pre-settled.
    func sendMessage(_ bytes: [UInt8], on connectionID: UInt64, _ selector: LinkSelector) {
        guard let connection = connections[connectionID], connection.phase == .frames else { return }
        let link: Link?
        switch selector {
        case .control: link = connection.controlSender
        case .priority(let priority):
            link = connection.dataSenders.last { if case .data(let own) = $0.kind { own <= priority } else { false } }
        case .number(let number): link = connection.consumerLink(number)
        }
        guard let link, link.machine.state == .attached || link.machine.state == .attachSent else { return }
        if link.kind == .tracking ? !connection.mayQueue(on: link) : link.waiting.count >= 1000 {
            Log.write(
                .core, .warning,
                "[C\(connectionID)] link \(link.name) has \(link.waiting.count) undelivered messages; a pre-settled "
                    + "one is dropped",
                // The link may be that of a collector who does not read what he is told.
                isTold: false)
            return
        }
        switch link.kind {
        case .consumer: counters.egress += 1
        case .data: counters.transit += 1
        default: break
        }
        if let outside = connection.effectiveRole.outside { counters.countEgress(to: outside) }
        let delivery = OutgoingDelivery(connection: connection, head: bytes, presettled: true, producer: nil, load: nil)
        delivery.logText = connection.logText(of: bytes)
        delivery.finish(settled: true)
        delivery.begin(on: link)
    }

    /// Tells an interior router the name of our mesh; the control thread hears when it is known there. Of names that
    /// wait for credit only the last one is sent.
    func announceMesh(_ bytes: [UInt8], on connectionID: UInt64, _ number: UInt64) {
        guard let connection = connections[connectionID], connection.phase == .frames,
            let link = connection.consumerLink(number)
        else { return }
        for earlier in link.waiting.removeAll() { earlier.linkLost() }
        let receipt = MeshReceipt(core: core, connection: connection.ref)
        let delivery = OutgoingDelivery(
            connection: connection, head: bytes, presettled: false, producer: receipt, load: nil)
        receipt.delivery = delivery
        delivery.logText = connection.logText(of: bytes)
        delivery.finish(settled: false)
        delivery.begin(on: link)
    }

    func closeConnection(_ id: UInt64, reason: String, orderly: Bool) {
        guard let connection = connections[id] else { return }
        if orderly { connection.sendClose(nil) }
        connection.close(reason)
    }
}

/// Stands for the sender of an announcement until it is answered.
private final class MeshReceipt: DeliveryEnd {
    private unowned let core: Core
    private let connection: ConnectionRef
    var delivery: OutgoingDelivery?

    init(core: Core, connection: ConnectionRef) {
        self.core = core
        self.connection = connection
    }

    override func update(_ state: DeliveryState?, settled: Bool) {
        guard let delivery, settled || state?.isTerminal == true else { return }
        self.delivery = nil
        if !settled { delivery.settledByProducer(state ?? .accepted) }
        guard state == .accepted else { return }
        core.post { [core, connection] in core.meshTold(connection) }
    }
}

/// Which link of a connection a message of the control thread leaves on.
enum LinkSelector: Sendable {
    case control
    case priority(Int)
    case number(UInt64)
}

extension AMQPConnection {
    func consumerLink(_ number: UInt64) -> Link? { linksByNumber[number] }

    /// The link's credit goes back at the end of the turn, in one flow for all that came free in it.
    func giveCreditSoon(_ link: Link) {
        if creditDue.isEmpty { worker.creditDue.append(self) }
        creditDue.append(link)
    }

    func giveCreditBack() {
        let links = creditDue
        creditDue = []
        for link in links {
            link.isCreditDue = false
            link.giveCreditBack()
        }
    }

    /// The link has ended.
    func forgetProducer(_ link: Link) {
        if link.scope != nil { targetedProducers.removeAll { $0 === link } }
        if link.isCreditDue { creditDue.removeAll { $0 === link } }
    }

    /// Clients' senders without credit whose address has got a consumer receive some.
    func reviewProducers() {
        for link in targetedProducers where link.isStarved && link.machine.state == .attached {
            guard let scope = link.scope, worker.isReachable(scope) else { continue }
            link.isStarved = false
            link.grantAll()
        }
    }
}
