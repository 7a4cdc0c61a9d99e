/// Appends AMQP 1.0 values to a byte array, choosing the encodings that skupper-router itself sends
/// (smallest integers, 8-bit strings where they fit, 32-bit lists and maps).
package struct AMQPEncoder {
    /// Everything written so far.
    package var bytes: [UInt8]

    /// An empty encoder.
    package init() { bytes = [] }

    /// An empty encoder with room for `capacity` bytes.
    package init(capacity: Int) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    /// Appends `40`.
    @inlinable package mutating func null() { bytes.append(0x40) }

    /// Appends `41` or `42`.
    @inlinable package mutating func bool(_ value: Bool) { bytes.append(value ? 0x41 : 0x42) }

    /// Appends a ubyte (`50`).
    @inlinable
    package mutating func ubyte(_ value: UInt8) {
        bytes.append(0x50)
        bytes.append(value)
    }

    /// Appends a ushort (`60`).
    @inlinable
    package mutating func ushort(_ value: UInt16) {
        bytes.append(0x60)
        raw(value)
    }

    /// Appends a uint in its smallest form (`43`, `52` or `70`).
    @inlinable
    package mutating func uint(_ value: UInt32) {
        if value == 0 {
            bytes.append(0x43)
        } else if value < 256 {
            bytes.append(0x52)
            bytes.append(UInt8(truncatingIfNeeded: value))
        } else {
            bytes.append(0x70)
            raw(value)
        }
    }

    /// Appends a ulong in its smallest form (`44`, `53` or `80`).
    @inlinable
    package mutating func ulong(_ value: UInt64) {
        if value == 0 {
            bytes.append(0x44)
        } else if value < 256 {
            bytes.append(0x53)
            bytes.append(UInt8(truncatingIfNeeded: value))
        } else {
            bytes.append(0x80)
            raw(value)
        }
    }

    /// Appends an int in its smallest form (`54` or `71`).
    package mutating func int(_ value: Int32) {
        if let small = Int8(exactly: value) {
            bytes.append(0x54)
            raw(small)
        } else {
            intFull(value)
        }
    }

    /// Appends an int in four bytes (`71`) whatever its value.
    package mutating func intFull(_ value: Int32) {
        bytes.append(0x71)
        raw(value)
    }

    /// Appends a long in its smallest form (`55` or `81`).
    package mutating func long(_ value: Int64) {
        if let small = Int8(exactly: value) {
            bytes.append(0x55)
            raw(small)
        } else {
            bytes.append(0x81)
            raw(value)
        }
    }

    /// Appends a timestamp (`83`), milliseconds since 1970-01-01 UTC.
    package mutating func timestamp(_ milliseconds: Int64) {
        bytes.append(0x83)
        raw(milliseconds)
    }

    /// Appends a string (`a1` or `b1`).
    package mutating func string(_ value: String) { variable(short: 0xA1, value.utf8) }

    /// Appends a symbol (`a3` or `b3`).
    package mutating func symbol(_ value: String) { variable(short: 0xA3, value.utf8) }

    /// Appends binary data (`a0` or `b0`).
    package mutating func binary(_ value: [UInt8]) { variable(short: 0xA0, value) }

    /// Appends a described type's `00` and descriptor: `53 xx`, or the nine-byte `80` form for large ones.
    @inlinable
    package mutating func described(_ descriptor: UInt64) {
        bytes.append(0x00)
        if descriptor < 256 {
            bytes.append(0x53)
            bytes.append(UInt8(truncatingIfNeeded: descriptor))
        } else {
            bytes.append(0x80)
            raw(descriptor)
        }
    }

    /// Appends a list of `count` elements that `body` writes: `45` if empty, else list32 (`d0`).
    package mutating func list(_ count: Int, _ body: (inout AMQPEncoder) -> Void) {
        if count == 0 {
            bytes.append(0x45)
        } else {
            compound32(0xD0, count, body)
        }
    }

    /// Appends a map32 (`d1`) of `pairs` entries; `body` writes each key followed by its value.
    package mutating func map(_ pairs: Int, _ body: (inout AMQPEncoder) -> Void) {
        compound32(0xD1, pairs * 2, body)
    }

    /// Appends a map32 (`d1`) with these entries.
    package mutating func map(_ entries: [MapEntry]) {
        map(entries.count) { encoder in
            for entry in entries {
                encoder.value(entry.key)
                encoder.value(entry.value)
            }
        }
    }

    /// Appends an array32 of sym32 (`f0 … b3`), the form skupper-router uses for capabilities.
    package mutating func symbolArray(_ symbols: [String]) {
        compound32(0xF0, symbols.count) { encoder in
            encoder.bytes.append(0xB3)
            for symbol in symbols { encoder.block32(symbol.utf8) }
        }
    }

    /// Appends the fields that `body` writes as a list without its trailing nulls: `45` if nothing is left,
    /// list8 (`c0`) if it fits, else list32 (`d0`). This is the form of all performatives but Open.
    package mutating func list8Trimmed(_ body: (inout AMQPEncoder) -> Void) {
        trimmedList(isShort: true, body)
    }

    /// As `list8Trimmed`, but never list8.
    package mutating func list32Trimmed(_ body: (inout AMQPEncoder) -> Void) {
        trimmedList(isShort: false, body)
    }

    private mutating func trimmedList(isShort: Bool, _ body: (inout AMQPEncoder) -> Void) {
        let start = bytes.count
        let header = isShort ? 3 : 9
        bytes.append(contentsOf: repeatElement(0, count: header))
        body(&self)
        let (count, length) = lastUsedField(from: start + header)
        bytes.removeSubrange((start + header + length)...)
        if count == 0 {
            bytes.removeSubrange(start...)
            bytes.append(0x45)
        } else if isShort && length + 1 < 256 && count < 256 {
            bytes[start] = 0xC0
            bytes[start + 1] = UInt8(length + 1)
            bytes[start + 2] = UInt8(count)
        } else {
            if isShort { bytes.insert(contentsOf: repeatElement(0, count: 6), at: start) }
            bytes[start] = 0xD0
            overwrite(UInt32(truncatingIfNeeded: length + 4), at: start + 1)
            overwrite(UInt32(truncatingIfNeeded: count), at: start + 5)
        }
    }

    /// Number of fields from `start` on up to the last that is not null, and their length in bytes.
    private func lastUsedField(from start: Int) -> (count: Int, length: Int) {
        bytes.withUnsafeBytes { all in
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: all[start...]))
            var fields = 0
            var used = (count: 0, length: 0)
            while let constructor = try? reader.peek() {
                // These bytes are our own, so a failure cannot happen; stopping keeps what is known good.
                guard (try? reader.skipValue()) != nil else { break }
                fields += 1
                if constructor != 0x40 { used = (fields, reader.offset) }
            }
            return used
        }
    }

    private mutating func compound32(_ constructor: UInt8, _ count: Int, _ body: (inout AMQPEncoder) -> Void) {
        bytes.append(constructor)
        let sizeOffset = bytes.count
        raw(UInt32(0))
        raw(UInt32(truncatingIfNeeded: count))
        body(&self)
        overwrite(UInt32(truncatingIfNeeded: bytes.count - sizeOffset - 4), at: sizeOffset)
    }

    private mutating func variable(short constructor: UInt8, _ content: some Collection<UInt8>) {
        if content.count < 256 {
            bytes.append(constructor)
            bytes.append(UInt8(content.count))
            bytes.append(contentsOf: content)
        } else {
            bytes.append(constructor + 0x10)
            block32(content)
        }
    }

    /// Appends a four-byte length and the content, with no constructor.
    mutating func block32(_ content: some Collection<UInt8>) {
        raw(UInt32(truncatingIfNeeded: content.count))
        bytes.append(contentsOf: content)
    }

    /// Appends an integer big-endian, with no constructor.
    @inlinable
    mutating func raw(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    /// Replaces four bytes that were reserved at `offset`.
    mutating func overwrite(_ value: UInt32, at offset: Int) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self) }
    }
}
