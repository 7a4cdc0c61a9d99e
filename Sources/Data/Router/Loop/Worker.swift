import AMQPCodec
import CLibuv
import Glibc

/// One data-plane loop: its connections, streams, buffers and its copy of the routing tables.
final class Worker: EventLoop, @unchecked Sendable {  // loop-confined; others only call post(_:)
    /// A piece of plaintext to be written to a stream's socket at the end of this read.
    struct Span {
        var bytes: UnsafeMutableRawPointer
        var count: Int
        var next: Int32
    }

    /// Totals since start.
    struct Counters: Sendable {
        var octetsIn = 0
        var octetsOut = 0
        var streamsOpened = 0
        var streamsClosed = 0
        var ingress = 0
        var egress = 0
        /// Of those, from and to route containers.
        var containerIngress = 0
        var containerEgress = 0
        /// And from and to other networks.
        var networkIngress = 0
        var networkEgress = 0
        var transit = 0
        var accepted = 0
        var released = 0
        var rejected = 0
        var modified = 0
        var presettled = 0
        var droppedPresettled = 0
        var delayed1 = 0
        var delayed10 = 0
        var stuck = 0
        /// As the last scan found them.
        var blockedLinks = 0
        var links = 0
        /// Streams of clients in which an observer has found HTTP, as last counted.
        var observedHTTP1 = 0
        var observedHTTP2 = 0
        /// Of one loop only; not summed.
        var pool = PoolCount()
    }

    static let cipherCapacity = 256 * 1024
    static let plainCapacity = cipherCapacity + 32 * 1024
    /// What is read of a service's socket at once while few streams are open. Its frames of the usual size are as many
    /// TLS records, the last nearly as full as the others, and eight of them fit into two segments of 64 KB.
    /// With 128 KB there was a ninth frame of 300 octets: a record, and a segment that woke the far end, for nothing.
    static let readCapacity = 16 * framePayload
    /// The same while many are, so that each has its turn soon.
    private static let sharedReadCapacity = 8 * framePayload
    private static let framePayload = 16_300
    private static let manyStreams = 16
    private static let headroom = 64

