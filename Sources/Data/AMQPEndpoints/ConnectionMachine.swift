/// The AMQP connection endpoint of specification part 2, section 2.4.6: which of header, open and close may follow
/// what.
///
/// Owns nothing but the state; frames, sockets and time-outs belong to the driver. The pipelined states (open or close
/// sent before the peer's header arrived) exist because a router sends its header and its open in one write.
package struct ConnectionMachine: Equatable, Sendable {
    /// States in the specification's words.
    package enum State: CaseIterable, Sendable {
        case start, hdrRcvd, hdrSent, hdrExch, openPipe, openRcvd, openSent, opened, closePipe, ocPipe, closeRcvd
        case closeSent, discarding, end
    }

    /// What happened on the wire; `…Sent` are our own doing.
    package enum Event: CaseIterable, Sendable {
        case headerSent, headerReceived, openSent, openReceived, closeSent, closeReceived
        /// The peer violated the protocol and our close with an error has been sent: everything but its close is
        /// dropped.
        case discardSent
    }

    /// Where the connection stands.
    package private(set) var state: State

    /// A machine in any state; new connections begin in `start`.
    package init(state: State = .start) { self.state = state }

    /// True while frames other than open and close may be received and acted on. After its close the peer may send
    /// nothing.
    package var acceptsFrames: Bool { state == .opened }

    /// True while frames other than open and close may be sent.
    package var maySendFrames: Bool {
        state == .opened || state == .closeRcvd || state == .openSent || state == .openPipe
    }

    /// Applies one event.
    ///
    /// - Throws: a connection-scope ``EndpointError`` when a *peer* event is not legal in this state.
    /// An illegal event of our own is a bug of the driver and traps.
    package mutating func apply(_ event: Event) throws(EndpointError) {
        if let next = Self.next(state, event) {
            state = next
            return
        }
        switch event {
        case .headerReceived, .openReceived, .closeReceived:
            throw EndpointError(
                .connection, "amqp:connection:framing-error", "peer's \(event) is not legal in \(state)")
        case .headerSent, .openSent, .closeSent, .discardSent:
            preconditionFailure("driver sent \(event) in connection state \(state)")
        }
    }

    /// The transition table; nil where the specification has none.
    package static func next(_ state: State, _ event: Event) -> State? {
        switch (state, event) {
        case (.start, .headerSent): .hdrSent
        case (.start, .headerReceived): .hdrRcvd
        case (.hdrRcvd, .headerSent): .hdrExch
        case (.hdrSent, .headerReceived): .hdrExch
        case (.hdrSent, .openSent): .openPipe
        case (.hdrExch, .openSent): .openSent
        case (.hdrExch, .openReceived): .openRcvd
        case (.openPipe, .headerReceived): .openSent
        case (.openPipe, .closeSent): .ocPipe
        case (.ocPipe, .headerReceived): .closePipe
        case (.openSent, .openReceived): .opened
        case (.openSent, .closeSent): .closePipe
        case (.openRcvd, .openSent): .opened
        case (.closePipe, .openReceived): .closeSent
        case (.opened, .closeSent): .closeSent
        case (.opened, .closeReceived): .closeRcvd
        case (.opened, .discardSent): .discarding
        case (.openSent, .discardSent): .discarding
        case (.closeRcvd, .closeSent): .end
        case (.closeSent, .closeReceived): .end
        // The peer's open may have been on its way when our close with an error left.
        case (.discarding, .openReceived): .discarding
        case (.discarding, .closeReceived): .end
        default: nil
        }
    }
}
