import AMQPCodec
import AMQPEndpoints

/// A delivery that leaves on one of our AMQP links: the consumer side of its way through this router.
///
/// Life: waits for a link with credit, sends its head, then octets as they come. Octets that find the socket or the
/// session window full wait here, bounded by the stream's own end-to-end window or by ``queueMaximum``.
final class OutgoingDelivery: DeliveryEnd {
    unowned let connection: AMQPConnection
    private(set) var link: Link?
    private(set) var id: UInt32 = 0
    /// The first frame has left, and with it the number: numbers of a session are in the order of first frames.
    private(set) var isNumbered = false
    private var tag: UInt64 = 0
    private var head: [UInt8]
    /// The sender's state, encoded, which goes with the first frame; empty = none.
    private let firstState: [UInt8]
    /// Released to nil when either side is done with the other.
    var producer: DeliveryEnd?
    private var queue = SlabQueue()
    private let load: LoadCounter?
    private let presettled: Bool
    /// A message rather than a stream: small pieces wait for the end of the turn, so that most messages are one frame.
    private let gathers: Bool
    private var isFinished = false
    private var finishedSettled = false
    private var isAborted = false
    private var isFinalSent = false
    private var isDone = false
    /// In the connection's list of blocked deliveries.
    var isBlocked = false
    private var producerWaits = false
    var isCancelled: Bool { isDone }
    /// What the log is to say of the message when all of it is sent; nil = nothing.
    var logText: String?
    /// Octets one delivery may hold here before it is given up; above every end-to-end window.
    private static let queueMaximum = ConnectionSettings.windowMaximum + (8 << 20)

    /// - Parameter load: counts what is open towards the destination and has counted this delivery already.
    init(
        connection: AMQPConnection, head: [UInt8], presettled: Bool, producer: DeliveryEnd?, load: LoadCounter?,
        gathers: Bool = false
    ) {
        self.connection = connection
        self.head = head
        firstState = producer?.senderState.map { OutgoingDelivery.encoded($0, for: connection) } ?? []
        self.presettled = presettled
        self.producer = producer
        self.load = load
        self.gathers = gathers
    }

    /// A state that does not fit a frame well is left out; it is a courtesy between the two ends.
    private static func encoded(_ state: DeliveryState, for connection: AMQPConnection) -> [UInt8] {
        guard case .raw(let bytes) = state.field, bytes.count < connection.peerMaxFrame / 2 else { return [] }
        return bytes
    }

    /// Puts the delivery on its link, in its turn.
    func begin(on link: Link) {
        if link.mayStart, link.waiting.isEmpty, !link.isStarting {
            start(on: link)
        } else {
            self.link = link
            link.waiting.append(self)
        }
    }

    /// The link is ours: send what we have.
    func start(on link: Link) {
        self.link = link
        link.machine.deliveryStarted()
        link.statistics.deliveries += 1
        startedAt = connection.worker.now
        connection.lastDeliveryAt = startedAt
        link.sending = self
        if presettled { link.countPresettled() }
        let headBytes = head
        head = []
        started = true
        if !headBytes.isEmpty {
            if queue.isEmpty, isFinished, !isAborted, headBytes.count + 22 < payloadMaximum {
                return sendSingle(headBytes)
            }
            if gathers, queue.isEmpty, !isFinished {
                headBytes.withUnsafeBytes { enqueue($0.baseAddress!, $0.count) }
                return blockForTurn()
            }
            headBytes.withUnsafeBytes {
                transmit(UnsafeMutableRawPointer(mutating: $0.baseAddress!), $0.count, headroom: false)
            }
        }
        pumpAll()
    }

    private var started = false
    private var startedAt: Int64 = 0
    private var isStuck = false

    /// True once, when all of it is sent and it has waited too long for its settlement.
    func becameStuck(now: Int64) -> Bool {
        guard isFinalSent, !isStuck, !isDone, now - startedAt > Link.stuckAge, link?.kind != .streaming else {
            return false
        }
        isStuck = true
        return true
    }

    private func enqueue(_ bytes: UnsafeRawPointer, _ count: Int) {
        queue.append(bytes, count, pool: connection.worker.pool)
        connection.heldOctets += count
    }

    private func dequeue(_ count: Int) {
        queue.drop(count, pool: connection.worker.pool)
        connection.heldOctets -= count
    }

