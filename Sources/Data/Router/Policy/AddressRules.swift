/// The addresses that a group of users may receive from, or send to (router-protocol sheet, section 6.3).
///
/// Rules are names, of which a `*` at the end stands for any further characters, or patterns of address parts. One
/// `${user}` in a rule stands for the name of the user whose connection it is.
struct AddressRules: Equatable, Sendable {
    private enum Rule: Equatable {
        case everything
        /// The characters before and behind the user's name; without one in the rule, `behind` is nil.
        case name(before: String, behind: String?, isPrefix: Bool)
        case pattern(AddressPattern)
        /// A pattern that begins or ends with the user's name, which is one part of it.
        case userFirst(AddressPattern)
        case userLast(AddressPattern)
    }

    private var rules: [Rule] = []

    static let userToken = "${user}"

    /// Rules that admit nothing.
    init() {}

    /// - Parameter isPattern: the items are patterns.
    init(_ items: [String], isPattern: Bool) throws(PolicyError) {
        for item in items where !item.isEmpty {
            rules.append(isPattern ? try AddressRules.pattern(item) : try AddressRules.name(item))
        }
    }

    private static func name(_ item: String) throws(PolicyError) -> Rule {
        if item == "*" { return .everything }
        let isPrefix = item.hasSuffix("*")
        let text = isPrefix ? String(item.dropLast()) : item
        let parts = try partsAroundUser(text)
        return .name(before: parts.before, behind: parts.behind, isPrefix: isPrefix)
    }

    private static func pattern(_ item: String) throws(PolicyError) -> Rule {
        let parts = try partsAroundUser(item)
        guard let behind = parts.behind else { return .pattern(AddressPattern(item)) }
        if parts.before.isEmpty { return .userFirst(AddressPattern(item)) }
        if behind.isEmpty { return .userLast(AddressPattern(item)) }
        throw PolicyError("in the pattern '\(item)', \(userToken) must be at the beginning or at the end")
    }

    /// The text before and behind the user's place; `behind` is nil if there is none.
    private static func partsAroundUser(_ text: String) throws(PolicyError) -> (before: String, behind: String?) {
        var found: String.Index?
        for index in text.indices where text[index...].hasPrefix(userToken) {
            guard found == nil else { throw PolicyError("'\(text)' has \(userToken) more than once") }
            found = index
        }
        guard let found else { return (text, nil) }
        return (String(text[..<found]), String(text[found...].dropFirst(userToken.count)))
    }

    /// Whether a user may have a link to this address.
    func admits(_ address: String, user: String) -> Bool {
        guard !address.isEmpty else { return false }
        return rules.contains { AddressRules.fits(address, $0, user) }
    }

    private static func fits(_ address: String, _ rule: Rule, _ user: String) -> Bool {
        switch rule {
        case .everything:
            return true
        case .name(let before, let behind, let isPrefix):
            let wanted = behind.map { before + user + $0 } ?? before
            return isPrefix ? address.hasPrefix(wanted) : address == wanted
        case .pattern(let pattern):
            return pattern.matches(AddressPattern.split(address))
        case .userFirst(let pattern):
            guard address.hasPrefix(user) else { return false }
            let rest = address.dropFirst(user.count)
            guard rest.first.map({ AddressPattern.isSeparator($0) }) ?? true else { return false }
            return pattern.matches(AddressPattern.split(userToken + rest))
        case .userLast(let pattern):
            guard address.hasSuffix(user) else { return false }
            let rest = address.dropLast(user.count)
            guard rest.last.map({ AddressPattern.isSeparator($0) }) ?? true else { return false }
            return pattern.matches(AddressPattern.split(rest + userToken))
        }
    }
}
