/// A value of a management attribute, integers of every AMQP width as one kind.
package enum ManagementValue: Hashable, Sendable {
    /// String or symbol.
    case string(String)
    /// Any integer type; an unsigned value above Int64's range is clamped to its end.
    case integer(Int64)
    case boolean(Bool)
    case list([ManagementValue])
    /// Keys that are not strings are left out.
    case map([String: ManagementValue])
    case null

    /// The text of a string, else nil.
    package var text: String? { if case .string(let value) = self { value } else { nil } }
    /// The number of an integer, or of a string that holds one; else nil.
    package var number: Int64? {
        switch self {
        case .integer(let value): value
        case .string(let value): Int64(value)
        default: nil
        }
    }
    /// The truth of a boolean, else nil.
    package var flag: Bool? { if case .boolean(let value) = self { value } else { nil } }
    /// The items of a list, else nil.
    package var items: [ManagementValue]? { if case .list(let value) = self { value } else { nil } }
}

/// The attributes of one entity.
package typealias ManagementRow = [String: ManagementValue]
