/// A pattern of the parts of an address or host name, which stand apart by `.` or `/`: `*` is one part, `#` any number.
struct AddressPattern: Hashable, Sendable {
    fileprivate enum Token: Hashable, Sendable {
        case word(Substring)
        case one, any

        var weight: Int {
            switch self {
            case .word: 2
            case .one: 1
            case .any: 0
            }
        }
    }

    private var tokens: [Token]

    /// - Parameter isPattern: false = the text is a prefix that ends where a part ends, without wildcards.
    init(_ text: String, isPattern: Bool = true) {
        let words = AddressPattern.split(text)
        if isPattern {
            tokens = words.map { $0 == "*" ? .one : $0 == "#" ? .any : .word($0) }
        } else {
            tokens = words.map { .word($0) } + [.any]
        }
    }

    /// The parts of an address.
    static func split(_ text: String) -> [Substring] {
        text.split(omittingEmptySubsequences: false) { AddressPattern.isSeparator($0) }
    }

    static func isSeparator(_ character: Character) -> Bool { character == "." || character == "/" }

    /// One pass over the tokens with the set of places they may have reached: no pattern takes long.
    func matches(_ words: [Substring]) -> Bool {
        var reached = [Bool](repeating: false, count: words.count + 1)
        reached[0] = true
        for token in tokens {
            if token == .any {
                guard let first = reached.firstIndex(of: true) else { return false }
                for index in first..<reached.count { reached[index] = true }
                continue
            }
            for index in stride(from: words.count, through: 1, by: -1) {
                let fits: Bool
                if case .word(let word) = token { fits = words[index - 1] == word } else { fits = true }
                reached[index] = reached[index - 1] && fits
            }
            reached[0] = false
        }
        return reached[words.count]
    }

    /// The first place where they differ decides; where one ends, the longer one is more specific.
    func isMoreSpecific(than other: AddressPattern) -> Bool {
        for (a, b) in zip(tokens, other.tokens) where a.weight != b.weight { return a.weight > b.weight }
        return tokens.count > other.tokens.count
    }

    /// The same for patterns that match the same texts: in a row of wildcards those for one part come first, and one
    /// `#` stands for several.
    var canonical: AddressPattern {
        var result = self
        result.tokens = []
        var hasAny = false
        for token in tokens {
            if token == .any {
                hasAny = true
                continue
            }
            if hasAny, token != .one {
                result.tokens.append(.any)
                hasAny = false
            }
            result.tokens.append(token)
        }
        if hasAny { result.tokens.append(.any) }
        return result
    }
}

extension Sequence {
    /// The element whose pattern matches these parts and is the most specific of those that do; the first of several.
    func mostSpecific(for words: [Substring], pattern: (Element) -> AddressPattern) -> Element? {
        var best: (element: Element, pattern: AddressPattern)?
        for element in self {
            let candidate = pattern(element)
            guard candidate.matches(words), best.map({ candidate.isMoreSpecific(than: $0.pattern) }) ?? true else {
                continue
            }
            best = (element, candidate)
        }
        return best?.element
    }
}
