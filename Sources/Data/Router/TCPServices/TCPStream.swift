import AMQPCodec
import CLibuv
import Glibc

/// One TCP connection of a service: a client at a listener or a server at a connector (router-protocol sheet, section
/// 5).
///
/// It is the producer of the delivery that carries what its socket sends, and the consumer of the one that carries
/// what its socket receives. Two streams of one router may face each other directly.
final class TCPStream: DeliveryEnd {
    enum Side {
        case listener(TCPListenerTarget)
        case connector(TCPConnectorTarget)
    }

    /// Octets written after which the sender is told.
    static let reportEvery: UInt64 = 262_144
    /// Octets a sender that ignores the window may make us hold.
    static let queueMaximum = Int(SendWindow.largest) + (4 << 20)

    unowned(unsafe) let worker: Worker  // loops live as long as the process
    let side: Side
    let ref: StreamRef
    /// Identity of its row of `connection`.
    let number: UInt64
    var poll: SocketPoll?
    /// When it was made, seconds of the monotonic clock.
    let openedSecond: Int32
    var isConnected = false
    /// The socket still gathers small pieces (no TCP_NODELAY).
    var mayBeDelayed = false
    var isClosed = false

    // Socket to network
    var out: DeliveryEnd?
    var isOutFinished = false
    var isOutSettled = false
    var window = SendWindow()
    var isPaused = false
    /// Listener side: the reply stream has arrived. Before that a client's first octets are passed on to routers of
    /// ours, and nothing to others: skrouterd's connector loses octets that come while it is still connecting.
    var isAnswered = false
    /// Listener side: the client's first octets need not wait for the reply stream.
    private var startsEarly = false
    /// Octets passed on before the reply stream has arrived; the far end's window is not known yet.
    private static let earlyMaximum = 16384
    /// Listener side: the client has ended its direction, which is passed on when the reply stream has arrived.
    private var isEndHeld = false
    /// Connector side: connected, and the reply stream is not open yet; it leaves with the server's first octets.
    var isReplyDue = false

    // Network to socket
    var source: DeliveryEnd?
    var isSourceFinished = false
    var isSourceSettled = false
    var queue = SlabQueue()
    var octetsWritten: UInt64 = 0
    var octetsReported: UInt64 = 0
    /// The far end was asked to be cautious: this router held much when the stream opened.
    var isCautious = false
    /// Octets written after which the kernel is told how many unsent ones to take.
    var boundsUnsentAt: UInt64
    /// Octets that wait for the socket, as the loop has counted them.
    var heldCounted = 0
    /// Octets set aside for this stream where memory is limited.
    var share: Int
    var isWriteShut = false
    /// How much of the peer's end was told while nothing was read: 0 = nothing, 1 = its end, 2 = both directions' end.
    private var endsSeen = 0
    /// The socket has failed, and what the peer said before waits for the link.
    var isLeaving = false
    /// Octets may go to the socket: it is connected, and a TLS handshake on it is done.
    var takesOctets = false
    /// TLS on this socket; nil = clear text.
    var tls: TLSSession?
    /// Plaintext octets given to TLS; its ciphertext may still wait.
    var octetsEncrypted: UInt64 = 0
    /// TLS has told the peer that nothing more comes.
    var isCloseNotified = false
    /// The application protocol of the client's TLS handshake (ALPN).
    var alpn: String?
    /// Monotonic milliseconds at which a connect or handshake under way is given up; 0 = none is.
    var deadline: Int64 = 0
    /// Telemetry; nil when nobody looks.
    var flow: FlowTrace? {
        didSet { if flow != nil, oldValue == nil { worker.tracedStreams += 1 } }
    }
    /// Listener side: the address its client's stream went to.
    var listenerAddress: ListenerAddress?
    /// First and last span of this loop turn in the worker's list; -1 = none.
    var firstSpan: Int32 = -1
    var lastSpan: Int32 = -1

    // Connector: how to reply
    /// The client's router is one of ours.
    var isFarEndOurs = false
    var replyTo: String?
    /// The connection the client stream came on; the reply goes back on it when it leads to the same neighbour.
    var arrival: ConnectionRef?
    var untried: [SocketAddress] = []
    var dialled: SocketAddress?

