import TestKit
import Testing

@testable import AMQPCodec

/// What the recordings do not contain.
@Suite struct PerformativeTests {
    /// Decodes hexadecimal digits; spaces do not count.
    static func octets(_ digits: String) -> [UInt8] {
        let values = digits.utf8.filter { $0 != 0x20 }.map { $0 < 0x3A ? $0 - 0x30 : ($0 | 0x20) - 0x57 }
        return stride(from: 0, to: values.count, by: 2).map { values[$0] << 4 | values[$0 + 1] }
    }

    static func error(_ digits: String) -> DecodeError? {
        do {
            _ = try decodePerformative(octets(digits))
            return nil
        } catch {
            return error as? DecodeError
        }
    }

    @Test func statesAndErrorsRoundTrip() throws {
        let error = AMQPError(condition: "amqp:not-found", description: "nothing there")
        var map = AMQPEncoder()
        map.map([MapEntry(key: .symbol("why"), value: .list([.int(1), .null]))])
        let states: [DeliveryState?] = [
            nil, .accepted, .released, .rejected(nil), .rejected(error),
            .rejected(AMQPError(condition: "amqp:decode-error", description: nil)),
            .modified(failed: true, undeliverableHere: false), .modified(failed: false, undeliverableHere: true),
            .modified(failed: true, undeliverableHere: true, annotations: map.bytes),
            .rejected(AMQPError(condition: "amqp:internal-error", description: "bad luck", info: map.bytes)),
            .received(section: 0, offset: 0), .received(section: 7, offset: .max),
            .other(.described(.ulong(0x34), .list([.binary([1, 2])]))),
        ]
        try withEvery(states, [Role.sender, .receiver], [true, false]) { state, role, settled in
            let disposition = Disposition(
                role: role, first: 300, last: settled ? 400 : nil, settled: settled, state: state)
            var encoder = AMQPEncoder()
            disposition.encode(into: &encoder)
            guard case .disposition(let decoded) = try decodePerformative(encoder.bytes) else {
                throw DecodeError.badType("not a disposition")
            }
            #expect(decoded == disposition)
        }
    }

    /// What is passed on as it is has been read: rubbish inside a map ends here.
    @Test func spoiltAnnotationsAreRefused() {
        // modified, its map of one pair with a value that has no such type
        let list = "c0 0b 03 41 42 c1 06 02 a3 01 61 99 00"
        #expect(Self.error("00 53 15 c0 14 05 41 43 40 41 00 53 27 " + list) != nil)
    }

    @Test func endsRoundTrip() throws {
        let error = AMQPError(condition: "qd:forbidden", description: String(repeating: "no ", count: 100))
        try withEvery([nil, error], [true, false]) { error, closed in
            var encoder = AMQPEncoder()
            Detach(handle: 77, closed: closed, error: error).encode(into: &encoder)
            guard case .detach(let detach) = try decodePerformative(encoder.bytes) else {
                throw DecodeError.badType("not a detach")
            }
            #expect(detach == Detach(handle: 77, closed: closed, error: error))
            encoder = AMQPEncoder()
            Close(error: error).encode(into: &encoder)
            guard case .close(let close) = try decodePerformative(encoder.bytes) else {
                throw DecodeError.badType("not a close")
            }
            #expect(close.error == error)
        }
    }

    @Test func terminalStates() {
        #expect(DeliveryState.accepted.isTerminal && DeliveryState.rejected(nil).isTerminal)
        #expect(DeliveryState.released.isTerminal)
        #expect(DeliveryState.modified(failed: false, undeliverableHere: false).isTerminal)
        #expect(!DeliveryState.received(section: 0, offset: 1).isTerminal)
    }

    @Test func attachRoundTrips() throws {
        var source = Source(address: "a", expiryPolicy: "session-end", dynamic: true, capabilities: ["x", "y"])
        source.durable = 2
        source.timeout = 300
        source.distributionMode = "copy"
        source.filter = .map([MapEntry(symbol: "f", .described(.symbol("f:"), .string("v")))])
        var target = Target(address: nil, expiryPolicy: nil, dynamic: false, capabilities: ["one"])
        target.durable = 1
        let attach = Attach(
            name: "ü", handle: 4_000_000_000, role: .sender, sndSettleMode: 1, rcvSettleMode: 1, source: source,
            target: target, initialDeliveryCount: 0, maxMessageSize: 1 << 40,
            properties: [MapEntry(symbol: "k", .int(-1))])
        var encoder = AMQPEncoder()
        attach.encode(into: &encoder)
        guard case .attach(let decoded) = try decodePerformative(encoder.bytes) else {
            Issue.record("not an attach")
            return
        }
        #expect(decoded == attach)
    }

