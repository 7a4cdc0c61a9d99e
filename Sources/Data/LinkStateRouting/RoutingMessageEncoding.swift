import AMQPCodec

extension RoutingMessage {
    /// The complete message as sent by router `selfID`: annotations, header, properties, application-properties and
    /// body, octet for octet in the layout skupper-router emits (§3.1, Appendix A).
    package func encode(selfID: String) -> [UInt8] {
        let isMobile = opcode == "MAR" || opcode == "MAU"
        var message = ComposedOctets()
        let origin = AMQPValue.string("0/" + selfID)
        // The annotations descriptor is always written in the long form: receivers look for these nine octets.
        message.octets += [0x00, 0x80, 0x53, 0x4B, 0x50, 0x52, 0x2D, 0x2D, 0x52, 0x41]
        message.compound(0xD0, count: 4) {
            $0.octets.append(0x43)
            $0.octets.append(0x40)
            $0.value(origin)
            $0.compound(0xD0, count: 1) { $0.value(origin) }
        }
        message.section(0x70)
        message.compound(0xD0, count: 1) { $0.octets.append(0x42) }
        message.section(0x73)
        message.compound(0xD0, count: isMobile ? 3 : 6) {
            $0.octets += [0x40, 0x40]
            $0.value(.string(to))
            if !isMobile { $0.octets += [0x40, 0x40, 0x40] }
        }
        message.section(0x74)
        message.compound(0xD1, count: 2) {
            $0.value(isMobile ? .symbol("opcode") : .string("opcode"))
            $0.value(.string(opcode))
        }
        message.section(0x77)
        message.emptyListIsList0 = !isMobile
        message.value(body)
        return message.octets
    }
}

/// Octets of a message under composition. Lists and maps take the 32-bit forms whatever their size, which is what the
/// peers write; the general encoder prefers the shortest forms.
private struct ComposedOctets {
    var octets: [UInt8] = []
    /// HELLO writes an empty `seen` as list0, MAU writes empty `add` and `del` as list32.
    var emptyListIsList0 = false

    mutating func section(_ code: UInt8) {
        octets += [0x00, 0x53, code]
    }

    mutating func compound(_ code: UInt8, count: Int, _ content: (inout ComposedOctets) -> Void) {
        octets.append(code)
        let sizeAt = octets.count
        octets += [0, 0, 0, 0]
        appendBigEndian(UInt32(clamping: count))
        content(&self)
        let size = UInt32(clamping: octets.count - sizeAt - 4)
        for index in 0..<4 { octets[sizeAt + index] = UInt8(truncatingIfNeeded: size >> (24 - 8 * index)) }
    }

    mutating func value(_ value: AMQPValue) {
        switch value {
        case .string(let text): variable(0xA1, 0xB1, Array(text.utf8))
        case .symbol(let text): variable(0xA3, 0xB3, Array(text.utf8))
        case .int(let number):
            if let small = Int8(exactly: number) {
                octets += [0x54, UInt8(bitPattern: small)]
            } else {
                octets.append(0x71)
                appendBigEndian(UInt32(bitPattern: number))
            }
        case .long(let number):
            if let small = Int8(exactly: number) {
                octets += [0x55, UInt8(bitPattern: small)]
            } else {
                octets.append(0x81)
                appendBigEndian(UInt64(bitPattern: number))
            }
        case .list(let items):
            if items.isEmpty && emptyListIsList0 {
                octets.append(0x45)
            } else {
                compound(0xD0, count: items.count) { for item in items { $0.value(item) } }
            }
        case .map(let entries):
            compound(0xD1, count: entries.count * 2) {
                for entry in entries {
                    $0.value(entry.key)
                    $0.value(entry.value)
                }
            }
        default:
            // Routing bodies hold nothing else; descriptor position 3 is the one null.
            octets.append(0x40)
        }
    }

    private mutating func variable(_ short: UInt8, _ long: UInt8, _ bytes: [UInt8]) {
        if let count = UInt8(exactly: bytes.count) {
            octets += [short, count]
        } else {
            octets.append(long)
            appendBigEndian(UInt32(clamping: bytes.count))
        }
        octets += bytes
    }

    private mutating func appendBigEndian<Number: FixedWidthInteger>(_ number: Number) {
        var shift = Number.bitWidth
        while shift > 0 {
            shift -= 8
            octets.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}