    let index: Int
    let routerID: String
    /// Octets a stream writes before its sender is told; at most half of the window, or it would stall.
    let reportEvery: UInt64
    /// This is an edge router: what it does not know goes to an interior router.
    let isEdge: Bool
    /// The name of this network among others; nil = it has none.
    var networkID: String?
    unowned(unsafe) let core: Core  // lives as long as the process
    let pool: SlabPool
    /// What is read from a TLS socket.
    let cipherBuffer: UnsafeMutableRawPointer
    /// Decrypted octets, cut into frames in place.
    let plainBuffer: UnsafeMutableRawPointer
    /// What is read from a service's socket, with headroom for a frame head in front.
    let readBuffer: UnsafeMutableRawPointer
    /// One outgoing frame that cannot be built in place.
    let frameBuffer: UnsafeMutableRawPointer
    private(set) var snapshot: Snapshot
    var connections: [UInt64: AMQPConnection] = [:]
    var bridges: [UInt64: DeliveryEnd] = [:]
    var dirty: [AMQPConnection] = []
    /// Connections with clients' senders whose credit is given back at the end of the turn.
    var creditDue: [AMQPConnection] = []
    /// Bridges with small pieces for other loops.
    private var holding: [BridgeEntry] = []
    /// Streams whose server was dialled in this turn.
    private var dialled: [StreamRef] = []
    /// Dials to come whose sockets are not offered octets at once.
    private var dialsWithoutOffer = 0
    /// Accepted connections that have not opened, oldest first; some may have opened or closed since.
    var handshakes = Fifo<UInt64>()
    static let handshakeMaximum = 512
    /// Pieces of work waiting for the control thread at which connections rest.
    static let coreBusyAbove = 4096
    private var toResume: [AMQPConnection] = []
    private var toClose: [(AMQPConnection, String)] = []
    /// Connections with frames that nobody waits for, which leave with the next ones or soon.
    private var toFlush: [AMQPConnection] = []
    /// Streams whose reply waits for the server's first octets; some may be open or gone.
    private var repliesDue: [StreamRef] = []
    /// Streams whose reply waits for a path to the client, oldest first, with the time at which it is given up; some
    /// may be gone.
    var pathless: [(ref: StreamRef, until: Int64)] = []
    /// Heads of client streams by service address.
    var clientHeads: [String: StreamHead] = [:]
    /// The same that ask for caution.
    var cautiousHeads: [String: StreamHead] = [:]
    /// Octets that wait here for sockets of services.
    private(set) var heldByStreams = 0
    /// New streams ask their far ends for caution: a stream whose reader stops then holds little.
    private(set) var isCautious = false
    /// The reply route used last.
    var replyRoute: ReplyRoute?
    var knownHeads = KnownHeads()
    var spans: [Span] = []
    private var touched: [TCPStream] = []
    private var streams: [TCPStream?] = []
    private var generations: [UInt32] = []
    private var freeSlots: [Int] = []
    private(set) var openStreams = 0
    /// Streams whose connect or handshake has a time limit; some may be done or gone.
    var limited: [StreamRef] = []
    /// Streams with telemetry.
    var tracedStreams = 0
    var flowReports: [FlowReport] = []
    var exchangeReports: [ExchangeReport] = []
    var nextFlowReport: Int64 = 0
    /// The same for other loops to see.
    let shownStreams = LoadCounter()
    /// Clients accepted since the last tick, and how many of them are a rush.
    var acceptedInTick = 0
    /// Messages of clients whose outcome was known before their end, and since when; the oldest first.
    private var decidedEarly: [(delivery: IncomingDelivery, at: Int64)] = []
    /// Milliseconds that a sender has to end such a message before it is told.
    private static let earlyOutcomeAfter: Int64 = 500
    static let rush = 256
    var counters = Counters()
    var listenerSockets: [String: TCPListenerSocket] = [:]
    var acceptors: [String: AMQPAcceptor] = [:]
    private var pausedListeners: [TCPListenerSocket] = []
    private var pausedAcceptors: [AMQPAcceptor] = []
    private var nextBridge: UInt64
    private var nextLink: UInt64
    private var random = SystemRandomNumberGenerator()
    private var turn = 0
    private var nextLinkScan: Int64 = 0
    private var linkScans = 0
    private var quiet = QuietTime()
    /// Octets read from AMQP connections.
    var octetsFromPeers = 0
    private(set) var peers: [Worker] = []

    /// - Parameter pollFor: see ``EventLoop``.
    init(index: Int, routerID: String, core: Core, snapshot: Snapshot, pollFor: UInt64 = 0) {
        self.index = index
        self.routerID = routerID
        isEdge = core.isEdge
        reportEvery = min(TCPStream.reportEvery, core.memory.offeredWindow / 4)
        self.core = core
        self.snapshot = snapshot
        cipherBuffer = .allocate(byteCount: Worker.cipherCapacity, alignment: 64)
        plainBuffer = .allocate(byteCount: Worker.plainCapacity, alignment: 64)
        readBuffer = .allocate(byteCount: Worker.readCapacity + Worker.headroom, alignment: 64) + Worker.headroom
        frameBuffer = .allocate(byteCount: ConnectionSettings.largestFrame + 64, alignment: 64)
        pool = SlabPool(keep: 64, slabCapacity: core.memory.slabCapacity)
        nextBridge = UInt64(index) << 48
        nextLink = UInt64(index) << 48
        super.init(name: "loop \(index)", pollFor: pollFor)
    }

    /// Octets that wait for sockets of services in all loops together above which new streams ask for caution; half of
    /// it, and they no longer do. A loop's part is never less than ``leastHeld``.
    private static let muchHeld = 64 << 20
    private static let leastHeld = 8 << 20

    /// A stream holds so many octets more, or less.
    func streamHolds(_ change: Int) {
        heldByStreams += change
        let much = max(Worker.leastHeld, Worker.muchHeld / max(1, peers.count))
        isCautious = heldByStreams > (isCautious ? much / 2 : much)
    }

