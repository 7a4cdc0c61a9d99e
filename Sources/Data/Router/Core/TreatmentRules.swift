/// Treatment rules of `address` entities (router-protocol sheet, section 4.3): a prefix or a pattern of tokens, the
/// most specific of those that match wins.
struct TreatmentRules: Sendable {
    /// One `address` entity.
    struct Rule: Sendable {
        /// Identity of the entity.
        var name: String
        fileprivate var tokens: [Token]
        var treatment: Treatment
        /// Overrides the priority of messages; nil = theirs.
        var priority: Int?

        /// - Parameter isPattern: `*` stands for one token, `#` for any number; else the text is a prefix that ends
        ///   where a token ends.
        init(name: String, text: String, isPattern: Bool, treatment: Treatment, priority: Int?) {
            self.name = name
            self.treatment = treatment
            self.priority = priority
            let words = TreatmentRules.split(text)
            if isPattern {
                tokens = words.map { $0 == "*" ? .one : $0 == "#" ? .any : .word($0) }
            } else {
                tokens = words.map { .word($0) } + [.any]
            }
        }
    }

    /// One place of a pattern.
    fileprivate enum Token: Sendable, Equatable {
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

    var rules: [Rule] = []
    var fallback: Treatment = .balanced

    /// The rule of an address; nil = ``fallback`` holds.
    func rule(for text: String) -> Rule? {
        if rules.isEmpty { return nil }
        let words = TreatmentRules.split(text)
        var best: Rule?
        for rule in rules where TreatmentRules.matches(rule.tokens, words) {
            if let current = best, !TreatmentRules.isMoreSpecific(rule.tokens, current.tokens) { continue }
            best = rule
        }
        return best
    }

    /// The treatment of an address that no router has told us of.
    func treatment(of text: String) -> Treatment { rule(for: text)?.treatment ?? fallback }

    fileprivate static func split(_ text: String) -> [Substring] {
        text.split(omittingEmptySubsequences: false) { $0 == "." || $0 == "/" }
    }

    /// One pass over the tokens with the set of places they may have reached: no pattern takes long.
    private static func matches(_ tokens: [Token], _ words: [Substring]) -> Bool {
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
    private static func isMoreSpecific(_ one: [Token], _ other: [Token]) -> Bool {
        for (a, b) in zip(one, other) where a.weight != b.weight { return a.weight > b.weight }
        return one.count > other.count
    }
}
