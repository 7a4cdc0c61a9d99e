import AMQPEndpoints

/// Credit in both directions, and the deliveries that wait for it.
extension Link {
    /// The next delivery may begin.
    var mayStart: Bool {
        sending == nil && machine.credit > 0 && machine.state == .attached
            && session.outgoing.count < Session.unsettledMaximum
    }

    /// Sender: a flow of the peer gave credit, took it back or asks for a word.
    func creditArrived(echo: Bool) {
        guard machine.state == .attached else { return }
        let mustDrain = machine.drain
        becameFree()
        if echo, !mustDrain || machine.drain { session.sendFlow(self) }
    }

    /// Asked to drain and nothing more to send: the credit goes back. A delivery that has begun but whose first frame
    /// has not left still needs its part of it.
    private func drainIfIdle() {
        guard machine.drain, machine.state == .attached, waiting.isEmpty || machine.credit == 0,
            sending?.isNumbered ?? true
        else { return }
        machine.drained()
        session.sendFlow(self, drain: true)
    }

    /// No delivery is under way: the next may start.
    func becameFree() {
        if session.isForLongMessages {
            session.connection.messageLinkFree(self)
        } else if kind == .streaming {
            session.connection.streamingLinkFree(self)
        } else {
            startNext()
        }
        drainIfIdle()
    }

    /// Starts waiting deliveries while the link is free and has credit.
    private func startNext() {
        guard !isStarting else { return }
        isStarting = true
        while mayStart, let delivery = waiting.popFirst() {
            if !delivery.isCancelled { delivery.start(on: self) }
        }
        isStarting = false
    }

    /// Receiver: as much credit as the deliveries in hand leave room for.
    func grantAll() {
        consumed = 0
        machine.grant(capacity > owed ? capacity - owed : 0)
        session.sendFlow(self)
    }

    /// Receiver: one more delivery needs no more credit held back. Routers are told in batches, a client at the end of
    /// the loop's turn: it may count on all of its credit.
    func replenish() {
        owed -= 1
        guard !isStarved else { return }
        consumed += 1
        if consumed >= max(1, capacity / 4) {
            giveCreditBack()
        } else if case .producer = kind, !isCreditDue {
            isCreditDue = true
            session.connection.giveCreditSoon(self)
        }
    }

    /// Receiver: tells the sender of the credit that has come free.
    func giveCreditBack() {
        guard consumed > 0, machine.state == .attached else { return }
        machine.grant(machine.credit &+ consumed)
        consumed = 0
        session.sendFlow(self)
    }

    /// Receiver: a message has come for an address of the link's own that nobody takes. What is left of the credit is
    /// taken back until somebody does; skupper-router does so too, and not before a message has come.
    func foundNobody() {
        guard !isStarved, let scope, machine.state == .attached, !session.connection.worker.isReachable(scope) else {
            return
        }
        isStarved = true
        consumed = 0
        if machine.credit > 0 { session.sendFlow(self, drain: true) }
    }
}