    /// A complete message in one frame.
    private func sendSingle(_ bytes: [UInt8]) {
        guard link!.session.machine.maySend else {
            bytes.withUnsafeBytes { enqueue($0.baseAddress!, $0.count) }
            return block()
        }
        bytes.withUnsafeBytes {
            frame(UnsafeMutableRawPointer(mutating: $0.baseAddress!), $0.count, more: false, headroom: false)
        }
        finalSent()
    }

    private func pumpAll() {
        if pump(quantum: .max) != .drained { block() }
    }

    // MARK: From the producer

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        if isDone { return }
        let waits = gathers && count < OutgoingDelivery.gatheredBelow
        if started, queue.isEmpty, !waits, !connection.isCongested, link!.session.machine.maySend {
            return transmit(bytes, count, headroom: headroom)
        }
        guard queue.count + count <= OutgoingDelivery.queueMaximum else { return overflow() }
        if !started, !head.isEmpty {
            // In front of what waits: the link that comes may have no window left to send the head at once.
            head.withUnsafeBytes { enqueue($0.baseAddress!, $0.count) }
            head = []
        }
        enqueue(bytes, count)
        if started { if waits { blockForTurn() } else { block() } }
    }

    override var isReady: Bool {
        if isDone || started && queue.isEmpty && !connection.isCongested && link!.session.machine.maySend {
            return true
        }
        producerWaits = true
        if started { block() }
        return false
    }

    override func finish(settled: Bool) {
        guard !isFinished, !isDone else { return }
        isFinished = true
        finishedSettled = settled
        if started, queue.isEmpty { sendFinal() }
    }

    override func abort() {
        guard !isFinished, !isDone else { return }
        isFinished = true
        isAborted = true
        dequeue(queue.count)
        guard started else { return done() }  // nothing was sent: the delivery never existed
        sendFinal()
    }

    override func settledByProducer(_ state: DeliveryState) {
        guard !isDone, started, isFinalSent, !presettled else { return }
        if !finishedSettled { sendDisposition(state) }
        done()
    }

    private func overflow() {
        Log.write(
            .core, .warning,
            "[C\(connection.ref.id)] a delivery held more than \(OutgoingDelivery.queueMaximum) octets and was given up"
        )
        let end = producer
        producer = nil
        abort()
        end?.update(.modified(failed: true, undeliverableHere: false), settled: true)
    }

    // MARK: Sending

    enum Pumped { case drained, more, noWindow }

    /// Sends queued octets, up to `quantum`.
    func pump(quantum: Int) -> Pumped {
        if isDone { return .drained }
        var left = quantum
        while let run = queue.first {
            guard link!.session.machine.maySend else { return .noWindow }
            if connection.isCongested || left <= 0 { return .more }
            let part = min(run.count, left, payloadMaximum)
            let isLast = isFinished && !isAborted && part == queue.count
            frame(UnsafeMutableRawPointer(mutating: run.baseAddress!), part, more: !isLast, headroom: false)
            dequeue(part)
            left -= part
            if isLast {
                finalSent()
                return .drained
            }
        }
        if isFinished {
            guard link!.session.machine.maySend else { return .noWindow }
            sendFinal()
            return .drained
        }
        relieveProducer()
        return .drained
    }

    private func relieveProducer() {
        guard producerWaits else { return }
        producerWaits = false
        producer?.consumerReady()
    }

    /// Octets from which a piece of a message is sent at once.
    static let gatheredBelow = 8192

    /// Asks to be pumped at the end of this turn.
    private func blockForTurn() {
        block()
        connection.worker.resumeSoon(connection)
    }

    /// Asks to be pumped again when there is room.
    func block() {
        guard !isBlocked, !isDone else { return }
        isBlocked = true
        connection.blocked.append(self)
    }

    /// Room for payload in a frame of the peer's size; 42 octets cover the largest transfer head we write.
    private var payloadMaximum: Int {
        connection.peerMaxFrame - 42 - (isNumbered || firstState.isEmpty ? 0 : firstState.count + 8)
    }

    private func transmit(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        var offset = 0
        while offset < count {
            guard link!.session.machine.maySend else {
                enqueue(bytes + offset, count - offset)
                return block()
            }
            let part = min(payloadMaximum, count - offset)
            frame(bytes + offset, part, more: true, headroom: headroom)
            offset += part
        }
    }

    private func takeNumber(_ session: Session) {
        isNumbered = true
        id = session.nextDeliveryID
        session.nextDeliveryID &+= 1
        tag = connection.nextTag
        connection.nextTag &+= 1
        if !presettled { session.outgoing[id] = self }
    }

    /// One transfer frame. With headroom its head is written in front of the payload and both are encrypted in place.
    private func frame(_ bytes: UnsafeMutableRawPointer, _ count: Int, more: Bool, headroom: Bool) {
        let link = link!
        let isFirst = !isNumbered
        if isFirst { takeNumber(link.session) }
        link.session.machine.transferSent()
        let settled = presettled || !more && finishedSettled
        let channel = link.session.localChannel
        if isFirst, !firstState.isEmpty { return frameWithState(link, bytes, count, settled: settled, more: more) }
        if connection.fitsGather(count) {
            let target = connection.reserve(TransferWriter.maximumHeaderBytes + count)
            let length = TransferWriter.write(
                to: target, channel: channel, handle: link.localHandle, deliveryID: id, tag: tag, settled: settled,
                more: more,
                aborted: isAborted && !more, payloadBytes: count)
            if count > 0 { (target + length).copyMemory(from: bytes, byteCount: count) }
            return connection.commit(length + count)
        }
        if headroom {
            let length = TransferWriter.headerBytes(
                channel: channel, handle: link.localHandle, deliveryID: id, tag: tag, settled: settled, more: more,
                aborted: false, payloadBytes: count)
            let start = bytes - length
            _ = TransferWriter.write(
                to: start, channel: channel, handle: link.localHandle, deliveryID: id, tag: tag, settled: settled,
                more: more,
                aborted: false, payloadBytes: count)
            return connection.appendLarge(start, length + count)
        }
        let scratch = connection.worker.frameBuffer
        let length = TransferWriter.write(
            to: scratch, channel: channel, handle: link.localHandle, deliveryID: id, tag: tag, settled: settled,
            more: more,
            aborted: false, payloadBytes: count)
        (scratch + length).copyMemory(from: bytes, byteCount: count)
        connection.appendLarge(scratch, length + count)
    }

    /// The first frame of a message that carries a state of its sender.
    private func frameWithState(
        _ link: Link, _ bytes: UnsafeMutableRawPointer, _ count: Int, settled: Bool, more: Bool
    ) {
        let tagBytes = withUnsafeBytes(of: tag.littleEndian) { Array($0) }
        connection.send(
            encodeFrame(channel: link.session.localChannel) { encoder in
                encoder.described(0x14)
                encoder.fields([
                    .uint(link.localHandle), .uint(id), .binary(tagBytes), .uint(0), .bool(settled), .bool(more), .null,
                    .raw(firstState), .null, .bool(isAborted && !more),
                ])
                encoder.bytes.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
            })
    }

    /// The end of the stream, as an empty frame.
    private func sendFinal() {
        guard !isFinalSent else { return }
        guard link!.session.machine.maySend else { return block() }
        frame(connection.worker.frameBuffer, 0, more: false, headroom: false)
        finalSent()
    }

    private func finalSent() {
        isFinalSent = true
        let link = link!
        link.sending = nil
        if let logText, !isAborted { connection.logSent(logText, on: link) }
        relieveProducer()
        if presettled || finishedSettled || isAborted {
            let end = producer
            done()
            if presettled { end?.update(.accepted, settled: true) }
        }
        link.becameFree()
    }

    private func sendDisposition(_ state: DeliveryState) {
        let disposition = Disposition(role: .sender, first: id, last: nil, settled: true, state: state)
        connection.send(encodeFrame(channel: link!.session.localChannel) { disposition.encode(into: &$0) })
    }

    // MARK: From the connection

    func dispositionReceived(_ state: DeliveryState?, settled: Bool) {
        guard !isDone else { return }
        let end = producer
        if settled {
            link?.settled(state, since: startedAt)
            if isFinalSent { done() } else { producer = nil }
        }
        end?.update(state, settled: settled)
        if settled, !isFinalSent, !isDone {
            // The peer wants no more: end the transfer so that the link is free again.
            if !isFinished { finish(settled: true) }
        }
    }

    /// Link, session or connection are gone.
    func linkLost() {
        guard !isDone else { return }
        let end = producer
        if presettled, !started { link?.countDroppedPresettled() }
        let state: DeliveryState = isFinalSent ? .modified(failed: true, undeliverableHere: false) : .released
        done()
        end?.update(state, settled: true)
    }

    private func done() {
        guard !isDone else { return }
        isDone = true
        if isStuck { link?.countNoLongerStuck() }
        producer = nil
        load?.decrement()
        dequeue(queue.count)
        if let link, isNumbered, !presettled { link.session.outgoing[id] = nil }
        if let link, link.sending === self, isFinalSent { link.sending = nil }
        if let link, link.session.isForLongMessages { link.becameFree() }
    }
}
