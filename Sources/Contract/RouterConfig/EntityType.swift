/// A management operation on entities (router-protocol.md §6.1).
package enum Operation: String, Hashable, Sendable, CaseIterable {
    case create = "CREATE"
    case read = "READ"
    case update = "UPDATE"
    case delete = "DELETE"
    case query = "QUERY"
}

/// What a type is a kind of, nearest first: what GET-TYPES tells, and what requests may name to mean all of a kind.
package enum EntityBase: String, Hashable, Sendable, CaseIterable {
    case entity
    case configurationEntity
    case operationalEntity
    case management = "org.amqp.management"

    /// The name with the prefix that AMQP management uses.
    package var longName: String { Schema.longNamePrefix + rawValue }

    /// What this is a kind of itself, nearest first.
    package var bases: [EntityBase] {
        switch self {
        case .entity: []
        case .configurationEntity, .operationalEntity: [.entity]
        case .management: [.operationalEntity, .entity]
        }
    }

    /// One line of description.
    package var description: String {
        switch self {
        case .entity: "What every entity is."
        case .configurationEntity: "What can be configured."
        case .operationalEntity: "What only reports the router's state."
        case .management: "The node that answers management requests."
        }
    }

    /// The operations that all of the kind have, in the order in which GET-OPERATIONS gives them.
    package var operationNames: [String] {
        switch self {
        case .entity: []
        case .configurationEntity, .operationalEntity: ["READ"]
        case .management:
            ["QUERY", "GET-TYPES", "GET-ANNOTATIONS", "GET-OPERATIONS", "GET-ATTRIBUTES", "GET-MGMT-NODES", "READ"]
        }
    }
}

/// What an attribute may hold.
package enum AttributeKind: Hashable, Sendable {
    case string
    /// A file system path.
    case path
    /// A TCP port: 0…65535 or the names `amqp` and `amqps`. Held and reported as a string, as skrouterd does.
    case port
    case integer
    case boolean
    /// One of the listed words, case-sensitive.
    case enumeration([String])
    /// A map from names to values.
    case map
    case list

    /// The word used for this kind in the schema reply and in the reference page.
    package var word: String {
        switch self {
        case .string: "string"
        case .path: "path"
        case .port: "port"
        case .integer: "integer"
        case .boolean: "boolean"
        case .enumeration: "enum"
        case .map: "map"
        case .list: "list"
        }
    }
}

/// One attribute of an entity type.
package struct Attribute: Hashable, Sendable {
    /// What clients may do with an attribute.
    package struct Flags: OptionSet, Hashable, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Must be given when the entity is made.
        package static let required = Flags(rawValue: 1)
        /// Set by the router only.
        package static let readOnly = Flags(rawValue: 2)
        /// May be changed by UPDATE.
        package static let updatable = Flags(rawValue: 4)
        /// A secret: never logged, never part of a reply.
        package static let hidden = Flags(rawValue: 8)
        /// Accepted for the sake of existing files; this router does nothing with it.
        package static let ignored = Flags(rawValue: 16)
    }

    package let name: String
    package let kind: AttributeKind
    /// The value reported and used when none was given; nil if there is none.
    package let defaultValue: AttributeValue?
    package let flags: Flags
    /// Least and greatest value of an integer; nil for no bound of its own.
    package let range: ClosedRange<Int64>?
    /// One line of description.
    package let summary: String

    package var isRequired: Bool { flags.contains(.required) }
    package var isReadOnly: Bool { flags.contains(.readOnly) }
    package var isUpdatable: Bool { flags.contains(.updatable) }
    package var isHidden: Bool { flags.contains(.hidden) }
    /// Whether a file or CREATE may give it.
    package var isCreatable: Bool { !isReadOnly }

    static func string(
        _ name: String, default value: String? = nil, flags: Flags = [], _ summary: String
    ) -> Attribute {
        Attribute(
            name: name, kind: .string, defaultValue: value.map { .string($0) }, flags: flags, range: nil,
            summary: summary)
    }

    static func path(
        _ name: String, default value: String? = nil, flags: Flags = [], _ summary: String
    ) -> Attribute {
        Attribute(
            name: name, kind: .path, defaultValue: value.map { .string($0) }, flags: flags, range: nil,
            summary: summary)
    }

    static func port(default value: String? = nil, flags: Flags = [], _ summary: String) -> Attribute {
        Attribute(
            name: "port", kind: .port, defaultValue: value.map { .string($0) }, flags: flags, range: nil,
            summary: summary)
    }

    static func integer(
        _ name: String, default value: Int64? = nil, in range: ClosedRange<Int64>? = nil, flags: Flags = [],
        _ summary: String
    ) -> Attribute {
        Attribute(
            name: name, kind: .integer, defaultValue: value.map { .integer($0) }, flags: flags, range: range,
            summary: summary)
    }

    static func boolean(
        _ name: String, default value: Bool? = nil, flags: Flags = [], _ summary: String
    ) -> Attribute {
        Attribute(
            name: name, kind: .boolean, defaultValue: value.map { .boolean($0) }, flags: flags, range: nil,
            summary: summary)
    }

    static func choice(
        _ name: String, _ words: [String], default value: String? = nil, flags: Flags = [], _ summary: String
    ) -> Attribute {
        Attribute(
            name: name, kind: .enumeration(words), defaultValue: value.map { .string($0) }, flags: flags, range: nil,
            summary: summary)
    }

    static func map(_ name: String, flags: Flags = [], _ summary: String) -> Attribute {
        Attribute(name: name, kind: .map, defaultValue: nil, flags: flags, range: nil, summary: summary)
    }

    static func list(_ name: String, flags: Flags = [], _ summary: String) -> Attribute {
        Attribute(name: name, kind: .list, defaultValue: nil, flags: flags, range: nil, summary: summary)
    }
}

