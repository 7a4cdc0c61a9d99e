import AMQPCodec
import RouterConfig

/// A row of management: the attributes of one entity.
typealias ManagementRow = [String: AMQPValue]

/// What a request is about: one type, all of a kind, or everything.
enum RequestedType {
    case one(EntityType)
    case kind(EntityBase)

    /// Nil if there is no such type.
    init?(_ name: String) {
        if let type = Schema.type(named: name) {
            self = .one(type)
        } else if let base = Schema.base(named: name) {
            self = .kind(base)
        } else {
            return nil
        }
    }

    var longName: String {
        switch self {
        case .one(let type): type.longName
        case .kind(let base): base.longName
        }
    }

    /// Whether entities of `type` are meant.
    func includes(_ type: EntityType) -> Bool {
        switch self {
        case .one(let own): own.shortName == type.shortName
        case .kind(let base): type.bases.contains(base)
        }
    }

    /// Whether the agent itself is meant.
    var isAgent: Bool {
        switch self {
        case .one(let type): type.shortName == "management"
        case .kind(let base): base == .management
        }
    }
}

/// A management request, decoded.
struct ManagementRequest {
    /// As it was sent; compared without regard to case.
    var operation: String
    var type: String?
    var entityType: String?
    var name: String?
    var identity: String?
    var count: Int
    var offset: Int
    var replyTo: String
    var correlation: AMQPValue
    /// All application properties.
    var properties: [MapEntry]
    var body: AMQPValue

    /// The request in a message; nil without reply-to, as nobody could be answered.
    init?(_ head: MessageHead, body: AMQPValue?) {
        guard let replyTo = head.properties?.replyTo else { return nil }
        let properties = head.applicationProperties
        func property(_ name: String) -> AMQPValue? {
            properties.first { $0.key.stringValue == name }?.value
        }
        operation = property("operation")?.stringValue ?? ""
        type = property("type")?.stringValue
        entityType = property("entityType")?.stringValue
        name = property("name")?.stringValue
        identity = property("identity")?.stringValue
        count = Int(property("count")?.intValue ?? -1)
        offset = max(0, Int(property("offset")?.intValue ?? 0))
        self.replyTo = replyTo
        correlation = head.properties?.correlationID ?? .null
        self.properties = properties
        self.body = body ?? .map([])
    }

    func property(_ name: String) -> AMQPValue? { properties.first { $0.key.stringValue == name }?.value }

    /// An integer property, which clients may send as text.
    func integer(_ name: String) -> Int? {
        guard let value = property(name) else { return nil }
        return value.intValue.map { Int($0) } ?? value.stringValue.flatMap { Int($0) }
    }

    /// The type that a QUERY or GET request is about. The agent's own type stands beside it in some clients' requests.
    var queriedType: String? {
        if let entityType { return entityType }
        guard let type, RequestedType(type)?.isAgent != true else { return nil }
        return type
    }

    /// Neither name nor identity, or those of the agent, and no other type.
    var isForAgent: Bool {
        let isSelf = (name ?? "self") == "self" && (identity ?? "self") == "self"
        guard let type else { return isSelf }
        return isSelf && RequestedType(type)?.isAgent == true
    }

    /// The name or identity for an error's text; the identity wins, as in the search.
    var target: String { identity.map { "identity=\($0)" } ?? "name=\(name ?? "")" }
}

/// What a request is answered with.
struct ManagementReply {
    var status: Int32
    var description: String
    var body: AMQPValue

    static func failure(_ status: Int32, _ text: String) -> ManagementReply {
        ManagementReply(status: status, description: text, body: .map([]))
    }

    static func ok(_ body: AMQPValue) -> ManagementReply {
        ManagementReply(status: 200, description: "OK", body: body)
    }

    /// An entity; of the core's types also the attributes without value.
    static func entity(_ row: ManagementRow, status: Int32 = 200) -> ManagementReply {
        var row = row
        if let type = row["type"]?.stringValue.flatMap({ Schema.type(named: $0) }), type.isCoreType {
            for attribute in type.attributes where row[attribute.name] == nil { row[attribute.name] = .null }
        } else {
            row = row.filter { $0.value != .null }
        }
        let body = row.keys.sorted().map { MapEntry(key: .string($0), value: row[$0] ?? .null) }
        return ManagementReply(status: status, description: status == 201 ? "Created" : "OK", body: .map(body))
    }
}

extension AttributeValue {
    /// From a management request's value.
    init(_ value: AMQPValue) {
        switch value {
        case .bool(let flag): self = .boolean(flag)
        case .string(let text), .symbol(let text): self = .string(text)
        case .map(let entries):
            var result: [String: AttributeValue] = [:]
            for entry in entries { if let key = entry.key.stringValue { result[key] = AttributeValue(entry.value) } }
            self = .map(result)
        case .list(let values), .array(let values): self = .list(values.map { AttributeValue($0) })
        case .double(let bits): self = .real(Double(bitPattern: bits))
        case .float(let bits): self = .real(Double(Float(bitPattern: bits)))
        default: self = value.intValue.map { .integer($0) } ?? .null
        }
    }

    /// For a management reply.
    var amqp: AMQPValue {
        switch self {
        case .string(let text): .string(text)
        case .integer(let number): Int32(exactly: number).map { .int($0) } ?? .long(number)
        case .boolean(let flag): .bool(flag)
        case .real(let number): .double(number.bitPattern)
        case .map(let values):
            .map(values.sorted { $0.key < $1.key }.map { MapEntry(key: .string($0.key), value: $0.value.amqp) })
        case .list(let values): .list(values.map(\.amqp))
        case .null: .null
        }
    }
}
