import AMQPCodec
import RouterConfig

/// What GET-TYPES, GET-ATTRIBUTES, GET-OPERATIONS and GET-SCHEMA answer, all derived from the schema.
enum SchemaReplies {
    /// The names of all attributes of all types, each once, in the schema's order.
    static let allAttributeNames: [String] = {
        var seen: Set<String> = []
        return Schema.types.flatMap { $0.attributes.map(\.name) }.filter { seen.insert($0).inserted }
    }()

    /// What each type is a kind of; with `name`, for that type and all of its kind.
    static func types(_ name: String?) -> AMQPValue {
        let wanted = name.flatMap { RequestedType($0) }
        let bases = EntityBase.allCases.filter { base in
            guard let wanted else { return true }
            guard case .kind(let own) = wanted else { return false }
            return base == own || base.bases.contains(own)
        }
        let kinds = bases.map { entry($0.longName, $0.bases.map(\.longName)) }
        let types = Schema.types.filter { wanted?.includes($0) ?? true }
            .map { entry($0.longName, $0.bases.map(\.longName)) }
        return .map(kinds + types)
    }

    static func attributes(_ name: String?) -> AMQPValue {
        let common = ["name", "identity", "type"]
        return perType(name) { _ in common } _: { type in type.attributes.map(\.name) }
    }

    static func operations(_ name: String?) -> AMQPValue {
        perType(name) { $0.operationNames } _: { $0.operationNames }
    }

    private static func perType(
        _ name: String?, _ ofBase: (EntityBase) -> [String], _ ofType: (EntityType) -> [String]
    ) -> AMQPValue {
        switch name.flatMap({ RequestedType($0) }) {
        case .one(let type): .map([entry(type.longName, ofType(type))])
        case .kind(let base): .map([entry(base.longName, ofBase(base))])
        case nil:
            .map(
                EntityBase.allCases.map { entry($0.longName, ofBase($0)) }
                    + Schema.types.map { entry($0.longName, ofType($0)) })
        }
    }

    private static func entry(_ name: String, _ values: [String]) -> MapEntry {
        MapEntry(key: .string(name), value: .list(values.map { .string($0) }))
    }

    /// The schema in the form of skrouterd's GET-SCHEMA: prefix, and for each kind and type its attributes and
    /// operations.
    static let schema: AttributeValue = .map([
        "prefix": .string(String(Schema.longNamePrefix.dropLast())),
        "entityTypes": .map(
            Dictionary(
                Schema.types.map { (Schema.listedName(of: $0), description(of: $0)) }
                    + EntityBase.allCases.map { ($0.rawValue, description(of: $0)) },
                uniquingKeysWith: { first, _ in first })
        ),
    ])

    private static func description(of type: EntityType) -> AttributeValue {
        describe(type.longName, type.description, type.attributes, type.operationNames, type.isSingleton)
    }

    /// Only with the attributes that all entities have.
    private static func description(of base: EntityBase) -> AttributeValue {
        let common = Schema.types.first?.commonAttributes ?? []
        return describe(base.longName, base.description, Array(common), base.operationNames, false)
    }

    private static func describe(
        _ name: String, _ text: String, _ attributes: [Attribute], _ operations: [String], _ isSingleton: Bool
    ) -> AttributeValue {
        var described: [String: AttributeValue] = [:]
        for attribute in attributes where attribute.name != "type" {
            described[attribute.name] = description(of: attribute)
        }
        var result: [String: AttributeValue] = [
            "attributes": .map(described), "description": .string(text), "fullyQualifiedType": .string(name),
        ]
        if !operations.isEmpty { result["operations"] = .list(operations.map { .string($0) }) }
        if isSingleton { result["singleton"] = true }
        return .map(result)
    }

    private static func description(of attribute: Attribute) -> AttributeValue {
        let type: AttributeValue
        switch attribute.kind {
        case .enumeration(let words): type = .list(words.map { .string($0) })
        // The wire knows ports as text.
        case .port: type = "string"
        default: type = .string(attribute.kind.word)
        }
        var result: [String: AttributeValue] = ["type": type, "description": .string(attribute.summary)]
        if let value = attribute.defaultValue { result["default"] = value }
        if attribute.isRequired { result["required"] = true }
        if attribute.name == "name" || attribute.name == "identity" { result["unique"] = true }
        return .map(result)
    }
}
