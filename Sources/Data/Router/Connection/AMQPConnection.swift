import AMQPCodec
import AMQPEndpoints
import CLibuv
import Glibc

/// One AMQP connection: socket, TLS, SASL, and the AMQP endpoints on top. Owned by one loop for its whole life.
///
/// Bytes come in through ``socketReady(readable:writable:failed:)``, are decrypted into the loop's plaintext buffer
/// and cut into frames there (`AMQPConnection+Input.swift`). Payload is handed on in place; only an incomplete frame
/// head is kept. Frames go out through `AMQPConnection+Output.swift`, small ones gathered into full TLS records.
final class AMQPConnection: EventTarget {
    /// How far the layers have got.
    enum Phase { case connecting, proxy, tls, saslHeader, sasl, amqpHeader, frames, closed }

    unowned(unsafe) let worker: Worker  // loops live as long as the process
    let ref: ConnectionRef
    /// The policy may narrow them at Open.
    var settings: ConnectionSettings
    /// What the peer may do; nil = everything.
    var policy: ConnectionPolicy?
    var isCountedByPolicy = false
    /// Remote address as text.
    let peerText: String
    var poll: SocketPoll?
    var phase: Phase
    var tls: TLSSession?
    var serverSASL: SASLServer?
    var clientSASL: SASLClient?
    var machine = ConnectionMachine()
    var mechanism = ""

    // Input
    /// Bytes of an incomplete frame head or non-transfer frame, put in front of the next read.
    var residue: [UInt8] = []
    /// Payload octets of the current transfer frame that have not arrived yet.
    var payloadLeft = 0
    /// Where the current frame's payload goes.
    var payloadDelivery: IncomingDelivery?
    var payloadLink: Link?
    var payloadMore = false
    var payloadAborted = false
    var lastReceived: Int64 = 0
    var octetsIn = 0

    // Output
    var trace: FrameTrace
    /// Small frames gathered for one TLS record; taken from the pool while it holds anything.
    var gather: Slab?
    /// Without TLS: bytes waiting for the socket. With TLS they wait in the session's queue.
    var plainOutput = SlabQueue()
    var isDirty = false
    /// Frames wait in ``gather`` for others; see ``sendAccepted(channel:first:)``.
    var isFlushDue = false
    /// The kernel took no more when it was last asked. epoll tells when it does; asking again for each frame would cost
    /// a system call each time.
    var isSocketFull = false
    var lastSent: Int64 = 0
    var octetsOut = 0
    /// Deliveries that hold octets or a paused producer because the socket or a session window was full.
    var blocked: [OutgoingDelivery] = []

