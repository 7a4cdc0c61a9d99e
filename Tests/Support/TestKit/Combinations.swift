/// Why a combination failed: which one, and what its body threw.
package struct CombinationFailure: Error, CustomStringConvertible {
    /// The values the body ran with, for example `opened, closeSent`.
    package let combination: String
    /// What the body threw.
    package let reason: any Error

    package init(combination: String, reason: any Error) {
        self.combination = combination
        self.reason = reason
    }

    package var description: String { "with (\(combination)): \(reason)" }
}

/// Runs `body` with every value; the first error is rethrown together with the value it came from.
package func withEvery<First>(_ values: some Sequence<First>, _ body: (First) throws -> Void) throws {
    for value in values { try naming("\(value)") { try body(value) } }
}

/// Runs `body` with every pair, the second value changing fastest.
package func withEvery<First, Second>(
    _ first: some Sequence<First>, _ second: some Collection<Second>, _ body: (First, Second) throws -> Void
) throws {
    for one in first {
        for two in second { try naming("\(one), \(two)") { try body(one, two) } }
    }
}

/// Runs `body` with every triple, the last value changing fastest.
package func withEvery<First, Second, Third>(
    _ first: some Sequence<First>, _ second: some Collection<Second>, _ third: some Collection<Third>,
    _ body: (First, Second, Third) throws -> Void
) throws {
    for one in first {
        for two in second {
            for three in third { try naming("\(one), \(two), \(three)") { try body(one, two, three) } }
        }
    }
}

private func naming(_ combination: String, _ body: () throws -> Void) throws {
    do {
        try body()
    } catch let failure as CombinationFailure {
        throw CombinationFailure(combination: "\(combination); \(failure.combination)", reason: failure.reason)
    } catch {
        throw CombinationFailure(combination: combination, reason: error)
    }
}
