import AMQPCodec
import TestKit
import Testing

@testable import AMQPEndpoints

/// What one side of a connection keeps, driven by a recording: its own events are what it sent, the peer's what the
/// other sent. Peer's events that are not legal throw; own ones that no machine allows are failed expectations.
///
/// Our driver answers the peer's header and begin at once, while the recorded router took its time and the peer went on
/// without waiting. Our header and the begins that answer are therefore taken ahead of their place in the recording.
struct Replay {
    struct LinkKey: Hashable {
        var channel: UInt16
        var name: String
        var role: Role
    }

    /// Delivery-ids count for each session and direction.
    struct DeliveryKey: Hashable {
        var isOwn: Bool
        var channel: UInt16
        var id: UInt32
    }

    struct Delivery {
        var link: LinkKey
        var frames = 0
        /// The last state that either end told.
        var state: DeliveryState?
        var isSettled = false
        var isAborted = false
    }

    let own: RecordedUnit.Side
    var connection = ConnectionMachine()
    /// Sessions by our channel.
    var sessions: [UInt16: SessionMachine] = [:]
    /// The peer's channels to ours.
    var channels: [UInt16: UInt16] = [:]
    var links: [LinkKey: LinkMachine] = [:]
    /// Handles of our attaches and of the peer's.
    var handles: [Bool: [UInt64: LinkKey]] = [true: [:], false: [:]]
    /// Deliveries under way, whose further transfers take no credit.
    var partial: [LinkKey: DeliveryKey] = [:]
    var deliveries: [DeliveryKey: Delivery] = [:]
    var hasOpened = false
    var transfers = 0

    /// Our begins that answer one of the peer, by the peer's channel, in order.
    private var answers: [UInt16: [(channel: UInt16, begin: Begin)]] = [:]

    init(own: RecordedUnit.Side, of recording: RecordedConnection) throws {
        self.own = own
        for unit in recording.units where unit.side == own {
            guard let (channel, performative, _) = try unit.performative(), case .begin(let begin) = performative,
                let remote = begin.remoteChannel
            else { continue }
            answers[remote, default: []].append((channel, begin))
        }
    }

    mutating func take(_ unit: RecordedUnit) throws {
        let isOwn = unit.side == own
        if unit.isProtocolHeader {
            if unit.octets == saslHeader { return }
            #expect(unit.octets == amqpHeader)
            if !isOwn { try connection.apply(.headerReceived) }
            if connection.state == .start || connection.state == .hdrRcvd { try connection.apply(.headerSent) }
            return
        }
        guard let (channel, performative, _) = try unit.performative() else { return }
        try take(performative, channel: channel, isOwn: isOwn)
    }

    private mutating func take(_ performative: Performative, channel: UInt16, isOwn: Bool) throws {
        switch performative {
        case .open:
            try connection.apply(isOwn ? .openSent : .openReceived)
            hasOpened = hasOpened || connection.state == .opened
            return
        case .close:
            return try connection.apply(isOwn ? .closeSent : .closeReceived)
        default: break
        }
        #expect(isOwn ? connection.maySendFrames : connection.acceptsFrames, "\(connection.state)")
        switch performative {
        case .begin(let begin): try take(begin, channel: channel, isOwn: isOwn)
        case .end:
            try inSession(channel, isOwn) { session throws in try session.apply(isOwn ? .endSent : .endReceived) }
        case .attach(let attach): try take(attach, channel: channel, isOwn: isOwn)
        case .flow(let flow): try take(flow, channel: channel, isOwn: isOwn)
        case .transfer(let transfer): try take(transfer, channel: channel, isOwn: isOwn)
        case .detach(let detach):
            let key = try link(channel, detach.handle, isOwn)
            try links[key]?.apply(isOwn ? .detachSent : .detachReceived)
        case .disposition(let disposition): try take(disposition, channel: channel, isOwn: isOwn)
        case .open, .close: break
        }
    }

    private func session(_ channel: UInt16, _ isOwn: Bool) throws -> UInt16 {
        isOwn ? channel : try #require(channels[channel], "the peer's channel \(channel) has no session")
    }

    private mutating func inSession(
        _ channel: UInt16, _ isOwn: Bool, _ body: (inout SessionMachine) throws -> Void
    ) throws {
        let channel = try session(channel, isOwn)
        var machine = try #require(sessions[channel], "no session on channel \(channel)")
        try body(&machine)
        sessions[channel] = machine
    }

    private mutating func take(_ begin: Begin, channel: UInt16, isOwn: Bool) throws {
        if isOwn {
            // An answer has been taken when the peer's begin came.
            if begin.remoteChannel != nil { return }
            var machine = SessionMachine(incomingWindow: begin.incomingWindow)
            try machine.apply(.beginSent)
            sessions[channel] = machine
            return
        }
        if let answered = begin.remoteChannel {
            channels[channel] = answered
            return try inSession(channel, false) { session in
                try session.apply(.beginReceived)
                session.remoteBegan(nextOutgoingID: begin.nextOutgoingID, incomingWindow: begin.incomingWindow)
            }
        }
        let answer = try #require(answers[channel]?.first, "nobody answers the begin on channel \(channel)")
        answers[channel]?.removeFirst()
        var machine = SessionMachine(incomingWindow: answer.begin.incomingWindow)
        try machine.apply(.beginReceived)
        machine.remoteBegan(nextOutgoingID: begin.nextOutgoingID, incomingWindow: begin.incomingWindow)
        try machine.apply(.beginSent)
        sessions[answer.channel] = machine
        channels[channel] = answer.channel
    }