    /// Octets that a stream may read in its turn.
    var readQuantum: Int { openStreams < Worker.manyStreams ? Worker.readCapacity : Worker.sharedReadCapacity }

    /// Told once, before the loop starts, who the other loops are.
    func join(_ all: [Worker]) { peers = all }

    // MARK: Turn

    override func turnEnded() {
        while true {
            if !dialled.isEmpty {
                let list = dialled
                dialled = []
                for ref in list { stream(ref)?.writeFirst() }
            }
            if !holding.isEmpty {
                let list = holding
                holding = []
                for bridge in list { bridge.sendHeld() }
            }
            if !toResume.isEmpty {
                let list = toResume
                toResume = []
                for connection in list where connection.phase != .closed { connection.resumeBlocked() }
            }
            if !creditDue.isEmpty {
                let list = creditDue
                creditDue = []
                for connection in list { connection.giveCreditBack() }
            }
            if !dirty.isEmpty {
                let list = dirty
                dirty = []
                for connection in list { connection.flush() }
            }
            if !toClose.isEmpty {
                let list = toClose
                toClose = []
                for (connection, reason) in list { connection.close(reason) }
            }
            if toResume.isEmpty, creditDue.isEmpty, dirty.isEmpty, toClose.isEmpty, holding.isEmpty, dialled.isEmpty {
                return
            }
        }
    }

    /// A server was dialled: at the end of the turn the first octets are offered to its socket, unless such an offer
    /// came too early lately.
    /// - Returns: false when only epoll is to tell that the socket is connected.
    func writesFirst(_ stream: TCPStream) -> Bool {
        guard dialsWithoutOffer == 0 else {
            dialsWithoutOffer -= 1
            return false
        }
        dialled.append(stream.ref)
        return true
    }

    /// The server is too far for its connection to be there within a turn; others are likely to be so too.
    func firstWriteCameTooEarly() { dialsWithoutOffer = 64 }

    /// The bridge's pieces leave at the end of the turn, if nothing takes them along before.
    func bridgeHolds(_ bridge: BridgeEntry) { holding.append(bridge) }

    /// What the connection has gathered leaves soon, if nothing else takes it along.
    func flushSoon(_ connection: AMQPConnection) {
        toFlush.append(connection)
        callSoon()
    }

    /// The stream's reply opens soon, if the server's octets do not open it before.
    func replySoon(_ stream: TCPStream) {
        repliesDue.append(stream.ref)
        callSoon()
    }

    override func soon() {
        let replies = repliesDue
        repliesDue = []
        for ref in replies { stream(ref)?.openReply() }
        let connections = toFlush
        toFlush = []
        for connection in connections { connection.flushWaiting() }
    }

    /// Milliseconds between ticks unless a peer's time-out asks for more of them.
    static let usualTick: Int64 = 250

    /// A peer wants to hear from us this often, in milliseconds.
    func tickFaster(for heartbeat: Int64) {
        let wanted = max(25, heartbeat / 2)
        if wanted < tickMilliseconds { setTick(wanted) }
    }

    private func tickSlower() {
        let shortest = connections.values.lazy.map(\.peerHeartbeat).filter { $0 > 0 }.min() ?? .max
        let wanted = min(Worker.usualTick, max(25, shortest / 2))
        if wanted > tickMilliseconds { setTick(wanted) }
    }

    override func tick() {
        let now = now
        if tickMilliseconds < Worker.usualTick { tickSlower() }
        for connection in Array(connections.values) { connection.tick(now: now) }
        if !decidedEarly.isEmpty { tellEarlyOutcomes(now: now) }
        checkDeadlines(now: now)
        if !pathless.isEmpty { dropPathless(now: now) }
        reportFlows(now: now)
        for listener in pausedListeners { listener.resume() }
        pausedListeners = []
        for acceptor in pausedAcceptors { acceptor.resume() }
        pausedAcceptors = []
        if now >= nextLinkScan {
            nextLinkScan = now + Link.scanInterval
            linkScans += 1
            scanLinks(deliveries: linkScans % Link.scansPerStuckScan == 0)
        }
        acceptedInTick = 0
        noticeQuiet()
    }

