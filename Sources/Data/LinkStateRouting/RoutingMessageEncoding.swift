import AMQPCodec

extension RoutingMessage {
    /// The complete message as sent by router `selfID`: annotations, header, properties, application-properties and
    /// body, octet for octet in the layout skupper-router emits (§3.1, Appendix A).
    package func encode(selfID: String) -> [UInt8] {
        let isMobile = opcode == "MAR" || opcode == "MAU"
        var encoder = AMQPEncoder(capacity: 256)
        let origin = "0/" + selfID
        // "SKPR--RA" (§2.6): no flags, no override, we are the ingress and all of the trace.
        encoder.described(0x534B_5052_2D2D_5241)
        encoder.list(4) { annotations in
            annotations.uint(0)
            annotations.null()
            annotations.string(origin)
            annotations.list(1) { $0.string(origin) }
        }
        encoder.described(0x70)
        encoder.list(1) { $0.bool(false) }
        encoder.described(0x73)
        encoder.list(isMobile ? 3 : 6) { properties in
            properties.null()
            properties.null()
            properties.string(to)
            if !isMobile { for _ in 0..<3 { properties.null() } }
        }
        encoder.described(0x74)
        encoder.map([MapEntry(key: isMobile ? .symbol("opcode") : .string("opcode"), value: .string(opcode))])
        encoder.described(0x77)
        if isMobile, let entries = body.mapValue {
            Self.encodeMobileBody(entries, into: &encoder)
        } else {
            encoder.value(body)
        }
        return encoder.bytes
    }

    /// As any map, but the empty `add`, `del` and `exist` are list32: peers write them so, and HELLO's `seen` as list0.
    private static func encodeMobileBody(_ entries: [MapEntry], into encoder: inout AMQPEncoder) {
        encoder.map(entries.count) { map in
            for entry in entries {
                map.value(entry.key)
                if entry.value == .list([]) {
                    map.bytes += [0xD0, 0, 0, 0, 4, 0, 0, 0, 0]
                } else {
                    map.value(entry.value)
                }
            }
        }
    }
}
