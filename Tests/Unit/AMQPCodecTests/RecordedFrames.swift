import TestKit

@testable import AMQPCodec

/// A frame of the recordings, decoded.
struct RecordedFrame {
    enum Body {
        case sasl(SASLFrame)
        case amqp(Performative)
        /// A frame without body: a heartbeat.
        case empty
    }

    var connection: String
    var side: RecordedUnit.Side
    var octets: [UInt8]
    var header: FrameHeader
    var body: Body
    /// What follows the performative.
    var payload: [UInt8]

    static func all() throws -> [RecordedFrame] {
        try RecordedConnection.all().flatMap { connection in
            try connection.units.filter { !$0.isProtocolHeader }.map { unit in
                do {
                    return try decode(unit.octets, side: unit.side, connection: connection.name)
                } catch {
                    throw CombinationFailure(combination: "\(connection) \(unit.octets)", reason: error)
                }
            }
        }
    }

    private static func decode(
        _ octets: [UInt8], side: RecordedUnit.Side, connection: String
    ) throws -> RecordedFrame {
        try octets.withUnsafeBytes { all in
            let header = FrameHeader.decode(all.baseAddress!)
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: all[(Int(header.doff) * 4)...]))
            var body = Body.empty
            if reader.remaining > 0 {
                body =
                    header.type == 1
                    ? .sasl(try SASLFrame.decode(from: &reader)) : .amqp(try Performative.decode(from: &reader))
            }
            let payload = Array(try reader.bytes(reader.remaining))
            return RecordedFrame(
                connection: connection, side: side, octets: octets, header: header, body: body, payload: payload)
        }
    }

    /// The frame as our encoder writes what was decoded.
    func encoded() throws -> [UInt8] {
        // A transfer's tag points into the frame, so it is decoded and written again in one go.
        try octets.withUnsafeBytes { all in
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: all[(Int(header.doff) * 4)...]))
            let again = reader.remaining > 0 && header.type == 0 ? try Performative.decode(from: &reader) : nil
            return encodeFrame(channel: header.channel, type: header.type) { encoder in
                if case .sasl(let frame) = body { frame.encode(into: &encoder) }
                again?.encodeForTest(into: &encoder)
                encoder.bytes += payload
            }
        }
    }
}

extension Performative {
    /// Encodes any performative by the general encoder, transfers too.
    func encodeForTest(into encoder: inout AMQPEncoder) {
        switch self {
        case .open(let open): open.encode(into: &encoder)
        case .begin(let begin): begin.encode(into: &encoder)
        case .attach(let attach): attach.encode(into: &encoder)
        case .flow(let flow): flow.encode(into: &encoder)
        case .transfer(let transfer): transfer.encodeForTest(into: &encoder)
        case .disposition(let disposition): disposition.encode(into: &encoder)
        case .detach(let detach): detach.encode(into: &encoder)
        case .end(let end): end.encode(into: &encoder)
        case .close(let close): close.encode(into: &encoder)
        }
    }

    /// The name in the specification.
    var name: String {
        switch self {
        case .open: "open"
        case .begin: "begin"
        case .attach: "attach"
        case .flow: "flow"
        case .transfer: "transfer"
        case .disposition: "disposition"
        case .detach: "detach"
        case .end: "end"
        case .close: "close"
        }
    }
}

extension Transfer {
    /// Field by field, by the general encoder.
    func encodeForTest(into encoder: inout AMQPEncoder) {
        encoder.described(0x14)
        encoder.fields([
            .uint(handle), .optional(deliveryID) { .uint($0) }, .optional(tag) { .binary(Array($0)) },
            .optional(messageFormat) { .uint($0) }, .optional(settled) { .bool($0) }, more ? .bool(true) : .null, .null,
            state?.field ?? .null, .null, aborted ? .bool(true) : .null,
        ])
    }
}

/// Decodes a performative in memory of exactly its size.
func decodePerformative(_ octets: [UInt8]) throws -> Performative {
    try withExactMemory(octets) { memory in
        var reader = ByteReader(memory)
        return try Performative.decode(from: &reader)
    }
}

/// Octets as hexadecimal digits, for the text of a failure.
func hex(_ octets: some Sequence<UInt8>) -> String {
    octets.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
}
