import AMQPCodec

/// One end of an AMQP link: attach/detach states (part 2, section 2.6.3) and credit (section 2.6.7).
///
/// `delivery-count` and credit use serial-number arithmetic modulo 2^32.
package struct LinkMachine: Equatable, Sendable {
    /// States of section 2.6.3; `Rcvd` is the peer's doing.
    package enum State: CaseIterable, Sendable {
        case detached, attachSent, attachRcvd, attached, detachSent, detachRcvd
    }

    /// What happened on the wire; `…Sent` are our own doing.
    package enum Event: CaseIterable, Sendable {
        case attachSent, attachReceived, detachSent, detachReceived
    }

    /// Where the link stands.
    package private(set) var state: State = .detached
    /// Our role: sender or receiver.
    package let role: Role
    /// Deliveries started on this link, as both ends count them.
    package private(set) var deliveryCount: UInt32 = 0
    /// Deliveries that may still be started.
    package private(set) var credit: UInt32 = 0
    /// The peer asked us (sender) to use up or give back its credit.
    package private(set) var drain = false

    /// A detached link end of this role, without credit.
    package init(role: Role) { self.role = role }

    /// The transition table; nil where there is no transition.
    package static func next(_ state: State, _ event: Event) -> State? {
        switch (state, event) {
        case (.detached, .attachSent): .attachSent
        case (.detached, .attachReceived): .attachRcvd
        case (.attachSent, .attachReceived): .attached
        case (.attachRcvd, .attachSent): .attached
        case (.attached, .detachSent), (.attachSent, .detachSent), (.attachRcvd, .detachSent): .detachSent
        case (.attached, .detachReceived), (.attachRcvd, .detachReceived): .detachRcvd
        case (.detachSent, .attachReceived): .detachSent
        case (.detachSent, .detachReceived), (.detachRcvd, .detachSent): .detached
        default: nil
        }
    }

    /// Applies one attach/detach event; peer events that are not legal throw, our own trap.
    package mutating func apply(_ event: Event) throws(EndpointError) {
        if let next = Self.next(state, event) {
            state = next
            return
        }
        switch event {
        case .attachReceived:
            throw EndpointError(.session, "amqp:session:handle-in-use", "attach on a link in state \(state)")
        case .detachReceived:
            throw EndpointError(.session, "amqp:session:errant-link", "detach on a link in state \(state)")
        case .attachSent, .detachSent:
            preconditionFailure("driver sent \(event) in link state \(state)")
        }
    }

    /// Receiver: takes over the sender's initial delivery-count from its attach.
    package mutating func remoteAttached(initialDeliveryCount: UInt32) {
        if role == .receiver { deliveryCount = initialDeliveryCount }
    }

    // MARK: Sender

    /// Sender: a flow of the receiver sets the credit (section 2.6.7).
    package mutating func flowReceived(deliveryCount remote: UInt32?, linkCredit: UInt32, drain: Bool) {
        let base = remote ?? 0
        let used = deliveryCount &- base
        credit = used < 1 << 31 && linkCredit > used ? linkCredit - used : (used < 1 << 31 ? 0 : linkCredit)
        self.drain = drain
    }

    /// Sender: one delivery was started. The caller has checked `credit > 0`.
    package mutating func deliveryStarted() { set(count: deliveryCount &+ 1, credit: credit &- 1) }

    /// Sender: gives back what is left of a drained credit; the caller then sends a flow.
    package mutating func drained() {
        deliveryCount = deliveryCount &+ credit
        credit = 0
        drain = false
    }

    // MARK: Receiver

    /// Receiver: a delivery began. Throws when the peer had no credit.
    package mutating func deliveryReceived() throws(EndpointError) {
        guard credit > 0 else {
            throw EndpointError(.link, "amqp:link:transfer-limit-exceeded", "delivery without credit")
        }
        set(count: deliveryCount &+ 1, credit: credit &- 1)
    }

    /// Receiver: a flow of the sender that gives credit back by moving its delivery-count on (section 2.6.7).
    package mutating func senderFlowReceived(deliveryCount remote: UInt32?) {
        guard let remote else { return }
        let skipped = remote &- deliveryCount
        guard skipped > 0, skipped <= credit else { return }
        set(count: remote, credit: credit - skipped)
    }

    /// Receiver: raises the credit to `total`; the caller then sends a flow.
    package mutating func grant(_ total: UInt32) { set(count: deliveryCount, credit: total) }

    /// Sets both counters, for drivers that count elsewhere.
    package mutating func set(count: UInt32, credit: UInt32) {
        deliveryCount = count
        self.credit = credit
    }
}
