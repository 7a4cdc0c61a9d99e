/// transfer (0x14), as far as a router needs it. Cheap to decode: the tag stays where it is in the frame.
package struct Transfer {
    /// The sender's number of the link.
    package var handle: UInt32
    /// Given on the first transfer of a delivery, optional on later ones.
    package var deliveryID: UInt32?
    /// Points into the frame.
    package var tag: UnsafeRawBufferPointer?
    /// 0 for AMQP messages.
    package var messageFormat: UInt32?
    /// The sender has forgotten the delivery; nil means no, or as on an earlier transfer.
    package var settled: Bool?
    /// Further transfers of this delivery follow.
    package var more: Bool
    /// The delivery is given up; drop what came of it.
    package var aborted: Bool
    /// The sender's view of the delivery.
    package var state: DeliveryState?

    init(handle: UInt32) {
        self.handle = handle
        more = false
        aborted = false
    }
}

/// Decodes a transfer whose described-type head (`00 53 14`) has been read; the reader then stands at the payload.
package func decodeTransfer(_ reader: inout ByteReader) throws(DecodeError) -> Transfer {
    let constructor = try reader.u8()
    let size: Int
    let isWide: Bool
    switch constructor {
    case 0xc0:
        size = Int(try reader.u8())
        isWide = false
    case 0xd0:
        size = Int(try reader.u32())
        isWide = true
    default:
        throw .badType("transfer that is no list")
    }
    // The list must be whole, so that a field cut by the end of what has arrived is not taken for a malformed one.
    guard reader.remaining >= size else { throw .truncated }
    var body = try reader.slice(size)
    guard body.remaining >= (isWide ? 4 : 1) else { throw .badType("transfer list without a count") }
    let count = isWide ? Int(try body.u32()) : Int(try body.u8())
    guard count > 0 else { throw .missingField("handle") }
    var transfer = Transfer(handle: 0)
    do throws(DecodeError) {
        guard let handle = try body.optionalUInt() else { throw .missingField("handle") }
        transfer.handle = handle
        if count > 1 { transfer.deliveryID = try body.optionalUInt() }
        if count > 2 { transfer.tag = try body.optionalBinary() }
        if count > 3 { transfer.messageFormat = try body.optionalUInt() }
        if count > 4 { transfer.settled = try body.optionalBool() }
        if count > 5 { transfer.more = try body.optionalBool() ?? false }
        if count > 6 { try body.skipValue() }
        if count > 7 { transfer.state = try body.optionalState() }
        if count > 8 { try body.skipValue() }
        if count > 9 { transfer.aborted = try body.optionalBool() ?? false }
    } catch .truncated {
        throw DecodeError.badType("transfer list shorter than its fields")
    }
    return transfer
}

extension ByteReader {
    mutating func optionalUInt() throws(DecodeError) -> UInt32? {
        switch try u8() {
        case 0x43: 0
        case 0x52: UInt32(try u8())
        case 0x70: try u32()
        case 0x40: nil
        default: throw .badType("transfer field that is no uint")
        }
    }

    mutating func optionalBool() throws(DecodeError) -> Bool? {
        switch try u8() {
        case 0x41: true
        case 0x42: false
        case 0x56: try u8() != 0
        case 0x40: nil
        default: throw .badType("transfer field that is no boolean")
        }
    }

    mutating func optionalBinary() throws(DecodeError) -> UnsafeRawBufferPointer? {
        let bytes: UnsafeRawBufferPointer
        switch try u8() {
        case 0xa0: bytes = try self.bytes(Int(try u8()))
        case 0xb0: bytes = try self.bytes(Int(try u32()))
        case 0x40: return nil
        default: throw .badType("delivery-tag")
        }
        guard bytes.count <= 32 else { throw .tooLarge("delivery-tag of \(bytes.count) octets") }
        return bytes
    }

    mutating func optionalState() throws(DecodeError) -> DeliveryState? {
        switch try u8() {
        case 0x40: return nil
        case 0x00:
            let descriptor = try ByteReader.descriptor(&self)
            return try DeliveryState.decode(descriptor, &self)
        default: throw .badType("delivery state")
        }
    }
}

