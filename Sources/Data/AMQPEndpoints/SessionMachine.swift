import AMQPCodec

/// The AMQP session endpoint: begin/end states (part 2, section 2.5.5) and transfer windows (section 2.5.6).
///
/// Window units are transfer *frames*. Identifiers use serial-number arithmetic modulo 2^32.
package struct SessionMachine: Equatable, Sendable {
    /// States of section 2.5.5; `Rcvd` is the peer's doing.
    package enum State: CaseIterable, Sendable {
        case unmapped, beginSent, beginRcvd, mapped, endSent, endRcvd, discarding
    }

    /// What happened on the wire; `…Sent` are our own doing.
    package enum Event: CaseIterable, Sendable {
        case beginSent, beginReceived, endSent, endReceived
        /// Our end carried an error: what still arrives is dropped until the peer's end.
        case discardSent
    }

    /// Where the session stands.
    package private(set) var state: State = .unmapped

    /// The window we advertise, in frames; refreshed when half of it is used.
    package let incomingWindowMaximum: UInt32
    /// Frames the peer may still send before it needs a new flow.
    package private(set) var incomingWindow: UInt32
    /// Transfer id we expect next from the peer.
    package private(set) var nextIncomingID: UInt32 = 0
    /// Transfer id of our next transfer frame.
    package private(set) var nextOutgoingID: UInt32 = 0
    /// Frames we may still send.
    package private(set) var remoteIncomingWindow: UInt32 = 0

    /// - Parameter incomingWindow: frames; at least 2.
    package init(incomingWindow: UInt32) {
        incomingWindowMaximum = max(2, incomingWindow)
        self.incomingWindow = incomingWindowMaximum
    }

    /// The transition table; nil where there is no transition.
    package static func next(_ state: State, _ event: Event) -> State? {
        switch (state, event) {
        case (.unmapped, .beginSent): .beginSent
        case (.unmapped, .beginReceived): .beginRcvd
        case (.beginSent, .beginReceived): .mapped
        case (.beginRcvd, .beginSent): .mapped
        case (.mapped, .endSent), (.beginSent, .endSent): .endSent
        case (.mapped, .endReceived): .endRcvd
        case (.mapped, .discardSent): .discarding
        case (.endSent, .beginReceived): .endSent
        case (.endRcvd, .endSent): .unmapped
        case (.endSent, .endReceived), (.discarding, .endReceived): .unmapped
        default: nil
        }
    }

    /// Applies one begin/end event; see ``ConnectionMachine/apply(_:)`` for who throws and who traps.
    package mutating func apply(_ event: Event) throws(EndpointError) {
        if let next = Self.next(state, event) {
            state = next
            return
        }
        switch event {
        case .beginReceived, .endReceived:
            throw EndpointError(
                .connection, "amqp:connection:framing-error", "peer's \(event) is not legal in session state \(state)")
        case .beginSent, .endSent, .discardSent:
            preconditionFailure("driver sent \(event) in session state \(state)")
        }
    }

    /// The peer's begin: its transfer ids start here, and this is what we may send.
    package mutating func remoteBegan(nextOutgoingID: UInt32, incomingWindow: UInt32) {
        nextIncomingID = nextOutgoingID
        remoteIncomingWindow = incomingWindow
    }

    /// One transfer frame arrived. Returns true when a flow should refresh the peer's window now.
    package mutating func transferReceived() throws(EndpointError) -> Bool {
        guard incomingWindow > 0 else {
            throw EndpointError(.session, "amqp:session:window-violation", "transfer with no session window left")
        }
        setIncoming(window: incomingWindow &- 1, id: nextIncomingID &+ 1)
        return incomingWindow < incomingWindowMaximum / 2
    }

    /// Sets what the peer may send, in frames, and the transfer id expected next.
    package mutating func setIncoming(window: UInt32, id: UInt32) {
        incomingWindow = window
        nextIncomingID = id
    }

    /// The frames received so far are consumed, but for `held`; the next flow advertises the rest of the window again.
    /// What the peer may send already is not taken back.
    package mutating func refreshIncomingWindow(held: UInt32 = 0) {
        let room = incomingWindowMaximum > held ? incomingWindowMaximum - held : 0
        setIncoming(window: max(incomingWindow, room), id: nextIncomingID)
    }

    /// True when a transfer frame may be sent.
    package var maySend: Bool { remoteIncomingWindow > 0 }

    /// One transfer frame was sent.
    package mutating func transferSent() {
        setOutgoing(window: remoteIncomingWindow &- 1, id: nextOutgoingID &+ 1)
    }

    /// Sets what we may send, in frames, and the transfer id of the next frame.
    package mutating func setOutgoing(window: UInt32, id: UInt32) {
        remoteIncomingWindow = window
        nextOutgoingID = id
    }

    /// A flow of the peer: recomputes what we may send (section 2.5.6). `nextIncomingID` nil means it has not seen our
    /// begin.
    package mutating func flowReceived(nextIncomingID remoteNext: UInt32?, incomingWindow: UInt32) throws(EndpointError)
    {
        let base = remoteNext ?? 0
        let inFlight = nextOutgoingID &- base
        guard inFlight < 1 << 31 else {
            throw EndpointError(
                .session, "amqp:session:errant-link",
                "flow acknowledges transfer id \(base), which we have not sent (next is \(nextOutgoingID))")
        }
        remoteIncomingWindow = incomingWindow > inFlight ? incomingWindow - inFlight : 0
    }
}
