import AMQPCodec
import AMQPEndpoints

extension AMQPConnection {
    /// A transfer's head. Its payload follows through ``IncomingDelivery/receive(_:_:)``, in pieces as it arrives.
    func received(_ transfer: Transfer, channel: UInt16, payload: Int) throws {
        payloadLeft = payload
        payloadDelivery = nil
        payloadLink = nil
        if machine.state == .discarding || machine.state == .closeSent { return }
        guard machine.acceptsFrames else {
            throw EndpointError(
                .connection, "amqp:connection:framing-error", "transfer before open (state \(machine.state))")
        }
        let session = try session(channel)
        if session.machine.state != .mapped { return }
        do {
            if try session.machine.transferReceived() { session.refreshWindow() }
            guard let link = session.remoteLinks[transfer.handle], link.role == .receiver else {
                throw EndpointError(
                    .session, "amqp:session:unattached-handle",
                    "transfer on handle \(transfer.handle), which receives nothing")
            }
            if link.machine.state == .detachSent { return }
            let delivery = try link.receiving ?? start(transfer, on: link)
            if let id = transfer.deliveryID, id != delivery.id {
                throw EndpointError(
                    .session, "amqp:invalid-field", "transfer of delivery \(id) inside delivery \(delivery.id)")
            }
            if transfer.settled == true { delivery.isSettled = true }
            delivery.frameArrived()
            payloadDelivery = delivery
            payloadLink = link
            payloadMore = transfer.more
            payloadAborted = transfer.aborted
        } catch let error as EndpointError where error.scope == .link {
            return session.fail(error, ofLink: transfer.handle)
        } catch let error as EndpointError where error.scope == .session {
            return session.fail(error)
        }
        if payload == 0 { endOfTransferFrame() }
    }

    private func start(_ transfer: Transfer, on link: Link) throws -> IncomingDelivery {
        guard let id = transfer.deliveryID else {
            throw EndpointError(.session, "amqp:invalid-field", "first transfer of a delivery without delivery-id")
        }
        if let format = transfer.messageFormat, format != 0 {
            throw EndpointError(.link, "amqp:not-implemented", "message-format \(format)")
        }
        guard link.session.incoming[id] == nil else {
            throw EndpointError(.session, "amqp:session:invalid-field", "delivery-id \(id) is still unsettled")
        }
        try link.machine.deliveryReceived()
        link.owed += 1
        link.statistics.deliveries += 1
        if link.isEndpoint { worker.counters.ingress += 1 }
        if transfer.settled == true { link.countPresettled() }
        lastDeliveryAt = worker.now
        let delivery = IncomingDelivery(connection: self, link: link, id: id)
        delivery.beganSettled = transfer.settled == true
        if case .other? = transfer.state { delivery.stateOfSender = transfer.state }
        link.receiving = delivery
        if transfer.settled != true { link.session.incoming[id] = delivery }
        return delivery
    }

    /// The frame's payload is all in.
    func endOfTransferFrame() {
        guard let delivery = payloadDelivery, let link = payloadLink else { return }
        payloadDelivery = nil
        payloadLink = nil
        if payloadAborted {
            link.receiving = nil
            delivery.abortReceived()
        } else if !payloadMore {
            link.receiving = nil
            delivery.completed()
        }
    }
}

/// A delivery that arrives on one of our AMQP links: the producer side of its way through this router.
///
/// The head is collected until the address is known; then a consumer is chosen once and all further octets go to it.
final class IncomingDelivery: DeliveryEnd {
    unowned let connection: AMQPConnection
    unowned let link: Link
    let id: UInt32
    private let startedAt: Int64
    private var isStuck = false
    /// The peer has settled it: no outcome is owed.
    var isSettled = false
    fileprivate var beganSettled = false
    /// The last transfer frame has been received.
    private(set) var isComplete = false
    private var head: [UInt8] = []
    private var consumer: DeliveryEnd?
    /// A terminal state decided before the message was complete; sent again, settled, after the last frame.
    private var decided: DeliveryState?
    private var isDone = false
    fileprivate var stateOfSender: DeliveryState?
    override var senderState: DeliveryState? { stateOfSender }
    /// A link was lost or the delivery was aborted.
    private var isEnded = false
    private let returnsCreditOnSettlement: Bool
    private var owesCredit = true
    /// The consumer may stop us: not so for TCP streams, which have a window of their own from end to end.
    private var heedsConsumer = false
    /// The consumer is a socket of this router.
    private var endsHere = false
    /// The consumer has its fill: frames that still come are held against the session's window.
    private var isStalled = false
    private var heldFrames: UInt32 = 0
    private var scanner = MessageHeadScanner()
    /// More frames of this message are still to come.
    var isLong: Bool { connection.payloadDelivery === self && connection.payloadMore }

    /// Octets of head after which an address must be known.
    private static let headMaximum = 65536

