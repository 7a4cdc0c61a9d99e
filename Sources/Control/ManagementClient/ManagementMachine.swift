import AMQPCodec

/// The client's side of a management connection as a pure machine: octets in, octets out (AMQP 1.0 parts 2 and 5,
/// router-protocol.md §6.1). One session, a receiver with a dynamic source, a sender to the agent and an anonymous
/// one for agents of other routers.
struct ManagementMachine {
    /// SASL mechanisms this client can do.
    enum Mechanism: String, Sendable {
        case external = "EXTERNAL"
        case anonymous = "ANONYMOUS"
    }

    /// Why the connection cannot go on.
    enum Failure: Error, Hashable, Sendable {
        case protocolViolation(String)
        case closed(String)

        func error(at address: ManagementAddress) -> ManagementError {
            switch self {
            case .protocolViolation(let detail): .protocolViolation(address: "\(address)", detail: detail)
            case .closed(let reason): .closed(address: "\(address)", reason: reason)
            }
        }
    }

    /// The steps of setting up, in order.
    enum Phase: Int, Comparable, Sendable, CaseIterable {
        case idle, saslHeader, mechanisms, outcome, amqpHeader, open, begin, attach, ready, closed

        static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
    }

    /// Largest frame accepted, octets.
    static let frameLimit: UInt32 = 65_536
    /// Largest reply accepted, octets.
    static let messageLimit = 64 << 20
    /// Replies the agent may send ahead.
    static let credit: UInt32 = 10
    /// Transfers the session may have under way; renewed with every flow.
    static let window: UInt32 = 1 << 30

    private static let receiverHandle: UInt32 = 0
    private static let agentHandle: UInt32 = 1
    private static let relayHandle: UInt32 = 2

    private struct Sender {
        var isAttached = false
        var credit: UInt32 = 0
        var deliveryCount: UInt32 = 0
        var waiting: [(number: UInt64, message: [UInt8])] = []
        var refusal: String?
    }

    private(set) var phase = Phase.idle
    private(set) var failure: Failure?
    private let mechanism: Mechanism
    private let host: String
    private let containerID: String

    private var input: [UInt8] = []
    private var output: [UInt8] = []
    private var peerFrameLimit: UInt32 = 512
    private var replyTo: String?
    /// Our and the peer's handles need not be equal.
    private var localHandles: [UInt32: UInt32] = [:]
    private var senders: [UInt32: Sender] = [agentHandle: Sender(), relayHandle: Sender()]
    private var nextNumber: UInt64 = 1
    private var nextOutgoingID: UInt32 = 0
    private var nextIncomingID: UInt32 = 0
    private var peerWindow: UInt32 = 0
    private var nextDelivery: UInt32 = 0
    /// Requests by delivery, until the router has settled them.
    private var unsettled: [UInt32: UInt64] = [:]
    private var received: UInt32 = 0
    private var message: [UInt8] = []
    private var messageID: UInt32?
    private var isMessageSettled = false
    private var replies: [UInt64: ManagementReply] = [:]
    private var awaited: [UInt64: String] = [:]

    init(mechanism: Mechanism, host: String, containerID: String) {
        self.mechanism = mechanism
        self.host = host
        self.containerID = containerID
    }

    /// Whether requests can be sent.
    var isReady: Bool { phase == .ready }

    /// What the machine waits for, for texts.
    var waitingFor: String {
        switch phase {
        case .idle, .saslHeader: "the SASL protocol header"
        case .mechanisms: "the SASL mechanisms"
        case .outcome: "the SASL outcome"
        case .amqpHeader: "the AMQP protocol header"
        case .open: "the router's open"
        case .begin: "the router's begin"
        case .attach: "the links to the management agent"
        case .ready:
            awaited.min { $0.key < $1.key }.map { "the answer to \($0.value)" } ?? "nothing"
        case .closed: "nothing, the connection is closed"
        }
    }

    // MARK: Driver's side

    /// Begins with the SASL header.
    mutating func start() {
        guard phase == .idle else { return }
        output += saslHeader
        phase = .saslHeader
    }

    /// Octets to write, once.
    mutating func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    /// Takes octets of the peer.
    mutating func received(_ octets: [UInt8]) {
        guard failure == nil, phase != .closed else { return }
        input += octets
        do throws(Failure) {
            try consume()
        } catch {
            failure = error
        }
    }

    /// Queues a request and gives its number; it leaves when the agent has given credit.
    mutating func send(_ request: ManagementRequest) -> UInt64 {
        let number = nextNumber
        nextNumber += 1
        awaited[number] = request.summary
        guard let replyTo else { return number }
        let handle = request.agent == nil ? ManagementMachine.agentHandle : ManagementMachine.relayHandle
        let bytes = request.message(number: number, replyTo: replyTo)
        if let refusal = senders[handle]?.refusal {
            reply(number, 503, refusal)
        } else {
            senders[handle]?.waiting.append((number, bytes))
            flush(handle)
        }
        return number
    }

