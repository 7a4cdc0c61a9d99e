import TestKit
import Testing

@testable import AMQPCodec

@Suite struct TransferWriterTests {
    struct Head {
        var channel: UInt16 = 0
        var handle: UInt32 = 0
        var deliveryID: UInt32 = 0
        var tag: UInt64 = 0
        var settled = false
        var more = false
        var aborted = false
        var payload = 0

        var announced: Int {
            TransferWriter.headerBytes(
                channel: channel, handle: handle, deliveryID: deliveryID, tag: tag, settled: settled, more: more,
                aborted: aborted, payloadBytes: payload)
        }

        /// Written between guard octets, which must survive.
        func written() -> [UInt8] {
            var memory = [UInt8](repeating: 0xEE, count: TransferWriter.maximumHeaderBytes + 16)
            let count = memory.withUnsafeMutableBytes { buffer in
                TransferWriter.write(
                    to: buffer.baseAddress! + 8, channel: channel, handle: handle, deliveryID: deliveryID, tag: tag,
                    settled: settled, more: more, aborted: aborted, payloadBytes: payload)
            }
            #expect(memory[..<8].allSatisfy { $0 == 0xEE } && memory[(8 + count)...].allSatisfy { $0 == 0xEE })
            #expect(count == announced && count <= TransferWriter.maximumHeaderBytes)
            return Array(memory[8..<(8 + count)])
        }

        /// The same frame by the general encoder, without its payload.
        func general() -> [UInt8] {
            let octets = (0..<8).map { UInt8(truncatingIfNeeded: tag >> (8 * UInt64($0))) }
            var frame = encodeFrame(channel: channel) { encoder in
                encoder.described(0x14)
                encoder.fields([
                    .uint(handle), .uint(deliveryID), .binary(octets), .uint(0),
                    settled ? .bool(true) : .null, more ? .bool(true) : .null, .null, .null, .null,
                    aborted ? .bool(true) : .null,
                ])
            }
            let size = UInt32(frame.count + payload)
            frame.replaceSubrange(..<4, with: (0..<4).map { UInt8(truncatingIfNeeded: size >> (24 - 8 * UInt32($0))) })
            return frame
        }
    }

    @Test func isWhatTheGeneralEncoderWrites() throws {
        let numbers: [UInt32] = [0, 1, 255, 256, 65536, .max]
        let flags = (0..<8).map { ($0 & 1 != 0, $0 & 2 != 0, $0 & 4 != 0) }
        try withEvery(numbers, numbers, flags) { handle, id, flags in
            for (tag, channel, payload) in [
                (UInt64(0), UInt16(0), 0), (.max, .max, 16343), (0x0102_0304_0506_0708, 258, 1),
            ] {
                let head = Head(
                    channel: channel, handle: handle, deliveryID: id, tag: tag, settled: flags.0, more: flags.1,
                    aborted: flags.2, payload: payload)
                #expect(head.written() == head.general(), "\(head)")
                let body = Array(head.written().dropFirst(8))
                try withExactMemory(body) { memory in
                    var reader = ByteReader(memory)
                    guard case .transfer(let transfer) = try Performative.decode(from: &reader) else {
                        throw DecodeError.badType("not a transfer")
                    }
                    #expect(transfer.handle == handle && transfer.deliveryID == id && transfer.messageFormat == 0)
                    #expect((transfer.settled ?? false) == head.settled && transfer.more == head.more)
                    #expect(transfer.aborted == head.aborted && transfer.tag?.count == 8 && reader.remaining == 0)
                }
            }
        }
    }