/// A type of management entity (router-protocol.md §6.3, §6.4).
package struct EntityType: Sendable {
    /// The name without prefix, such as `tcpListener` or `router.config.address`.
    package let shortName: String
    /// All attributes; `name`, `identity` and `type` come first.
    package let attributes: [Attribute]
    package let operations: Set<Operation>
    /// Whether a router has exactly one of it.
    package let isSingleton: Bool
    /// Whether a configuration file may hold it; false for entities which only report state.
    package let isConfigurable: Bool
    /// One line of description.
    package let description: String

    /// What this type is a kind of, nearest first.
    package var bases: [EntityBase] {
        switch shortName {
        case "management": [.management] + EntityBase.management.bases
        case "dummy": [.entity]
        default: isConfigurable ? [.configurationEntity, .entity] : [.operationalEntity, .entity]
        }
    }

    /// The operations on single entities, in the order in which GET-OPERATIONS gives them.
    package var operationNames: [String] {
        switch shortName {
        case "management":
            ["GET-SCHEMA", "GET-JSON-SCHEMA", "GET-LOG"] + EntityBase.management.operationNames
        case "dummy": ["CREATE", "READ", "UPDATE", "DELETE", "CALLME"]
        default:
            [Operation.create, .update, .delete].filter { operations.contains($0) }.map(\.rawValue) + ["READ"]
        }
    }

    /// Whether skrouterd's core, not its Python agent, answers for the type: unknown attribute names are passed over
    /// in a QUERY then, and attributes without value are part of READ and CREATE replies.
    package var isCoreType: Bool {
        ["connection", "router.link", "router.address", "routerMetrics", "router.config.address",
         "router.config.autoLink"].contains(shortName)
    }

    /// Position of each attribute in `attributes`.
    private let positions: [String: Int]

    /// The name with the prefix that AMQP management uses.
    package var longName: String { Schema.longNamePrefix + shortName }

    /// The three that every type has.
    package var commonAttributes: ArraySlice<Attribute> { attributes.prefix(Schema.commonAttributeCount) }

    /// The attributes that are peculiar to this type (without the three common ones).
    package var ownAttributes: ArraySlice<Attribute> { attributes.dropFirst(Schema.commonAttributeCount) }

    /// The attribute called `name`, nil if this type has none such.
    package func attribute(_ name: String) -> Attribute? {
        positions[name].map { attributes[$0] }
    }

    init(
        _ shortName: String, _ description: String, operations: Set<Operation>, isSingleton: Bool = false,
        isConfigurable: Bool = true, nameRequired: Bool = false, attributes own: [Attribute]
    ) {
        self.shortName = shortName
        self.description = description
        self.operations = operations
        self.isSingleton = isSingleton
        self.isConfigurable = isConfigurable
        // Operational types list a name or identity of their own meaning among their attributes only once.
        self.attributes =
            [
                .string(
                    "name", flags: nameRequired ? [.required] : [],
                    "Name, unique within the type; the identity if not given."),
                .string("identity", flags: [.readOnly], "Identity given by the router: type/identifier."),
                .string("type", flags: [.readOnly], "Long name of the entity type."),
            ] + own
        positions = Dictionary(
            attributes.enumerated().map { ($0.element.name, $0.offset) }, uniquingKeysWith: { first, _ in first })
    }
}