    init(worker: Worker, side: Side, ref: StreamRef, share: Int) {
        self.share = share
        if case .connector = side { boundsUnsentAt = UnsentOctets.ordinary } else { boundsUnsentAt = .max }
        number = worker.core.takeConnectionID()
        openedSecond = Int32(truncatingIfNeeded: worker.now / 1000)
        self.worker = worker
        self.side = side
        self.ref = ref
    }

    // MARK: Start

    /// Listener side: takes over an accepted socket whose octets go to `out`.
    func accepted(_ descriptor: Int32, out: DeliveryEnd) {
        if isClosed {
            // The far end failed before it could be handed to us.
            Sockets.resetOnClose(descriptor)
            Glibc.close(descriptor)
            return
        }
        flow?.noteEnd(Sockets.peer(of: descriptor))
        poll = SocketPoll(loop: worker, descriptor: descriptor, target: self)
        self.out = out
        startsEarly = listenerAddress?.isServedByOurs ?? false
        isConnected = true
        takesOctets = true
        boundUnsent()
        updateWatch()
    }

    /// Listener side: the reply stream has arrived.
    ///
    /// - Parameter farWindow: what the server's router takes of us, if it is one of ours.
    func attach(source: DeliveryEnd, farWindow: WindowOffer?) -> Bool {
        guard !isClosed, self.source == nil, !isSourceFinished else { return false }
        if let farWindow { window.farEndTakes(farWindow) } else if !widenShare() { return false }
        self.source = source
        listenerAddress?.noteReply(isOurs: farWindow != nil)
        isAnswered = true
        isEndHeld = false
        updateWatch()
        if tls != nil { readKeptInput() }
        return true
    }

    /// The far end does not keep to a window of ours: more memory must be set aside.
    private func widenShare() -> Bool {
        let memory = worker.core.memory
        let more = memory.share(farEndIsOurs: false) - share
        guard memory.admit(more) else {
            Log.write(.tcp, .info, "a stream is refused: \(MemoryLimit.refusal)")
            return false
        }
        share += more
        return true
    }

    // MARK: Socket

    override func socketReady(readable: Bool, writable: Bool, failed: Bool) {
        if isClosed { return }
        if !isConnected { return connectEnded(failed: failed) }
        if writable { writeQueued() }
        if readable, !isClosed { readSocket() }
        if failed, !isClosed { socketFailed() }
    }

    override func peerEnded() {
        guard !isClosed else { return }
        endsSeen = min(2, endsSeen + 1)
        updateWatch()
    }

    /// The name this side has in messages to people.
    var title: String {
        switch side {
        case .listener(let target): "listener \(target.name)"
        case .connector(let target): "connector \(target.name)"
        }
    }

    /// Octets read from the socket.
    var octetsSent: UInt64 { window.sent }

    func readSocket() {
        if isReplyDue { openReply() }
        if tls != nil { return readTLS() }
        guard let descriptor = poll?.descriptor, let out, !isOutFinished else { return updateWatch() }
        let room = min(readRoom, worker.readQuantum)
        guard room > 0 else { return updateWatch() }
        // What is read while the link is full would be copied twice, into a queue and out of it.
        guard out.isReady else {
            isPaused = true
            return updateWatch()
        }
        let buffer = worker.readBuffer
        let count = read(descriptor, buffer, room)
        if count > 0 {
            window.send(count, now: worker.now)
            flow?.noteRead(buffer, count)
            worker.counters.octetsIn += count
            worker.noteRead(count)
            out.deliver(buffer, count, headroom: true)
            worker.flushStreams()
            if isClosed { return }
            if !out.isReady { isPaused = true }
            if isPaused || readRoom == 0 { updateWatch() }
        } else if count == 0, case .listener = side, !isAnswered {
            isEndHeld = true
            endsSeen = max(1, endsSeen)
            updateWatch()
        } else if count == 0 {
            finishOut()
        } else if errno != EAGAIN, errno != EINTR {
            fail()
        }
    }

    func finishOut() {
        guard !isOutFinished else { return }
        isOutFinished = true
        if !isWriteShut { updateWatch() }  // else it is closed below
        let end = out
        if isWriteShut || isOutSettled { out = nil }
        end?.finish(settled: isWriteShut)
        closeIfDone()
    }

    /// Octets that may be read from the socket now.
    private var readRoom: Int {
        guard case .listener = side, !isAnswered else { return window.room }
        return !startsEarly || isEndHeld ? 0 : min(window.room, TCPStream.earlyMaximum - Int(window.sent))
    }

