import SiteModel

/// Times as Lease objects write them: `2026-11-25T13:30:00.000000Z`.
package enum MicroTime {
    /// The text of a time.
    /// - Parameter microseconds: since 1970, UTC; times before are written as 1970.
    package static func text(_ microseconds: Int64) -> String {
        let (seconds, fraction) = max(0, microseconds).quotientAndRemainder(dividingBy: 1_000_000)
        let digits = String(fraction)
        return Timestamp.format(unix: seconds).dropLast()
            + ".\(String(repeating: "0", count: 6 - digits.count))\(digits)Z"
    }
}
