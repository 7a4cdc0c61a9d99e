/// Array elements of zero bytes cost nothing on the wire; without a limit a few bytes could ask for gigabytes. The
/// limit holds for all arrays within one decoded value together: many small arrays cost as much as a large one.
private let maximumZeroWidthElements = 4096

/// Descriptors in front of an array's constructor. Each wraps every element, so each multiplies what a byte can cost.
private let maximumArrayDescriptors = 2

/// Elements reserved ahead at most. A count is only a claim: nested lists could each claim the same bytes.
private let maximumReserved = 64

extension AMQPValue {
    /// Decodes one value of any type; the reader stands behind it afterwards. Nesting is limited to
    /// `ByteReader.maximumDepth`.
    package static func decode(from reader: inout ByteReader) throws(DecodeError) -> AMQPValue {
        var free = maximumZeroWidthElements
        return try decode(from: &reader, depth: 0, free: &free)
    }

    private static func decode(
        from reader: inout ByteReader, depth: Int, free: inout Int
    ) throws(DecodeError) -> AMQPValue {
        if depth > ByteReader.maximumDepth { throw .tooDeep }
        let constructor = try reader.u8()
        if constructor == 0x00 {
            let descriptor = try decode(from: &reader, depth: depth + 1, free: &free)
            return .described(descriptor, try decode(from: &reader, depth: depth + 1, free: &free))
        }
        return try decodeBody(of: constructor, from: &reader, depth: depth, free: &free)
    }

    private static func decodeBody(
        of constructor: UInt8, from reader: inout ByteReader, depth: Int, free: inout Int
    ) throws(DecodeError) -> AMQPValue {
        switch constructor {
        case 0x40: return .null
        case 0x41: return .bool(true)
        case 0x42: return .bool(false)
        case 0x56: return .bool(try decodeBoolean(from: &reader))
        case 0xA0: return .binary(Array(try reader.bytes(Int(try reader.u8()))))
        case 0xB0: return .binary(Array(try reader.bytes(Int(try reader.u32()))))
        case 0xA1, 0xB1: return .string(try decodeText(constructor, from: &reader))
        case 0xA3, 0xB3: return .symbol(try decodeText(constructor, from: &reader))
        case 0x45, 0xC0, 0xD0: return .list(try decodeList(constructor, from: &reader, depth: depth, free: &free))
        case 0xC1, 0xD1: return .map(try decodeMap(constructor, from: &reader, depth: depth, free: &free))
        case 0xE0, 0xF0: return .array(try decodeArray(constructor, from: &reader, depth: depth, free: &free))
        case 0x98: return .uuid(Array(try reader.bytes(16)))
        case 0x74: return .decimal(Array(try reader.bytes(4)))
        case 0x84: return .decimal(Array(try reader.bytes(8)))
        case 0x94: return .decimal(Array(try reader.bytes(16)))
        default: return try decodeNumber(constructor, from: &reader)
        }
    }

    private static func decodeNumber(
        _ constructor: UInt8, from reader: inout ByteReader
    ) throws(DecodeError) -> AMQPValue {
        switch constructor {
        case 0x50: return .ubyte(try reader.u8())
        case 0x60: return .ushort(try reader.u16())
        case 0x43: return .uint(0)
        case 0x52: return .uint(UInt32(try reader.u8()))
        case 0x70: return .uint(try reader.u32())
        case 0x44: return .ulong(0)
        case 0x53: return .ulong(UInt64(try reader.u8()))
        case 0x80: return .ulong(try reader.u64())
        case 0x51: return .byte(Int8(bitPattern: try reader.u8()))
        case 0x61: return .short(Int16(bitPattern: try reader.u16()))
        case 0x54: return .int(Int32(Int8(bitPattern: try reader.u8())))
        case 0x71: return .int(Int32(bitPattern: try reader.u32()))
        case 0x55: return .long(Int64(Int8(bitPattern: try reader.u8())))
        case 0x81: return .long(Int64(bitPattern: try reader.u64()))
        case 0x72: return .float(try reader.u32())
        case 0x82: return .double(try reader.u64())
        case 0x73: return .char(try reader.u32())
        case 0x83: return .timestamp(Int64(bitPattern: try reader.u64()))
        default: throw .badConstructor(constructor)
        }
    }

    private static func decodeBoolean(from reader: inout ByteReader) throws(DecodeError) -> Bool {
        switch try reader.u8() {
        case 0: return false
        case 1: return true
        default: throw .badType("boolean byte is neither 0 nor 1")
        }
    }

    private static func decodeText(
        _ constructor: UInt8, from reader: inout ByteReader
    ) throws(DecodeError) -> String {
        let length = constructor < 0xB0 ? Int(try reader.u8()) : Int(try reader.u32())
        return try text(try reader.bytes(length))
    }

