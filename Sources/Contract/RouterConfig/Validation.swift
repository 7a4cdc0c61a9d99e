/// What an entity is validated for.
package enum ValidationPurpose: Hashable, Sendable {
    /// A CREATE request.
    case create
    /// An UPDATE request: only updatable attributes; a null takes an attribute back to unset.
    case update
    /// A configuration file: also types that requests cannot create; attributes set by the router are dropped.
    case file
}

extension Schema {
    /// Brings `attributes` to the kinds of the schema and checks them.
    ///
    /// `type` is a short or long name or an alias; attribute names may be hyphenated. Numeric strings stand for
    /// integers, and yes, no, on, off, true and false for booleans (router-protocol.md §6.1). For `.update` the
    /// result holds the changes only. What depends on other entities (role and mode, names of profiles) is checked
    /// by `RouterConfiguration`, and role against mode also by `checkRole`.
    package static func validate(
        type name: String, attributes: [String: AttributeValue], for purpose: ValidationPurpose
    ) throws(ConfigError) -> Entity {
        let type = try self.type(named: name, for: purpose)
        var checked: [String: AttributeValue] = [:]
        // In a fixed order, so that of several mistakes the same one is always reported.
        for given in attributes.keys.sorted() {
            guard let value = attributes[given] else { continue }
            guard let attribute = type.attribute(camelCased(given)) else {
                throw .unknownAttribute(
                    type: type.shortName, name: given,
                    suggestion: suggestion(for: given, among: type.attributes.map(\.name)))
            }
            if attribute.name == "type" {
                try checkTypeAttribute(value, type)
                continue
            }
            if attribute.isReadOnly {
                if purpose == .file { continue }
                throw .readOnly(type: type.shortName, attribute: attribute.name)
            }
            if value == .null {
                if purpose == .update, attribute.isUpdatable { checked[attribute.name] = .null }
                continue
            }
            // A client may repeat the name of the entity which it updates.
            if purpose == .update, !attribute.isUpdatable, attribute.name != "name" {
                throw .notUpdatable(type: type.shortName, attribute: attribute.name)
            }
            checked[attribute.name] = try coerce(value, to: attribute, of: type.shortName)
        }
        let entity = Entity(type: type.shortName, attributes: checked)
        if purpose != .update {
            for attribute in type.attributes where attribute.isRequired && checked[attribute.name] == nil {
                throw .missingAttribute(type: type.shortName, name: attribute.name)
            }
            try checkCombinations(entity)
        }
        return entity
    }

    private static func type(named name: String, for purpose: ValidationPurpose) throws(ConfigError) -> EntityType {
        guard let type = type(named: name) else {
            throw .unknownType(
                name: name,
                suggestion: suggestion(for: name, among: types.filter(\.isConfigurable).map(\.shortName)))
        }
        switch purpose {
        case .create where !type.operations.contains(.create):
            throw .notAllowed(type: type.shortName, operation: Operation.create.rawValue)
        case .update where !type.operations.contains(.update):
            throw .notAllowed(type: type.shortName, operation: Operation.update.rawValue)
        case .file where !type.isConfigurable:
            throw .conflict(
                type: type.shortName, name: name, problem: "it reports state and cannot be configured",
                remedy: "remove it from the file")
        default:
            return type
        }
    }

    private static func checkTypeAttribute(_ value: AttributeValue, _ type: EntityType) throws(ConfigError) {
        guard case .string(let text) = value, Schema.type(named: text)?.shortName == type.shortName else {
            throw .badValue(
                type: type.shortName, attribute: "type", value: value.description, expected: type.longName)
        }
    }

    private static func coerce(
        _ value: AttributeValue, to attribute: Attribute, of type: String
    ) throws(ConfigError) -> AttributeValue {
        func refusal(_ expected: String) -> ConfigError {
            .badValue(
                type: type, attribute: attribute.name, value: attribute.isHidden ? "(hidden)" : value.description,
                expected: expected)
        }
        let result: AttributeValue
        switch attribute.kind {
        case .string, .path:
            guard let text = scalarText(value) else { throw refusal("a string") }
            result = .string(text)
        case .port:
            guard let text = scalarText(value), portNumber(text) != nil else {
                throw refusal("a number from 0 to 65535, or amqp or amqps")
            }
            result = .string(text)
        case .integer:
            let expected = attribute.range.map(expectation) ?? "an integer"
            guard let number = integer(value), attribute.range?.contains(number) ?? true else {
                throw refusal(expected)
            }
            result = .integer(number)
        case .boolean:
            guard let flag = boolean(value) else { throw refusal("true or false (or yes, no, on, off)") }
            result = .boolean(flag)
        case .enumeration(let words):
            guard case .string(let text) = value, words.contains(text) else {
                throw refusal("one of " + words.joined(separator: ", "))
            }
            result = value
        case .map:
            guard case .map = value else { throw refusal("a map") }
            result = value
        case .list:
            guard case .list = value else { throw refusal("a list") }
            result = value
        }
        if let expected = grammar(of: attribute.name, in: type, violatedBy: result) { throw refusal(expected) }
        return result
    }

    private static func expectation(_ range: ClosedRange<Int64>) -> String {
        range.upperBound == Int64.max
            ? "an integer of at least \(range.lowerBound)"
            : "an integer from \(range.lowerBound) to \(range.upperBound)"
    }

    private static func scalarText(_ value: AttributeValue) -> String? {
        switch value {
        case .string, .integer, .boolean, .real: value.description
        case .map, .list, .null: nil
        }
    }

