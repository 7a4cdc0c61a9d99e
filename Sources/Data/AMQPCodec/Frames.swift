/// The protocol header that starts the AMQP layer: `AMQP` 0 1 0 0.
package let amqpHeader: [UInt8] = [0x41, 0x4d, 0x51, 0x50, 0, 1, 0, 0]
/// The protocol header that starts the SASL layer.
package let saslHeader: [UInt8] = [0x41, 0x4d, 0x51, 0x50, 3, 1, 0, 0]

/// The eight octets in front of every frame (part 2, section 2.3.1).
package struct FrameHeader: Equatable, Sendable {
    /// Octets of the header itself.
    package static let size = 8

    /// Octets of the whole frame.
    package var size: UInt32
    /// Data offset in four-octet words, at least 2.
    package var doff: UInt8
    /// 0 AMQP, 1 SASL.
    package var type: UInt8
    /// Session channel; 0 for frames of the connection.
    package var channel: UInt16

    /// All fields as given; what is not named has the default of the specification.
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
    /// The sender's container-id; a router's id.
    package var containerID: String
    /// The host the connecting side wanted to reach.
    package var hostname: String?
    /// Octets of the largest frame the sender takes; at least 512 by the specification.
    package var maxFrameSize: UInt32 = .max
    /// Highest channel number the sender takes.
    package var channelMax: UInt16 = 65535
    /// The sender closes when nothing came for this long; nil never.
    package var idleTimeoutMilliseconds: UInt32?
    /// Extensions the sender offers.
    package var offeredCapabilities: [String] = []
    /// Extensions the sender may use if the peer offers them.
    package var desiredCapabilities: [String] = []
    /// Symbols to values (protocol sheet, section 1.4).
    package var properties: [MapEntry] = []

    /// All fields as given; what is not named has the default of the specification.
    package init(containerID: String) { self.containerID = containerID }

    /// Appends descriptor and fields, without a frame header.
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
    /// The peer's channel that this begin answers; nil when it starts a session.
    package var remoteChannel: UInt16?
    /// Transfer id of the sender's next transfer frame.
    package var nextOutgoingID: UInt32
    /// Transfer frames the sender takes.
    package var incomingWindow: UInt32
    /// Transfer frames the sender may send.
    package var outgoingWindow: UInt32
    /// Highest link handle the sender takes.
    package var handleMax: UInt32 = .max

    /// All fields as given; what is not named has the default of the specification.
    package init(
        remoteChannel: UInt16?, nextOutgoingID: UInt32, incomingWindow: UInt32, outgoingWindow: UInt32,
        handleMax: UInt32
    ) {
        self.remoteChannel = remoteChannel
        self.nextOutgoingID = nextOutgoingID
        self.incomingWindow = incomingWindow
        self.outgoingWindow = outgoingWindow
        self.handleMax = handleMax
    }

    /// Appends descriptor and fields, without a frame header.
    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x11)
        encoder.fields([
            .optional(remoteChannel) { .ushort($0) }, .uint(nextOutgoingID), .uint(incomingWindow),
            .uint(outgoingWindow),
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
    /// Names the link together with its direction.
    package var name: String
    /// The sender's number of this link in its session.
    package var handle: UInt32
    /// The end that sent this attach.
    package var role: Role
    /// 0 unsettled, 1 settled, 2 mixed.
    package var sndSettleMode: UInt8 = 2
    /// 0 first, 1 second.
    package var rcvSettleMode: UInt8 = 0
    /// Where deliveries come from; nil in an answer refuses the link.
    package var source: Source?
    /// Where deliveries go; nil in an answer refuses the link.
    package var target: Target?
    /// Start of the delivery-count; senders give it.
    package var initialDeliveryCount: UInt32?
    /// Octets; nil and 0 mean no limit.
    package var maxMessageSize: UInt64?
    /// Symbols to values.
    package var properties: [MapEntry] = []

    /// All fields as given; what is not named has the default of the specification.
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

    /// Appends descriptor and fields, without a frame header.
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
        if sndSettle > 2 { throw .badType("snd-settle-mode \(sndSettle), which is none of 0, 1, 2") }
        if rcvSettle > 1 { throw .badType("rcv-settle-mode \(rcvSettle), which is neither 0 nor 1") }
        let source = try fields.source()
        let target = try fields.target()
        try fields.skip()
        try fields.skip()
        let count = try fields.uint("initial-delivery-count")
        let size = try fields.ulong("max-message-size")
        try fields.skip()
        try fields.skip()
        return Attach(
            name: name, handle: handle, role: role ? .receiver : .sender, sndSettleMode: sndSettle,
            rcvSettleMode: rcvSettle,
            source: source, target: target, initialDeliveryCount: count, maxMessageSize: size,
            properties: try fields.map("properties"))
    }
}