    private static func decodeList(
        _ constructor: UInt8, from reader: inout ByteReader, depth: Int, free: inout Int
    ) throws(DecodeError) -> [AMQPValue] {
        var body = try CompoundBody(constructor, from: &reader)
        var elements: [AMQPValue] = []
        elements.reserveCapacity(min(body.count, maximumReserved))
        for _ in 0..<body.count { elements.append(try decode(from: &body.reader, depth: depth + 1, free: &free)) }
        try body.finish("list")
        return elements
    }

    private static func decodeMap(
        _ constructor: UInt8, from reader: inout ByteReader, depth: Int, free: inout Int
    ) throws(DecodeError) -> [MapEntry] {
        var body = try CompoundBody(constructor, from: &reader)
        if !body.count.isMultiple(of: 2) { throw .badType("map has a key without a value") }
        var entries: [MapEntry] = []
        entries.reserveCapacity(min(body.count / 2, maximumReserved))
        for _ in 0..<(body.count / 2) {
            let key = try decode(from: &body.reader, depth: depth + 1, free: &free)
            entries.append(MapEntry(key: key, value: try decode(from: &body.reader, depth: depth + 1, free: &free)))
        }
        try body.finish("map")
        return entries
    }

    private static func decodeArray(
        _ arrayConstructor: UInt8, from reader: inout ByteReader, depth: Int, free: inout Int
    ) throws(DecodeError) -> [AMQPValue] {
        // The count is checked here against the element width, not by CompoundBody against one byte each.
        var body = try CompoundBody(arrayConstructor, from: &reader, isArray: true)
        if body.count == 0 && body.reader.remaining == 0 { return [] }
        var descriptors: [AMQPValue] = []
        var constructor = try body.reader.u8()
        while constructor == 0x00 {
            if descriptors.count == maximumArrayDescriptors { throw .tooDeep }
            descriptors.append(try decode(from: &body.reader, depth: depth + 1, free: &free))
            constructor = try body.reader.u8()
        }
        if body.count > (constructor >> 4 == 0x4 ? free : body.reader.remaining) { throw .tooLarge("array count") }
        if constructor >> 4 == 0x4 { free -= body.count }
        if depth + descriptors.count + 1 > ByteReader.maximumDepth { throw .tooDeep }
        var elements: [AMQPValue] = []
        elements.reserveCapacity(min(body.count, maximumReserved))
        for _ in 0..<body.count {
            var element = try decodeBody(of: constructor, from: &body.reader, depth: depth + 1, free: &free)
            for descriptor in descriptors.reversed() { element = .described(descriptor, element) }
            elements.append(element)
        }
        try body.finish("array")
        return elements
    }

    /// Checks and copies UTF-8 text.
    static func text(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) -> String {
        // The standard library's validation costs a thousand instructions however short the text.
        if isASCII(bytes) { return String(decoding: bytes, as: UTF8.self) }
        guard let text = String(validating: bytes.bindMemory(to: UInt8.self), as: UTF8.self) else { throw .badUTF8 }
        return text
    }

    private static func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var seen: UInt64 = 0
        var at = 0
        while at + 8 <= bytes.count {
            seen |= bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            at += 8
        }
        while at < bytes.count {
            seen |= UInt64(bytes[at])
            at += 1
        }
        return seen & 0x8080_8080_8080_8080 == 0
    }
}

/// Size, count and bytes of a list, map or array.
struct CompoundBody {
    /// Number of elements; a map counts keys and values.
    let count: Int
    /// Covers exactly the bytes after the count.
    var reader: ByteReader

    init(_ constructor: UInt8, from outer: inout ByteReader, isArray: Bool = false) throws(DecodeError) {
        let count: Int
        switch constructor {
        case 0x45:
            self.count = 0
            reader = try outer.slice(0)
            return
        case 0xC0, 0xC1, 0xE0:
            var body = try outer.slice(Int(try outer.u8()))
            if body.remaining < 1 { throw .badType("size of a compound value is too small for its count") }
            count = Int(try body.u8())
            reader = body
        case 0xD0, 0xD1, 0xF0:
            var body = try outer.slice(Int(try outer.u32()))
            if body.remaining < 4 { throw .badType("size of a compound value is too small for its count") }
            count = Int(try body.u32())
            reader = body
        default: throw .badConstructor(constructor)
        }
        // Each element takes at least its constructor byte; this also bounds what we reserve.
        if !isArray && count > reader.remaining { throw .tooLarge("count exceeds the size of its list or map") }
        self.count = count
    }

    /// Throws if bytes are left over: size and count contradict each other.
    func finish(_ kind: String) throws(DecodeError) {
        if reader.remaining != 0 { throw .badType("\(kind) has bytes after its last element") }
    }
}
