/// One validated entity: its type, and the attributes that were given, in their proper kinds.
///
/// Made by `Schema.validate` only, so every attribute is known to the schema and fits it. Secrets are part of
/// `attributes`; logs and replies are to be made from `replyAttributes`.
package struct Entity: Hashable, Sendable {
    /// Short name of the type.
    package let type: String
    /// The attributes given, without defaults.
    package let attributes: [String: AttributeValue]

    init(type: String, attributes: [String: AttributeValue]) {
        self.type = type
        self.attributes = attributes
    }

    /// The schema's description of this type.
    package var entityType: EntityType {
        guard let found = Schema.type(named: type) else {
            // An entity is made by validation, which looked the type up.
            preconditionFailure("entity of unknown type \(type)")
        }
        return found
    }

    /// The value of `name`, or the schema's default; nil if there is neither.
    package subscript(name: String) -> AttributeValue? {
        attributes[name] ?? defaultValue(of: name)
    }

    /// The schema's default; the log's DEFAULT module alone has defaults of its own, as the others follow it.
    private func defaultValue(of name: String) -> AttributeValue? {
        guard type == "log", attributes["module"] == "DEFAULT" else {
            return entityType.attribute(name)?.defaultValue
        }
        return Schema.defaultLog[name]
    }

    /// The value of `name` as text, with the schema's default; nil if there is neither.
    package subscript(string name: String) -> String? {
        guard let value = self[name], value != .null else { return nil }
        return value.description
    }

    /// The value of an integer attribute, with the schema's default.
    package func integer(_ name: String) -> Int? {
        guard case .integer(let number) = self[name] else { return nil }
        return Int(exactly: number)
    }

    /// The value of a boolean attribute, with the schema's default.
    package func boolean(_ name: String) -> Bool? {
        guard case .boolean(let flag) = self[name] else { return nil }
        return flag
    }

    /// The number of a port attribute, `amqp` and `amqps` resolved; nil if it has no value.
    package func port(_ name: String = "port") -> UInt16? {
        self[string: name].flatMap { Schema.portNumber($0) }
    }

    /// The name given, else the identity (router-protocol.md §6.1).
    package var name: String { givenName ?? identity }

    /// `type/identifier` (router-protocol.md §6.1).
    ///
    /// The identifier is host:port[:name] for sockets, listener:address[:name] for listener addresses, the name
    /// for others; without a name, what tells the entity apart. skrouterd counts address rules and automatic links
    /// instead; the router shows clients such a number for the latter, which does not outlast a change of the file.
    package var identity: String { "\(type)/\(identifier)" }

    private var givenName: String? {
        guard case .string(let text) = attributes["name"], !text.isEmpty else { return nil }
        return text
    }

    private var identifier: String {
        switch type {
        case "listener", "connector", "tcpListener", "tcpConnector":
            join([self[string: "host"] ?? "", self[string: "port"] ?? "", givenName])
        case "listenerAddress":
            join([self[string: "listener"], self[string: "address"], givenName])
        case "router":
            givenName ?? self[string: "id"] ?? "0"
        case "log":
            givenName ?? self[string: "module"] ?? "0"
        case "router.config.address":
            givenName ?? self[string: "prefix"] ?? self[string: "pattern"] ?? "0"
        case "router.config.autoLink":
            givenName
                ?? join([
                    self[string: "direction"], self[string: "address"], self[string: "externalAddress"],
                    self[string: "containerId"] ?? self[string: "connection"],
                ])
        case "vhost":
            givenName ?? self[string: "hostname"] ?? "0"
        default:
            givenName ?? "0"
        }
    }

    private func join(_ parts: [String?]) -> String {
        parts.compactMap { $0 }.joined(separator: ":")
    }

    /// Every attribute that has a value, defaults included: what the router acts on, and what two configurations
    /// are compared by. `name`, `identity` and `type` are not part of it unless given.
    package var effectiveAttributes: [String: AttributeValue] {
        var result = attributes
        for attribute in entityType.attributes where result[attribute.name] == nil {
            result[attribute.name] = defaultValue(of: attribute.name)
        }
        return result
    }

    /// The attribute map of a management reply: defaults, name, identity and long type name in, secrets out.
    package var replyAttributes: [String: AttributeValue] {
        let type = entityType
        var result = effectiveAttributes.filter { !(type.attribute($0.key)?.isHidden ?? false) }
        result["name"] = .string(name)
        result["identity"] = .string(identity)
        result["type"] = .string(type.longName)
        return result
    }

    /// This entity after an UPDATE: `changes` take the place of its attributes, `.null` removes one.
    ///
    /// `changes` are the attributes of an entity validated for `.update`. Throws `ConfigError` if the result is not
    /// a valid entity.
    package func updated(with changes: [String: AttributeValue]) throws(ConfigError) -> Entity {
        var result = attributes
        for (name, value) in changes {
            result[name] = value == .null ? nil : value
        }
        return try Schema.validate(type: type, attributes: result, for: .file)
    }
}

extension Entity: CustomStringConvertible {
    /// Type, name and attributes for a log line, without secrets.
    package var description: String {
        let type = entityType
        let shown = attributes.sorted { $0.key < $1.key }.map { name, value in
            "\(name)=\(type.attribute(name)?.isHidden ?? false ? "(hidden)" : value.description)"
        }
        return "\(self.type) \"\(name)\" {\(shown.joined(separator: ", "))}"
    }
}
