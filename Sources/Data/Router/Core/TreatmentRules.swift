/// Treatment rules of `address` entities (router-protocol sheet, section 4.3): a prefix or a pattern of tokens, the
/// most specific of those that match wins.
struct TreatmentRules: Sendable {
    /// One `address` entity.
    struct Rule: Sendable {
        /// Identity of the entity.
        var name: String
        fileprivate var pattern: AddressPattern
        var treatment: Treatment
        /// Overrides the priority of messages; nil = theirs.
        var priority: Int?

        /// - Parameter isPattern: `*` stands for one token, `#` for any number; else the text is a prefix that ends
        ///   where a token ends.
        init(name: String, text: String, isPattern: Bool, treatment: Treatment, priority: Int?) {
            self.name = name
            self.treatment = treatment
            self.priority = priority
            pattern = AddressPattern(text, isPattern: isPattern)
        }
    }

    var rules: [Rule] = []
    var fallback: Treatment = .balanced

    /// The rule of an address; nil = ``fallback`` holds.
    func rule(for text: String) -> Rule? {
        if rules.isEmpty { return nil }
        return rules.mostSpecific(for: AddressPattern.split(text)) { $0.pattern }
    }

    /// The treatment of an address that no router has told us of.
    func treatment(of text: String) -> Treatment { rule(for: text)?.treatment ?? fallback }
}