    /// Outcome and settlement go together if the sender ends its message in time.
    func tellLater(_ delivery: IncomingDelivery) { decidedEarly.append((delivery, now)) }

    private func tellEarlyOutcomes(now: Int64) {
        let due = decidedEarly.prefix { now - $0.at >= Worker.earlyOutcomeAfter }.map(\.delivery)
        decidedEarly.removeFirst(due.count)
        for delivery in due { delivery.tellEarlyOutcome() }
    }

    /// Traffic has ended: pooled links and buffers go, then the process gives memory back.
    private func noticeQuiet() {
        let moved = counters.octetsIn &+ counters.octetsOut &+ octetsFromPeers
        // Streams that end without a word, as those of readers that had stopped, leave memory behind as well.
        let changes = counters.streamsOpened &+ counters.streamsClosed
        switch quiet.notice(moved: moved, changes: changes, now: now) {
        case .busy, .released: return
        case .trimming:
            var trimmed = 0
            for connection in connections.values {
                trimmed += connection.trimStreamingLinks(keep: 64, atMost: 128)
                trimmed += connection.trimMessageLinks(keep: 2, atMost: 128)
            }
            if trimmed > 0 { quiet.goOn(now: now) }
        case .release:
            pool.trim(to: 0)
            IdleMemory.forget(cipherBuffer, Worker.cipherCapacity)
            IdleMemory.forget(plainBuffer, Worker.plainCapacity)
            IdleMemory.forget(readBuffer, Worker.readCapacity)
            for connection in connections.values { connection.compact() }
            if openStreams == 0 {
                // Their generations begin anew at random, so a late reply still finds nobody.
                streams = []
                generations = []
                freeSlots = []
            }
            core.post { [core] in core.loopBecameQuiet() }
        }
    }

    override func willStop() {
        for listener in listenerSockets.values { listener.close() }
        for acceptor in acceptors.values { acceptor.close() }
        for stream in streams { stream?.cut() }
        for connection in Array(connections.values) { connection.close("router is stopping") }
    }

    func resumeSoon(_ connection: AMQPConnection) {
        if !toResume.contains(where: { $0 === connection }) { toResume.append(connection) }
    }

    /// Closes after the current call chain, which may still use the connection.
    func closeSoon(_ connection: AMQPConnection, reason: String) { toClose.append((connection, reason)) }

    // MARK: Spans

    func addSpan(_ stream: TCPStream, _ bytes: UnsafeMutableRawPointer, _ count: Int) {
        let index = Int32(spans.count)
        spans.append(Span(bytes: bytes, count: count, next: -1))
        if stream.lastSpan >= 0 {
            spans[Int(stream.lastSpan)].next = index
        } else {
            stream.firstSpan = index
            touched.append(stream)
        }
        stream.lastSpan = index
    }

    /// Writes what was spanned: called before the buffer the spans point into is used again.
    func flushStreams() {
        while !touched.isEmpty {
            let list = touched
            touched = []
            for stream in list { stream.flushSpans() }
        }
        spans.removeAll(keepingCapacity: true)
    }

    // MARK: Names and numbers

