import AMQPCodec

/// What a SASL exchange asks its driver to do.
package enum SASLEffect: Equatable, Sendable {
    case sendHeader
    case send(SASLFrame)
    /// A user database is to check this response; ``SASLServer/checked(_:)`` takes what it says.
    case check(mechanism: String, response: [UInt8])
    /// The exchange succeeded with this mechanism; the AMQP header follows.
    case succeeded(mechanism: String)
    /// The exchange failed: flush what was asked to be sent, then close. The text says why.
    case failed(String)
}

/// What a user database says of a response.
package enum SASLVerdict: Equatable, Sendable {
    case accepted(user: String)
    /// No such user, or another password.
    case refused(String)
    /// Nobody can tell at present.
    case unavailable(String)
}

/// A user name and a password for PLAIN.
package struct SASLCredentials: Equatable, Sendable {
    /// As the peer's user database has it.
    package var user: String
    /// In clear text.
    package var password: String

    /// Both as they are sent.
    package init(user: String, password: String) {
        self.user = user
        self.password = password
    }

    /// The response of RFC 4616, without an identity to act as.
    var plain: [UInt8] { [0] + Array(user.utf8) + [0] + Array(password.utf8) }
}

/// The accepting side of the SASL layer (AMQP 1.0 part 5, section 5.3).
package struct SASLServer: Equatable, Sendable {
    /// What is awaited, or how it ended.
    package enum State: CaseIterable, Sendable { case header, initialize, check, done, failed }

    /// How far the exchange got.
    package private(set) var state: State = .header
    /// Mechanisms offered, in order.
    package let mechanisms: [String]
    /// The user whose password was right.
    package private(set) var user: String?
    /// TLS has verified a client certificate, which EXTERNAL may use.
    package let hasVerifiedCertificate: Bool
    private var mechanism = ""

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
        guard case .initialize(let mechanism, let response, _) = frame else {
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
            guard let response else {
                return fail("mechanism \(mechanism) without an initial response", sendOutcome: true)
            }
            state = .check
            self.mechanism = mechanism
            return [.check(mechanism: mechanism, response: response)]
        }
        state = .done
        return [.send(.outcome(code: 0)), .succeeded(mechanism: mechanism)]
    }

    /// The user database has spoken.
    package mutating func checked(_ verdict: SASLVerdict) -> [SASLEffect] {
        precondition(state == .check, "a verdict that nobody asked for")
        switch verdict {
        case .accepted(let user):
            self.user = user
            state = .done
            return [.send(.outcome(code: 0)), .succeeded(mechanism: mechanism)]
        case .refused(let reason):
            state = .failed
            return [.send(.outcome(code: 1)), .failed("\(mechanism): \(reason)")]
        case .unavailable(let reason):
            // The specification's code for a system error.
            state = .failed
            return [.send(.outcome(code: 2)), .failed("\(mechanism): users cannot be checked: \(reason)")]
        }
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
    /// For PLAIN; nil if there are none.
    package let credentials: SASLCredentials?
    private var chosen = ""

    /// An exchange that has not begun.
    package init(allowed: [String], hasCertificate: Bool, credentials: SASLCredentials? = nil) {
        self.allowed = allowed
        self.hasCertificate = hasCertificate
        self.credentials = credentials
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
            let usable = allowed.isEmpty ? ["EXTERNAL", "PLAIN", "ANONYMOUS"] : allowed
            if hasCertificate, usable.contains("EXTERNAL"), offered.contains("EXTERNAL") {
                chosen = "EXTERNAL"
                state = .outcome
                return [.send(.initialize(mechanism: chosen, initialResponse: [], hostname: nil))]
            }
            if let credentials, usable.contains("PLAIN"), offered.contains("PLAIN") {
                chosen = "PLAIN"
                state = .outcome
                return [.send(.initialize(mechanism: chosen, initialResponse: credentials.plain, hostname: nil))]
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