    /// Whether the reply to a request is there.
    func hasReply(_ number: UInt64) -> Bool { replies[number] != nil }

    /// The reply to a request, once.
    mutating func takeReply(_ number: UInt64) -> ManagementReply? { replies.removeValue(forKey: number) }

    /// Ends the connection in order.
    mutating func close() {
        guard phase >= .open, phase != .closed, failure == nil else { return }
        output += encodeFrame(channel: 0) { Close(error: nil).encode(into: &$0) }
        phase = .closed
    }

    // MARK: Octets to frames

    private mutating func consume() throws(Failure) {
        while failure == nil {
            if phase == .saslHeader || phase == .amqpHeader {
                guard input.count >= 8 else { return }
                let header = Array(input[..<8])
                input.removeFirst(8)
                try headerReceived(header)
                continue
            }
            guard input.count >= FrameHeader.size else { return }
            let header = input.withUnsafeBytes { buffer in buffer.baseAddress.map { FrameHeader.decode($0) } }
            guard let header else { return }
            let start = Int(header.doff) * 4
            guard header.size <= ManagementMachine.frameLimit, header.doff >= 2, header.size >= start else {
                throw .protocolViolation("a frame of \(header.size) octets with data offset \(header.doff)")
            }
            guard input.count >= Int(header.size) else { return }
            let body = Array(input[start..<Int(header.size)])
            input.removeFirst(Int(header.size))
            if body.isEmpty { continue }
            try frameReceived(type: header.type, body)
        }
    }

    private mutating func headerReceived(_ header: [UInt8]) throws(Failure) {
        let expected = phase == .saslHeader ? saslHeader : amqpHeader
        guard header == expected else {
            let name = phase == .saslHeader ? "SASL" : "AMQP"
            let isAMQP = header.prefix(4).elementsEqual("AMQP".utf8)
            throw .protocolViolation(
                isAMQP
                    ? "its protocol header is \(header.dropFirst(4).map { String($0) }.joined(separator: ".")), "
                        + "not that of \(name)"
                    : "it does not begin with an AMQP protocol header")
        }
        if phase == .saslHeader {
            phase = .mechanisms
            return
        }
        var open = Open(containerID: containerID)
        open.hostname = host
        open.maxFrameSize = ManagementMachine.frameLimit
        open.channelMax = 0
        output += encodeFrame(channel: 0) { open.encode(into: &$0) }
        phase = .open
    }

    private mutating func frameReceived(type: UInt8, _ body: [UInt8]) throws(Failure) {
        let isSASL = phase == .mechanisms || phase == .outcome
        guard type == (isSASL ? 1 : 0) else { throw .protocolViolation("a frame of type \(type) in this phase") }
        do {
            if isSASL {
                let frame = try body.withUnsafeBytes { buffer in
                    var reader = ByteReader(buffer)
                    return try SASLFrame.decode(from: &reader)
                }
                try saslReceived(frame)
            } else {
                try body.withUnsafeBytes { buffer in
                    var reader = ByteReader(buffer)
                    let performative = try Performative.decode(from: &reader)
                    try performativeReceived(performative, payload: buffer[reader.offset...])
                }
            }
        } catch let error as Failure {
            throw error
        } catch {
            throw .protocolViolation("a malformed frame (\(error))")
        }
    }

    // MARK: Frames

    private mutating func saslReceived(_ frame: SASLFrame) throws(Failure) {
        switch (phase, frame) {
        case (.mechanisms, .mechanisms(let offered)):
            guard offered.contains(mechanism.rawValue) else {
                throw .protocolViolation(
                    "it offers the SASL mechanisms \(offered.joined(separator: " ")), not \(mechanism.rawValue)")
            }
            let response: [UInt8] = mechanism == .anonymous ? Array("anonymous".utf8) : []
            let answer = SASLFrame.initialize(
                mechanism: mechanism.rawValue, initialResponse: response, hostname: nil)
            output += encodeFrame(channel: 0, type: 1) { answer.encode(into: &$0) }
            phase = .outcome
        case (.outcome, .outcome(let code)):
            guard code == 0 else { throw .closed("authentication was refused (SASL outcome \(code))") }
            output += amqpHeader
            phase = .amqpHeader
        default: throw .protocolViolation("an unexpected SASL frame")
        }
    }

