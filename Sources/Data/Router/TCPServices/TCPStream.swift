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

    /// Octets written after which the sender is told; at most half of the window, or it would stall.
    private static let reportEvery: UInt64 = 262_144
    /// Octets a sender that ignores the window may make us hold.
    private static let queueMaximum = Int(SendWindow.largest) + (4 << 20)

    unowned(unsafe) let worker: Worker  // loops live as long as the process
    let side: Side
    let ref: StreamRef
    private var poll: SocketPoll?
    private var isConnected = false
    private var isClosed = false

    // Socket to network
    private var out: DeliveryEnd?
    private var isOutFinished = false
    private var isOutSettled = false
    private var window = SendWindow()
    private var isPaused = false
    /// Listener side: the reply stream has arrived. Before that nothing is read from the client: skrouterd's connector
    /// loses octets of a stream that comes and ends while it is still connecting.
    private var isAnswered = false

    // Network to socket
    private var source: DeliveryEnd?
    private var isSourceFinished = false
    private var isSourceSettled = false
    private var queue = SlabQueue()
    private var octetsWritten: UInt64 = 0
    private var octetsReported: UInt64 = 0
    private let reportEvery: UInt64
    /// Octets set aside for this stream where memory is limited.
    private(set) var share: Int
    private var isWriteShut = false
    /// First and last span of this loop turn in the worker's list; -1 = none.
    var firstSpan: Int32 = -1
    var lastSpan: Int32 = -1

    // Connector: how to reply
    private var replyTo: String?
    /// The connection the client stream came on; the reply goes back on it when it leads to the same neighbour.
    private(set) var arrival: ConnectionRef?
    private var untried: [SocketAddress] = []

    init(worker: Worker, side: Side, ref: StreamRef, share: Int) {
        self.share = share
        reportEvery = min(TCPStream.reportEvery, worker.core.memory.offeredWindow / 4)
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
        poll = SocketPoll(loop: worker, descriptor: descriptor, target: self)
        self.out = out
        isConnected = true
        updateWatch()
    }

    /// Connector side: the server's name is being resolved; what arrives meanwhile waits.
    ///
    /// - Parameter farWindow: octets the client's router takes of us, if it is one of ours.
    func hold(source: DeliveryEnd, replyTo: String, arrival: ConnectionRef?, farWindow: UInt64?) {
        if let farWindow { window.farEndTakes(farWindow) }
        self.source = source
        self.replyTo = replyTo
        self.arrival = arrival
    }

    /// Connector side, after ``hold(source:replyTo:arrival:)``: dials the server.
    func dial(_ addresses: [SocketAddress]) {
        guard !isClosed else { return }
        untried = addresses
        dialNext(lastFailure: "no address")
    }

    private func dialNext(lastFailure: String) {
        guard case .connector(let target) = side else { return }
        poll.take()?.close()
        guard !untried.isEmpty else {
            Log.write(.tcp, .info, "connector \(target.name): connect \(target.host):\(target.port): \(lastFailure)")
            return fail()
        }
        let address = untried.removeFirst()
        switch Sockets.connect(address) {
        case .failure(let failure):
            dialNext(lastFailure: failure.text)
        case .success(let socket):
            poll = SocketPoll(loop: worker, descriptor: socket.descriptor, target: self)
            if socket.connected { connected() } else { self.poll?.watch(read: false, write: true) }
        }
    }

    /// The name could not be resolved.
    func dialFailed(_ reason: String) {
        if case .connector(let target) = side {
            Log.write(.tcp, .warning, "connector \(target.name): cannot resolve host \(target.host): \(reason)")
        }
        fail()
    }

    private func connected() {
        isConnected = true
        // The reply stream opens at once: the listener side reads nothing from its client before it sees it.
        guard let replyTo, let out = worker.openReply(to: replyTo, producer: self) else { return fail() }
        self.out = out
        writeQueued()
        if !isClosed { updateWatch() }
    }

    /// Listener side: the reply stream has arrived.
    ///
    /// - Parameter farWindow: octets the server's router takes of us, if it is one of ours.
    func attach(source: DeliveryEnd, farWindow: UInt64?) -> Bool {
        guard !isClosed, self.source == nil, !isSourceFinished else { return false }
        if let farWindow { window.farEndTakes(farWindow) } else if !widenShare() { return false }
        self.source = source
        isAnswered = true
        updateWatch()
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
        if !isConnected {
            guard let descriptor = poll?.descriptor else { return }
            let code = Sockets.pendingError(descriptor)
            return code == 0 ? connected() : dialNext(lastFailure: Sockets.text(code))
        }
        if writable { writeQueued() }
        if readable, !isClosed { readSocket() }
        if failed, !isClosed { fail() }
    }

    private func readSocket() {
        guard let descriptor = poll?.descriptor, let out, !isOutFinished else { return updateWatch() }
        let room = min(window.room, Worker.readCapacity)
        guard room > 0 else { return updateWatch() }
        let buffer = worker.readBuffer
        let count = read(descriptor, buffer, room)
        if count > 0 {
            window.send(count, now: worker.now)
            worker.counters.octetsIn += count
            out.deliver(buffer, count, headroom: true)
            worker.flushStreams()
            if isClosed { return }
            if !out.isReady { isPaused = true }
            if isPaused || window.room == 0 { updateWatch() }
        } else if count == 0 {
            finishOut()
        } else if errno != EAGAIN, errno != EINTR {
            fail()
        }
    }

    private func finishOut() {
        guard !isOutFinished else { return }
        isOutFinished = true
        updateWatch()
        let end = out
        if isWriteShut || isOutSettled { out = nil }
        end?.finish(settled: isWriteShut)
        closeIfDone()
    }

    private var mayRead: Bool { if case .listener = side { isAnswered } else { true } }

    private func updateWatch() {
        guard isConnected else { return }
        let wantsRead = mayRead && !isOutFinished && !isPaused && window.room > 0 && out != nil
        poll?.watch(read: wantsRead, write: !queue.isEmpty)
    }

    /// Writes queued octets.
    private func writeQueued() {
        guard let descriptor = poll?.descriptor, isConnected else { return }
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

    private func countWritten(_ count: Int) {
        octetsWritten &+= UInt64(count)
        worker.counters.octetsOut += count
        if octetsWritten &- octetsReported >= reportEvery, let source {
            octetsReported = octetsWritten
            source.update(.received(section: 0, offset: octetsWritten), settled: false)
        }
    }

    private func shutWrite() {
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
    private func fail() {
        guard !isClosed else { return }
        isClosed = true
        if let poll = poll.take() {
            Sockets.resetOnClose(poll.descriptor)
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

    private func finished() {
        queue.removeAll(pool: worker.pool)
        worker.streamClosed(self)
    }

    /// The router stops or the service was deleted.
    func cut() { fail() }

    // MARK: Consumer of what goes to the socket

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        if isClosed || isWriteShut || count == 0 { return }
        if isConnected, queue.isEmpty { return worker.addSpan(self, bytes, count) }
        guard queue.count + count <= TCPStream.queueMaximum else {
            Log.write(
                .tcp, .warning, "a stream's sender ignored the window: \(queue.count) octets wait; the stream is reset")
            return fail()
        }
        queue.append(bytes, count, pool: worker.pool)
    }

    /// Writes this turn's spans where they lie; what the kernel does not take is copied into the queue.
    func flushSpans() {
        let spans = worker.spans
        var index = firstSpan
        firstSpan = -1
        lastSpan = -1
        guard !isClosed, let descriptor = poll?.descriptor else { return }
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
        if queue.isEmpty, firstSpan < 0, isConnected { shutWrite() }
    }

    override func abort() { fail() }

    override func settledByProducer(_ state: DeliveryState) {
        isSourceSettled = true
        // Complete: what is queued is still written. Incomplete: the transfer frames still to come decide.
        if !isSourceFinished, state != .accepted { fail() }
    }

    // MARK: Producer of what the socket sends

    override func update(_ state: DeliveryState?, settled: Bool) {
        guard !isClosed else { return }
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
            fail()
        }
    }

    override func consumerReady() {
        guard isPaused, !isClosed else { return }
        isPaused = false
        updateWatch()
    }
}
