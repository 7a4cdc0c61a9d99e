import Testing

@testable import HTTPServer

/// RFC 6455 octet by octet: every sample is also given in two pieces, cut at every place.
@Suite struct WebSocketMachineTests {
    private typealias Outcome = WebSocketMachine.Outcome
    private static let mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]

    /// A client's frame.
    private static func frame(
        _ opcode: UInt8, _ payload: [UInt8] = [], isFinal: Bool = true, reserved: UInt8 = 0
    ) -> [UInt8] {
        var octets = WebSocketMachine.header(.binary, length: payload.count)
        octets[0] = opcode | reserved | (isFinal ? 0x80 : 0)
        octets[1] |= 0x80
        return octets + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
    }

    private static func close(_ code: UInt16) -> [UInt8] {
        [0x88, 2, UInt8(code >> 8), UInt8(code & 0xFF)]
    }

    /// What comes of `octets`, which must be the same however they are cut.
    private func taking(_ octets: [UInt8]) -> (machine: WebSocketMachine, outcome: Outcome) {
        var whole = WebSocketMachine()
        let outcome = whole.receive(octets)
        for cut in stride(from: 0, through: octets.count, by: octets.count > 1000 ? 997 : 1) {
            var machine = WebSocketMachine()
            var pieces = machine.receive(Array(octets[..<cut]))
            let rest = machine.receive(Array(octets[cut...]))
            pieces.payload += rest.payload
            pieces.replies += rest.replies
            #expect(pieces == outcome, "cut at \(cut)")
            #expect(machine.isEnded == whole.isEnded && machine.hasSentClose == whole.hasSentClose)
        }
        return (whole, outcome)
    }

    @Test func payloadIsUnmaskedWhateverItsLength() {
        for length in [0, 1, 3, 4, 5, 125, 126, 127, 65_535, 65_536, 70_001] {
            let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let (machine, outcome) = taking(Self.frame(2, payload))
            #expect(outcome == Outcome(payload: payload))
            #expect(!machine.isEnded)
        }
        // Section 5.7.
        let sample: [UInt8] = [0x82, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        #expect(taking(sample).outcome.payload == Array("Hello".utf8))
    }

    @Test func fragmentsWithControlFramesBetweenThemAreOneStream() {
        let octets =
            Self.frame(2, [1, 2], isFinal: false) + Self.frame(9, [7]) + Self.frame(0, [3], isFinal: false)
            + Self.frame(10, [8]) + Self.frame(0, [], isFinal: false) + Self.frame(0, [4, 5]) + Self.frame(2, [6])
        let (machine, outcome) = taking(octets)
        #expect(outcome == Outcome(payload: [1, 2, 3, 4, 5, 6], replies: [0x8A, 1, 7]))
        #expect(!machine.isEnded)
    }

    @Test func pingsAreAnsweredWithWhatTheyCarry() {
        let payload = [UInt8](repeating: 9, count: 125)
        #expect(taking(Self.frame(9, payload)).outcome.replies == [0x8A, 125] + payload)
        #expect(taking(Self.frame(9) + Self.frame(9)).outcome.replies == [0x8A, 0, 0x8A, 0])
    }

    @Test func faultsHaveTheirCodes() {
        var unmasked = Self.frame(2, [1])
        unmasked[1] &= 0x7F
        let faults: [(UInt16, [UInt8])] = [
            (1002, unmasked), (1002, [0x81, 5]), (1003, Self.frame(1, [1])), (1002, Self.frame(2, [1], reserved: 0x10)),
            (1002, Self.frame(2, [1], reserved: 0x40)), (1002, Self.frame(0, [1])), (1002, Self.frame(3)),
            (1002, Self.frame(11)), (1002, Self.frame(9, [], isFinal: false)),
            (1002, Self.frame(9, [UInt8](repeating: 0, count: 126))),
            (1002, Self.frame(2, [1], isFinal: false) + Self.frame(2, [1])),
            (1002, [0x82, 0xFE, 0, 125] + Self.mask), (1002, [0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF] + Self.mask),
            (1002, [0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0] + Self.mask),
            (1009, [0x82, 0xFF, 0, 0, 0, 0, 4, 0, 0, 1] + Self.mask), (1002, Self.frame(8, [3])),
            (1002, Self.frame(8, [0x03, 0xED])), (1002, Self.frame(8, [0, 5])), (1002, Self.frame(8, [0x27, 0x10])),
            (1007, Self.frame(8, [0x03, 0xE8, 0xFF])),
        ]
        for (code, octets) in faults {
            // Nothing behind the fault counts.
            let (machine, outcome) = taking(octets + Self.frame(2, [1]) + Self.frame(9))
            #expect(outcome.replies == Self.close(code), "\(octets)")
            #expect(machine.isEnded && !machine.isClosedByPeer && machine.hasSentClose)
        }
        // The limit itself is allowed.
        #expect(!taking([0x82, 0xFF, 0, 0, 0, 0, 4, 0, 0, 0] + Self.mask).machine.isEnded)
    }

    @Test func aCloseIsRepeated() {
        for code: UInt16 in [1000, 1001, 1011, 3000, 4999] {
            let payload = [UInt8(code >> 8), UInt8(code & 0xFF)] + Array("grüße".utf8)
            let (machine, outcome) = taking(Self.frame(2, [1]) + Self.frame(8, payload) + Self.frame(2, [2]))
            #expect(outcome == Outcome(payload: [1], replies: Self.close(code)))
            #expect(machine.isEnded && machine.isClosedByPeer)
        }
        #expect(taking(Self.frame(8)).outcome.replies == [0x88, 0])
    }

    @Test func aCloseOfOursIsSentOnceAndItsAnswerNotAnswered() {
        var machine = WebSocketMachine()
        #expect(machine.close(.normal) == Self.close(1000))
        #expect(machine.close(.normal) == [])
        #expect(machine.receive(Self.frame(9)) == Outcome())
        #expect(!machine.isEnded)
        #expect(machine.receive(Self.frame(8, [0x03, 0xE8])) == Outcome())
        #expect(machine.isEnded && machine.isClosedByPeer)
    }

    @Test func headersOfTheServerAreTheShortestAndUnmasked() {
        #expect(WebSocketMachine.header(.binary, length: 125) == [0x82, 125])
        #expect(WebSocketMachine.header(.binary, length: 126) == [0x82, 126, 0, 126])
        #expect(WebSocketMachine.header(.binary, length: 65_535) == [0x82, 126, 255, 255])
        #expect(WebSocketMachine.header(.binary, length: 65_536) == [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0])
    }

    @Test func randomOctetsDoNoHarm() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var machine = WebSocketMachine()
            var octets = (0..<64).map { _ in UInt8.random(in: 0...255, using: &generator) }
            // Most begin as a client's would.
            octets[0] = [0x82, 0x02, 0x89, 0x88].randomElement(using: &generator) ?? 0x82
            octets[1] |= 0x80
            let outcome = machine.receive(octets)
            #expect(outcome.payload.count <= 64 && outcome.replies.count <= 200, "\(octets)")
        }
    }

    @Test func theProofIsThatOfTheSpecification() {
        // Section 1.3.
        #expect(WebSocketHandshake.proof(of: "dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }
}
