import AMQPCodec

/// What a SASL exchange asks its driver to do.
package enum SASLEffect: Equatable, Sendable {
    case sendHeader
    case send(SASLFrame)
    /// The exchange succeeded with this mechanism; the AMQP header follows.
    case succeeded(mechanism: String)
    /// The exchange failed: flush what was asked to be sent, then close. The text says why.
    case failed(String)
}

/// The accepting side of the SASL layer (AMQP 1.0 part 5, section 5.3).
package struct SASLServer: Equatable, Sendable {
    /// What is awaited, or how it ended.
    package enum State: CaseIterable, Sendable { case header, initialize, done, failed }

    /// How far the exchange got.
    package private(set) var state: State = .header
    /// Mechanisms offered, in order.
    package let mechanisms: [String]
    /// TLS has verified a client certificate, which EXTERNAL may use.
    package let hasVerifiedCertificate: Bool

    /// An exchange that has not begun.
    package init(mechanisms: [String], hasVerifiedCertificate: Bool) {
        self.mechanisms = mechanisms
        self.hasVerifiedCertificate = hasVerifiedCertificate
    }

    /// The peer's SASL protocol header arrived.
    package mutating func headerReceived() -> [SASLEffect] {
        guard state == .header else { return fail("second SASL header", sendOutcome: false) }
        state = .initialize
        return [.sendHeader, .send(.mechanisms(mechanisms))]
    }

    /// A SASL frame of the peer arrived.
    package mutating func received(_ frame: SASLFrame) -> [SASLEffect] {
        guard state == .initialize else { return fail("SASL frame in state \(state)", sendOutcome: false) }
        guard case .initialize(let mechanism, _, _) = frame else {
            return fail("expected sasl-init", sendOutcome: true)
        }
        guard mechanisms.contains(mechanism) else {
            return fail(
                "mechanism \(mechanism) was not offered (offered: \(mechanisms.joined(separator: " ")))",
                sendOutcome: true)
        }
        switch mechanism {
        case "ANONYMOUS":
            break
        case "EXTERNAL" where hasVerifiedCertificate:
            break
        case "EXTERNAL":
            return fail("EXTERNAL without a verified client certificate", sendOutcome: true)
        default:
            return fail("mechanism \(mechanism) has no user database configured", sendOutcome: true)
        }
        state = .done
        return [.send(.outcome(code: 0)), .succeeded(mechanism: mechanism)]
    }

    private mutating func fail(_ reason: String, sendOutcome: Bool) -> [SASLEffect] {
        state = .failed
        return (sendOutcome ? [.send(.outcome(code: 1))] : []) + [.failed(reason)]
    }
}

/// The connecting side of the SASL layer.
package struct SASLClient: Equatable, Sendable {
    /// What is awaited, or how it ended.
    package enum State: CaseIterable, Sendable { case idle, header, mechanisms, outcome, done, failed }

    /// How far the exchange got.
    package private(set) var state: State = .idle
    /// Mechanisms allowed by configuration; empty = any we know.
    package let allowed: [String]
    /// A client certificate is in use on this connection.
    package let hasCertificate: Bool
    private var chosen = ""

    /// An exchange that has not begun.
    package init(allowed: [String], hasCertificate: Bool) {
        self.allowed = allowed
        self.hasCertificate = hasCertificate
    }

    /// The transport is ready.
    package mutating func start() -> [SASLEffect] {
        precondition(state == .idle, "SASL started twice")
        state = .header
        return [.sendHeader]
    }

    /// The peer's SASL protocol header arrived.
    package mutating func headerReceived() -> [SASLEffect] {
        guard state == .header else { return fail("unexpected SASL header") }
        state = .mechanisms
        return []
    }

    /// A SASL frame of the peer arrived.
    package mutating func received(_ frame: SASLFrame) -> [SASLEffect] {
        switch (state, frame) {
        case (.mechanisms, .mechanisms(let offered)):
            let usable = allowed.isEmpty ? ["EXTERNAL", "ANONYMOUS"] : allowed
            if hasCertificate, usable.contains("EXTERNAL"), offered.contains("EXTERNAL") {
                chosen = "EXTERNAL"
                state = .outcome
                return [.send(.initialize(mechanism: chosen, initialResponse: [], hostname: nil))]
            }
            if usable.contains("ANONYMOUS"), offered.contains("ANONYMOUS") {
                chosen = "ANONYMOUS"
                state = .outcome
                return [.send(.initialize(mechanism: chosen, initialResponse: Array("anonymous".utf8), hostname: nil))]
            }
            return fail("no common SASL mechanism (peer offers: \(offered.joined(separator: " ")))")
        case (.outcome, .outcome(code: 0)):
            state = .done
            return [.succeeded(mechanism: chosen)]
        case (.outcome, .outcome(let code)):
            return fail("peer refused SASL \(chosen) with outcome code \(code)")
        default:
            return fail("unexpected SASL frame in state \(state)")
        }
    }

    private mutating func fail(_ reason: String) -> [SASLEffect] {
        state = .failed
        return [.failed(reason)]
    }
}
