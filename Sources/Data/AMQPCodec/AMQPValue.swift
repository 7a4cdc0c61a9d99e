/// One entry of an AMQP map, in the order of the wire.
package struct MapEntry: Hashable, Sendable {
    /// Usually a string or a symbol.
    package var key: AMQPValue
    /// Any value.
    package var value: AMQPValue

    /// An entry with any key.
    package init(key: AMQPValue, value: AMQPValue) {
        self.key = key
        self.value = value
    }

    /// An entry keyed by a symbol, as in the properties of Open.
    package init(symbol key: String, _ value: AMQPValue) {
        self.init(key: .symbol(key), value: value)
    }

    /// An entry keyed by a string, as in application properties.
    package init(string key: String, _ value: AMQPValue) {
        self.init(key: .string(key), value: value)
    }
}

/// Any AMQP 1.0 value (part 1 §1.6). For cold paths: the hot ones use `ByteReader` directly.
package enum AMQPValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case ubyte(UInt8)
    case ushort(UInt16)
    case uint(UInt32)
    case ulong(UInt64)
    case byte(Int8)
    case short(Int16)
    case int(Int32)
    case long(Int64)
    /// IEEE 754 bits, so that NaN compares and hashes by its bits.
    case float(UInt32)
    /// IEEE 754 bits.
    case double(UInt64)
    /// One UTF-32 code unit.
    case char(UInt32)
    /// Milliseconds since 1970-01-01 UTC.
    case timestamp(Int64)
    /// Always 16 bytes when decoded.
    case uuid([UInt8])
    case binary([UInt8])
    case string(String)
    case symbol(String)
    case list([AMQPValue])
    case map([MapEntry])
    /// All elements have the same case; elements of a described array are each `.described`.
    case array([AMQPValue])
    /// Descriptor, then value.
    indirect case described(AMQPValue, AMQPValue)
    /// decimal32, 64 and 128 as raw bytes: 4, 8 or 16 of them.
    case decimal([UInt8])
}

extension AMQPValue {
    /// The number, if this is an integer of any width and sign that fits.
    package var intValue: Int64? {
        switch self {
        case .ubyte(let number): return Int64(number)
        case .ushort(let number): return Int64(number)
        case .uint(let number): return Int64(number)
        case .ulong(let number): return Int64(exactly: number)
        case .byte(let number): return Int64(number)
        case .short(let number): return Int64(number)
        case .int(let number): return Int64(number)
        case .long(let number): return number
        default: return nil
        }
    }

    /// The number, if this is an integer of any width that is not negative.
    package var uintValue: UInt64? {
        if case .ulong(let number) = self { return number }
        return intValue.flatMap { UInt64(exactly: $0) }
    }

    /// The truth value of a boolean.
    package var boolValue: Bool? {
        if case .bool(let flag) = self { return flag }
        return nil
    }

    /// The text of a string or symbol.
    package var stringValue: String? {
        switch self {
        case .string(let text), .symbol(let text): return text
        default: return nil
        }
    }

    /// The elements of a list.
    package var listValue: [AMQPValue]? {
        if case .list(let elements) = self { return elements }
        return nil
    }

    /// The entries of a map in wire order.
    package var mapValue: [MapEntry]? {
        if case .map(let entries) = self { return entries }
        return nil
    }

    /// The value under a string or symbol key; nil if this is no map or has no such key. The first of equal keys wins.
    package subscript(key: String) -> AMQPValue? { mapValue?.value(for: key) }
}

extension [MapEntry] {
    /// The value under a string or symbol key; the first of equal keys wins.
    package func value(for key: String) -> AMQPValue? {
        first { $0.key.stringValue == key }?.value
    }
}