    // Endpoints
    var remoteOpen: Open?
    var peerMaxFrame = 512
    var peerHeartbeat: Int64 = 0
    /// The peer has promised octets every `controlHeartbeat`: their absence means that it is dead or cut off.
    var watchesSilence = false
    /// Ticks in a row, and their milliseconds, in which nothing arrived; a tick that comes late counts as one in time.
    var silentMilliseconds: Int64 = 0
    private var lastTick: Int64 = 0
    /// Longest silence of our own on a control connection to a router of ours, in milliseconds.
    static let controlHeartbeat: Int64 = 500
    /// Silence at which such a peer counts as lost. With a tick on either side it is noticed in at most 1.4 s.
    static let silenceMaximum: Int64 = 950
    var effectiveRole: ConnectionRole
    var sessions: [Session?] = []
    var sessionsByRemoteChannel: [Session?] = []
    var controlSender: Link?
    var controlReceiver: Link?
    var dataSenders: [Link] = []
    var dataReceiverCount = 0
    var isControlReported = false
    var streamingSession: Session?
    /// The mesh that an edge router below us has announced.
    var meshID: String?
    /// Edge router: carries the links to and from the interior, or a neighbour in its mesh.
    var endpointSession: Session?
    /// Edge router: carries the senders of bids to a neighbour, each new one after the last has gone.
    var bidSession: Session?
    /// The peer takes links of ours that carry one stream after another.
    var peerTakesStreamingLinks = false
    var idleStreamingLinks: [Link] = []
    var waitingStreams = Fifo<OutgoingDelivery>()
    /// Links for long messages, their number, and what waits for one.
    var idleMessageLinks: [Link] = []
    var messageLinkCount = 0
    var messageLinksAttaching = 0
    var waitingMessages = Fifo<OutgoingDelivery>()
    /// Deliveries that may wait for a link.
    static let waitingMaximum = 10_000
    /// Links of all sessions.
    var linkCount = 0
    /// Clients' senders that have an address of their own: their credit follows whether it can be reached.
    var targetedProducers: [Link] = []
    /// Clients' senders whose credit is given back at the end of the loop's turn.
    var creditDue: [Link] = []
    /// Links by the number the control thread knows them by.
    var linksByNumber: [UInt64: Link] = [:]
    /// Octets in the queues of deliveries that leave here.
    var heldOctets = 0
    /// Held octets at which no further message is taken; what has begun goes on.
    static let heldMaximum = 64 << 20
    /// The peer floods us with what the control thread must see; nothing is read until that has caught up.
    var isReadingPaused = false
    /// Addresses to try when the connect under way fails.
    var untried: [SocketAddress] = []
    var streamingLinksAttaching = 0
    var nextTag: UInt64 = 0
    var openedAt: Int64 = 0
    /// When a delivery last began, in either direction; 0 = never.
    var lastDeliveryAt: Int64 = 0
    var startedAt: Int64
    var closeReason: String?
    var closingAt: Int64 = 0

    init(worker: Worker, id: UInt64, settings: ConnectionSettings, peerText: String) {
        self.worker = worker
        self.settings = settings
        self.peerText = peerText
        ref = ConnectionRef(worker: worker.index, id: id)
        trace = FrameTrace(connection: id, level: Log.isEnabled(.protocolTrace, .debug))
        phase = .connecting
        effectiveRole = settings.role
        startedAt = worker.now
        lastReceived = startedAt
        lastSent = startedAt
    }

    /// Takes over a connected or connecting socket and starts the layers.
    func start(descriptor: Int32, connected: Bool) {
        poll = SocketPoll(loop: worker, descriptor: descriptor, target: self)
        if connected {
            transportReady()
        } else {
            poll?.watch(read: false, write: true)
        }
    }

    /// Router annotations of the peer's messages count.
    var takesAnnotations: Bool { effectiveRole.carriesAnnotations || settings.keepsIncomingAnnotations }

    /// Another message may wait for its turn on a link of this connection.
    func mayQueue(on link: Link) -> Bool {
        link.waiting.count < AMQPConnection.waitingMaximum && heldOctets < AMQPConnection.heldMaximum
    }

    /// Dials the next address of the host's name.
    func connectNext(_ failure: String) {
        var reason = failure
        while !untried.isEmpty {
            let address = untried.removeFirst()
            switch Sockets.connect(address) {
            case .success(let socket):
                startedAt = worker.now
                return start(descriptor: socket.descriptor, connected: socket.connected)
            case .failure(let failure):
                reason = "connect \(settings.proxy == nil ? "" : "proxy ")\(address.text): \(failure.text)"
            }
        }
        close(reason)
    }

    override func socketReady(readable: Bool, writable: Bool, failed: Bool) {
        if phase == .closed { return }
        if phase == .connecting {
            guard let descriptor = poll?.descriptor else { return }
            let code = Sockets.pendingError(descriptor)
            if code == 0 { return transportReady() }
            let failure = "connect \(settings.proxy?.text ?? peerText): \(Sockets.text(code))"
            guard !untried.isEmpty else { return close(failure) }
            poll.take()?.close()
            return connectNext(failure)
        }
        if phase == .proxy, readable, let descriptor = poll?.descriptor {
            if readProxyAnswer(descriptor) { startLayers() }
            return
        }
        if readable { readSocket() }
        if phase != .closed, writable { writeSocket() }
        if failed, phase != .closed { socketFailed() }
    }