    func randomName() -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+_".utf8)
        var bits = random.next()
        var more = random.next()
        var characters: [UInt8] = []
        for position in 0..<15 {
            characters.append(alphabet[Int(bits & 63)])
            bits >>= 6
            if position == 9 { swap(&bits, &more) }
        }
        return String(decoding: characters, as: UTF8.self)
    }

    func randomNumber() -> UInt64 { random.next() }

    func takeLinkNumber() -> UInt64 {
        nextLink += 1
        return nextLink
    }

    func takeBridge() -> UInt64 {
        nextBridge += 1
        return nextBridge
    }

    func nextTurn() -> Int {
        turn &+= 1
        return turn & 0xffff
    }

    // MARK: Tables

    /// This network has another name from now on.
    func joinNetwork(_ name: String?) {
        networkID = name
        // Reply addresses have the name in them, and what was learnt of others' is no longer so.
        clientHeads = [:]
        cautiousHeads = [:]
        knownHeads = KnownHeads()
        replyRoute = nil
    }

    /// New tables from the control thread.
    func adopt(_ snapshot: Snapshot) {
        guard snapshot.version > self.snapshot.version else { return }
        if snapshot.meshID != self.snapshot.meshID {
            clientHeads = [:]
            cautiousHeads = [:]
        }
        self.snapshot = snapshot
        for connection in connections.values { connection.reviewProducers() }
        if !pathless.isEmpty { openPathless() }
    }

    /// True when a delivery to this address would find a consumer now.
    func isReachable(_ scope: AddressScope) -> Bool {
        switch scope {
        case .router(let id): return snapshot.routes[id] != nil
        case .local(let name):
            if name.utf8.starts(with: "temp.t".utf8) { return true }
            return snapshot.addresses["L" + name]?.isReachable == true
        case .edge where isEdge:
            return snapshot.addresses[scope.key]?.isReachable == true
                || snapshot.addresses[AddressScope.uplinkKey] != nil
        default: return snapshot.addresses[scope.key]?.isReachable == true
        }
    }

    /// Links to this address are refused.
    func isUnavailable(_ scope: AddressScope) -> Bool {
        guard case .mobile(let text) = scope else { return false }
        if let entry = snapshot.addresses[scope.key] { return entry.treatment == .unavailable }
        return snapshot.treatments.treatment(of: text) == .unavailable
    }

    // MARK: Streams

    /// - Returns: nil when `--max-memory` leaves no room for one more.
    func makeStream(_ side: TCPStream.Side, farEndIsOurs: Bool = true) -> TCPStream? {
        let share = core.memory.share(farEndIsOurs: farEndIsOurs)
        guard core.memory.admit(share) else { return nil }
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = streams.count
            streams.append(nil)
            generations.append(UInt32.random(in: 0...UInt32.max, using: &random))
        }
        generations[slot] &+= 1
        let ref = StreamRef(worker: index, slot: slot, generation: generations[slot])
        let stream = TCPStream(worker: self, side: side, ref: ref, share: share)
        streams[slot] = stream
        openStreams += 1
        shownStreams.increment()
        counters.streamsOpened += 1
        return stream
    }

    func stream(_ ref: StreamRef) -> TCPStream? {
        guard ref.worker == index, ref.slot < streams.count, let stream = streams[ref.slot], stream.ref == ref else {
            return nil
        }
        return stream
    }

    func streamClosed(_ stream: TCPStream) {
        guard streams[stream.ref.slot] === stream else { return }
        streams[stream.ref.slot] = nil
        if let flow = stream.flow {
            tracedStreams -= 1
            report(stream, flow, ended: true)
        }
        freeSlots.append(stream.ref.slot)
        openStreams -= 1
        shownStreams.decrement()
        counters.streamsClosed += 1
        core.memory.giveBack(stream.share)
        switch stream.side {
        case .listener(let target):
            target.closed.increment()
            target.octets.add(loop: index, octetsIn: stream.octetsSent, octetsOut: stream.octetsWritten)
        case .connector(let target):
            target.load.decrement()
            target.closed.increment()
            target.octets.add(loop: index, octetsIn: stream.octetsSent, octetsOut: stream.octetsWritten)
        }
    }

    func stream(slot: Int) -> TCPStream? { slot < streams.count ? streams[slot] : nil }

    func eachStream(_ body: (TCPStream) -> Void) {
        for case let stream? in streams { body(stream) }
    }

    /// Cuts the streams of a deleted service.
    func cutStreams(where matches: (TCPStream.Side) -> Bool) {
        for case let stream? in streams where matches(stream.side) { stream.cut() }
    }

    func pauseAccepting(_ acceptor: AMQPAcceptor) { pausedAcceptors.append(acceptor) }

    func pauseAccepting(_ listener: TCPListenerSocket) {
        listener.pause()
        pausedListeners.append(listener)
    }
}