/// Writes the head of a transfer frame into raw memory: frame header and performative, no allocation.
///
/// Fields as skupper-router sends them: handle, delivery-id, an eight-octet little-endian tag and message-format 0 on
/// every frame; settled and more only when true; aborted at its place.
package enum TransferWriter {
    /// Upper bound of what ``write(to:channel:handle:deliveryID:tag:settled:more:aborted:payloadBytes:)`` writes.
    package static let maximumHeaderBytes = 64

    static func uintLength(_ value: UInt32) -> Int { value == 0 ? 1 : value < 256 ? 2 : 5 }

    /// Fields after message-format.
    static func tailLength(settled: Bool, more: Bool, aborted: Bool) -> Int {
        if aborted { return 6 }
        if more { return 2 }
        return settled ? 1 : 0
    }

    /// Octets the head will take.
    package static func headerBytes(
        channel: UInt16, handle: UInt32, deliveryID: UInt32, tag: UInt64, settled: Bool, more: Bool, aborted: Bool,
        payloadBytes: Int
    ) -> Int {
        // frame header 8, descriptor 3, list8 head 3, tag 10, message-format 1
        25 + uintLength(handle) + uintLength(deliveryID) + tailLength(settled: settled, more: more, aborted: aborted)
    }

    /// Writes the head and returns its length; the payload follows it.
    package static func write(
        to p: UnsafeMutableRawPointer, channel: UInt16, handle: UInt32, deliveryID: UInt32, tag: UInt64, settled: Bool,
        more: Bool, aborted: Bool, payloadBytes: Int
    ) -> Int {
        let tail = tailLength(settled: settled, more: more, aborted: aborted)
        let length = 25 &+ uintLength(handle) &+ uintLength(deliveryID) &+ tail
        p.storeBytes(of: UInt32(truncatingIfNeeded: length &+ payloadBytes).bigEndian, as: UInt32.self)
        p.storeBytes(of: 2, toByteOffset: 4, as: UInt8.self)
        p.storeBytes(of: 0, toByteOffset: 5, as: UInt8.self)
        p.storeBytes(of: channel.bigEndian, toByteOffset: 6, as: UInt16.self)
        p.storeBytes(of: 0x00, toByteOffset: 8, as: UInt8.self)
        p.storeBytes(of: 0x53, toByteOffset: 9, as: UInt8.self)
        p.storeBytes(of: 0x14, toByteOffset: 10, as: UInt8.self)
        p.storeBytes(of: 0xc0, toByteOffset: 11, as: UInt8.self)
        p.storeBytes(of: UInt8(truncatingIfNeeded: length &- 13), toByteOffset: 12, as: UInt8.self)
        p.storeBytes(of: UInt8(truncatingIfNeeded: 4 &+ tail), toByteOffset: 13, as: UInt8.self)
        var at = 14
        at = put(p, at, handle)
        at = put(p, at, deliveryID)
        p.storeBytes(of: 0xa0, toByteOffset: at, as: UInt8.self)
        p.storeBytes(of: 8, toByteOffset: at &+ 1, as: UInt8.self)
        p.storeBytes(of: tag.littleEndian, toByteOffset: at &+ 2, as: UInt64.self)
        p.storeBytes(of: 0x43, toByteOffset: at &+ 10, as: UInt8.self)
        at &+= 11
        if tail > 0 {
            p.storeBytes(of: settled ? 0x41 : 0x40, toByteOffset: at, as: UInt8.self)
            at &+= 1
        }
        if tail > 1 {
            p.storeBytes(of: more ? 0x41 : 0x40, toByteOffset: at, as: UInt8.self)
            at &+= 1
        }
        if aborted {
            p.storeBytes(of: 0x40, toByteOffset: at, as: UInt8.self)
            p.storeBytes(of: 0x40, toByteOffset: at &+ 1, as: UInt8.self)
            p.storeBytes(of: 0x40, toByteOffset: at &+ 2, as: UInt8.self)
            p.storeBytes(of: 0x41, toByteOffset: at &+ 3, as: UInt8.self)
        }
        return length
    }

    static func put(_ p: UnsafeMutableRawPointer, _ at: Int, _ value: UInt32) -> Int {
        if value == 0 {
            p.storeBytes(of: 0x43, toByteOffset: at, as: UInt8.self)
            return at &+ 1
        }
        if value < 256 {
            p.storeBytes(of: 0x52, toByteOffset: at, as: UInt8.self)
            p.storeBytes(of: UInt8(truncatingIfNeeded: value), toByteOffset: at &+ 1, as: UInt8.self)
            return at &+ 2
        }
        p.storeBytes(of: 0x70, toByteOffset: at, as: UInt8.self)
        p.storeBytes(of: value.bigEndian, toByteOffset: at &+ 1, as: UInt32.self)
        return at &+ 5
    }
}

