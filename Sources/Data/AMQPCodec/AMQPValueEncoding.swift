extension AMQPEncoder {
    /// Appends any value in its canonical encoding. An array whose elements differ in type has no encoding and is
    /// written as a list.
    package mutating func value(_ value: AMQPValue) {
        switch value {
        case .null: null()
        case .bool(let flag): bool(flag)
        case .uint(let number): uint(number)
        case .ulong(let number): ulong(number)
        case .int(let number): int(number)
        case .long(let number): long(number)
        case .string(let text): string(text)
        case .symbol(let text): symbol(text)
        case .binary(let data): binary(data)
        case .list(let elements):
            list(elements.count) { encoder in
                for element in elements { encoder.value(element) }
            }
        case .map(let entries): map(entries)
        case .array(let elements): array(elements)
        case .described(let descriptor, let inner):
            bytes.append(0x00)
            self.value(descriptor)
            self.value(inner)
        default:
            // The remaining types have one fixed width, hence one form in and out of arrays.
            bytes.append(wideConstructor(of: value) ?? 0x40)
            wideBody(value)
        }
    }

    /// Appends an array32. Element constructors are the widest of their type, so that one serves all.
    package mutating func array(_ elements: [AMQPValue]) {
        guard let first = elements.first else {
            bytes.append(contentsOf: [0xE0, 0x02, 0x00, 0x40])
            return
        }
        var descriptors: [AMQPValue] = []
        var core = first
        while case .described(let descriptor, let inner) = core {
            descriptors.append(descriptor)
            core = inner
        }
        var bodies: [AMQPValue] = []
        for element in elements {
            guard let body = element.stripped(of: descriptors), wideConstructor(of: body) == wideConstructor(of: core)
            else {
                self.value(.list(elements))
                return
            }
            bodies.append(body)
        }
        bytes.append(0xF0)
        let sizeOffset = bytes.count
        raw(UInt32(0))
        raw(UInt32(truncatingIfNeeded: elements.count))
        for descriptor in descriptors {
            bytes.append(0x00)
            value(descriptor)
        }
        bytes.append(wideConstructor(of: core) ?? 0x40)
        for body in bodies { wideBody(body) }
        overwrite(UInt32(truncatingIfNeeded: bytes.count - sizeOffset - 4), at: sizeOffset)
    }

    /// The constructor of a type's widest encoding; nil for described values.
    private func wideConstructor(of value: AMQPValue) -> UInt8? {
        switch value {
        case .null: return 0x40
        case .bool: return 0x56
        case .ubyte: return 0x50
        case .ushort: return 0x60
        case .uint: return 0x70
        case .ulong: return 0x80
        case .byte: return 0x51
        case .short: return 0x61
        case .int: return 0x71
        case .long: return 0x81
        case .float: return 0x72
        case .double: return 0x82
        case .char: return 0x73
        case .timestamp: return 0x83
        case .uuid: return 0x98
        case .decimal(let data): return data.count == 4 ? 0x74 : data.count == 8 ? 0x84 : 0x94
        case .binary: return 0xB0
        case .string: return 0xB1
        case .symbol: return 0xB3
        case .list: return 0xD0
        case .map: return 0xD1
        case .array: return 0xF0
        case .described: return nil
        }
    }

    /// Appends the data of a value as its wide constructor announces it.
    private mutating func wideBody(_ value: AMQPValue) {
        switch value {
        case .null, .described: return
        case .bool(let flag): bytes.append(flag ? 1 : 0)
        case .ubyte(let number): bytes.append(number)
        case .ushort(let number): raw(number)
        case .uint(let number), .float(let number), .char(let number): raw(number)
        case .ulong(let number), .double(let number): raw(number)
        case .byte(let number): raw(number)
        case .short(let number): raw(number)
        case .int(let number): raw(number)
        case .long(let number), .timestamp(let number): raw(number)
        case .uuid(let data): fixed(data, width: 16)
        case .decimal(let data): fixed(data, width: data.count == 4 ? 4 : data.count == 8 ? 8 : 16)
        case .binary(let data): block32(data)
        case .string(let text), .symbol(let text): block32(text.utf8)
        case .list(let elements):
            block(count: elements.count) { encoder in
                for element in elements { encoder.value(element) }
            }
        case .map(let entries):
            block(count: entries.count * 2) { encoder in
                for entry in entries {
                    encoder.value(entry.key)
                    encoder.value(entry.value)
                }
            }
        case .array(let elements): nestedArrayBody(elements)
        }
    }

    /// An array within an array: its own encoding without the constructor, which the outer array has given. Elements of
    /// several types cannot be written here; the array is then empty, which keeps what follows in its place.
    private mutating func nestedArrayBody(_ elements: [AMQPValue]) {
        var inner = AMQPEncoder()
        inner.array(elements)
        if inner.bytes.first == 0xF0 {
            bytes.append(contentsOf: inner.bytes.dropFirst())
        } else {
            block(count: 0) { $0.bytes.append(0x40) }
        }
    }

    private mutating func block(count: Int, _ body: (inout AMQPEncoder) -> Void) {
        let sizeOffset = bytes.count
        raw(UInt32(0))
        raw(UInt32(truncatingIfNeeded: count))
        body(&self)
        overwrite(UInt32(truncatingIfNeeded: bytes.count - sizeOffset - 4), at: sizeOffset)
    }

    /// Appends exactly `width` bytes, so that a value built with a wrong length cannot shift what follows.
    private mutating func fixed(_ data: [UInt8], width: Int) {
        bytes.append(contentsOf: data.prefix(width))
        bytes.append(contentsOf: repeatElement(0, count: max(0, width - data.count)))
    }
}

extension AMQPValue {
    /// The value below exactly these descriptors; nil if it carries others.
    fileprivate func stripped(of descriptors: [AMQPValue]) -> AMQPValue? {
        var core = self
        for expected in descriptors {
            guard case .described(let descriptor, let inner) = core, descriptor == expected else { return nil }
            core = inner
        }
        if case .described = core { return nil }
        return core
    }
}
