import TestKit
import Testing

@testable import AMQPCodec

@Suite struct FrameTextTests {
    private static let secret = "correct-horse-battery"

    private func text(_ octets: [UInt8]) -> String { withExactMemory(octets) { FrameText.text(of: $0) } }

    private func frame(
        type: UInt8 = 0, _ descriptor: UInt64, payload: [UInt8] = [], _ fields: [AMQPValue]
    ) -> [UInt8] {
        encodeFrame(channel: 3, type: type) { encoder in
            encoder.value(.described(.ulong(descriptor), .list(fields)))
            encoder.bytes += payload
        }
    }

    private func isLine(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F } && text.utf8.count < 1900
    }

    // MARK: What is shown

    @Test func everyRecordedFrameIsShownByItsName() throws {
        var seen: Set<String> = []
        for frame in try RecordedFrame.all() {
            let text = text(frame.octets)
            switch frame.body {
            case .amqp(let performative): #expect(text.hasPrefix("@\(performative.name)("), "\(text)")
            case .sasl: #expect(text.hasPrefix("@sasl-"), "\(text)")
            case .empty: #expect(text == "empty frame")
            }
            #expect(isLine(text) && !text.contains("undecodable") && !text.contains("unknown"), "\(text)")
            if !frame.payload.isEmpty {
                #expect(text.hasSuffix("] payload of \(frame.payload.count) octets"), "\(text)")
            }
            seen.insert(String(text.prefix { $0 != "(" }))
        }
        #expect(seen.count > 9, "\(seen)")
    }

    @Test func attach() {
        let source = AMQPValue.described(.ulong(0x28), .list([.string("a/b"), .uint(0), .symbol("session-end")]))
        #expect(
            text(frame(0x12, [.string("in"), .uint(7), .bool(true), .ubyte(2), .ubyte(0), source, .null, .null]))
                == "@attach(18) [name=\"in\", handle=7, role=receiver, snd-settle-mode=mixed, rcv-settle-mode=first, "
                + "source=@source(40) [address=\"a/b\", durable=0, expiry-policy=:session-end]]")
    }

    @Test func closeWithAnError() {
        let error = AMQPError(condition: "amqp:connection:forced", description: "too \"large\"")
        #expect(
            text(encodeFrame(channel: 0) { Close(error: error).encode(into: &$0) })
                == "@close(24) [error=@error(29) [condition=:amqp:connection:forced, "
                + "description=\"too \\\"large\\\"\"]]")
        #expect(text(encodeFrame(channel: 0) { Close(error: nil).encode(into: &$0) }) == "@close(24) []")
    }

    @Test func dispositionAndItsState() {
        let disposition = Disposition(role: .sender, first: 4, last: 9, settled: true, state: .released)
        #expect(
            text(encodeFrame(channel: 0) { disposition.encode(into: &$0) })
                == "@disposition(21) [role=sender, first=4, last=9, settled=true, state=@released(38) []]")
    }

    @Test func eachKindOfValue() {
        let properties: [MapEntry] = [
            MapEntry(symbol: "n", .null), MapEntry(symbol: "f", .float(Float(1.5).bitPattern)),
            MapEntry(string: "l", .list([.int(-1), .long(-2), .byte(-3), .short(-4)])),
            MapEntry(symbol: "c", .char(0x41)),
            MapEntry(symbol: "t", .timestamp(12)), MapEntry(symbol: "b", .binary([0, 10, 255])),
            MapEntry(symbol: "d", .described(.symbol("x:y"), .bool(false))),
            MapEntry(symbol: "u", .described(.ulong(0x1234), .ulong(5))), MapEntry(symbol: "e", .map([])),
        ]
        let shown = text(frame(0x10, [.string("id")] + Array(repeating: .null, count: 8) + [.map(properties)]))
        #expect(
            shown == "@open(16) [container-id=\"id\", properties={:n=null, :f=1.5, \"l\"=[-1, -2, -3, -4], "
                + ":c=U+41, :t=12, :b=0x000aff, :d=@:x:y false, :u=@unknown(4660) 5, :e={}}]")
    }

    @Test func fieldsThatTheSpecificationDoesNotHave() {
        #expect(text(frame(0x17, [.null, .uint(1)])) == "@end(23) [1=1]")
        #expect(text(frame(0x99, [.uint(1)])) == "@unknown(153) [0=1]")
    }

    @Test func headersAndEmptyFrames() {
        #expect(text(amqpHeader) == "header AMQP 1.0.0")
        #expect(text(saslHeader) == "header SASL 1.0.0")
        #expect(text(Array("AMQP".utf8) + [9, 1, 2, 3]) == "header protocol 9 1.2.3")
        #expect(text([0, 0, 0, 8, 2, 0, 0, 0]) == "empty frame")
    }

    /// What has arrived of a transfer may end with its head.
    @Test func aTransfersPayloadIsCountedAndNotShown() {
        let payload = Array(FrameTextTests.secret.utf8)
        let whole = frame(0x14, payload: payload, [.uint(0), .uint(5), .binary([1, 2]), .uint(0), .bool(false)])
        let expected = "@transfer(20) [handle=0, delivery-id=5, delivery-tag=0x0102, message-format=0, settled=false] "
            + "payload of \(payload.count) octets"
        #expect(text(whole) == expected)
        #expect(text(Array(whole.dropLast(payload.count))) == expected)
        #expect(text(frame(0x14, [.uint(0)])) == "@transfer(20) [handle=0]")
    }

    // MARK: What is not shown

    @Test func noOctetOfAPasswordIsShown() {
        let plain = Array("\0ann\0\(FrameTextTests.secret)".utf8)
        let start = SASLFrame.initialize(mechanism: "PLAIN", initialResponse: plain, hostname: "here")
        #expect(
            text(encodeFrame(channel: 0, type: 1) { start.encode(into: &$0) })
                == "@sasl-init(65) [mechanism=:PLAIN, initial-response=\(plain.count) octets, not shown, "
                + "hostname=\"here\"]")
        let response = encodeFrame(channel: 0, type: 1) { SASLFrame.response(plain).encode(into: &$0) }
        #expect(text(response) == "@sasl-response(67) [response=\(plain.count) octets, not shown]")
        let challenge = encodeFrame(channel: 0, type: 1) { SASLFrame.challenge(plain).encode(into: &$0) }
        #expect(text(challenge) == "@sasl-challenge(66) [challenge=\(plain.count) octets, not shown]")
        #expect(text(frame(type: 1, 0x44, [.ubyte(1), .binary(plain)])).hasPrefix("@sasl-outcome(68) [code=1, "))
    }

    /// A client that does not keep to the specification has a password all the same.
    @Test(arguments: [UInt8(0), 1], [UInt64(0x41), 0x42, 0x43, 0x44, 0x49, 0x77])
    func whereverASecretStandsInASASLFrame(type: UInt8, descriptor: UInt64) {
        // In an AMQP frame, a type that is none of SASL's is data like any other.
        if type == 0, !FrameText.isSASL(descriptor) { return }
        let values: [AMQPValue] = [
            .string(FrameTextTests.secret), .symbol(FrameTextTests.secret), .binary(Array(FrameTextTests.secret.utf8)),
            .list([.string(FrameTextTests.secret)]), .map([MapEntry(string: FrameTextTests.secret, .null)]),
            .described(.ulong(1), .string(FrameTextTests.secret)),
        ]
        for value in values {
            for position in 0...5 {
                var fields = [AMQPValue](repeating: .null, count: 6)
                fields[position] = value
                // The name of a host is shown as it is.
                if descriptor == 0x41, position == 2, case .string = value { continue }
                #expect(!text(frame(type: type, descriptor, fields)).contains("horse"))
            }
            let bare = encodeFrame(channel: 0, type: type) { $0.value(.described(.ulong(descriptor), value)) }
            #expect(!text(bare).contains("horse"))
        }
        let second = frame(type: type, descriptor, [.null, .binary(Array(FrameTextTests.secret.utf8))])
        withEveryTruncation(second) { #expect(!FrameText.text(of: $0).contains("horse")) }
    }

    // MARK: Bounds

    @Test func longStringsAreCut() {
        let name = String(repeating: "n", count: 60_000)
        let text = text(frame(0x12, [.string(name), .uint(1)]))
        #expect(text.hasPrefix("@attach(18) [name=\"nnn"), "\(text)")
        #expect(text.hasSuffix("n… (60000 octets)\", handle=1]"), "\(text)")
        #expect(text.utf8.count < FrameText.stringMaximum + 80)
        let octets = self.text(frame(0x14, [.uint(0), .uint(1), .binary([UInt8](repeating: 0xAB, count: 5000))]))
        #expect(octets.hasSuffix("abab… (5000 octets)]") && octets.utf8.count < 160, "\(octets)")
    }

    @Test func manyValuesAreCut() {
        let entries = (0..<5000).map { MapEntry(symbol: "key-\($0)", .uint(UInt32($0))) }
        let open = frame(0x10, [.string("id")] + Array(repeating: .null, count: 8) + [.map(entries)])
        let text = text(open)
        #expect(text.hasPrefix("@open(16) [container-id=\"id\", properties={:key-0=0, :key-1=1, "), "\(text)")
        #expect(text.hasSuffix(" … (cut)") && isLine(text), "\(text)")
        #expect(text.utf8.count > FrameText.maximum - 300)
        var nested = AMQPValue.list([.string("deep")])
        for _ in 0..<20 { nested = .list(Array(repeating: nested, count: 2)) }
        // Twenty levels that double each time would be a million values; of a frame's size there are fewer.
        for _ in 0..<13 { if case .list(let inner) = nested { nested = inner[0] } }
        #expect(isLine(self.text(frame(0x17, [nested]))))
    }

    @Test func nothingEndsTheLineOrMovesTheCursor() {
        let nasty = "a\nb\r\u{1B}[2J\u{0}\u{7F}\u{85}\u{9B}\u{2028}\u{202E}\u{200B}\u{E000}\"\\é漢"
        let shown = text(frame(0x12, [.string(nasty), .uint(1)]))
        #expect(
            shown == "@attach(18) [name=\"a\\u{a}b\\u{d}\\u{1b}[2J\\u{0}\\u{7f}\\u{85}\\u{9b}\\u{2028}\\u{202e}"
                + "\\u{200b}\\u{e000}\\\"\\\\é漢\", handle=1]")
        let worst = String(repeating: "\u{10FFFF}", count: 300)
        #expect(isLine(text(frame(0x12, [.string(worst), .symbol(worst), .string(worst)]))))
    }

    @Test func cutAndChangedFramesAreSurvived() throws {
        var done: Set<[UInt8]> = []
        for frame in try RecordedFrame.all() {
            let octets = Array(frame.octets.dropLast(frame.payload.count))
            guard octets.count < 140, done.count < 120, done.insert(Array(octets.dropFirst(8))).inserted else {
                continue
            }
            withEveryTruncation(octets) { #expect(isLine(FrameText.text(of: $0))) }
            for place in octets.indices {
                for change: UInt8 in [0x01, 0x10, 0x80, 0xFF] {
                    var changed = octets
                    changed[place] ^= change
                    #expect(isLine(text(changed)))
                }
            }
        }
        #expect(done.count > 50)
        #expect(text([]) == "0 octets, which are no frame")
        #expect(text([0, 0, 0, 12, 9, 0, 0, 0, 1, 2, 3, 4]) == "frame of 12 octets with data offset 9")
        #expect(text([0, 0, 0, 9, 2, 0, 0, 0, 0x40]) == "frame of 9 octets, undecodable: badConstructor(64)")
    }

    @Test(arguments: [UInt64(0x5EED), 77]) func randomOctetsAreSurvived(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<5_000 {
            var octets = random.octets(random.below(80))
            if octets.count > 14, random.below(4) > 0 {
                octets.replaceSubrange(
                    ..<12, with: [0, 0, 0, UInt8(octets.count), 2, UInt8(random.below(2)), 0, 0, 0, 0x53,
                        0x10 + UInt8(random.below(0x35)), 0xC0])
                octets[12] = UInt8(octets.count - 13)
            }
            #expect(isLine(text(octets)))
        }
    }
}
