/// How long to wait before the next attempt at something that failed: twice as long each time up to a limit, of which a
/// random part is taken away so that those who failed together do not come back together. Pure: the randomness is
/// given.
package struct BackOff: Hashable, Sendable {
    /// The wait after the first failure, milliseconds.
    package let first: Int
    /// The longest wait, milliseconds.
    package let limit: Int

    /// - Parameters:
    ///   - first: milliseconds, at least 1.
    ///   - limit: milliseconds, at least `first`.
    package init(first: Int, limit: Int) {
        self.first = max(1, first)
        self.limit = max(self.first, limit)
    }

    /// The wait after so many failures in a row, milliseconds: between half of the full wait and all of it.
    /// - Parameters:
    ///   - failures: at least 1.
    ///   - random: any number, evenly spread over all of them.
    package func delay(failures: Int, random: UInt64) -> Int {
        var full = first
        for _ in 1..<max(2, min(failures, 64)) where failures > 1 {
            guard full < limit else { break }
            full = full > limit / 2 ? limit : full * 2
        }
        let kept = full - full / 2
        return kept + Int(random % UInt64(full / 2 + 1))
    }
}