/// Writes the dispositions of the payload path.
package enum DispositionWriter {
    /// A whole frame: receiver role, unsettled, state received with section 0. At most 48 octets; returns the length.
    package static func received(to p: UnsafeMutableRawPointer, channel: UInt16, first: UInt32, offset: UInt64) -> Int {
        let id = TransferWriter.uintLength(first)
        let length = 33 &+ id
        p.storeBytes(of: UInt32(truncatingIfNeeded: length).bigEndian, as: UInt32.self)
        p.storeBytes(of: 2, toByteOffset: 4, as: UInt8.self)
        p.storeBytes(of: 0, toByteOffset: 5, as: UInt8.self)
        p.storeBytes(of: channel.bigEndian, toByteOffset: 6, as: UInt16.self)
        p.storeBytes(of: UInt32(0x0053_15c0).bigEndian, toByteOffset: 8, as: UInt32.self)
        p.storeBytes(of: UInt8(truncatingIfNeeded: length &- 13), toByteOffset: 12, as: UInt8.self)
        p.storeBytes(of: 5, toByteOffset: 13, as: UInt8.self)
        p.storeBytes(of: 0x41, toByteOffset: 14, as: UInt8.self)
        var at = TransferWriter.put(p, 15, first)
        p.storeBytes(of: 0x40, toByteOffset: at, as: UInt8.self)
        p.storeBytes(of: 0x40, toByteOffset: at &+ 1, as: UInt8.self)
        // 00 53 23 c0 0b 02 43 80 offset
        p.storeBytes(of: UInt32(0x0053_23c0).bigEndian, toByteOffset: at &+ 2, as: UInt32.self)
        p.storeBytes(of: 0x0b, toByteOffset: at &+ 6, as: UInt8.self)
        p.storeBytes(of: 2, toByteOffset: at &+ 7, as: UInt8.self)
        p.storeBytes(of: 0x43, toByteOffset: at &+ 8, as: UInt8.self)
        p.storeBytes(of: 0x80, toByteOffset: at &+ 9, as: UInt8.self)
        p.storeBytes(of: offset.bigEndian, toByteOffset: at &+ 10, as: UInt64.self)
        at &+= 18
        return at
    }

    /// A whole frame: receiver role, settled, state accepted. At most 32 octets; returns the length.
    package static func accepted(to p: UnsafeMutableRawPointer, channel: UInt16, first: UInt32) -> Int {
        let length = 21 &+ TransferWriter.uintLength(first)
        p.storeBytes(of: UInt32(truncatingIfNeeded: length).bigEndian, as: UInt32.self)
        p.storeBytes(of: 2, toByteOffset: 4, as: UInt8.self)
        p.storeBytes(of: 0, toByteOffset: 5, as: UInt8.self)
        p.storeBytes(of: channel.bigEndian, toByteOffset: 6, as: UInt16.self)
        p.storeBytes(of: UInt32(0x0053_15c0).bigEndian, toByteOffset: 8, as: UInt32.self)
        p.storeBytes(of: UInt8(truncatingIfNeeded: length &- 13), toByteOffset: 12, as: UInt8.self)
        p.storeBytes(of: 5, toByteOffset: 13, as: UInt8.self)
        p.storeBytes(of: 0x41, toByteOffset: 14, as: UInt8.self)
        let at = TransferWriter.put(p, 15, first)
        p.storeBytes(of: 0x40, toByteOffset: at, as: UInt8.self)
        p.storeBytes(of: 0x41, toByteOffset: at &+ 1, as: UInt8.self)
        // 00 53 24 45
        p.storeBytes(of: UInt32(0x0053_2445).bigEndian, toByteOffset: at &+ 2, as: UInt32.self)
        return at &+ 6
    }
}