    private mutating func performativeReceived(
        _ performative: Performative, payload: Slice<UnsafeRawBufferPointer>
    ) throws(Failure) {
        switch performative {
        case .open(let open):
            guard phase == .open else { throw .protocolViolation("a second open") }
            peerFrameLimit = max(512, open.maxFrameSize)
            let begin = Begin(
                remoteChannel: nil, nextOutgoingID: 0, incomingWindow: ManagementMachine.window,
                outgoingWindow: ManagementMachine.window, handleMax: 7)
            output += encodeFrame(channel: 0) { begin.encode(into: &$0) }
            phase = .begin
        case .begin(let begin):
            guard phase == .begin else { throw .protocolViolation("a second begin") }
            nextIncomingID = begin.nextOutgoingID
            peerWindow = begin.incomingWindow
            attachLinks()
            phase = .attach
        case .attach(let attach): try attached(attach)
        case .flow(let flow): flowed(flow)
        case .transfer(let transfer): try transferred(transfer, payload)
        case .disposition(let disposition): disposed(disposition)
        case .detach(let detach): try detached(detach)
        case .end(let end):
            throw .closed("the session was ended" + ManagementMachine.text(end.error))
        case .close(let close):
            output += encodeFrame(channel: 0) { Close(error: nil).encode(into: &$0) }
            phase = .closed
            throw .closed("it closed the connection" + ManagementMachine.text(close.error))
        }
    }

    private mutating func attachLinks() {
        let receiver = Attach(
            name: "\(containerID)-replies", handle: ManagementMachine.receiverHandle, role: .receiver,
            sndSettleMode: 2, rcvSettleMode: 0, source: Source(dynamic: true), target: Target(),
            initialDeliveryCount: nil, maxMessageSize: nil, properties: [])
        output += encodeFrame(channel: 0) { receiver.encode(into: &$0) }
        for (handle, address) in [(ManagementMachine.agentHandle, "$management"), (ManagementMachine.relayHandle, nil)]
        {
            let sender = Attach(
                name: "\(containerID)-\(address == nil ? "relay" : "requests")", handle: handle, role: .sender,
                sndSettleMode: 2, rcvSettleMode: 0, source: Source(), target: Target(address: address),
                initialDeliveryCount: 0, maxMessageSize: nil, properties: [])
            output += encodeFrame(channel: 0) { sender.encode(into: &$0) }
        }
        sendCredit()
    }

    private mutating func attached(_ attach: Attach) throws(Failure) {
        guard let handle = handle(ofLinkNamed: attach.name) else {
            throw .protocolViolation("an attach of the unknown link \"\(attach.name)\"")
        }
        localHandles[attach.handle] = handle
        if handle == ManagementMachine.receiverHandle {
            guard let address = attach.source?.address else { return }
            replyTo = address
            received = attach.initialDeliveryCount ?? 0
            sendCredit()
        } else if attach.target != nil {
            senders[handle]?.isAttached = true
        }
        if phase == .attach, replyTo != nil, senders[ManagementMachine.agentHandle]?.isAttached == true {
            phase = .ready
        }
    }

    private func handle(ofLinkNamed name: String) -> UInt32? {
        switch name {
        case "\(containerID)-replies": ManagementMachine.receiverHandle
        case "\(containerID)-requests": ManagementMachine.agentHandle
        case "\(containerID)-relay": ManagementMachine.relayHandle
        default: nil
        }
    }

    private mutating func detached(_ detach: Detach) throws(Failure) {
        guard let handle = localHandles[detach.handle] else { return }
        let reason = ManagementMachine.text(detach.error)
        guard handle == ManagementMachine.relayHandle else {
            throw .closed("the link to the management agent was refused or ended" + reason)
        }
        // Without the relay only agents of other routers are out of reach.
        let refusal = "this router does not relay to other routers' agents" + reason
        let waiting = senders[handle]?.waiting ?? []
        senders[handle] = Sender(refusal: refusal)
        for item in waiting { reply(item.number, 503, refusal) }
        output += encodeFrame(channel: 0) {
            Detach(handle: handle, closed: true, error: nil).encode(into: &$0)
        }
    }

    private mutating func flowed(_ flow: Flow) {
        peerWindow = (flow.nextIncomingID ?? 0) &+ flow.incomingWindow &- nextOutgoingID
        if let remote = flow.handle, let handle = localHandles[remote], var sender = senders[handle] {
            let limit = (flow.deliveryCount ?? 0) &+ (flow.linkCredit ?? 0)
            // Serial number arithmetic: a limit already passed is no credit.
            let left = limit &- sender.deliveryCount
            sender.credit = left < 1 << 31 ? left : 0
            senders[handle] = sender
        }
        for handle in senders.keys.sorted() { flush(handle) }
        if flow.echo { sendCredit() }
    }

