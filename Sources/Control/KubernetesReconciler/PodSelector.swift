import SiteModel

/// A label selector as text, in Kubernetes' notation: `app=db,tier!=test,env in (a, b),!old`.
package struct PodSelector: Hashable, Sendable {
    enum Term: Hashable, Sendable {
        case equal(String, String)
        case notEqual(String, String)
        case among(String, Set<String>)
        case notAmong(String, Set<String>)
        case present(String)
        case absent(String)
    }

    let terms: [Term]

    /// Reads a selector; nil if it is empty or cannot be read: it then selects nothing.
    package init?(_ text: String) {
        var terms: [Term] = []
        for part in PodSelector.split(text) {
            guard let term = PodSelector.term(part) else { return nil }
            terms.append(term)
        }
        if terms.isEmpty { return nil }
        self.terms = terms
    }

    /// Whether labels fit all terms.
    package func matches(_ labels: [String: String]) -> Bool {
        terms.allSatisfy { term in
            switch term {
            case .equal(let key, let value): labels[key] == value
            case .notEqual(let key, let value): labels[key] != value
            case .among(let key, let values): labels[key].map { values.contains($0) } ?? false
            case .notAmong(let key, let values): labels[key].map { !values.contains($0) } ?? true
            case .present(let key): labels[key] != nil
            case .absent(let key): labels[key] == nil
            }
        }
    }

    /// Parts between commas outside of parentheses, trimmed.
    private static func split(_ text: String) -> [String] {
        var parts = [""]
        var depth = 0
        for character in text {
            if character == "(" { depth += 1 }
            if character == ")" { depth -= 1 }
            if character == ",", depth == 0 {
                parts.append("")
            } else {
                parts[parts.count - 1].append(character)
            }
        }
        return parts.map(trimmed).filter { !$0.isEmpty }
    }

    private static func term(_ text: String) -> Term? {
        if text.hasSuffix(")"), let open = text.firstIndex(of: "(") {
            let words = text[..<open].split(separator: " ").map(String.init)
            let values = Set(
                text[text.index(after: open)...].dropLast().split(separator: ",").map { trimmed(String($0)) })
            guard words.count == 2, isWord(words[0]) else { return nil }
            switch words[1] {
            case "in": return .among(words[0], values)
            case "notin": return .notAmong(words[0], values)
            default: return nil
            }
        }
        for (mark, make) in [("!=", Term.notEqual), ("==", Term.equal), ("=", Term.equal)] {
            guard let range = text.firstRange(of: mark) else { continue }
            let (key, value) = (trimmed(String(text[..<range.lowerBound])), trimmed(String(text[range.upperBound...])))
            return isWord(key) && (value.isEmpty || isWord(value)) ? make(key, value) : nil
        }
        if text.hasPrefix("!") {
            let key = trimmed(String(text.dropFirst()))
            return isWord(key) ? .absent(key) : nil
        }
        return isWord(text) ? .present(text) : nil
    }

    private static func isWord(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || [45, 46, 47, 95].contains(byte)
            }
    }

    private static func trimmed(_ text: String) -> String {
        var rest = text[...]
        while rest.first?.isWhitespace == true { rest.removeFirst() }
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest)
    }
}

/// What a Pod says about itself.
struct PodView {
    let resource: Resource

    var address: String { resource.status("podIP")?.scalarText ?? "" }
    var isRunning: Bool { resource.status("phase")?.scalarText == "Running" }
    var isReady: Bool { condition("Ready")?.status == "True" }

    /// Can be given connections (sheet §4.3, pods used).
    func isUsable(includeNotReady: Bool) -> Bool {
        isRunning && !resource.isGoing && !address.isEmpty && (isReady || includeNotReady)
    }

    /// The first condition that is not True, for texts.
    var firstFault: String? {
        resource.conditions.first { $0.status == "False" && !$0.message.isEmpty }?.message
    }

    private func condition(_ type: String) -> Condition? { resource.conditions.first { $0.type == type } }
}