    /// What the peer said before it left, the error of its close or a TLS alert perhaps, can still be read; a read
    /// after that tells the cause.
    private func socketFailed() {
        var before: Int
        repeat {
            before = octetsIn
            readSocket()
        } while phase != .closed && octetsIn != before
        if phase != .closed { close("socket error") }
    }

    /// TCP is established: start TLS, or SASL at once; behind a proxy when its tunnel stands.
    private func transportReady() {
        if let descriptor = poll?.descriptor { Sockets.sendAtOnce(descriptor) }
        poll?.watch(read: true, write: false)
        lastReceived = worker.now
        if let proxy = settings.proxy { askProxy(proxy) } else { startLayers() }
    }

    private func startLayers() {
        guard let context = settings.tls else { return startSASL() }
        if !settings.isConnector, !settings.requireTLS, !settings.authenticatePeer {
            phase = .tls  // the first octet tells TLS from clear text
            return
        }
        startTLS(context)
    }

    func startTLS(_ context: TLSContext) {
        phase = .tls
        do {
            tls = try TLSSession(
                context: context, server: !settings.isConnector, serverName: settings.isConnector ? settings.host : nil,
                verifyName: settings.verifyHostname, keepsBuffers: settings.role != .normal, pool: worker.pool)
        } catch {
            return close(error.text)
        }
        if settings.isConnector { continueHandshake() }
    }

    func continueHandshake() {
        guard let tls else { return }
        switch tls.handshake() {
        case nil: break
        case .success: startSASL()
        case .failure(let failure):
            markDirty()
            flush()
            return close("TLS handshake: \(failure.text)")
        }
        markDirty()
    }

    private func startSASL() {
        phase = .saslHeader
        let verified = tls?.peerSubject != nil
        if settings.isConnector {
            var machine = SASLClient(
                allowed: settings.saslMechanisms, hasCertificate: tls != nil && settings.tls?.hasCertificate == true,
                credentials: settings.credentials)
            let effects = machine.start()
            clientSASL = machine
            perform(effects)
        } else {
            serverSASL = SASLServer(mechanisms: offeredMechanisms(verified: verified), hasVerifiedCertificate: verified)
        }
    }

    private func offeredMechanisms(verified: Bool) -> [String] {
        let allowed = settings.saslMechanisms.isEmpty ? ["EXTERNAL", "ANONYMOUS"] : settings.saslMechanisms
        return allowed.filter { name in
            switch name {
            case "EXTERNAL": verified
            case "ANONYMOUS": !settings.authenticatePeer
            case "PLAIN": settings.users?.mechanisms.contains(name) == true
            default: false
            }
        }
    }

    /// Who the peer is, by its password or by its certificate; of a connector with a password, who it is to the peer.
    var userName: String? {
        switch mechanism {
        case "PLAIN": serverSASL?.user ?? settings.credentials?.user
        case "EXTERNAL": settings.tls?.profile.userNames.flatMap { tls?.peerName($0) } ?? tls?.peerSubject
        default: tls?.peerSubject
        }
    }

    /// The user database has spoken; the peer may not have waited for it.
    func checked(_ verdict: SASLVerdict) {
        guard phase == .sasl, serverSASL?.state == .check, let effects = serverSASL?.checked(verdict) else { return }
        perform(effects)
    }

