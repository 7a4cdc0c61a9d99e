/// Reads the fields of a list-encoded composite type in order (AMQP 1.0 §1.4). A field that is null and one that
/// is left out at the end both read as nil; fields beyond the ones asked for are ignored.
package struct FieldReader {
    @usableFromInline var reader: ByteReader
    @usableFromInline var left: Int

    /// Reads a list constructor (`45`, `c0` or `d0`), takes the list's bytes and moves `outer` behind the list.
    @inlinable
    package init(_ outer: inout ByteReader) throws(DecodeError) {
        let constructor = try outer.u8()
        switch constructor {
        case 0xC0:
            reader = try outer.slice(Int(try outer.u8()))
            left = Int(try reader.u8())
        case 0xD0:
            reader = try outer.slice(Int(try outer.u32()))
            left = Int(try reader.u32())
        case 0x45:
            reader = try outer.slice(0)
            left = 0
        default: throw .badConstructor(constructor)
        }
    }

    /// Fields not read yet.
    @inlinable package var remaining: Int { left }

    /// Moves to the next field; false if it is absent or null (then it is passed).
    @inlinable
    package mutating func next() throws(DecodeError) -> Bool {
        if left == 0 { return false }
        left &-= 1
        if try reader.peek() != 0x40 { return true }
        reader.cursor += 1
        return false
    }

    /// Passes over one field.
    @inlinable
    package mutating func skip() throws(DecodeError) {
        if try next() { try reader.skipValue() }
    }

    /// A uint in any of its three forms.
    package mutating func uint(_ name: StaticString) throws(DecodeError) -> UInt32? {
        if try !next() { return nil }
        let constructor = try reader.u8()
        switch constructor {
        case 0x52: return UInt32(try reader.u8())
        case 0x70: return try reader.u32()
        case 0x43: return 0
        default: throw .badType("\(name)")
        }
    }

    /// A boolean in any of its three forms.
    package mutating func bool(_ name: StaticString) throws(DecodeError) -> Bool? {
        if try !next() { return nil }
        let constructor = try reader.u8()
        switch constructor {
        case 0x41: return true
        case 0x42: return false
        case 0x56: return try reader.u8() != 0
        default: throw .badType("\(name)")
        }
    }

    /// Binary data, pointing into the buffer being read.
    package mutating func binary(_ name: StaticString) throws(DecodeError) -> UnsafeRawBufferPointer? {
        if try !next() { return nil }
        let constructor = try reader.u8()
        switch constructor {
        case 0xA0: return try reader.bytes(Int(try reader.u8()))
        case 0xB0: return try reader.bytes(Int(try reader.u32()))
        default: throw .badType("\(name)")
        }
    }

    /// Binary data, or a text's octets, copied; some senders write the one where the other belongs.
    package mutating func octets(_ name: StaticString) throws(DecodeError) -> [UInt8]? {
        if try !next() { return nil }
        switch try reader.u8() {
        case 0xA0, 0xA1, 0xA3: return Array(try reader.bytes(Int(try reader.u8())))
        case 0xB0, 0xB1, 0xB3: return Array(try reader.bytes(Int(try reader.u32())))
        default: throw .badType("\(name)")
        }
    }

    /// A ubyte.
    package mutating func ubyte(_ name: StaticString) throws(DecodeError) -> UInt8? {
        try narrow(try unsigned(name), name)
    }

    /// A ushort.
    package mutating func ushort(_ name: StaticString) throws(DecodeError) -> UInt16? {
        try narrow(try unsigned(name), name)
    }

    /// A ulong; narrower unsigned types are taken too.
    package mutating func ulong(_ name: StaticString) throws(DecodeError) -> UInt64? { try unsigned(name) }

    private func narrow<Number: FixedWidthInteger>(
        _ number: UInt64?, _ name: StaticString
    ) throws(DecodeError) -> Number? {
        guard let number else { return nil }
        guard let narrow = Number(exactly: number) else { throw .badType("\(name)") }
        return narrow
    }

    /// An unsigned integer of any width.
    package mutating func unsigned(_ name: StaticString) throws(DecodeError) -> UInt64? {
        if try !next() { return nil }
        let constructor = try reader.u8()
        switch constructor {
        case 0x43, 0x44: return 0
        case 0x50, 0x52, 0x53: return UInt64(try reader.u8())
        case 0x60: return UInt64(try reader.u16())
        case 0x70: return UInt64(try reader.u32())
        case 0x80: return try reader.u64()
        default: throw .badType("\(name)")
        }
    }

    /// A timestamp in milliseconds since 1970-01-01 UTC.
    package mutating func timestamp(_ name: StaticString) throws(DecodeError) -> Int64? {
        if try !next() { return nil }
        let constructor = try reader.u8()
        if constructor != 0x83 { throw .badType("\(name)") }
        return Int64(bitPattern: try reader.u64())
    }

    /// A string or symbol: peers mix the two up, and nothing hangs on the difference.
    package mutating func text(_ name: StaticString) throws(DecodeError) -> String? {
        if try !next() { return nil }
        let constructor = try reader.u8()
        switch constructor {
        case 0xA1, 0xA3: return try AMQPValue.text(try reader.bytes(Int(try reader.u8())))
        case 0xB1, 0xB3: return try AMQPValue.text(try reader.bytes(Int(try reader.u32())))
        default: throw .badType("\(name)")
        }
    }

    /// A symbol array, or one bare symbol; nil reads as empty.
    package mutating func symbols(_ name: StaticString) throws(DecodeError) -> [String] {
        switch try value(name) {
        case nil: return []
        case .symbol(let text)?, .string(let text)?: return [text]
        case .array(let elements)?:
            var symbols: [String] = []
            for element in elements {
                guard let text = element.stringValue else { throw .badType("\(name)") }
                symbols.append(text)
            }
            return symbols
        default: throw .badType("\(name)")
        }
    }

    /// A map; nil reads as empty.
    package mutating func map(_ name: StaticString) throws(DecodeError) -> [MapEntry] {
        guard let value = try value(name) else { return [] }
        guard case .map(let entries) = value else { throw .badType("\(name)") }
        return entries
    }

    /// A map as it is encoded, for passing on; empty if there is none. It is read, so that no rubbish is passed on.
    mutating func encodedMap(_ name: StaticString) throws(DecodeError) -> [UInt8] {
        if try !next() { return [] }
        let start = reader.cursor
        guard case .map = try AMQPValue.decode(from: &reader) else { throw .badType("\(name)") }
        return Array(UnsafeRawBufferPointer(start: start, count: reader.cursor - start))
    }

    /// Any value.
    package mutating func value(_ name: StaticString) throws(DecodeError) -> AMQPValue? {
        if try !next() { return nil }
        return try AMQPValue.decode(from: &reader)
    }

    /// The descriptor of a nested composite; its list comes next in `reader`.
    private mutating func descriptor() throws(DecodeError) -> UInt64? {
        if try !next() { return nil }
        return try reader.describedType()
    }

    private mutating func composite(_ expected: UInt64) throws(DecodeError) -> Bool {
        guard let descriptor = try descriptor() else { return false }
        if descriptor != expected { throw .badDescriptor(descriptor) }
        return true
    }

    /// An error (part 2, section 2.8.14).
    mutating func error(_ name: StaticString) throws(DecodeError) -> AMQPError? {
        try composite(0x1D) ? try AMQPError.decode(&reader) : nil
    }

    /// A delivery state (part 3, section 3.4).
    mutating func state(_ name: StaticString) throws(DecodeError) -> DeliveryState? {
        guard let descriptor = try descriptor() else { return nil }
        return try DeliveryState.decode(descriptor, &reader)
    }

    /// A source terminus.
    mutating func source() throws(DecodeError) -> Source? {
        try composite(0x28) ? try Source.decode(&reader) : nil
    }

    /// A target terminus; a transaction coordinator (`30`) is only flagged.
    mutating func target() throws(DecodeError) -> Target? {
        guard let descriptor = try descriptor() else { return nil }
        switch descriptor {
        case 0x29: return try Target.decode(&reader)
        case 0x30:
            try reader.skipValue()
            var target = Target()
            target.isCoordinator = true
            return target
        default: throw .badDescriptor(descriptor)
        }
    }
}

extension ByteReader {
    /// Reads a descriptor (the part after the `00`) given as ulong in any width.
    static func descriptor(_ reader: inout ByteReader) throws(DecodeError) -> UInt64 { try reader.descriptor() }
}