    init(connection: AMQPConnection, link: Link, id: UInt32) {
        self.connection = connection
        self.link = link
        self.id = id
        startedAt = connection.worker.now
        switch link.kind {
        case .control, .data: returnsCreditOnSettlement = false
        case .streaming: returnsCreditOnSettlement = connection.effectiveRole != .interRouter
        default: returnsCreditOnSettlement = !connection.effectiveRole.joinsEdge
        }
    }

    /// True once, when it is complete and has waited too long for its settlement.
    func becameStuck(now: Int64) -> Bool {
        guard isComplete, !isStuck, !isDone, now - startedAt > Link.stuckAge, link.kind != .streaming else {
            return false
        }
        isStuck = true
        return true
    }

    // MARK: From the connection

    /// Octets of the message, in place.
    func receive(_ bytes: UnsafeMutableRawPointer, _ count: Int) {
        if decided != nil || isEnded { return }
        if let consumer {
            consumer.deliver(bytes, count, headroom: false)
            if heedsConsumer { checkConsumer() }
            return
        }
        if head.isEmpty {
            if link.kind == .streaming, routeKnown(bytes, count) { return }
            guard scan(bytes, count, complete: false) else { return }
            head.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
        } else {
            head.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
            scanKept(complete: false)
        }
    }

    private func scanKept(complete: Bool) {
        var bytes: [UInt8] = []
        swap(&bytes, &head)  // not a copy: there may be many fragments
        var isWanting = false
        bytes.withUnsafeMutableBytes { buffer in
            // An empty array has no address; the scanner still wants one.
            guard let base = buffer.baseAddress else { return reject("amqp:decode-error", "empty message") }
            isWanting = scan(base, buffer.count, complete: complete)
            connection.worker.flushStreams()  // `bytes` ends here
        }
        if isWanting { swap(&bytes, &head) }
    }

    /// Returns true when these octets must be kept until more have come.
    private func scan(_ bytes: UnsafeMutableRawPointer, _ count: Int, complete: Bool) -> Bool {
        do {
            let octets = UnsafeRawBufferPointer(start: bytes, count: count)
            switch try scanner.scan(octets, complete: complete, isStream: link.takesStreams) {
            case .needMore:
                if count < IncomingDelivery.headMaximum, !complete { return true }
                reject(
                    "amqp:decode-error", "message head longer than \(IncomingDelivery.headMaximum) octets or cut short")
            case .head(let parsed):
                if link.kind == .streaming {
                    let worker = connection.worker
                    worker.knownHeads.learn(parsed, bytes) { worker.scope($0) }
                }
                route(parsed, bytes, count)
            }
        } catch {
            reject(
                error == .missingField("router annotations") ? "amqp:invalid-field" : "amqp:decode-error", "\(error)")
        }
        return false
    }

    /// The short way for a stream whose head differs from one seen before in its name only.
    private func routeKnown(_ bytes: UnsafeMutableRawPointer, _ count: Int) -> Bool {
        let worker = connection.worker
        switch worker.knownHeads.find(bytes, count) {
        case .reply(let ref, let payloadOffset, let farWindow):
            if !returnsCreditOnSettlement { returnCredit() }
            switch worker.toReplyStream(ref, self, farWindow: farWindow) {
            case .stream(let end), .message(let end):
                consumer = end
                endsHere = true
                if count > payloadOffset { end.deliver(bytes + payloadOffset, count - payloadOffset, headroom: false) }
            case .refused(let state):
                update(state, settled: true)
            }
            return true
        case .service(let parsed):
            route(parsed, bytes, count)
            return true
        case nil:
            return false
        }
    }

    /// Credit for one more delivery, once for each.
    private func returnCredit() {
        guard owesCredit else { return }
        owesCredit = false
        link.replenish()
    }

    // MARK: Back-pressure

    /// A transfer frame of this delivery has arrived.
    func frameArrived() {
        guard isStalled else { return }
        heldFrames += 1
        link.session.heldFrames += 1
    }

    private func checkConsumer() {
        guard !isStalled, let consumer, !consumer.isReady else { return }
        isStalled = true
    }

    override func consumerReady() {
        isStalled = false
        guard heldFrames > 0 else { return }
        link.session.heldFrames -= heldFrames
        heldFrames = 0
        if !isEnded { link.session.refreshWindow() }
    }

    private func route(_ parsed: MessageHead, _ bytes: UnsafeMutableRawPointer, _ count: Int) {
        if !returnsCreditOnSettlement { returnCredit() }
        if !connection.settings.loggedParts.isEmpty { connection.logReceived(parsed, bytes, count, on: link) }
        let route = connection.worker.route(self, link: link, head: parsed)
        switch route {
        case .stream(let found):
            let end = limited(found, headOctets: parsed.afterNullBody ?? parsed.bodyOffset)
            consumer = end
            endsHere = true
            let start = parsed.afterNullBody ?? parsed.bodyOffset
            if count > start { end.deliver(bytes + start, count - start, headroom: false) }
        case .message(let found):
            let end = limited(found, headOctets: parsed.bareOffset)
            consumer = end
            heedsConsumer = (parsed.annotations?.flags ?? 0) & RouterAnnotations.disableQ2 == 0
            end.deliver(bytes + parsed.bareOffset, count - parsed.bareOffset, headroom: false)
            if heedsConsumer, isLong { checkConsumer() }
        case .refused(let state):
            update(state, settled: true)
        }
    }

