/// The protocol header that starts the AMQP layer: `AMQP` 0 1 0 0.
package let amqpHeader: [UInt8] = [0x41, 0x4d, 0x51, 0x50, 0, 1, 0, 0]
/// The protocol header that starts the SASL layer.
package let saslHeader: [UInt8] = [0x41, 0x4d, 0x51, 0x50, 3, 1, 0, 0]

/// The eight octets in front of every frame (part 2, section 2.3.1).
package struct FrameHeader: Equatable, Sendable {
    package static let size = 8

    /// Octets of the whole frame.
    package var size: UInt32
    /// Data offset in four-octet words, at least 2.
    package var doff: UInt8
    /// 0 AMQP, 1 SASL.
    package var type: UInt8
    package var channel: UInt16

    package init(size: UInt32, doff: UInt8, type: UInt8, channel: UInt16) {
        self.size = size
        self.doff = doff
        self.type = type
        self.channel = channel
    }

    /// Reads a header; `p` must have eight octets.
    package static func decode(_ p: UnsafeRawPointer) -> FrameHeader {
        FrameHeader(
            size: UInt32(bigEndian: p.loadUnaligned(as: UInt32.self)), doff: p.load(fromByteOffset: 4, as: UInt8.self),
            type: p.load(fromByteOffset: 5, as: UInt8.self),
            channel: UInt16(bigEndian: p.loadUnaligned(fromByteOffset: 6, as: UInt16.self)))
    }
}

/// A whole frame: `body` encodes what follows the header.
package func encodeFrame(channel: UInt16, type: UInt8 = 0, _ body: (inout AMQPEncoder) -> Void) -> [UInt8] {
    var encoder = AMQPEncoder()
    encoder.bytes = [0, 0, 0, 0, 2, type, UInt8(channel >> 8), UInt8(truncatingIfNeeded: channel)]
    body(&encoder)
    let size = UInt32(encoder.bytes.count)
    encoder.bytes[0] = UInt8(truncatingIfNeeded: size >> 24)
    encoder.bytes[1] = UInt8(truncatingIfNeeded: size >> 16)
    encoder.bytes[2] = UInt8(truncatingIfNeeded: size >> 8)
    encoder.bytes[3] = UInt8(truncatingIfNeeded: size)
    return encoder.bytes
}

/// open (0x10).
package struct Open: Equatable, Sendable {
    package var containerID: String
    package var hostname: String?
    package var maxFrameSize: UInt32 = .max
    package var channelMax: UInt16 = 65535
    package var idleTimeoutMilliseconds: UInt32?
    package var offeredCapabilities: [String] = []
    package var desiredCapabilities: [String] = []
    package var properties: [MapEntry] = []

    package init(containerID: String) { self.containerID = containerID }

    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x10)
        encoder.fields([
            .string(containerID), .optional(hostname) { .string($0) },
            maxFrameSize == .max ? .null : .uintFull(maxFrameSize), channelMax == 65535 ? .null : .ushort(channelMax),
            .optional(idleTimeoutMilliseconds) { .uint($0) }, .null, .null, .symbols(offeredCapabilities),
            .symbols(desiredCapabilities), properties.isEmpty ? .null : .map(properties),
        ])
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> Open {
        var fields = try FieldReader(&reader)
        guard let container = try fields.text("container-id") else { throw .missingField("container-id") }
        var open = Open(containerID: container)
        open.hostname = try fields.text("hostname")
        open.maxFrameSize = try fields.uint("max-frame-size") ?? .max
        open.channelMax = try fields.ushort("channel-max") ?? 65535
        open.idleTimeoutMilliseconds = try fields.uint("idle-time-out")
        try fields.skip()
        try fields.skip()
        open.offeredCapabilities = try fields.symbols("offered-capabilities")
        open.desiredCapabilities = try fields.symbols("desired-capabilities")
        open.properties = try fields.map("properties")
        return open
    }
}

/// begin (0x11).
package struct Begin: Equatable, Sendable {
    package var remoteChannel: UInt16?
    package var nextOutgoingID: UInt32
    package var incomingWindow: UInt32
    package var outgoingWindow: UInt32
    package var handleMax: UInt32 = .max

    package init(
        remoteChannel: UInt16?, nextOutgoingID: UInt32, incomingWindow: UInt32, outgoingWindow: UInt32, handleMax: UInt32
    ) {
        self.remoteChannel = remoteChannel
        self.nextOutgoingID = nextOutgoingID
        self.incomingWindow = incomingWindow
        self.outgoingWindow = outgoingWindow
        self.handleMax = handleMax
    }

    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x11)
        encoder.fields([
            .optional(remoteChannel) { .ushort($0) }, .uint(nextOutgoingID), .uint(incomingWindow), .uint(outgoingWindow),
            handleMax == .max ? .null : .uint(handleMax),
        ])
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> Begin {
        var fields = try FieldReader(&reader)
        let remote = try fields.ushort("remote-channel")
        guard let next = try fields.uint("next-outgoing-id") else { throw .missingField("next-outgoing-id") }
        guard let incoming = try fields.uint("incoming-window") else { throw .missingField("incoming-window") }
        guard let outgoing = try fields.uint("outgoing-window") else { throw .missingField("outgoing-window") }
        return Begin(
            remoteChannel: remote, nextOutgoingID: next, incomingWindow: incoming, outgoingWindow: outgoing,
            handleMax: try fields.uint("handle-max") ?? .max)
    }
}

