/// A place in a configuration file.
package struct ConfigLocation: Hashable, Sendable, CustomStringConvertible {
    /// Path of the file as it was given.
    package let file: String
    /// Line, counted from 1; nil where it is not known.
    package let line: Int?

    package init(file: String, line: Int?) {
        self.file = file
        self.line = line
    }

    package var description: String {
        guard let line else { return file }
        return "\(file):\(line)"
    }
}

/// Why a configuration, or one entity of it, is refused.
///
/// Each text tells the place where it is known, the value, the cause and what to do.
package enum ConfigError: Error, Hashable, Sendable {
    /// The file cannot be opened or read.
    case unreadable(path: String, reason: String)
    /// The file is longer than the loader reads.
    case tooLarge(path: String, limitBytes: Int)
    /// The text is not JSON or not the .conf form.
    case syntax(problem: String, remedy: String)
    case unknownType(name: String, suggestion: String?)
    case unknownAttribute(type: String, name: String, suggestion: String?)
    case missingAttribute(type: String, name: String)
    /// The value does not fit the attribute.
    case badValue(type: String, attribute: String, value: String, expected: String)
    /// The attribute is set by the router, not by clients.
    case readOnly(type: String, attribute: String)
    /// The attribute can only be set when the entity is made.
    case notUpdatable(type: String, attribute: String)
    /// The type does not have this operation.
    case notAllowed(type: String, operation: String)
    /// Attributes, or entities, that do not go together.
    case conflict(type: String, name: String, problem: String, remedy: String)
    /// Two entities of one type with the same name or identity.
    case duplicate(type: String, name: String)
    /// There must be exactly one router entity.
    case routerCount(Int)
    /// Another error, with its place.
    indirect case located(ConfigLocation, ConfigError)

    /// The error without its place.
    package var cause: ConfigError {
        if case .located(_, let inner) = self { return inner.cause }
        return self
    }

    /// The status code of the management reply (router-protocol.md §6.1), 400 or 501, as skrouterd has it.
    ///
    /// There, sockets have no UPDATE at all; here it is the attributes other than cost that lack it.
    package var statusCode: Int32 {
        switch cause {
        case .notAllowed, .notUpdatable("listener", _), .notUpdatable("connector", _): 501
        default: 400
        }
    }

    /// This error with a place, unless it has one.
    func at(_ location: ConfigLocation) -> ConfigError {
        if case .located = self { return self }
        return .located(location, self)
    }
}

extension ConfigError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .located(let location, let inner):
            return "\(location): \(inner)"
        case .unreadable(let path, let reason):
            return "cannot read \(path): \(reason); check that the path is right and that this user may read the file"
        case .tooLarge(let path, let limitBytes):
            return "\(path) is larger than \(limitBytes / 1_048_576) MiB; this is hardly a router configuration, "
                + "check the path"
        case .syntax(let problem, let remedy):
            return "\(problem); \(remedy)"
        case .unknownType(let name, let suggestion):
            return "unknown entity type \"\(name)\"; "
                + (suggestion.map { "did you mean \"\($0)\"?" } ?? "see docs/router-configuration.md for the types")
        case .unknownAttribute(let type, let name, let suggestion):
            return "\(type) has no attribute \"\(name)\"; "
                + (suggestion.map { "did you mean \"\($0)\"?" }
                    ?? "remove it, or see docs/router-configuration.md for what \(type) has")
        case .missingAttribute(let type, let name):
            return "\(type) needs attribute \"\(name)\", which is missing; add it"
        case .badValue(let type, let attribute, let value, let expected):
            return "\(type).\(attribute) is \"\(value)\", which is not allowed; give \(expected)"
        case .readOnly(let type, let attribute):
            return "\(type).\(attribute) is set by the router and cannot be given; leave it out"
        case .notUpdatable(let type, let attribute):
            return "\(type).\(attribute) cannot be changed in place; delete the entity and create it anew"
        case .notAllowed(let type, let operation):
            return "\(type) does not have the operation \(operation); see docs/router-configuration.md for what it has"
        case .conflict(let type, let name, let problem, let remedy):
            return "\(type) \"\(name)\": \(problem); \(remedy)"
        case .duplicate(let type, let name):
            return "\(type) \"\(name)\" is there already; give each \(type) a name of its own"
        case .routerCount(let count):
            return "the configuration has \(count == 0 ? "no" : String(count)) router entities, it must have one; "
                + (count == 0 ? "add [\"router\", {\"mode\": \"interior\", \"id\": …}]" : "remove all but one")
        }
    }
}
