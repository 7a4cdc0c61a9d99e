import TestKit
import Testing

@testable import AMQPCodec

/// Frames captured between two skupper-router 3.5.1, and between one and Proton's client.
@Suite struct FrameTests {
    /// One exception: the mechanisms of sasl-mechanisms, an array8 of sym8 there, are an array32 of sym32 from us, as
    /// in open, where skupper-router uses array32 too. The value must be the same.
    @Test func everyFrameDecodesAndEncodesToTheSameOctets() throws {
        var seen: [String: Int] = [:]
        for frame in try RecordedFrame.all() {
            let place = "\(frame.connection) \(frame.side)"
            let encoded = try frame.encoded()
            #expect(frame.header.size == UInt32(frame.octets.count) && frame.header.doff == 2, "\(place)")
            var kind = "empty"
            if case .amqp(let performative) = frame.body { kind = performative.name }
            if case .sasl(let sasl) = frame.body {
                kind = "sasl"
                if case .mechanisms(let names) = sasl {
                    kind = "mechanisms"
                    #expect(
                        names.last == "ANONYMOUS" && names.count == 11
                            || names == [frame.connection.hasPrefix("upgrade") ? "EXTERNAL" : "ANONYMOUS"], "\(place)")
                    #expect(frame.octets[14] == 0xE0 && encoded[14] == 0xF0, "\(place)")
                    #expect(
                        try withExactMemory(encoded[8...]) { memory in
                            var reader = ByteReader(memory)
                            return try SASLFrame.decode(from: &reader)
                        } == sasl, "\(place)")
                }
            }
            // The skrouterd of the later recordings has another Proton, which writes arrays in their short form too.
            if kind == "open", RecordedConnection.features.contains(frame.connection) {
                #expect(try Self.open(encoded) == Self.open(frame.octets), "\(place)")
            } else if kind != "mechanisms" {
                #expect(encoded == frame.octets, "\(place) \(kind)\n\(hex(frame.octets))\n\(hex(encoded))")
            }
            seen[kind, default: 0] += 1
        }
        // Nothing of a kind would prove nothing about it.
        for kind in [
            "open", "begin", "attach", "flow", "transfer", "disposition", "detach", "close", "sasl", "empty",
        ] {
            #expect(seen[kind, default: 0] > 0, "no \(kind) in the recordings: \(seen)")
        }
        #expect(seen["mechanisms"] == RecordedConnection.names.count)
    }

    private static func open(_ frame: [UInt8]) throws -> Open {
        guard case .open(let open) = try decodePerformative(Array(frame.dropFirst(8))) else {
            throw DecodeError.badType("not an open")
        }
        return open
    }

    @Test func openAsRecorded() throws {
        let frames = try RecordedFrame.all().filter { $0.connection == "plain-2" && $0.side == .connector }
        let open = try #require(
            frames.compactMap { frame -> Open? in
                if case .amqp(.open(let open)) = frame.body { open } else { nil }
            }.first)
        #expect(open.containerID == "A" && open.hostname == "localhost")
        #expect(open.maxFrameSize == 16384 && open.channelMax == 32767 && open.idleTimeoutMilliseconds == 8000)
        #expect(open.offeredCapabilities == ["ANONYMOUS-RELAY", "qd.streaming-links", "qd.connection_trunking"])
        #expect(open.properties.value(for: "product") == .string("skupper-router"))
        #expect(open.properties.value(for: "qd.inter-router-role") == .int(4))
        #expect(open.properties.value(for: "qd.group-correlator")?.stringValue?.utf8.count == 15)
    }

    /// Each shorter frame lacks octets, and the decoder says so.
    @Test func everyTruncationIsTruncated() throws {
        var done: Set<[UInt8]> = []
        for frame in try RecordedFrame.all() where !frame.octets.isEmpty {
            let performative = Array(frame.octets.dropFirst(8).dropLast(frame.payload.count))
            guard !performative.isEmpty, done.insert(performative).inserted else { continue }
            withEveryTruncation(performative) { memory in
                #expect(throws: DecodeError.truncated, "\(memory.count) of \(hex(performative))") {
                    var reader = ByteReader(memory)
                    if frame.header.type == 1 {
                        _ = try SASLFrame.decode(from: &reader)
                    } else {
                        _ = try Performative.decode(from: &reader)
                    }
                }
            }
        }
        #expect(done.count > 100)
    }

    /// An octet changed anywhere gives another value or a typed error.
    @Test func everyChangedOctetIsSurvived() throws {
        var done: Set<[UInt8]> = []
        var refused = 0
        for frame in try RecordedFrame.all() where frame.header.type == 0 {
            let performative = Array(frame.octets.dropFirst(8).dropLast(frame.payload.count))
            guard performative.count < 120, done.insert(performative).inserted, done.count < 150 else { continue }
            for place in performative.indices {
                for change: UInt8 in [0x01, 0x10, 0x80, 0xFF] {
                    var octets = performative
                    octets[place] ^= change
                    do { _ = try decodePerformative(octets) } catch is DecodeError { refused += 1 }
                }
            }
        }
        #expect(refused > 1000)
    }

    @Test(arguments: [UInt64(0x5EED), 1, 77]) func randomOctetsAreSurvived(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<20_000 {
            var octets = random.octets(random.below(64))
            // Half of them get a valid start, so that they come further than the first octet.
            if octets.count > 5, random.below(2) == 0 {
                octets.replaceSubrange(..<4, with: [0x00, 0x53, 0x10 + UInt8(random.below(9)), 0xC0])
                octets[4] = UInt8(octets.count - 5)
            }
            try withExactMemory(octets) { memory in
                var reader = ByteReader(memory)
                do { _ = try Performative.decode(from: &reader) } catch is DecodeError {}
                reader = ByteReader(memory)
                do { _ = try SASLFrame.decode(from: &reader) } catch is DecodeError {}
                do { _ = try MessageHead.scan(memory, complete: random.below(2) == 0) } catch is DecodeError {}
            }
        }
    }
}