    private static func integer(_ value: AttributeValue) -> Int64? {
        switch value {
        case .integer(let number): number
        case .string(let text): Int64(trimmed(text))
        default: nil
        }
    }

    /// What `value` says as a boolean: also yes, no, on and off in any case, 1 and 0 (router-protocol.md §6.1); nil if
    /// it is none.
    package static func boolean(_ value: AttributeValue) -> Bool? {
        switch value {
        case .boolean(let flag): flag
        case .integer(0): false
        case .integer(1): true
        case .string(let text):
            switch text.lowercased() {
            case "true", "yes", "on", "1": true
            case "false", "no", "off", "0": false
            default: nil
            }
        default: nil
        }
    }

    /// The number of a port given by number or by name; nil if it is neither.
    package static func portNumber(_ text: String) -> UInt16? {
        switch text {
        case "amqp": 5672
        case "amqps": 5671
        // UInt16 would also take a plus sign.
        default: text.utf8.first.map { (48...57).contains($0) } ?? false ? UInt16(text) : nil
        }
    }

    /// What is expected instead, if `value` breaks a rule peculiar to one attribute; nil if it does not.
    private static func grammar(of attribute: String, in type: String, violatedBy value: AttributeValue) -> String? {
        switch (type, attribute, value) {
        case ("router", "id", .string(let text)):
            // A template, such as a controller keeps, has ${HOSTNAME} here; loading for a router checks again.
            return isRouterID(Substitution.withoutVariables(text)) ? nil : routerIDExpectation
        case ("router", "dataConnectionCount", .string(let text)):
            return text == "auto" || (UInt16(text) ?? .max) <= 1024 ? nil : "auto, or a number from 0 to 1024"
        case (_, "maxSessionFrames", .integer(1)):
            return "2 or more frames, or 0 for the default"
        case ("log", "enable", .string(let text)):
            let words = (logLevels + ["none"]).joined(separator: ", ")
            return enabledLogLevels(text) != nil ? nil : "levels such as info+ or debug,error (\(words))"
        case ("listener", "failoverUrls", .string(let text)):
            guard (try? FailoverAddress.list(text)) == nil else { return nil }
            return "URLs such as amqp://host:5672, separated by commas"
        case (_, "openProperties", .map(let properties)):
            let reserved = properties.keys.filter {
                $0.hasPrefix("qd.") || $0.hasPrefix("x-opt-qd.") || ownProperties.contains($0)
            }
            // They are symbols on the wire.
            if let odd = properties.keys.sorted().first(where: { !$0.utf8.allSatisfy { $0 < 0x80 } }) {
                return "names in ASCII: \(odd) is none"
            }
            let words = "names of your own: \(reserved.sorted().joined(separator: ", ")) belong to routers, as does "
            return reserved.isEmpty ? nil : words + "what begins with qd. or x-opt-qd."
        default:
            return nil
        }
    }

    /// Properties of Open that the router itself sends or reads.
    private static let ownProperties: Set<String> = [
        "product", "version", "failover-server-list", "network-host", "port", "scheme", "hostname",
    ]

    static let routerIDExpectation =
        "an id of 1 to 255 characters without | $ \\, white space and control characters"

    /// Whether `text` can be a router id (router-protocol.md §6.3 notes).
    package static func isRouterID(_ text: String) -> Bool {
        (1...255).contains(text.utf8.count)
            && text.unicodeScalars.allSatisfy { scalar in
                scalar != "|" && scalar != "$" && scalar != "\\" && !scalar.properties.isWhitespace
                    && scalar.properties.generalCategory != .control
            }
    }

    /// Levels of the log, by rising gravity.
    package static let logLevels = ["debug", "info", "warning", "error", "critical"]

    /// The levels that a log entity's `enable` switches on; nil if it is not valid.
    ///
    /// Parts stand apart by comma, semicolon, colon or white space. Each is a level, `none` or `default`, in any case
    /// and possibly cut short, and `+` after it adds the graver levels. `default` adds nothing here; no part, no level.
    package static func enabledLogLevels(_ enable: String) -> Set<String>? {
        var result: Set<String> = []
        for part in logLevelWords(enable) {
            let name = part.hasSuffix("+") ? part.dropLast() : part
            guard !name.isEmpty else { return nil }
            // Files of old routers have the level trace.
            if let index = logLevels.firstIndex(where: { $0.hasPrefix(name == "trace" ? "debug" : name) }) {
                result.formUnion(part.hasSuffix("+") ? logLevels[index...] : logLevels[index...index])
            } else if !"none".hasPrefix(name), !"default".hasPrefix(name) {
                return nil
            }
        }
        return result
    }

    /// Whether a log entity's `enable` leaves the choice of levels to the DEFAULT module.
    package static func usesDefaultLogLevels(_ enable: String) -> Bool {
        logLevelWords(enable).contains { "default".hasPrefix($0) && !"debug".hasPrefix($0) }
    }

    private static func logLevelWords(_ enable: String) -> [Substring] {
        enable.lowercased().split { $0 == "," || $0 == ";" || $0 == ":" || $0.isWhitespace }
    }

    /// `text` without white space at both ends.
    package static func trimmed(_ text: String) -> String {
        var rest = text[...]
        while let first = rest.first, first.isWhitespace { rest.removeFirst() }
        while let last = rest.last, last.isWhitespace { rest.removeLast() }
        return String(rest)
    }
}
