import AMQPCodec
import TestKit
import Testing

@testable import AMQPEndpoints

/// Both sides of the SASL layer, every state with every frame.
@Suite struct SASLTests {
    static let anonymous = SASLFrame.initialize(mechanism: "ANONYMOUS", initialResponse: nil, hostname: nil)
    static let external = SASLFrame.initialize(mechanism: "EXTERNAL", initialResponse: [], hostname: "b")
    static let plain = SASLFrame.initialize(mechanism: "PLAIN", initialResponse: [0], hostname: nil)
    static let frames: [SASLFrame] = [
        .mechanisms(["EXTERNAL", "ANONYMOUS"]), .mechanisms([]), anonymous, external, plain, .challenge([1]),
        .response([]), .outcome(code: 0), .outcome(code: 1), .outcome(code: 4),
    ]

    static func server(_ state: SASLServer.State, verified: Bool = true) -> SASLServer {
        var server = SASLServer(mechanisms: ["EXTERNAL", "ANONYMOUS", "PLAIN"], hasVerifiedCertificate: verified)
        if state != .header { _ = server.headerReceived() }
        if state == .check { _ = server.received(plain) }
        if state == .done { _ = server.received(anonymous) }
        if state == .failed { _ = server.received(.outcome(code: 0)) }
        return server
    }

    static func hasFailed(_ effects: [SASLEffect]) -> Bool {
        if case .failed? = effects.last { return true }
        return false
    }

    @Test func serverWithEveryFrame() throws {
        try withEvery(SASLServer.State.allCases, Self.frames, [true, false]) { state, frame, verified in
            var server = Self.server(state, verified: verified)
            #expect(server.state == state)
            let effects = server.received(frame)
            let isTaken = state == .initialize && (frame == Self.anonymous || (frame == Self.external && verified))
            if state == .initialize, frame == Self.plain {
                #expect(effects == [.check(mechanism: "PLAIN", response: [0])])
                #expect(server.state == .check)
            } else if isTaken, case .initialize(let mechanism, _, _) = frame {
                #expect(effects == [.send(.outcome(code: 0)), .succeeded(mechanism: mechanism)])
                #expect(server.state == .done)
            } else {
                #expect(server.state == .failed && Self.hasFailed(effects))
                // An outcome is sent only to a peer that waits for one.
                #expect(effects.contains(.send(.outcome(code: 1))) == (state == .initialize))
                #expect(effects.count == (state == .initialize ? 2 : 1))
            }
        }
    }

    @Test func serverHeader() {
        for state in SASLServer.State.allCases {
            var server = Self.server(state)
            let effects = server.headerReceived()
            if state == .header {
                #expect(effects == [.sendHeader, .send(.mechanisms(["EXTERNAL", "ANONYMOUS", "PLAIN"]))])
                #expect(server.state == .initialize)
            } else {
                #expect(Self.hasFailed(effects) && effects.count == 1 && server.state == .failed)
            }
        }
    }

    @Test func serverRefusesWhatItDidNotOffer() {
        var server = SASLServer(mechanisms: ["EXTERNAL"], hasVerifiedCertificate: true)
        _ = server.headerReceived()
        let effects = server.received(Self.anonymous)
        #expect(effects.first == .send(.outcome(code: 1)) && Self.hasFailed(effects) && server.state == .failed)
    }

