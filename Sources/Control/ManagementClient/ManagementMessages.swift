import AMQPCodec

/// A request to a management agent (router-protocol.md §6.1).
struct ManagementRequest: Hashable, Sendable {
    var operation: String
    var type: String
    var name: String?
    var body: ManagementValue
    /// Address of another router's agent; nil for the one that is connected to.
    var agent: String?

    init(
        operation: String, type: String, name: String? = nil, body: ManagementValue = .map([:]), agent: String? = nil
    ) {
        self.operation = operation
        self.type = type
        self.name = name
        self.body = body
        self.agent = agent
    }

    /// The request in a few words, for texts.
    var summary: String { "\(operation) \(type)" + (name.map { " \"\($0)\"" } ?? "") }

    /// The request as a message.
    func message(number: UInt64, replyTo: String) -> [UInt8] {
        var encoder = AMQPEncoder()
        encoder.described(0x73)
        encoder.list(6) { list in
            list.ulong(number)
            list.null()
            if let agent { list.string(agent) } else { list.null() }
            list.null()
            list.string(replyTo)
            list.ulong(number)
        }
        encoder.described(0x74)
        var properties: [(String, String)] = [("operation", operation)]
        // QUERY looks at entityType, everything else at type; both do no harm.
        properties += operation == "QUERY" ? [("entityType", type)] : [("type", type)]
        if let name { properties.append(("name", name)) }
        encoder.map(properties.count) { inner in
            for (key, value) in properties {
                inner.string(key)
                inner.string(value)
            }
        }
        encoder.described(0x77)
        encoder.value(body.encoded)
        return encoder.bytes
    }
}

/// What an agent answered.
struct ManagementReply: Hashable, Sendable {
    var statusCode: Int
    var statusDescription: String
    var body: ManagementValue

    /// Number and contents of a reply message; nil for a message that is no reply to one of our requests.
    static func decode(_ message: [UInt8]) throws(DecodeError) -> (number: UInt64, reply: ManagementReply)? {
        // The closure's error type is erased by the standard library; the result carries the typed one out.
        let result = message.withUnsafeBytes { buffer -> Result<(UInt64, ManagementReply)?, DecodeError> in
            do throws(DecodeError) {
                return .success(try decode(buffer))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func decode(
        _ buffer: UnsafeRawBufferPointer
    ) throws(DecodeError) -> (UInt64, ManagementReply)? {
        guard case .head(let head) = try MessageHead.scan(buffer, complete: true) else { throw .truncated }
        guard let number = head.properties?.correlationID.uintValue else { return nil }
        var reply = ManagementReply(statusCode: 0, statusDescription: "", body: .null)
        for entry in head.applicationProperties {
            switch entry.key.stringValue {
            case "statusCode": reply.statusCode = Int(entry.value.intValue ?? 0)
            case "statusDescription": reply.statusDescription = entry.value.stringValue ?? ""
            default: break
            }
        }
        if head.bodyOffset < buffer.count {
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: buffer[head.bodyOffset...]))
            if case .described(_, let body) = try AMQPValue.decode(from: &reader) { reply.body = ManagementValue(body) }
        }
        return (number, reply)
    }
}

extension ManagementValue {
    /// The value of an AMQP value; types that management does not use become null.
    init(_ value: AMQPValue) {
        switch value {
        case .string(let text), .symbol(let text): self = .string(text)
        case .bool(let flag): self = .boolean(flag)
        case .list(let items), .array(let items): self = .list(items.map(ManagementValue.init))
        case .map(let entries):
            var map: [String: ManagementValue] = [:]
            for entry in entries {
                if let key = entry.key.stringValue { map[key] = ManagementValue(entry.value) }
            }
            self = .map(map)
        case .timestamp(let time): self = .integer(time)
        case .ulong(let number): self = .integer(Int64(clamping: number))
        default: self = value.intValue.map { .integer($0) } ?? .null
        }
    }

    /// The value as it is sent. Integers go as int where they fit, as long otherwise: agents take either.
    var encoded: AMQPValue {
        switch self {
        case .string(let text): .string(text)
        case .integer(let number): Int32(exactly: number).map { .int($0) } ?? .long(number)
        case .boolean(let flag): .bool(flag)
        case .list(let items): .list(items.map(\.encoded))
        case .map(let map):
            .map(
                map.sorted { $0.key < $1.key }.map { MapEntry(key: .string($0.key), value: $0.value.encoded) })
        case .null: .null
        }
    }
}
