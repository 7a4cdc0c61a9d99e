/// One field of a performative that is about to be encoded.
package enum AMQPField {
    case null
    case bool(Bool)
    case ubyte(UInt8)
    case ushort(UInt16)
    case uint(UInt32)
    /// Four bytes (`70`) whatever the value.
    case uintFull(UInt32)
    case ulong(UInt64)
    case string(String)
    case symbol(String)
    case binary([UInt8])
    /// array32 of sym32; empty counts as null.
    case symbols([String])
    case map([MapEntry])
    /// Encoded already.
    case raw([UInt8])

    /// Null in place of nil.
    package static func optional<Value>(_ value: Value?, _ make: (Value) -> AMQPField) -> AMQPField {
        value.map(make) ?? .null
    }
}

extension AMQPEncoder {
    /// Appends one byte as it is.
    mutating func u8(_ byte: UInt8) { bytes.append(byte) }

    /// Appends fields as a list without trailing nulls, in the smallest list form.
    package mutating func fields(_ fields: [AMQPField]) {
        list8Trimmed { encoder in
            for field in fields { encoder.field(field) }
        }
    }

    private mutating func field(_ field: AMQPField) {
        switch field {
        case .null: null()
        case .bool(let flag): bool(flag)
        case .ubyte(let number): ubyte(number)
        case .ushort(let number): ushort(number)
        case .uint(let number): uint(number)
        case .uintFull(let number):
            u8(0x70)
            raw(number)
        case .ulong(let number): ulong(number)
        case .string(let text): string(text)
        case .symbol(let text): symbol(text)
        case .binary(let data): binary(data)
        case .symbols(let names):
            if names.isEmpty { null() } else { symbolArray(names) }
        case .map(let entries): map(entries)
        case .raw(let encoded): bytes.append(contentsOf: encoded)
        }
    }
}