/// attach (0x12).
package struct Attach: Equatable, Sendable {
    package var name: String
    package var handle: UInt32
    package var role: Role
    package var sndSettleMode: UInt8 = 2
    package var rcvSettleMode: UInt8 = 0
    package var source: Source?
    package var target: Target?
    package var initialDeliveryCount: UInt32?
    package var maxMessageSize: UInt64?
    package var properties: [MapEntry] = []

    package init(
        name: String, handle: UInt32, role: Role, sndSettleMode: UInt8, rcvSettleMode: UInt8, source: Source?,
        target: Target?, initialDeliveryCount: UInt32?, maxMessageSize: UInt64?, properties: [MapEntry]
    ) {
        self.name = name
        self.handle = handle
        self.role = role
        self.sndSettleMode = sndSettleMode
        self.rcvSettleMode = rcvSettleMode
        self.source = source
        self.target = target
        self.initialDeliveryCount = initialDeliveryCount
        self.maxMessageSize = maxMessageSize
        self.properties = properties
    }

    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x12)
        encoder.fields([
            .string(name), .uint(handle), .bool(role == .receiver), .ubyte(sndSettleMode), .ubyte(rcvSettleMode),
            source?.field ?? .null, target?.field ?? .null, .null, .null,
            .optional(initialDeliveryCount) { .uint($0) }, .optional(maxMessageSize) { .ulong($0) }, .null, .null,
            properties.isEmpty ? .null : .map(properties),
        ])
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> Attach {
        var fields = try FieldReader(&reader)
        guard let name = try fields.text("link name") else { throw .missingField("link name") }
        guard let handle = try fields.uint("handle") else { throw .missingField("handle") }
        guard let role = try fields.bool("role") else { throw .missingField("role") }
        let sndSettle = try fields.ubyte("snd-settle-mode") ?? 2
        let rcvSettle = try fields.ubyte("rcv-settle-mode") ?? 0
        let source = try fields.source()
        let target = try fields.target()
        try fields.skip()
        try fields.skip()
        let count = try fields.uint("initial-delivery-count")
        let size = try fields.ulong("max-message-size")
        try fields.skip()
        try fields.skip()
        return Attach(
            name: name, handle: handle, role: role ? .receiver : .sender, sndSettleMode: sndSettle, rcvSettleMode: rcvSettle,
            source: source, target: target, initialDeliveryCount: count, maxMessageSize: size,
            properties: try fields.map("properties"))
    }
}

/// flow (0x13).
package struct Flow: Equatable, Sendable {
    package var nextIncomingID: UInt32?
    package var incomingWindow: UInt32
    package var nextOutgoingID: UInt32
    package var outgoingWindow: UInt32
    package var handle: UInt32?
    package var deliveryCount: UInt32?
    package var linkCredit: UInt32?
    package var available: UInt32?
    package var drain = false
    package var echo = false

    package init(nextIncomingID: UInt32?, incomingWindow: UInt32, nextOutgoingID: UInt32, outgoingWindow: UInt32) {
        self.nextIncomingID = nextIncomingID
        self.incomingWindow = incomingWindow
        self.nextOutgoingID = nextOutgoingID
        self.outgoingWindow = outgoingWindow
    }

    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x13)
        encoder.fields([
            .optional(nextIncomingID) { .uint($0) }, .uint(incomingWindow), .uint(nextOutgoingID), .uint(outgoingWindow),
            .optional(handle) { .uint($0) }, .optional(deliveryCount) { .uint($0) }, .optional(linkCredit) { .uint($0) },
            .optional(available) { .uint($0) }, handle == nil && !drain ? .null : .bool(drain), echo ? .bool(true) : .null,
        ])
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> Flow {
        var fields = try FieldReader(&reader)
        let next = try fields.uint("next-incoming-id")
        guard let incoming = try fields.uint("incoming-window") else { throw .missingField("incoming-window") }
        guard let nextOut = try fields.uint("next-outgoing-id") else { throw .missingField("next-outgoing-id") }
        guard let outgoing = try fields.uint("outgoing-window") else { throw .missingField("outgoing-window") }
        var flow = Flow(nextIncomingID: next, incomingWindow: incoming, nextOutgoingID: nextOut, outgoingWindow: outgoing)
        flow.handle = try fields.uint("handle")
        flow.deliveryCount = try fields.uint("delivery-count")
        flow.linkCredit = try fields.uint("link-credit")
        flow.available = try fields.uint("available")
        flow.drain = try fields.bool("drain") ?? false
        flow.echo = try fields.bool("echo") ?? false
        return flow
    }
}