    private mutating func take(_ attach: Attach, channel: UInt16, isOwn: Bool) throws {
        let local = try session(channel, isOwn)
        let role: Role = isOwn ? attach.role : attach.role == .sender ? .receiver : .sender
        let key = LinkKey(channel: local, name: attach.name, role: role)
        var machine = links[key] ?? LinkMachine(role: role)
        try machine.apply(isOwn ? .attachSent : .attachReceived)
        if !isOwn, role == .receiver { machine.remoteAttached(initialDeliveryCount: attach.initialDeliveryCount ?? 0) }
        links[key] = machine
        handles[isOwn]?[UInt64(local) << 32 | UInt64(attach.handle)] = key
    }

    private func link(_ channel: UInt16, _ handle: UInt32, _ isOwn: Bool) throws -> LinkKey {
        let local = try session(channel, isOwn)
        return try #require(handles[isOwn]?[UInt64(local) << 32 | UInt64(handle)], "handle \(handle) is not attached")
    }

    private mutating func take(_ flow: Flow, channel: UInt16, isOwn: Bool) throws {
        try inSession(channel, isOwn) { session in
            if isOwn {
                if let next = flow.nextIncomingID {
                    // What was on its way when the recorded router wrote this flow has reached us before it.
                    #expect(session.nextIncomingID &- next < 1 << 31, "\(session.nextIncomingID) \(next)")
                }
                session.setIncoming(window: flow.incomingWindow, id: session.nextIncomingID)
            } else {
                try session.flowReceived(nextIncomingID: flow.nextIncomingID, incomingWindow: flow.incomingWindow)
                #expect(session.remoteIncomingWindow <= flow.incomingWindow)
            }
        }
        guard let handle = flow.handle, let credit = flow.linkCredit else { return }
        let key = try link(channel, handle, isOwn)
        if isOwn, key.role == .receiver { links[key]?.grant(credit) }
        if isOwn, key.role == .sender, links[key]?.drain == true {
            links[key]?.drained()
            #expect(links[key]?.deliveryCount == flow.deliveryCount && credit == 0, "\(key)")
        }
        if !isOwn, key.role == .receiver {
            links[key]?.senderFlowReceived(deliveryCount: flow.deliveryCount)
            #expect(links[key]?.deliveryCount == flow.deliveryCount && links[key]?.credit == credit, "\(key)")
        }
        if !isOwn, key.role == .sender {
            links[key]?.flowReceived(deliveryCount: flow.deliveryCount, linkCredit: credit, drain: flow.drain)
            #expect(links[key].map { $0.credit <= credit } == true)
        }
    }

    private mutating func take(_ transfer: Transfer, channel: UInt16, isOwn: Bool) throws {
        transfers += 1
        try inSession(channel, isOwn) { session in
            if isOwn {
                #expect(session.maySend)
                session.transferSent()
            } else {
                _ = try session.transferReceived()
            }
        }
        let key = try link(channel, transfer.handle, isOwn)
        let isFirst = partial[key] == nil
        var delivery = DeliveryKey(isOwn: isOwn, channel: key.channel, id: 0)
        if let begun = partial[key] {
            delivery = begun
        } else {
            delivery.id = try #require(transfer.deliveryID, "\(key) begins without a delivery-id")
        }
        #expect(isFirst == (deliveries[delivery] == nil), "\(delivery)")
        partial[key] = transfer.more && !transfer.aborted ? delivery : nil
        deliveries[delivery, default: Delivery(link: key)].frames += 1
        if transfer.settled == true { deliveries[delivery]?.isSettled = true }
        if transfer.aborted { deliveries[delivery]?.isAborted = true }
        guard isFirst, var machine = links[key] else { return }
        if isOwn {
            #expect(machine.credit > 0, "\(key)")
            machine.deliveryStarted()
        } else {
            try machine.deliveryReceived()
        }
        links[key] = machine
    }

    /// A disposition is about deliveries that have begun, of the one end or the other.
    private mutating func take(_ disposition: Disposition, channel: UInt16, isOwn: Bool) throws {
        let local = try session(channel, isOwn)
        for id in disposition.first...(disposition.last ?? disposition.first) {
            let key = DeliveryKey(isOwn: isOwn == (disposition.role == .sender), channel: local, id: id)
            var delivery = try #require(deliveries[key], "a disposition of \(key), which has not begun")
            if let state = disposition.state { delivery.state = state }
            if disposition.settled { delivery.isSettled = true }
            deliveries[key] = delivery
        }
    }

    /// Deliveries on a link, in the order of their ids.
    func deliveries(on link: String) -> [Delivery] {
        deliveries.filter { $0.value.link.name == link }.sorted { $0.key.id < $1.key.id }.map(\.value)
    }

    /// The machine of the link of that name; nil if there is none.
    func link(_ name: String) -> LinkMachine? { links.first { $0.key.name == name }?.value }
}
