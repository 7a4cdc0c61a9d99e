import Testing

@testable import Router

/// Which `address` entity decides about an address.
@Suite struct TreatmentRulesTests {
    private func rules(_ list: [(text: String, isPattern: Bool)]) -> TreatmentRules {
        var rules = TreatmentRules()
        rules.fallback = .unavailable
        rules.rules = list.map {
            TreatmentRules.Rule(
                name: $0.text, text: $0.text, isPattern: $0.isPattern, treatment: .closest, priority: nil)
        }
        return rules
    }

    @Test(arguments: [
        ("mc", "mc", true), ("mc", "mc/a", true), ("mc", "mc.a.b", true), ("mc", "mcx", false), ("mc/a", "mc", false),
        ("a.b", "a/b/c", true), ("a", "", false),
    ])
    func prefixesEndWhereTokensEnd(prefix: String, text: String, matches: Bool) {
        #expect((rules([(prefix, false)]).rule(for: text) != nil) == matches)
    }

    @Test(arguments: [
        ("a/*/c", "a/b/c", true), ("a/*/c", "a/c", false), ("a/*", "a/b/c", false), ("#", "a.b", true),
        ("#/z", "a/b/z", true), ("#/z", "z", true), ("a/#/z", "a/z", true), ("a/#/z", "a/b/c", false),
        ("*", "a", true), ("*", "a.b", false), ("#.#.#.x", String(repeating: "y.", count: 5000) + "x", true),
    ])
    func patterns(pattern: String, text: String, matches: Bool) {
        #expect((rules([(pattern, true)]).rule(for: text) != nil) == matches)
    }

    @Test(arguments: [
        ("a/b/c", "a/b/c"), ("a/b/d", "a/b"), ("a/x/c", "a/*/c"), ("a/x/y", "a"), ("q/c", "#/c"), ("q/r", nil),
    ])
    func theMostSpecificWins(text: String, name: String?) {
        let list = [("#/c", true), ("a", false), ("a/*/c", true), ("a/b", false), ("a/b/c", true)]
        for shift in list.indices {
            let turned = Array(list[shift...] + list[..<shift])
            #expect(rules(turned).rule(for: text)?.name == name)
        }
    }

    @Test func fallbackHoldsForTheRest() {
        let rules = rules([("a", false)])
        #expect(rules.treatment(of: "a/b") == .closest)
        #expect(rules.treatment(of: "b") == .unavailable)
        #expect(TreatmentRules().treatment(of: "b") == .balanced)
    }
}
