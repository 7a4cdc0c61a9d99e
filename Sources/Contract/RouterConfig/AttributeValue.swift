/// A value of a management attribute, as files, AMQP maps and replies carry it.
///
/// No attribute of the schema is a fraction; only values within open properties can be.
package enum AttributeValue: Hashable, Sendable {
    case string(String)
    case integer(Int64)
    case boolean(Bool)
    /// Within open properties only.
    case real(Double)
    case map([String: AttributeValue])
    case list([AttributeValue])
    /// "No value": in an update it takes an attribute back to unset.
    case null
}

/// Literals, so that attribute maps can be written plainly.
extension AttributeValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .boolean(value) }
}

extension AttributeValue: CustomStringConvertible {
    /// The value as a person would type it; maps and lists in JSON.
    package var description: String {
        switch self {
        case .string(let text): text
        case .integer(let number): String(number)
        case .boolean(let flag): flag ? "true" : "false"
        case .real(let number): String(number)
        case .map, .list, .null: json
        }
    }

    /// The value in compact JSON; map keys in byte order, so equal values give equal text.
    package var json: String {
        switch self {
        case .string(let text): AttributeValue.quoted(text)
        case .integer, .boolean: description
        case .real(let number): number.isFinite ? description : "null"
        case .null: "null"
        case .list(let values): "[" + values.map(\.json).joined(separator: ",") + "]"
        case .map(let values):
            "{"
                + values.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                .map { AttributeValue.quoted($0.key) + ":" + $0.value.json }.joined(separator: ",") + "}"
        }
    }

    /// A JSON string literal of `text` (RFC 8259 §7): quotes, backslashes and control characters escaped.
    static func quoted(_ text: String) -> String {
        "\"" + escaped(text) + "\""
    }

    /// `text` escaped for the inside of a JSON string literal.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