    /// The consumer, behind a limit of the message's size if there is one.
    private func limited(_ end: DeliveryEnd, headOctets: Int) -> DeliveryEnd {
        guard let policy = connection.policy, policy.grant.maxMessageSize > 0 else { return end }
        return SizeLimit(end, left: policy.grant.maxMessageSize - headOctets) { [unowned self] in tooLarge() }
    }

    /// The message is rejected, and its sender has to go.
    private func tooLarge() {
        guard !isEnded, !isDone else { return }
        consumer = nil
        settle(
            .rejected(
                AMQPError(condition: "amqp:link:message-size-exceeded", description: "Message size exceeded")))
        isEnded = true
        connection.tooLargeMessageReceived()
    }

    private func reject(_ condition: String, _ text: String) {
        update(.rejected(AMQPError(condition: condition, description: text)), settled: true)
    }

    /// The last frame is in.
    func completed() {
        isComplete = true
        if isEnded { return }
        if consumer == nil, decided == nil { scanKept(complete: true) }
        if let decided {
            consumer?.abort()
            settle(decided)
            return
        }
        consumer?.finish(settled: isSettled)
        guard isSettled else { return }
        // Settled by its sender after it began, as the server's half of a TCP stream is.
        if !beganSettled { link.countPresettled() }
        done()
    }

    /// The peer gave the delivery up.
    func abortReceived() {
        guard !isEnded else { return }
        isEnded = true
        isComplete = true
        consumer?.abort()
        if !isDone { done() }
    }

    /// Link, session or connection are gone.
    func linkLost() {
        guard !isEnded else { return }
        isEnded = true
        let end = consumer
        consumer = nil
        if !isComplete {
            end?.abort()
        } else {
            end?.settledByProducer(.modified(failed: true, undeliverableHere: false))
        }
        if isStuck, !isDone { link.countNoLongerStuck() }
        isDone = true
    }

    /// A disposition of the sending peer.
    func settledByPeer(_ state: DeliveryState?, settled: Bool) {
        guard settled, !isDone else { return }
        isSettled = true
        let end = consumer
        if isComplete { done() }
        end?.settledByProducer(state ?? .accepted)
    }

    // MARK: From the consumer

    override func update(_ state: DeliveryState?, settled: Bool) {
        guard !isDone, !isEnded else { return }
        if isSettled {
            // The peer wants no outcome; a refusal only means that the rest is thrown away.
            if let state, state.isTerminal, !isComplete { decided = state }
            if settled, isComplete { done() }
            return
        }
        if let state, !state.isTerminal {
            if case .received(let section, let offset) = state, section == 0 { return sendReceived(offset) }
            return send(state, settled: false)
        }
        if !isComplete {
            // Terminal before the end: state now, settlement after the last frame.
            guard decided == nil else { return }
            decided = state ?? .released
            // A consumer that has not settled waits for the end of what it has of the message.
            if settled { consumer = nil }
            consumerReady()
            guard let state else { return }
            // A client's message is mostly under way already: one outcome at its end, unless that takes long. What
            // waits for its consumer, as a stream does, hears of it at once.
            if case .producer = link.kind, !link.takesStreams {
                connection.worker.tellLater(self)
            } else {
                send(state, settled: false)
            }
            return
        }
        if settled { settle(state) } else if let state { send(state, settled: false) }
    }

    /// The outcome has been known for a while, and the message still is not all in: its sender may want to stop.
    func tellEarlyOutcome() {
        guard let decided, !isComplete, !isDone, !isEnded else { return }
        send(decided, settled: false)
    }

    private func settle(_ state: DeliveryState?) {
        if !isSettled {
            link.settled(state, since: startedAt)
            if endsHere, state == .accepted {
                connection.sendAccepted(channel: link.session.localChannel, first: id)
            } else {
                send(state, settled: true)
            }
        }
        done()
    }

    private func done() {
        guard !isDone else { return }
        isDone = true
        if isStuck { link.countNoLongerStuck() }
        consumer = nil
        link.session.incoming[id] = nil
        consumerReady()
        returnCredit()
    }

    private func send(_ outcome: DeliveryState?, settled: Bool) {
        var state = outcome
        // Every hop of a router network counts a modified delivery as one that failed, whatever its receiver said.
        if case .modified(_, let undeliverable, let annotations)? = outcome {
            state = .modified(failed: true, undeliverableHere: undeliverable, annotations: annotations)
        }
        let disposition = Disposition(role: .receiver, first: id, last: nil, settled: settled, state: state)
        connection.send(encodeFrame(channel: link.session.localChannel) { disposition.encode(into: &$0) })
    }

    private func sendReceived(_ offset: UInt64) {
        let target = connection.reserve(64)
        connection.commit(
            DispositionWriter.received(to: target, channel: link.session.localChannel, first: id, offset: offset))
    }
}
