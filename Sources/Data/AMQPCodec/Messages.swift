/// The private section that routers put in front of a message (router-protocol sheet, section 2.6).
package struct RouterAnnotations: Equatable, Sendable {
    /// `SKPR--RA`.
    package static let descriptor: UInt64 = 0x534B_5052_2D2D_5241
    /// Forward without waiting for the end.
    package static let streaming: UInt32 = 1
    /// A released delivery may be sent elsewhere.
    package static let resendReleased: UInt32 = 2
    /// Do not hold the input back when buffers fill.
    package static let disableQ2: UInt32 = 4

    /// `streaming`, `resendReleased`, `disableQ2` and bits we do not know, which are kept.
    package var flags: UInt32
    /// Replaces the message's `to` on anonymous links.
    package var toOverride: String?
    /// `0/<router id>` of the router where the message entered the network.
    package var ingress: String?
    /// `0/<router id>` of every router passed.
    package var trace: [String]
    /// 15 octets naming the mesh of edge routers where the message entered.
    package var meshID: String?

    /// All fields as given; what is not named has the default of the specification.
    package init(
        flags: UInt32 = 0, toOverride: String? = nil, ingress: String? = nil, trace: [String] = [],
        meshID: String? = nil
    ) {
        self.flags = flags
        self.toOverride = toOverride
        self.ingress = ingress
        self.trace = trace
        self.meshID = meshID
    }

    /// Appends descriptor and fields, without a frame header.
    package func encode(into encoder: inout AMQPEncoder) {
        encoder.described(RouterAnnotations.descriptor)
        encoder.list(meshID == nil ? 4 : 5) { list in
            list.uint(flags)
            if let toOverride { list.string(toOverride) } else { list.null() }
            if let ingress { list.string(ingress) } else { list.null() }
            if trace.isEmpty {
                list.u8(0x45)
            } else {
                list.list(trace.count) { inner in for hop in trace { inner.string(hop) } }
            }
            if let meshID { list.string(meshID) }
        }
    }

    /// Decodes the list behind the descriptor, which must be there as a whole. What is no list is
    /// ``DecodeError/badType(_:)``; anything wrong in it is ``DecodeError/missingField(_:)`` of "router annotations",
    /// which callers answer with amqp:invalid-field.
    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> RouterAnnotations {
        let wrong = DecodeError.missingField("router annotations")
        guard let value = try? AMQPValue.decode(from: &reader) else { throw wrong }
        guard case .list(let items) = value else { throw .badType("router annotations") }
        guard items.count >= 4, let flags = flags(items[0]) else { throw wrong }
        var result = RouterAnnotations(flags: flags)
        switch items[1] {
        case .null: break
        case .string(let text): result.toOverride = text
        default: throw wrong
        }
        switch items[2] {
        case .null: break
        case .string(let text): result.ingress = text
        default: throw wrong
        }
        guard case .list(let hops) = items[3], hops.count <= 128 else { throw wrong }
        for hop in hops {
            guard case .string(let text) = hop else { throw wrong }
            result.trace.append(text)
        }
        if items.count > 4 {
            guard case .string(let mesh) = items[4], mesh.utf8.count == 15 else { throw wrong }
            result.meshID = mesh
        }
        return result
    }

    /// Flags come in any unsigned form, never in a signed one.
    private static func flags(_ value: AMQPValue) -> UInt32? {
        switch value {
        case .ubyte, .ushort, .uint, .ulong: value.uintValue.flatMap { UInt32(exactly: $0) }
        default: nil
        }
    }
}

/// The properties section (part 3, section 3.2.4), as far as routers use it.
package struct MessageProperties: Equatable, Sendable {
    /// ulong, uuid, binary or string; null if absent.
    package var messageID: AMQPValue = .null
    /// The user that the message says it is from.
    package var userID: [UInt8]?
    /// The address.
    package var to: String?
    /// What the message is about.
    package var subject: String?
    /// Where an answer goes.
    package var replyTo: String?
    /// The message that this one answers; null if absent.
    package var correlationID: AMQPValue = .null
    /// MIME type of the body.
    package var contentType: String?

    /// All fields as given; what is not named has the default of the specification.
    package init() {}

    static func decode(_ reader: inout ByteReader) throws(DecodeError) -> MessageProperties {
        var fields = try FieldReader(&reader)
        var properties = MessageProperties()
        properties.messageID = try fields.value("message-id") ?? .null
        properties.userID = try fields.octets("user-id")
        properties.to = try fields.text("to")
        properties.subject = try fields.text("subject")
        properties.replyTo = try fields.text("reply-to")
        properties.correlationID = try fields.value("correlation-id") ?? .null
        properties.contentType = try fields.text("content-type")
        return properties
    }
}