    /// The verdict of the user database decides, and nothing comes before it.
    @Test func serverWithUsers() {
        let verdicts: [(SASLVerdict, UInt8)] = [
            (.accepted(user: "u@r"), 0), (.refused("wrong"), 1), (.unavailable("no file"), 2),
        ]
        for (verdict, code) in verdicts {
            var server = Self.server(.check)
            #expect(server.user == nil)
            let effects = server.checked(verdict)
            #expect(effects.first == .send(.outcome(code: code)) && effects.count == 2)
            #expect(server.state == (code == 0 ? .done : .failed))
            #expect(Self.hasFailed(effects) == (code != 0))
            #expect(server.user == (code == 0 ? "u@r" : nil))
            if code == 0 { #expect(effects.last == .succeeded(mechanism: "PLAIN")) }
        }
        var server = Self.server(.initialize)
        let effects = server.received(.initialize(mechanism: "PLAIN", initialResponse: nil, hostname: nil))
        #expect(effects.first == .send(.outcome(code: 1)) && Self.hasFailed(effects))
    }

    /// EXTERNAL before PLAIN before ANONYMOUS; a password goes to nobody who has not asked for PLAIN.
    @Test func clientWithPassword() throws {
        let offers = [["EXTERNAL", "PLAIN", "ANONYMOUS"], ["ANONYMOUS", "PLAIN"], ["ANONYMOUS"], ["DIGEST-MD5"]]
        try withEvery([[], ["PLAIN"], ["EXTERNAL", "ANONYMOUS"]], [true, false], offers) {
            allowed, certificate, offer in
            var client = SASLClient(
                allowed: allowed, hasCertificate: certificate,
                credentials: SASLCredentials(user: "me", password: "se\u{e9}"))
            _ = client.start()
            _ = client.headerReceived()
            let effects = client.received(.mechanisms(offer))
            func may(_ name: String) -> Bool { offer.contains(name) && (allowed.isEmpty || allowed.contains(name)) }
            let plain: [UInt8] = [0] + Array("me".utf8) + [0] + [0x73, 0x65, 0xc3, 0xa9]
            let expected: (name: String, response: [UInt8])? =
                may("EXTERNAL") && certificate
                ? ("EXTERNAL", [])
                : may("PLAIN") ? ("PLAIN", plain) : may("ANONYMOUS") ? ("ANONYMOUS", Array("anonymous".utf8)) : nil
            if let expected {
                let frame = SASLFrame.initialize(
                    mechanism: expected.name, initialResponse: expected.response, hostname: nil)
                #expect(effects == [.send(frame)])
            } else {
                #expect(Self.hasFailed(effects))
            }
        }
    }

    static func client(_ state: SASLClient.State, allowed: [String] = [], certificate: Bool = true) -> SASLClient {
        var client = SASLClient(allowed: allowed, hasCertificate: certificate)
        if state == .idle { return client }
        _ = client.start()
        if state == .header { return client }
        if state == .failed {
            _ = client.received(.outcome(code: 0))
            return client
        }
        _ = client.headerReceived()
        if state == .mechanisms { return client }
        _ = client.received(.mechanisms(["ANONYMOUS"]))
        if state == .outcome { return client }
        _ = client.received(.outcome(code: 0))
        return client
    }

    @Test func clientWithEveryFrame() throws {
        try withEvery(SASLClient.State.allCases, Self.frames) { state, frame in
            var client = Self.client(state)
            #expect(client.state == state)
            let effects = client.received(frame)
            switch (state, frame) {
            case (.mechanisms, .mechanisms(let offered)) where !offered.isEmpty:
                #expect(effects == [.send(.initialize(mechanism: "EXTERNAL", initialResponse: [], hostname: nil))])
                #expect(client.state == .outcome)
            case (.outcome, .outcome(code: 0)):
                #expect(effects == [.succeeded(mechanism: "ANONYMOUS")] && client.state == .done)
            default:
                #expect(Self.hasFailed(effects) && effects.count == 1 && client.state == .failed)
            }
        }
    }

    @Test func clientHeader() {
        for state in SASLClient.State.allCases {
            var client = Self.client(state)
            let effects = client.headerReceived()
            if state == .header {
                #expect(effects.isEmpty && client.state == .mechanisms)
            } else {
                #expect(Self.hasFailed(effects) && client.state == .failed)
            }
        }
    }

    /// EXTERNAL before ANONYMOUS, only with a certificate, only if allowed and offered.
    @Test func clientChoice() throws {
        let offers = [["EXTERNAL"], ["ANONYMOUS"], ["PLAIN", "ANONYMOUS", "EXTERNAL"], ["PLAIN"]]
        try withEvery([[], ["EXTERNAL"], ["ANONYMOUS"], ["SCRAM-SHA-1"]], [true, false], offers) {
            allowed, certificate, offer in
            var client = Self.client(.mechanisms, allowed: allowed, certificate: certificate)
            let effects = client.received(.mechanisms(offer))
            func may(_ name: String) -> Bool { offer.contains(name) && (allowed.isEmpty || allowed.contains(name)) }
            let expected = may("EXTERNAL") && certificate ? "EXTERNAL" : may("ANONYMOUS") ? "ANONYMOUS" : nil
            if let expected, case .send(.initialize(let mechanism, _, nil))? = effects.first {
                #expect(mechanism == expected && effects.count == 1)
            } else {
                #expect(expected == nil && Self.hasFailed(effects))
            }
        }
    }

    /// Our two ends understand each other.
    @Test func clientAgainstServer() throws {
        try withEvery([true, false]) { certificate in
            var client = SASLClient(allowed: [], hasCertificate: certificate)
            var server = SASLServer(mechanisms: ["EXTERNAL", "ANONYMOUS"], hasVerifiedCertificate: certificate)
            #expect(client.start() == [.sendHeader])
            var toClient = server.headerReceived()
            var results: [SASLEffect] = []
            while let effect = toClient.first {
                toClient.removeFirst()
                let answers: [SASLEffect]
                switch effect {
                case .sendHeader: answers = client.headerReceived()
                case .send(let frame): answers = client.received(frame)
                default:
                    results.append(effect)
                    continue
                }
                for case .send(let frame) in answers { toClient += server.received(frame) }
                results += answers.filter { if case .send = $0 { false } else { true } }
            }
            let mechanism = certificate ? "EXTERNAL" : "ANONYMOUS"
            #expect(results == [.succeeded(mechanism: mechanism), .succeeded(mechanism: mechanism)])
        }
    }
}