    /// attach, handle 0, sender, with the terminus of a transaction coordinator (part 4, section 4.5.1).
    @Test func coordinatorIsKnownAsSuch() throws {
        let attach =
            Self.octets("005312 c019 07 a10174 43 42 40 40 40 005330 c00b 01 e008 01 a305") + Array("local".utf8)
        guard case .attach(let decoded) = try decodePerformative(attach) else {
            Issue.record("not an attach")
            return
        }
        #expect(decoded.target?.isCoordinator == true && decoded.source == nil)
    }

    @Test func everyFormOfAListAndOfADescriptor() throws {
        for digits in [
            "005317 45", "005317 c00100", "005317 d00000000400000000", "005317 c0020140", "005317 d0000000050000000140",
            "00800000000000000017 45",
        ] {
            guard case .end(let end) = try decodePerformative(Self.octets(digits)) else {
                Issue.record("\(digits) is no end")
                continue
            }
            #expect(end.error == nil)
        }
    }

    @Test func everyFormOfANumberAndABoolean() throws {
        for (first, role) in [("43", "41"), ("5200", "5601"), ("7000000000", "5601")] {
            let list = Self.octets("02" + role + first)
            let frame = Self.octets("005315c0") + [UInt8(list.count)] + list
            guard case .disposition(let disposition) = try decodePerformative(frame) else {
                Issue.record("no disposition")
                continue
            }
            #expect(disposition.first == 0 && disposition.role == .receiver && disposition.last == nil)
        }
    }

    @Test func malformedPerformativesAreRefused() {
        #expect(Self.error("") == .truncated)
        #expect(Self.error("5317") == .badType("frame body that is no described type"))
        #expect(Self.error("00531945") == .badDescriptor(0x19))
        #expect(Self.error("005310 45") == .missingField("container-id"))
        #expect(Self.error("005310 c0020140") == .missingField("container-id"))
        #expect(Self.error("005314 c0020140") == .missingField("handle"))
        #expect(Self.error("005314 c00100") == .missingField("handle"))
        // handle as a string
        #expect(Self.error("005316 c00401a10178") == .badType("handle"))
        // sizes that leave no room for a count, and counts for more than there is
        #expect(Self.error("005314 c000") == .badType("transfer list without a count"))
        #expect(Self.error("005314 d000000003000000") == .badType("transfer list without a count"))
        #expect(Self.error("005314 c0020543") == .badType("transfer list shorter than its fields"))
        #expect(Self.error("005316 c00205 43") != nil)
        #expect(Self.error("005316 c000") != nil)
        // a map in place of the list
        #expect(Self.error("005316 c10101") != nil)
        // terminus and error of other descriptors
        #expect(Self.error("005317 c00501 005324 45") == .badDescriptor(0x24))
        #expect(Self.error("005312 c00c06 a10174 43 41 40 40 005329 45") == .badDescriptor(0x29))
        // not UTF-8
        #expect(Self.error("005310 c00401a101ff") == .badUTF8)
        // settle modes that do not exist
        #expect(
            Self.error("005312 c00804 a10174 43 41 5003") == .badType("snd-settle-mode 3, which is none of 0, 1, 2"))
        #expect(
            Self.error("005312 c00905 a10174 43 41 40 5002") == .badType("rcv-settle-mode 2, which is neither 0 nor 1"))
        // 33 octets of tag
        #expect(Self.error("005314 c02603 43 43 a021" + String(repeating: "00", count: 33)) != nil)
    }

    @Test func frameHeaderRoundTrips() {
        let frame = encodeFrame(channel: 0xABCD, type: 1) { $0.bytes += [1, 2, 3] }
        #expect(frame == [0, 0, 0, 11, 2, 1, 0xAB, 0xCD, 1, 2, 3])
        let header = frame.withUnsafeBytes { FrameHeader.decode($0.baseAddress!) }
        #expect(header == FrameHeader(size: 11, doff: 2, type: 1, channel: 0xABCD))
    }
}
