/// How YAML scalars are told apart: the core schema for reading, and what older readers take for something else.
enum ScalarForms {
    private static let oldWords: Set<String> = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"]

    /// The value of a plain scalar in the core schema.
    static func resolve(_ text: String) -> Document {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF": return .double(.infinity)
        case "-.inf", "-.Inf", "-.INF": return .double(-.infinity)
        case ".nan", ".NaN", ".NAN": return .double(.nan)
        default: break
        }
        guard let first = text.utf8.first, (48...57).contains(first) || "+-.".utf8.contains(first) else {
            return .string(text)
        }
        if text.hasPrefix("0x"), let value = Int64(text.dropFirst(2), radix: 16), !hasSign(text.dropFirst(2)) {
            return .int(value)
        }
        if text.hasPrefix("0o"), let value = Int64(text.dropFirst(2), radix: 8), !hasSign(text.dropFirst(2)) {
            return .int(value)
        }
        guard isNumber(text) else { return .string(text) }
        if let value = Int64(text) { return .int(value) }
        return Double(text).map { .double($0) } ?? .string(text)
    }

    /// `5.0`, `.inf`, `.nan`: the text that reads back as the same number.
    static func text(_ value: Double) -> String {
        if value.isNaN { return ".nan" }
        if value.isInfinite { return value < 0 ? "-.inf" : ".inf" }
        return String(value)
    }

    /// Whether a string must be quoted so that no reader of YAML 1.1 or 1.2 takes it for something else.
    static func needsQuotes(_ text: String) -> Bool {
        if text.isEmpty || oldWords.contains(text.lowercased()) || text == "<<" || text == "=" { return true }
        // Upstream's reader follows YAML 1.1: underscores in numbers, base 60, binary, dates.
        if case .string = resolve(text) {} else { return true }
        guard let first = text.utf8.first, (48...57).contains(first) || "+-.".utf8.contains(first) else {
            // Byte order marks, tabs and carriage returns survive in double quotes only.
            return text.unicodeScalars.contains { $0 == "\r" || $0 == "\u{feff}" || $0 == "\u{85}" || isLineMark($0) }
        }
        let bare = text.filter { $0 != "_" && $0 != ":" }
        if bare != text, case .string = resolve(bare) {} else if bare != text { return true }
        return text.hasPrefix("0b") || isDate(text)
            || text.unicodeScalars.contains { $0 == "\r" || $0 == "\u{feff}" || $0 == "\u{85}" || isLineMark($0) }
    }

    /// Whether a multi-line string can stand as a block literal: only printable text, no blanks at the start of the
    /// first line or before line ends (libyaml and other readers differ there).
    static func fitsLiteral(_ text: String) -> Bool {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let first = lines.first, let lead = first.first, lead != " ", lead != "\t" else { return false }
        guard lines.allSatisfy({ $0.last != " " && $0.last != "\t" }) else { return false }
        return text.unicodeScalars.allSatisfy { scalar in
            scalar == "\n" || scalar == "\t"
                || (scalar.value >= 0x20 && !(0x7f...0xa0).contains(scalar.value))
                    && !isLineMark(scalar) && scalar != "\u{feff}"
        }
    }

    private static func isLineMark(_ scalar: Unicode.Scalar) -> Bool { scalar == "\u{2028}" || scalar == "\u{2029}" }

    private static func hasSign(_ text: Substring) -> Bool { text.hasPrefix("-") || text.hasPrefix("+") }

    /// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
    private static func isNumber(_ text: String) -> Bool {
        var rest = Substring(text).utf8
        func takeDigits() -> Int {
            let digits = rest.prefix { (48...57).contains($0) }
            rest = rest.dropFirst(digits.count)
            return digits.count
        }
        func take(_ set: String) -> Bool {
            guard let first = rest.first, set.utf8.contains(first) else { return false }
            rest = rest.dropFirst()
            return true
        }
        _ = take("+-")
        var digits = takeDigits()
        if take(".") { digits += takeDigits() }
        guard digits > 0 else { return false }
        if take("eE") {
            _ = take("+-")
            if takeDigits() == 0 { return false }
        }
        return rest.isEmpty
    }

    /// Begins like `2026-11-25`.
    private static func isDate(_ text: String) -> Bool {
        let parts = text.prefix(10).split(separator: "-", omittingEmptySubsequences: false)
        return parts.count == 3 && parts[0].utf8.count == 4 && parts[0].utf8.allSatisfy { (48...57).contains($0) }
            && parts[1].utf8.count <= 2 && parts[1].utf8.allSatisfy { (48...57).contains($0) }
            && parts[2].utf8.first.map { (48...57).contains($0) } == true
    }
}