    /// Every tick: handshake and idle time-outs, heartbeats.
    func tick(now: Int64) {
        switch phase {
        case .closed: return
        case .frames where machine.state == .opened:
            if isReadingPaused { lastReceived = now }
            if watchesSilence { checkSilence(now: now) }
            if settings.idleTimeoutMilliseconds > 0, now - lastReceived > settings.idleTimeoutMilliseconds {
                sendClose(
                    AMQPError(condition: "amqp:resource-limit-exceeded", description: "local-idle-timeout expired"))
                return close("nothing received for \(settings.idleTimeoutMilliseconds) ms (idle time-out)")
            }
            // The next tick may be too late.
            if peerHeartbeat > 0, now - lastSent + worker.tickMilliseconds > peerHeartbeat {
                let empty: [UInt8] = [0, 0, 0, 8, 2, 0, 0, 0]
                send(empty)
            }
        default:
            if closingAt > 0, now - closingAt > 2000 { return close(closeReason ?? "peer did not answer our close") }
            if now - startedAt > settings.handshakeTimeoutMilliseconds, closingAt == 0 {
                close("no AMQP open within \(settings.handshakeTimeoutMilliseconds) ms (reached: \(phase))")
            }
        }
    }

    /// Tells the control thread, once, that the peer has fallen silent.
    private func checkSilence(now: Int64) {
        let elapsed = min(now - lastTick, worker.tickMilliseconds + 50)
        defer { lastTick = now }
        guard lastReceived < lastTick else {
            silentMilliseconds = 0
            return
        }
        let before = silentMilliseconds
        silentMilliseconds += elapsed
        if before < AMQPConnection.silenceMaximum, silentMilliseconds >= AMQPConnection.silenceMaximum {
            worker.connectionSilent(self)
        }
    }

    /// Cuts the connection. Deliveries in progress are aborted or released; the control thread is told why.
    func close(_ reason: String) {
        guard phase != .closed else { return }
        let wasOpen = openedAt > 0
        phase = .closed
        let why = closeReason ?? reason
        poll.take()?.close()
        payloadDelivery = nil
        payloadLink = nil
        endAllDeliveries()
        if let gather { worker.pool.give(gather) }
        gather = nil
        plainOutput.removeAll(pool: worker.pool)
        tls?.output.removeAll(pool: worker.pool)
        worker.connectionClosed(self, reason: why, wasOpen: wasOpen)
    }

    /// The peer broke the protocol: say so in a close frame where AMQP is up, then cut.
    func fail(_ error: EndpointError) {
        Log.write(
            .server, .error, "[C\(ref.id)] \(peerText): \(error.condition): \(error.detail); closing the connection")
        sendClose(AMQPError(condition: error.condition, description: error.detail))
        close("protocol violation by the peer: \(error.condition): \(error.detail)")
    }

    func fail(_ error: DecodeError) {
        fail(EndpointError(.connection, "amqp:decode-error", "undecodable frame: \(error)"))
    }

    func endAllDeliveries() {
        let open = sessions
        sessions = []
        sessionsByRemoteChannel = []
        let waiting = waitingStreams.removeAll() + waitingMessages.removeAll()
        blocked = []
        idleStreamingLinks = []
        idleMessageLinks = []
        for case let session? in open { session.endDeliveries() }
        for delivery in waiting { delivery.linkLost() }
    }
}

extension Session {
    /// The session is gone: what was arriving is aborted, what was leaving is given back.
    func endDeliveries() {
        let arriving = incoming
        let leaving = outgoing
        incoming = [:]
        outgoing = [:]
        let links = Array(localLinks.values)
        localLinks = [:]
        remoteLinks = [:]
        connection.linkCount -= links.count
        for (_, delivery) in arriving { delivery.linkLost() }
        for link in links {
            if let receiving = link.receiving { receiving.linkLost() }
            link.receiving = nil
            connection.linksByNumber[link.number] = nil
            for delivery in link.waiting.removeAll() { delivery.linkLost() }
            link.sending?.linkLost()
            link.sending = nil
            connection.dataSenders.removeAll { $0 === link }
            connection.forgetProducer(link)
            connection.worker.linkGone(link, connection: connection)
        }
        for (_, delivery) in leaving { delivery.linkLost() }
        connection.forget(self)
    }
}