/// disposition (0x15).
package struct Disposition: Equatable, Sendable {
    package var role: Role
    package var first: UInt32
    package var last: UInt32?
    package var settled: Bool
    package var state: DeliveryState?

    package init(role: Role, first: UInt32, last: UInt32?, settled: Bool, state: DeliveryState?) {
        self.role = role
        self.first = first
        self.last = last
        self.settled = settled
        self.state = state
    }

    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x15)
        encoder.fields([
            .bool(role == .receiver), .uint(first), .optional(last) { .uint($0) }, settled ? .bool(true) : .null,
            state?.field ?? .null,
        ])
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> Disposition {
        var fields = try FieldReader(&reader)
        guard let role = try fields.bool("role") else { throw .missingField("role") }
        guard let first = try fields.uint("first") else { throw .missingField("first") }
        return Disposition(
            role: role ? .receiver : .sender, first: first, last: try fields.uint("last"),
            settled: try fields.bool("settled") ?? false, state: try fields.state("state"))
    }
}

/// detach (0x16).
package struct Detach: Equatable, Sendable {
    package var handle: UInt32
    package var closed: Bool
    package var error: AMQPError?

    package init(handle: UInt32, closed: Bool, error: AMQPError?) {
        self.handle = handle
        self.closed = closed
        self.error = error
    }

    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x16)
        encoder.fields([.uint(handle), closed ? .bool(true) : .null, error?.field ?? .null])
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> Detach {
        var fields = try FieldReader(&reader)
        guard let handle = try fields.uint("handle") else { throw .missingField("handle") }
        return Detach(handle: handle, closed: try fields.bool("closed") ?? false, error: try fields.error("error"))
    }
}

/// end (0x17).
package struct End: Equatable, Sendable {
    package var error: AMQPError?
    package init(error: AMQPError?) { self.error = error }

    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x17)
        encoder.fields([error?.field ?? .null])
    }
}

/// close (0x18).
package struct Close: Equatable, Sendable {
    package var error: AMQPError?
    package init(error: AMQPError?) { self.error = error }

    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x18)
        encoder.fields([error?.field ?? .null])
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

/// A frame of the SASL layer (part 5, section 5.3).
package enum SASLFrame: Equatable, Sendable {
    case mechanisms([String])
    case initialize(mechanism: String, initialResponse: [UInt8]?, hostname: String?)
    case challenge([UInt8])
    case response([UInt8])
    /// 0 = success.
    case outcome(code: UInt8)

    package func encode(into encoder: inout AMQPEncoder) {
        switch self {
        case .mechanisms(let names):
            encoder.described(0x40)
            encoder.fields([.symbols(names)])
        case .initialize(let mechanism, let response, let hostname):
            encoder.described(0x41)
            encoder.fields([
                .symbol(mechanism), .optional(response) { .binary($0) }, .optional(hostname) { .string($0) },
            ])
        case .challenge(let bytes):
            encoder.described(0x42)
            encoder.fields([.binary(bytes)])
        case .response(let bytes):
            encoder.described(0x43)
            encoder.fields([.binary(bytes)])
        case .outcome(let code):
            encoder.described(0x44)
            encoder.fields([.ubyte(code)])
        }
    }

    package static func decode(from reader: inout ByteReader) throws(DecodeError) -> SASLFrame {
        guard try reader.u8() == 0x00 else { throw .badType("SASL frame body that is no described type") }
        let descriptor = try ByteReader.descriptor(&reader)
        var fields = try FieldReader(&reader)
        switch descriptor {
        case 0x40: return .mechanisms(try fields.symbols("mechanisms"))
        case 0x41:
            guard let mechanism = try fields.text("mechanism") else { throw .missingField("mechanism") }
            let response = try fields.binary("initial-response").map { Array($0) }
            return .initialize(mechanism: mechanism, initialResponse: response, hostname: try fields.text("hostname"))
        case 0x42: return .challenge(try fields.binary("challenge").map { Array($0) } ?? [])
        case 0x43: return .response(try fields.binary("response").map { Array($0) } ?? [])
        case 0x44:
            guard let code = try fields.ubyte("code") else { throw .missingField("code") }
            return .outcome(code: code)
        default: throw .badDescriptor(descriptor)
        }
    }
}
