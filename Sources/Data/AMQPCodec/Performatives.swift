/// Which end of a link: the one that sends deliveries or the one that receives them.
package enum Role: Sendable, Equatable { case sender, receiver }

/// An AMQP error (part 2, section 2.8.14).
package struct AMQPError: Equatable, Sendable {
    /// A symbol, for example `amqp:not-found`.
    package var condition: String
    /// Text for people.
    package var description: String?
    /// Further facts: an encoded map, passed through as it is; empty = none.
    package var info: [UInt8] = []

    /// All fields as given; what is not named has the default of the specification.
    package init(condition: String, description: String?, info: [UInt8] = []) {
        self.condition = condition
        self.description = description
        self.info = info
    }

    var field: AMQPField {
        var encoder = AMQPEncoder()
        encoder.described(0x1d)
        encoder.fields([
            .symbol(condition), .optional(description) { .string($0) }, info.isEmpty ? .null : .raw(info),
        ])
        return .raw(encoder.bytes)
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> AMQPError {
        var fields = try FieldReader(&reader)
        guard let condition = try fields.text("error condition") else { throw .missingField("error condition") }
        return AMQPError(
            condition: condition, description: try fields.text("error description"),
            info: try fields.encodedMap("error info"))
    }
}

/// A delivery state (part 3, section 3.4): `received` is a report on the way, the others are terminal.
package enum DeliveryState: Equatable, Sendable {
    case accepted
    case rejected(AMQPError?)
    case released
    /// `annotations`: an encoded map for the message, passed through as it is; empty = none.
    case modified(failed: Bool, undeliverableHere: Bool, annotations: [UInt8] = [])
    case received(section: UInt32, offset: UInt64)
    /// A state of another specification, passed through as it is.
    case other(AMQPValue)

    /// No further state can follow.
    package var isTerminal: Bool {
        switch self {
        case .accepted, .rejected, .released, .modified: true
        case .received, .other: false
        }
    }

    /// The state with its descriptor, as it stands in a frame.
    package var field: AMQPField {
        var encoder = AMQPEncoder()
        switch self {
        case .accepted:
            encoder.described(0x24)
            encoder.u8(0x45)
        case .rejected(let error):
            encoder.described(0x25)
            encoder.fields([.optional(error) { $0.field }])
        case .released:
            encoder.described(0x26)
            encoder.u8(0x45)
        case .modified(let failed, let undeliverable, let annotations):
            encoder.described(0x27)
            encoder.fields([.bool(failed), .bool(undeliverable), annotations.isEmpty ? .null : .raw(annotations)])
        case .received(let section, let offset):
            encoder.described(0x23)
            encoder.fields([.uint(section), .ulong(offset)])
        case .other(let value):
            encoder.value(value)
        }
        return .raw(encoder.bytes)
    }

    static func decode(_ descriptor: UInt64, _ reader: inout ByteReader) throws(DecodeError) -> DeliveryState {
        switch descriptor {
        case 0x23:
            var fields = try FieldReader(&reader)
            return .received(
                section: try fields.uint("section-number") ?? 0, offset: try fields.ulong("section-offset") ?? 0)
        case 0x24:
            try reader.skipValue()
            return .accepted
        case 0x25:
            var fields = try FieldReader(&reader)
            return .rejected(try fields.error("error"))
        case 0x26:
            try reader.skipValue()
            return .released
        case 0x27:
            var fields = try FieldReader(&reader)
            return .modified(
                failed: try fields.bool("delivery-failed") ?? false,
                undeliverableHere: try fields.bool("undeliverable-here") ?? false,
                annotations: try fields.encodedMap("message-annotations"))
        default:
            return .other(.described(.ulong(descriptor), try AMQPValue.decode(from: &reader)))
        }
    }
}

/// A link's source terminus (part 3, section 3.5.3).
package struct Source: Equatable, Sendable {
    /// Where deliveries come from; nil with `dynamic` asks the peer for one.
    package var address: String?
    /// 0 nothing survives, 1 configuration, 2 unsettled state too.
    package var durable: UInt32 = 0
    /// When the timeout starts: `link-detach`, `session-end`, `connection-close` or `never`.
    package var expiryPolicy: String?
    /// Seconds the terminus outlives what the policy names.
    package var timeout: UInt32 = 0
    /// The peer creates the address.
    package var dynamic = false
    /// `move` or `copy`.
    package var distributionMode: String?
    /// Filter set, passed through as it is.
    package var filter: AMQPValue?
    /// Extensions of the terminus.
    package var capabilities: [String] = []

    /// All fields as given; what is not named has the default of the specification.
    package init(
        address: String? = nil, expiryPolicy: String? = nil, dynamic: Bool = false, capabilities: [String] = []
    ) {
        self.address = address
        self.expiryPolicy = expiryPolicy
        self.dynamic = dynamic
        self.capabilities = capabilities
    }

    var field: AMQPField {
        var encoder = AMQPEncoder()
        encoder.described(0x28)
        encoder.fields([
            .optional(address) { .string($0) }, .uint(durable), .optional(expiryPolicy) { .symbol($0) }, .uint(timeout),
            .bool(dynamic), .null, .optional(distributionMode) { .symbol($0) },
            .optional(filter) { value in
                var inner = AMQPEncoder()
                inner.value(value)
                return .raw(inner.bytes)
            }, .null, .null, capabilityField(capabilities),
        ])
        return .raw(encoder.bytes)
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> Source {
        var fields = try FieldReader(&reader)
        var source = Source()
        source.address = try fields.text("source address")
        source.durable = try fields.uint("durable") ?? 0
        source.expiryPolicy = try fields.text("expiry-policy")
        source.timeout = try fields.uint("timeout") ?? 0
        source.dynamic = try fields.bool("dynamic") ?? false
        try fields.skip()
        source.distributionMode = try fields.text("distribution-mode")
        source.filter = try fields.value("filter")
        try fields.skip()
        try fields.skip()
        source.capabilities = try fields.symbols("capabilities")
        return source
    }
}

/// A link's target terminus (part 3, section 3.5.4).
package struct Target: Equatable, Sendable {
    /// Where deliveries go; nil for an anonymous link.
    package var address: String?
    /// 0 nothing survives, 1 configuration, 2 unsettled state too.
    package var durable: UInt32 = 0
    /// When the timeout starts: `link-detach`, `session-end`, `connection-close` or `never`.
    package var expiryPolicy: String?
    /// Seconds the terminus outlives what the policy names.
    package var timeout: UInt32 = 0
    /// The peer creates the address.
    package var dynamic = false
    /// Extensions of the terminus.
    package var capabilities: [String] = []
    /// The terminus is a transaction coordinator, not an address.
    package var isCoordinator = false

    /// All fields as given; what is not named has the default of the specification.
    package init(
        address: String? = nil, expiryPolicy: String? = nil, dynamic: Bool = false, capabilities: [String] = []
    ) {
        self.address = address
        self.expiryPolicy = expiryPolicy
        self.dynamic = dynamic
        self.capabilities = capabilities
    }

    var field: AMQPField {
        var encoder = AMQPEncoder()
        encoder.described(0x29)
        encoder.fields([
            .optional(address) { .string($0) }, .uint(durable), .optional(expiryPolicy) { .symbol($0) }, .uint(timeout),
            .bool(dynamic), .null, capabilityField(capabilities),
        ])
        return .raw(encoder.bytes)
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> Target {
        var fields = try FieldReader(&reader)
        var target = Target()
        target.address = try fields.text("target address")
        target.durable = try fields.uint("durable") ?? 0
        target.expiryPolicy = try fields.text("expiry-policy")
        target.timeout = try fields.uint("timeout") ?? 0
        target.dynamic = try fields.bool("dynamic") ?? false
        try fields.skip()
        target.capabilities = try fields.symbols("capabilities")
        return target
    }
}

/// One capability goes as a bare symbol, several as an array.
private func capabilityField(_ capabilities: [String]) -> AMQPField {
    switch capabilities.count {
    case 0: .null
    case 1: .symbol(capabilities[0])
    default: .symbols(capabilities)
    }
}

/// Any frame body of the AMQP layer.
package enum Performative {
    case open(Open)
    case begin(Begin)
    case attach(Attach)
    case flow(Flow)
    case transfer(Transfer)
    case disposition(Disposition)
    case detach(Detach)
    case end(End)
    case close(Close)

    /// Decodes one performative; afterwards the reader stands at the payload.
    package static func decode(from reader: inout ByteReader) throws(DecodeError) -> Performative {
        guard try reader.u8() == 0x00 else { throw .badType("frame body that is no described type") }
        let descriptor = try ByteReader.descriptor(&reader)
        switch descriptor {
        case 0x10: return .open(try Open.decode(&reader))
        case 0x11: return .begin(try Begin.decode(&reader))
        case 0x12: return .attach(try Attach.decode(&reader))
        case 0x13: return .flow(try Flow.decode(&reader))
        case 0x14: return .transfer(try decodeTransfer(&reader))
        case 0x15: return .disposition(try Disposition.decode(&reader))
        case 0x16: return .detach(try Detach.decode(&reader))
        case 0x17:
            var fields = try FieldReader(&reader)
            return .end(End(error: try fields.error("error")))
        case 0x18:
            var fields = try FieldReader(&reader)
            return .close(Close(error: try fields.error("error")))
        default: throw .badDescriptor(descriptor)
        }
    }
}