/// flow (0x13).
package struct Flow: Equatable, Sendable {
    /// Transfer id the sender expects next; nil before it saw the peer's begin.
    package var nextIncomingID: UInt32?
    /// Transfer frames the sender takes from there on.
    package var incomingWindow: UInt32
    /// Transfer id of the sender's next transfer frame.
    package var nextOutgoingID: UInt32
    /// Transfer frames the sender may send.
    package var outgoingWindow: UInt32
    /// The link meant; nil for the session alone.
    package var handle: UInt32?
    /// Deliveries counted on the link.
    package var deliveryCount: UInt32?
    /// Deliveries the receiver takes beyond `deliveryCount`.
    package var linkCredit: UInt32?
    /// Deliveries the sender has waiting.
    package var available: UInt32?
    /// Use the credit up or give it back.
    package var drain = false
    /// Answer with a flow.
    package var echo = false

    /// All fields as given; what is not named has the default of the specification.
    package init(nextIncomingID: UInt32?, incomingWindow: UInt32, nextOutgoingID: UInt32, outgoingWindow: UInt32) {
        self.nextIncomingID = nextIncomingID
        self.incomingWindow = incomingWindow
        self.nextOutgoingID = nextOutgoingID
        self.outgoingWindow = outgoingWindow
    }

    /// Appends descriptor and fields, without a frame header.
    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x13)
        encoder.fields([
            .optional(nextIncomingID) { .uint($0) }, .uint(incomingWindow), .uint(nextOutgoingID),
            .uint(outgoingWindow),
            .optional(handle) { .uint($0) }, .optional(deliveryCount) { .uint($0) },
            .optional(linkCredit) { .uint($0) },
            .optional(available) { .uint($0) }, handle == nil && !drain ? .null : .bool(drain),
            echo ? .bool(true) : .null,
        ])
    }

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> Flow {
        var fields = try FieldReader(&reader)
        let next = try fields.uint("next-incoming-id")
        guard let incoming = try fields.uint("incoming-window") else { throw .missingField("incoming-window") }
        guard let nextOut = try fields.uint("next-outgoing-id") else { throw .missingField("next-outgoing-id") }
        guard let outgoing = try fields.uint("outgoing-window") else { throw .missingField("outgoing-window") }
        var flow = Flow(
            nextIncomingID: next, incomingWindow: incoming, nextOutgoingID: nextOut, outgoingWindow: outgoing)
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
    /// The end that sent this disposition.
    package var role: Role
    /// First delivery-id meant.
    package var first: UInt32
    /// Last delivery-id meant; nil means `first`.
    package var last: UInt32?
    /// The sender has forgotten the deliveries.
    package var settled: Bool
    /// Their new state; nil leaves it.
    package var state: DeliveryState?

    /// All fields as given; what is not named has the default of the specification.
    package init(role: Role, first: UInt32, last: UInt32?, settled: Bool, state: DeliveryState?) {
        self.role = role
        self.first = first
        self.last = last
        self.settled = settled
        self.state = state
    }

    /// Appends descriptor and fields, without a frame header.
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
    /// The sender's number of the link.
    package var handle: UInt32
    /// The link is closed, not only detached.
    package var closed: Bool
    /// Why, if something went wrong.
    package var error: AMQPError?

    /// All fields as given; what is not named has the default of the specification.
    package init(handle: UInt32, closed: Bool, error: AMQPError?) {
        self.handle = handle
        self.closed = closed
        self.error = error
    }

    /// Appends descriptor and fields, without a frame header.
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
    /// Why, if something went wrong.
    package var error: AMQPError?
    /// All fields as given; what is not named has the default of the specification.
    package init(error: AMQPError?) { self.error = error }

    /// Appends descriptor and fields, without a frame header.
    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x17)
        encoder.fields([error?.field ?? .null])
    }
}

/// close (0x18).
package struct Close: Equatable, Sendable {
    /// Why, if something went wrong.
    package var error: AMQPError?
    /// All fields as given; what is not named has the default of the specification.
    package init(error: AMQPError?) { self.error = error }

    /// Appends descriptor and fields, without a frame header.
    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(0x18)
        encoder.fields([error?.field ?? .null])
    }
}