    func updateWatch() {
        guard isConnected else { return }
        countHeld()
        if isStuckLeaving {
            poll?.watch(read: false, write: false)
            return
        }
        var wantsRead = !isOutFinished && !isPaused && readRoom > 0 && (out != nil || isReplyDue)
        var wantsWrite = !queue.isEmpty
        if let tls {
            if !tls.isEstablished { wantsRead = true } else if tlsRoom == 0 { wantsRead = false }
            wantsWrite = !tls.output.isEmpty
        }
        if wantsRead {
            poll?.watch(read: true, write: wantsWrite)
        } else {
            // A client or server that goes away is noticed although nothing of it is read now.
            let unread: SocketPoll.Ends = endsSeen == 1 || isOutFinished ? .reset : .finAndReset
            poll?.watch(read: false, write: wantsWrite, ends: endsSeen == 2 ? .nothing : unread)
        }
    }

    /// Writes queued octets.
    func writeQueued() {
        guard let descriptor = poll?.descriptor, isConnected else { return }
        if tls != nil { return writeCiphertext() }
        if !queue.isEmpty { sendAtOnceFromNowOn(descriptor) }
        while !queue.isEmpty {
            let written = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 16) { vectors in
                var used = 0
                queue.forEachRun(limit: 16) { pointer, count in
                    vectors[used] = iovec(iov_base: pointer, iov_len: count)
                    used += 1
                }
                return writev(descriptor, vectors.baseAddress, Int32(used))
            }
            if written > 0 {
                queue.drop(written, pool: worker.pool)
                countWritten(written)
                continue
            }
            if written < 0, errno == EINTR { continue }
            if written < 0, errno != EAGAIN { return fail() }
            break
        }
        if queue.isEmpty, isSourceFinished { shutWrite() }
        if !isClosed { updateWatch() }
    }

    /// Connector side: the system never holds back the first octets, so a short connection needs no word about it.
    private func sendAtOnceFromNowOn(_ descriptor: Int32) {
        guard mayBeDelayed, octetsWritten > 0 else { return }
        mayBeDelayed = false
        Sockets.sendAtOnce(descriptor)
    }

    func countWritten(_ count: Int) {
        octetsWritten &+= UInt64(count)
        worker.counters.octetsOut += count
        if let flow, flow.firstWritten == 0 { flow.firstWritten = Clock.microseconds }
        reportWritten()
    }

    func reportWritten() {
        if octetsWritten >= boundsUnsentAt { boundUnsentAsUsual() }
        var every = worker.reportEvery
        if isCautious { every = WindowOffer.reportEvery(octetsWritten, usual: every) }
        if octetsWritten &- octetsReported >= every, let source {
            octetsReported = octetsWritten
            source.update(.received(section: 0, offset: octetsWritten), settled: false)
        }
    }

    func shutWrite() {
        guard !isWriteShut, let descriptor = poll?.descriptor else { return }
        isWriteShut = true
        // With nothing more to read the close that follows says it.
        if !isOutFinished { shutdown(descriptor, Int32(SHUT_WR)) }
        let end = source
        source = nil
        if !isSourceSettled { end?.update(.accepted, settled: true) }
        closeIfDone()
    }

    private func closeIfDone() {
        guard isWriteShut, isOutFinished, !isClosed else { return }
        isClosed = true
        poll.take()?.close()
        finished()
    }

    /// The socket or the far end failed: a reset here, an abort there, so that nobody takes the stream for complete.
    /// - Parameter reset: false = the socket is closed in order, so that a TLS alert before it arrives.
    func fail(reset: Bool = true) {
        guard !isClosed else { return }
        isClosed = true
        if let flow, flow.failure == nil { flow.failure = "connection reset" }
        if let poll = poll.take() {
            if reset { Sockets.resetOnClose(poll.descriptor) }
            poll.close()
        }
        let state = DeliveryState.modified(failed: true, undeliverableHere: false)
        let leaving = out
        let arriving = source
        out = nil
        source = nil
        if !isOutFinished { leaving?.abort() } else if !isOutSettled { leaving?.settledByProducer(state) }
        arriving?.update(state, settled: true)
        finished()
    }

    func finished() {
        queue.removeAll(pool: worker.pool)
        tls?.output.removeAll(pool: worker.pool)
        countHeld()
        worker.streamClosed(self)
    }

    /// The router stops or the service was deleted.
    func cut() { fail() }

    // MARK: Consumer of what goes to the socket

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        if isClosed || isWriteShut || count == 0 { return }
        if let flow { flow.noteDelivered(bytes, count) }
        if takesOctets, queue.isEmpty { return worker.addSpan(self, bytes, count) }
        guard queue.count + count <= TCPStream.queueMaximum else { return senderIgnoresWindow() }
        queue.append(bytes, count, pool: worker.pool)
        countHeld()
    }

    func senderIgnoresWindow() {
        Log.write(
            .tcp, .warning,
            "\(title): a stream's sender ignored the window: more than \(TCPStream.queueMaximum) octets wait; the "
                + "stream is reset")
        fail()
    }

    /// Writes this turn's spans where they lie; what the kernel does not take is copied into the queue.
    func flushSpans() {
        let spans = worker.spans
        var index = firstSpan
        firstSpan = -1
        lastSpan = -1
        guard !isClosed, let descriptor = poll?.descriptor else { return }
        if tls != nil { return encrypt(spans, from: index) }
        sendAtOnceFromNowOn(descriptor)
        var isBlocked = false
        while index >= 0 {
            if isBlocked {
                let span = spans[Int(index)]
                queue.append(span.bytes, span.count, pool: worker.pool)
                index = span.next
                continue
            }
            index = writeSpans(spans, from: index, descriptor, &isBlocked)
            if isClosed { return }
        }
        if queue.isEmpty, isSourceFinished { shutWrite() }
        if !isClosed, !queue.isEmpty { updateWatch() }
    }

    /// One gather write of up to 32 spans. Returns the span to go on with.
    private func writeSpans(_ spans: [Worker.Span], from start: Int32, _ descriptor: Int32, _ isBlocked: inout Bool)
        -> Int32
    {
        var total = 0
        var next = start
        let written = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 32) { vectors in
            var used = 0
            while next >= 0, used < 32 {
                let span = spans[Int(next)]
                vectors[used] = iovec(iov_base: span.bytes, iov_len: span.count)
                total += span.count
                used += 1
                next = span.next
            }
            var result: Int
            repeat { result = writev(descriptor, vectors.baseAddress, Int32(used)) } while result < 0 && errno == EINTR
            return result
        }
        if written < 0, errno != EAGAIN {
            fail()
            return -1
        }
        let taken = max(0, written)
        if taken > 0 { countWritten(taken) }
        if taken == total || isClosed { return next }
        isBlocked = true
        var skip = taken
        var index = start
        while index != next {
            let span = spans[Int(index)]
            if skip < span.count { queue.append(span.bytes + skip, span.count - skip, pool: worker.pool) }
            skip = max(0, skip - span.count)
            index = span.next
        }
        return next
    }

    override func finish(settled: Bool) {
        guard !isClosed else { return }
        isSourceFinished = true
        isSourceSettled = settled
        if queue.isEmpty, firstSpan < 0, takesOctets { if tls == nil { shutWrite() } else { writeCiphertext() } }
    }

    override func abort() { farEndFailed() }

    override func settledByProducer(_ state: DeliveryState) {
        isSourceSettled = true
        // Complete: what is queued is still written. Incomplete: the transfer frames still to come decide.
        if !isSourceFinished, state != .accepted { fail() }
    }

    // MARK: Producer of what the socket sends

    override func update(_ state: DeliveryState?, settled: Bool) {
        guard !isClosed else { return }
        if settled, !isOutSettled, case .listener = side { worker.counters.count(state) }
        switch state {
        case .received(_, let offset):
            if window.acknowledge(offset, now: worker.now) { updateWatch() }
        case .accepted, nil:
            guard settled else { return }
            isOutSettled = true
            window.acknowledgeAll()
            if isOutFinished { out = nil } else { finishOut() }
        default:
            isOutSettled = settled
            farEndFailed()
        }
    }

    override func consumerReady() {
        guard isPaused, !isClosed else { return }
        isPaused = false
        // At once: those that waited come before those that epoll names next, or some would never get a turn.
        if tls == nil, readRoom > 0, !isOutFinished, out != nil { readSocket() }
        if !isClosed { updateWatch() }
    }
}