    private mutating func disposed(_ disposition: Disposition) {
        guard disposition.role == .receiver else { return }
        let last = disposition.last ?? disposition.first
        guard last &- disposition.first < 1 << 16 else { return }
        var delivery = disposition.first
        while true {
            if let number = unsettled[delivery], disposition.settled || disposition.state?.isTerminal ?? false {
                unsettled[delivery] = nil
                switch disposition.state {
                case .released?, .modified?: reply(number, 404, "the agent cannot be reached now")
                case .rejected(let error)?:
                    reply(number, 400, "the request was rejected" + ManagementMachine.text(error))
                default: break
                }
            }
            if delivery == last { break }
            delivery = delivery &+ 1
        }
        if !disposition.settled {
            let answer = Disposition(
                role: .sender, first: disposition.first, last: disposition.last, settled: true, state: disposition.state
            )
            output += encodeFrame(channel: 0) { answer.encode(into: &$0) }
        }
    }

    private mutating func transferred(
        _ transfer: Transfer, _ payload: Slice<UnsafeRawBufferPointer>
    ) throws(Failure) {
        guard localHandles[transfer.handle] == ManagementMachine.receiverHandle else {
            throw .protocolViolation("a transfer on a link that does not receive")
        }
        nextIncomingID = nextIncomingID &+ 1
        if messageID == nil {
            messageID = transfer.deliveryID ?? 0
            isMessageSettled = false
        }
        if transfer.settled == true { isMessageSettled = true }
        guard message.count + payload.count <= ManagementMachine.messageLimit else {
            throw .protocolViolation("a reply of more than \(ManagementMachine.messageLimit >> 20) MiB")
        }
        message += payload
        if transfer.more, !transfer.aborted {
            // A long reply must not use up the session's window.
            if nextIncomingID % 1024 == 0 { sendCredit() }
            return
        }
        let whole = message
        let delivery = messageID ?? 0
        (message, messageID) = ([], nil)
        received = received &+ 1
        if !isMessageSettled {
            let answer = Disposition(role: .receiver, first: delivery, last: nil, settled: true, state: .accepted)
            output += encodeFrame(channel: 0) { answer.encode(into: &$0) }
        }
        sendCredit()
        guard !transfer.aborted else { return }
        do throws(DecodeError) {
            // A late answer to a request that was given up has no taker.
            if let (number, reply) = try ManagementReply.decode(whole), awaited.removeValue(forKey: number) != nil {
                replies[number] = reply
            }
        } catch {
            throw .protocolViolation("a reply that cannot be decoded (\(error))")
        }
    }

    // MARK: Output

    private mutating func sendCredit() {
        var flow = Flow(
            nextIncomingID: nextIncomingID, incomingWindow: ManagementMachine.window,
            nextOutgoingID: nextOutgoingID, outgoingWindow: ManagementMachine.window)
        flow.handle = ManagementMachine.receiverHandle
        flow.deliveryCount = received
        flow.linkCredit = ManagementMachine.credit
        output += encodeFrame(channel: 0) { flow.encode(into: &$0) }
    }

    private mutating func flush(_ handle: UInt32) {
        guard var sender = senders[handle], sender.isAttached else { return }
        while sender.credit > 0, let next = sender.waiting.first,
            transfer(next.message, number: next.number, on: handle)
        {
            sender.waiting.removeFirst()
            sender.credit -= 1
            sender.deliveryCount = sender.deliveryCount &+ 1
        }
        senders[handle] = sender
    }

    /// Writes a message as one or several transfers; false if the session's window has no room for it.
    private mutating func transfer(_ message: [UInt8], number: UInt64, on handle: UInt32) -> Bool {
        let room = Int(min(peerFrameLimit, ManagementMachine.frameLimit)) - TransferWriter.maximumHeaderBytes
        let frames = max(1, (message.count + room - 1) / room)
        guard frames <= Int(peerWindow) else { return false }
        let delivery = nextDelivery
        nextDelivery = nextDelivery &+ 1
        for index in 0..<frames {
            let part = message[(index * room)..<min(message.count, (index + 1) * room)]
            var head = [UInt8](repeating: 0, count: TransferWriter.maximumHeaderBytes)
            let length = head.withUnsafeMutableBytes { buffer in
                buffer.baseAddress.map {
                    TransferWriter.write(
                        to: $0, channel: 0, handle: handle, deliveryID: delivery, tag: UInt64(delivery),
                        settled: false, more: index < frames - 1, aborted: false, payloadBytes: part.count)
                } ?? 0
            }
            output += head[..<length]
            output += part
            nextOutgoingID = nextOutgoingID &+ 1
            peerWindow -= 1
        }
        unsettled[delivery] = number
        return true
    }

    private mutating func reply(_ number: UInt64, _ status: Int, _ text: String) {
        guard awaited.removeValue(forKey: number) != nil else { return }
        replies[number] = ManagementReply(statusCode: status, statusDescription: text, body: .null)
    }

    private static func text(_ error: AMQPError?) -> String {
        guard let error else { return "" }
        return " (\(error.condition)\(error.description.map { ": \($0)" } ?? ""))"
    }
}