    /// Every transfer head of the recordings, written from its fields.
    @Test func isWhatWasRecorded() throws {
        var count = 0
        for frame in try RecordedFrame.all() {
            try frame.octets.withUnsafeBytes { all in
                var reader = ByteReader(UnsafeRawBufferPointer(rebasing: all[8...]))
                guard reader.remaining > 0, frame.header.type == 0,
                    case .transfer(let transfer) = try Performative.decode(from: &reader), let tag = transfer.tag,
                    tag.count == 8, let id = transfer.deliveryID
                else { return }
                let head = Head(
                    channel: frame.header.channel, handle: transfer.handle, deliveryID: id,
                    tag: UInt64(littleEndian: tag.loadUnaligned(as: UInt64.self)), settled: transfer.settled ?? false,
                    more: transfer.more, aborted: transfer.aborted, payload: frame.payload.count)
                let recorded = Array(frame.octets.dropLast(frame.payload.count))
                #expect(head.written() == recorded, "\(frame.connection)\n\(hex(head.written()))\n\(hex(recorded))")
                count += 1
            }
        }
        #expect(count > 100)
    }

    static func received(channel: UInt16, first: UInt32, offset: UInt64) -> [UInt8] {
        var memory = [UInt8](repeating: 0xEE, count: 64)
        let count = memory.withUnsafeMutableBytes { buffer in
            DispositionWriter.received(to: buffer.baseAddress!, channel: channel, first: first, offset: offset)
        }
        #expect(count <= 48 && memory[count...].allSatisfy { $0 == 0xEE })
        return Array(memory[..<count])
    }

    @Test func receivedIsWhatTheGeneralEncoderWrites() throws {
        try withEvery([UInt16(0), 1, .max], [UInt32(0), 1, 255, 256, .max], [UInt64(256), 521_216, .max]) {
            channel, first, offset in
            let general = encodeFrame(channel: channel) { encoder in
                Disposition(
                    role: .receiver, first: first, last: nil, settled: false,
                    state: .received(section: 0, offset: offset)
                )
                .encode(into: &encoder)
            }
            #expect(Self.received(channel: channel, first: first, offset: offset) == general)
        }
        // Offsets that a ulong of one octet could carry keep the wide form; the value is what counts.
        for offset in [UInt64(0), 1, 255] {
            let octets = Self.received(channel: 0, first: 9, offset: offset)
            #expect(octets.prefix(4) == [0, 0, 0, UInt8(octets.count)])
            guard case .disposition(let decoded) = try decodePerformative(Array(octets.dropFirst(8))) else {
                Issue.record("no disposition")
                return
            }
            #expect(decoded.state == .received(section: 0, offset: offset) && decoded.first == 9 && !decoded.settled)
        }
    }

    @Test func acceptedIsWhatTheGeneralEncoderWrites() throws {
        try withEvery([UInt16(0), 1, .max], [UInt32(0), 1, 255, 256, .max]) { channel, first in
            let general = encodeFrame(channel: channel) { encoder in
                Disposition(role: .receiver, first: first, last: nil, settled: true, state: .accepted)
                    .encode(into: &encoder)
            }
            var memory = [UInt8](repeating: 0xEE, count: 64)
            let count = memory.withUnsafeMutableBytes { buffer in
                DispositionWriter.accepted(to: buffer.baseAddress!, channel: channel, first: first)
            }
            #expect(count <= 32 && memory[count...].allSatisfy { $0 == 0xEE })
            #expect(Array(memory[..<count]) == general)
        }
    }

    /// The reports of the recorded 2 MB echo. skupper-router always gives `last`, ours leaves it out when it equals
    /// `first`.
    @Test func recordedReportsDecodeAndAreWrittenAlike() throws {
        let octets = try recordedOctets("plain-2.received-dispositions.bin")
        var offsets: [UInt64] = []
        for start in stride(from: 0, to: octets.count, by: 35) {
            let frame = Array(octets[start..<(start + 35)])
            guard case .disposition(let decoded) = try decodePerformative(Array(frame.dropFirst(8))),
                case .received(0, let offset)? = decoded.state
            else {
                Issue.record("no report: \(hex(frame))")
                continue
            }
            offsets.append(offset)
            let header = frame.withUnsafeBytes { FrameHeader.decode($0.baseAddress!) }
            let written = Self.received(channel: header.channel, first: decoded.first, offset: offset)
            #expect(written == frame, "\(hex(written))\n\(hex(frame))")
        }
        #expect(offsets == [543_913, 1_068_545, 1_590_685, 548_117, 1_077_737, 1_608_523])
    }
}
