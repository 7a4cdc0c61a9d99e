/// A bounds-checked cursor over big-endian bytes. It does not own the memory, which must outlive it.
/// Every read either advances or throws `DecodeError.truncated` and leaves the position unspecified.
package struct ByteReader {
    /// Values nested deeper than this are refused, so that hostile input cannot exhaust the stack.
    package static let maximumDepth = 32

    @usableFromInline var start: UnsafeRawPointer
    @usableFromInline var cursor: UnsafeRawPointer
    @usableFromInline var end: UnsafeRawPointer

    /// Reads `count` bytes from `base`.
    @inlinable
    package init(_ base: UnsafeRawPointer, count: Int) {
        start = base
        cursor = base
        end = base + count
    }

    /// Reads the bytes of `buffer`; an empty buffer may have no base address.
    @inlinable
    package init(_ buffer: UnsafeRawBufferPointer) {
        // Any non-null pointer serves an empty range: it is never dereferenced.
        let base = buffer.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        self.init(base, count: buffer.count)
    }

    /// Bytes not read yet.
    @inlinable package var remaining: Int { end - cursor }
    /// Address of the next byte; valid to read only while `remaining > 0`.
    @inlinable package var position: UnsafeRawPointer { cursor }
    /// Bytes read since the start.
    @inlinable package var offset: Int { cursor - start }

    /// Throws `.truncated` unless `count` (not negative) more bytes are there.
    @inlinable
    package func need(_ count: Int) throws(DecodeError) {
        if end - cursor < count { throw .truncated }
    }

    /// The next byte without reading it.
    @inlinable
    package func peek() throws(DecodeError) -> UInt8 {
        if cursor >= end { throw .truncated }
        return cursor.load(as: UInt8.self)
    }

    /// Reads one byte.
    @inlinable
    package mutating func u8() throws(DecodeError) -> UInt8 {
        if cursor >= end { throw .truncated }
        let value = cursor.load(as: UInt8.self)
        cursor += 1
        return value
    }

    /// Reads a 16-bit unsigned integer.
    @inlinable
    package mutating func u16() throws(DecodeError) -> UInt16 {
        try need(2)
        let value = UInt16(bigEndian: cursor.loadUnaligned(as: UInt16.self))
        cursor += 2
        return value
    }

    /// Reads a 32-bit unsigned integer.
    @inlinable
    package mutating func u32() throws(DecodeError) -> UInt32 {
        try need(4)
        let value = UInt32(bigEndian: cursor.loadUnaligned(as: UInt32.self))
        cursor += 4
        return value
    }

    /// Reads a 64-bit unsigned integer.
    @inlinable
    package mutating func u64() throws(DecodeError) -> UInt64 {
        try need(8)
        let value = UInt64(bigEndian: cursor.loadUnaligned(as: UInt64.self))
        cursor += 8
        return value
    }

    /// Passes over `count` bytes.
    @inlinable
    package mutating func skip(_ count: Int) throws(DecodeError) {
        if count < 0 || end - cursor < count { throw .truncated }
        cursor += count
    }

    /// Reads `count` bytes without copying: the result points into the buffer being read.
    @inlinable
    package mutating func bytes(_ count: Int) throws(DecodeError) -> UnsafeRawBufferPointer {
        if count < 0 || end - cursor < count { throw .truncated }
        let slice = UnsafeRawBufferPointer(start: cursor, count: count)
        cursor += count
        return slice
    }

    /// Takes the next `count` bytes as a reader of their own and moves behind them.
    @inlinable
    package mutating func slice(_ count: Int) throws(DecodeError) -> ByteReader {
        if count < 0 || end - cursor < count { throw .truncated }
        let part = ByteReader(cursor, count: count)
        cursor += count
        return part
    }

    /// Passes over one value of any type (AMQP 1.0 §1.6) without looking inside compound values.
    @inlinable
    package mutating func skipValue() throws(DecodeError) {
        // A described value is two values in a row, so a counter replaces recursion.
        var pending = 1
        var described = 0
        while pending > 0 {
            let constructor = try u8()
            if constructor == 0x00 {
                described &+= 1
                if described > ByteReader.maximumDepth { throw .tooDeep }
                pending &+= 1
            } else {
                try skipBody(of: constructor)
                pending &-= 1
            }
        }
    }

    /// Passes over the data of a primitive value whose constructor has been read. The upper half of the
    /// constructor gives the width, also for types this decoder does not know (§1.2).
    @inlinable
    mutating func skipBody(of constructor: UInt8) throws(DecodeError) {
        switch constructor >> 4 {
        case 0x4: return
        case 0x5: try skip(1)
        case 0x6: try skip(2)
        case 0x7: try skip(4)
        case 0x8: try skip(8)
        case 0x9: try skip(16)
        case 0xA, 0xC, 0xE: try skip(Int(try u8()))
        case 0xB, 0xD, 0xF: try skip(Int(try u32()))
        default: throw .badConstructor(constructor)
        }
    }

    /// Reads a descriptor (the part after the `00`) given as ulong in any width.
    @inlinable
    package mutating func descriptor() throws(DecodeError) -> UInt64 {
        let constructor = try u8()
        switch constructor {
        case 0x53: return UInt64(try u8())
        case 0x80: return try u64()
        case 0x44: return 0
        default: throw .badConstructor(constructor)
        }
    }

    /// Reads `00` and a descriptor.
    @inlinable
    package mutating func describedType() throws(DecodeError) -> UInt64 {
        let constructor = try u8()
        if constructor != 0x00 { throw .badConstructor(constructor) }
        return try descriptor()
    }
}
