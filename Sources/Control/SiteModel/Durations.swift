/// Durations in the text form of Go (`15m0s`, `1h30m`, `500ms`), as nanoseconds.
package enum GoDuration {
    private static let units: [(name: String, nanoseconds: Int64)] = [
        ("ns", 1), ("us", 1_000), ("\u{b5}s", 1_000), ("\u{3bc}s", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000),
        ("m", 60_000_000_000), ("h", 3_600_000_000_000),
    ]

    /// Nanoseconds of a text; nil when it is not a duration or does not fit 64 bits.
    package static func parse(_ text: String) -> Int64? {
        var rest = Array(text.unicodeScalars)[...]
        var negative = false
        if let sign = rest.first, sign == "-" || sign == "+" {
            negative = sign == "-"
            rest = rest.dropFirst()
        }
        if rest.elementsEqual(["0"]) { return 0 }
        guard !rest.isEmpty else { return nil }
        var total: Int64 = 0
        while !rest.isEmpty {
            guard let part = parsePart(&rest) else { return nil }
            let (sum, overflow) = total.addingReportingOverflow(part)
            if overflow { return nil }
            total = sum
        }
        return negative ? -total : total
    }

    /// Whole seconds of a text, rounded towards zero; nil when it is not a duration.
    package static func parseSeconds(_ text: String) -> Int64? { parse(text).map { $0 / 1_000_000_000 } }

    /// The text Go prints for whole seconds: `0s`, `45s`, `15m0s`, `1h30m0s`.
    package static func format(seconds: Int64) -> String {
        let magnitude = seconds.magnitude
        let sign = seconds < 0 ? "-" : ""
        let (hours, minutes, rest) = (magnitude / 3600, magnitude / 60 % 60, magnitude % 60)
        if hours > 0 { return "\(sign)\(hours)h\(minutes)m\(rest)s" }
        if minutes > 0 { return "\(sign)\(minutes)m\(rest)s" }
        return "\(sign)\(rest)s"
    }

    /// The text Go prints for nanoseconds: as for seconds with a fraction, `1.5s`, `250ms`, `10µs`, `7ns`.
    package static func format(nanoseconds: Int64) -> String {
        let magnitude = nanoseconds.magnitude
        let sign = nanoseconds < 0 ? "-" : ""
        switch magnitude {
        case 0: return "0s"
        case ..<1_000: return "\(sign)\(magnitude)ns"
        case ..<1_000_000: return sign + decimal(magnitude, 1_000) + "\u{b5}s"
        case ..<1_000_000_000: return sign + decimal(magnitude, 1_000_000) + "ms"
        default:
            let whole = magnitude / 1_000_000_000
            let fraction = decimal(magnitude % 60_000_000_000, 1_000_000_000) + "s"
            if whole >= 3600 { return "\(sign)\(whole / 3600)h\(whole / 60 % 60)m\(fraction)" }
            return whole >= 60 ? "\(sign)\(whole / 60)m\(fraction)" : sign + fraction
        }
    }

    private static func decimal(_ value: UInt64, _ unit: UInt64) -> String {
        guard value % unit != 0 else { return String(value / unit) }
        let digits = String(value % unit + unit).dropFirst()
        var kept = Substring(digits)
        while kept.last == "0" { kept.removeLast() }
        return "\(value / unit).\(kept)"
    }

    /// One number with its unit, taken from the front.
    private static func parsePart(_ rest: inout ArraySlice<Unicode.Scalar>) -> Int64? {
        let whole = digits(&rest)
        var fraction: [Unicode.Scalar] = []
        if rest.first == "." {
            rest = rest.dropFirst()
            fraction = digits(&rest)
        }
        guard !whole.isEmpty || !fraction.isEmpty else { return nil }
        var name = String.UnicodeScalarView()
        while let scalar = rest.first, scalar != ".", !("0"..."9").contains(scalar) {
            name.append(scalar)
            rest = rest.dropFirst()
        }
        guard let unit = units.first(where: { $0.name.unicodeScalars.elementsEqual(name) })?.nanoseconds else {
            return nil
        }
        var value: Int64 = 0
        for digit in whole {
            let (times, first) = value.multipliedReportingOverflow(by: 10)
            let (sum, second) = times.addingReportingOverflow(Int64(digit.value - 48))
            if first || second { return nil }
            value = sum
        }
        let (scaled, overflow) = value.multipliedReportingOverflow(by: unit)
        if overflow { return nil }
        var scale = unit
        var extra: Int64 = 0
        for digit in fraction {
            // Digits below a nanosecond have no effect.
            scale /= 10
            extra += Int64(digit.value - 48) * scale
        }
        let (sum, tooLarge) = scaled.addingReportingOverflow(extra)
        return tooLarge ? nil : sum
    }

    private static func digits(_ rest: inout ArraySlice<Unicode.Scalar>) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        while let scalar = rest.first, ("0"..."9").contains(scalar) {
            result.append(scalar)
            rest = rest.dropFirst()
        }
        return result
    }
}