/// What a router must know of a message before it can forward it.
package struct MessageHead: Equatable, Sendable {
    /// Nil when the message comes from a client.
    package var annotations: RouterAnnotations?
    /// 0 to 9; nil means 4.
    package var priority: UInt8?
    /// Nil when the section is absent.
    package var properties: MessageProperties?
    /// In wire order.
    package var applicationProperties: [MapEntry] = []
    /// Offset of the first octet behind the router annotations: the bare message as clients see it.
    package var bareOffset = 0
    /// Offset of the body section's first octet, or of the end when there is no body.
    package var bodyOffset = 0
    /// Offset behind an amqp-value null body (`00 53 77 40`), where a TCP stream's octets start.
    package var afterNullBody: Int?

    /// Another router says that it is a client's stream, whose sender may pause anywhere. A TCP stream's head is wanted
    /// whole, and comes in one piece.
    fileprivate var mayPause: Bool {
        let flags = annotations?.flags ?? 0
        return flags & (RouterAnnotations.streaming | RouterAnnotations.disableQ2) == RouterAnnotations.streaming
    }

    /// What a scan found.
    package enum ScanResult: Equatable, Sendable {
        /// The head is not whole yet.
        case needMore
        /// The whole head.
        case head(MessageHead)
    }

    /// Octets that a head may have.
    package static let maximumBytes = 65536

    /// Scans a message as far as its body.
    ///
    /// - Parameter complete: no more octets will come; an end inside the head is then an error, an end behind it the
    ///   end of a message without body.
    package static func scan(_ buffer: UnsafeRawBufferPointer, complete: Bool) throws(DecodeError) -> ScanResult {
        var scanner = MessageHeadScanner()
        return try scanner.scan(buffer, complete: complete)
    }

    /// Takes one section; true when it was the body. Throws ``DecodeError/truncated`` only while the section is not
    /// whole: a whole section whose parts contradict its size will not get better with more octets.
    fileprivate mutating func take(
        _ descriptor: UInt64, _ reader: inout ByteReader
    ) throws(DecodeError) -> Bool {
        switch descriptor {
        case 0x75, 0x76:
            return true
        case 0x77:
            if try reader.peek() == 0x40 { afterNullBody = reader.offset + 1 }
            return true
        case RouterAnnotations.descriptor, 0x70...0x74:
            var behind = reader
            try behind.skipValue()
            do throws(DecodeError) {
                try takeWhole(descriptor, &reader)
            } catch .truncated {
                throw .badType("message section shorter than its parts")
            }
            return false
        default:
            throw .badDescriptor(descriptor)
        }
    }

    private mutating func takeWhole(_ descriptor: UInt64, _ reader: inout ByteReader) throws(DecodeError) {
        switch descriptor {
        case RouterAnnotations.descriptor:
            guard bodyOffset == 0 else { throw .badType("router annotations behind another section") }
            annotations = try RouterAnnotations.decode(&reader)
            bareOffset = reader.offset
        case 0x70:
            var fields = try FieldReader(&reader)
            try fields.skip()
            priority = try fields.ubyte("priority")
        case 0x73:
            properties = try MessageProperties.decode(&reader)
        case 0x74:
            guard case .map(let entries) = try AMQPValue.decode(from: &reader) else {
                throw .badType("application-properties")
            }
            applicationProperties = entries
        default:
            // Delivery and message annotations: nothing in them concerns a router.
            try reader.skipValue()
        }
    }
}

/// A scan of a head that arrives in pieces: each call goes on at the section where the last one stopped, so that a
/// sender of tiny frames does not make us read the head again for each.
package struct MessageHeadScanner: Equatable, Sendable {
    private var head = MessageHead()
    /// Descriptor of the last section taken. Sections stand in the order of their descriptors, each at most once (part
    /// 3, section 3.2). Router annotations are only looked for at the start.
    private var last: UInt64 = 0

    /// A scan that has seen nothing.
    package init() {}

    /// Scans all octets so far, which begin with those of the call before.
    ///
    /// - Parameters:
    ///   - complete: no more octets will come; an end inside the head is then an error, an end behind it the end of a
    ///     message without body.
    ///   - isStream: its sender may pause anywhere, so that what has arrived goes on when the properties are whole.
    package mutating func scan(
        _ buffer: UnsafeRawBufferPointer, complete: Bool, isStream: Bool = false
    ) throws(DecodeError) -> MessageHead.ScanResult {
        var reader = ByteReader(buffer)
        do throws(DecodeError) {
            try reader.skip(head.bodyOffset)
            while true {
                head.bodyOffset = reader.offset
                if reader.remaining == 0 {
                    return complete || last >= 0x73 && (isStream || head.mayPause) ? .head(head) : .needMore
                }
                guard try reader.u8() == 0x00 else { throw DecodeError.badType("message section") }
                let descriptor = try ByteReader.descriptor(&reader)
                if descriptor != RouterAnnotations.descriptor, descriptor <= last {
                    throw DecodeError.badDescriptor(descriptor)
                }
                if try head.take(descriptor, &reader) { return .head(head) }
                if descriptor != RouterAnnotations.descriptor { last = descriptor }
                guard reader.offset <= MessageHead.maximumBytes else { throw DecodeError.tooLarge("message head") }
            }
        } catch .truncated {
            guard !complete else { throw .truncated }
            guard buffer.count <= MessageHead.maximumBytes else { throw .tooLarge("message head") }
            return .needMore
        }
    }
}
