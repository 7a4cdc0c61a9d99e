/// Rules for values that users type (sheet §2.1); each returns nil when the value is good, else the text.
package enum FieldRules {
    static let namePattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])*(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])*)*$"
    static let selectorPattern = "^[A-Za-z0-9=:./-]+$"
    static let filePathPattern = "^[A-Za-z0-9./~-]+$"
    static let namespacePattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

    /// Resource names and routing keys.
    package static func name(_ value: String) -> String? {
        isDottedName(value) ? nil : mismatch(namePattern)
    }

    /// Host names and IP addresses.
    package static func host(_ value: String) -> String? {
        isHostName(value) || IPAddress.parse(value) != nil
            ? nil : "host is not valid: a valid IP address or hostname is expected"
    }

    /// Pod selectors.
    package static func selector(_ value: String) -> String? {
        consists(of: value) { isAlphanumeric($0) || "=:./-".utf8.contains($0) } ? nil : mismatch(selectorPattern)
    }

    /// Paths of token and bundle files.
    package static func filePath(_ value: String) -> String? {
        consists(of: value) { isAlphanumeric($0) || "./~-".utf8.contains($0) } ? nil : mismatch(filePathPattern)
    }

    /// Namespaces.
    package static func namespace(_ value: String) -> String? {
        isLabel(Array(value.utf8)[...]) ? nil : mismatch(namespacePattern)
    }

    /// Ports and costs from text: an integer of at least 0.
    package static func number(_ text: String) -> String? {
        let digits = text.hasPrefix("-") || text.hasPrefix("+") ? text.dropFirst() : Substring(text)
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else {
            return "strconv.Atoi: parsing \"\(text)\": invalid syntax"
        }
        guard let value = Int(text) else { return "strconv.Atoi: parsing \"\(text)\": value out of range" }
        return value < 0 ? "value is not positive" : nil
    }

    /// `--timeout`: at least 10 s.
    package static func timeout(seconds: Int64) -> String? {
        seconds < 10 ? "duration must not be less than 10s; got \(GoDuration.format(seconds: seconds))" : nil
    }

    /// `--expiration-window`: at least 1 min.
    package static func expirationWindow(seconds: Int64) -> String? {
        seconds < 60 ? "duration must not be less than 1m0s; got \(GoDuration.format(seconds: seconds))" : nil
    }

    /// One of several words.
    package static func option(_ value: String, of options: [String]) -> String? {
        options.contains(value)
            ? nil
            : "value \(value) not allowed. It should be one of this options: [\(options.joined(separator: " "))]"
    }

    /// Options of `--link-access-type`.
    package static let linkAccessTypes = ["route", "loadbalancer", "default"]
    /// Options of `--output`.
    package static let outputs = ["json", "yaml"]
    /// Options of `--type` of listeners and connectors.
    package static let serviceTypes = ["tcp"]
    /// Options of `--wait`.
    package static let waits = ["ready", "configured", "none"]
    /// Options of bundles' `--type`.
    package static let bundleTypes = ["tarball", "shell-script"]
    /// Options of `--reload-type`.
    package static let reloadTypes = ["manual", "auto"]

    /// `type/name` of a workload.
    package static func workload(_ value: String) -> String? {
        let parts = value.split(separator: "/", omittingEmptySubsequences: false)
        let types = ["deployment", "service", "daemonset", "statefulset"]
        let isGood =
            parts.count == 2 && types.contains(parts[0].lowercased())
            && consists(of: String(parts[1])) { isAlphanumeric($0) || "._-".utf8.contains($0) }
        return isGood ? nil : "workload must include <resource-type>/<resource-name>"
    }

    /// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, at most 63 octets: an RFC 1123 label.
    static func isLabel1123(_ value: String) -> Bool {
        value.utf8.count <= 63 && isLabel(Array(value.utf8)[...])
    }

    private static func mismatch(_ pattern: String) -> String {
        "value does not match this regular expression: \(pattern)"
    }

    /// Labels of `[-a-z0-9]` with alphanumeric ends, joined by dots.
    static func isDottedName(_ value: String) -> Bool {
        Array(value.utf8).split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy(isLabel)
    }

    private static func isLabel(_ label: ArraySlice<UInt8>) -> Bool {
        guard let first = label.first, let last = label.last else { return false }
        return isLowerOrDigit(first) && isLowerOrDigit(last)
            && label.allSatisfy { isLowerOrDigit($0) || $0 == UInt8(ascii: "-") }
    }

    /// `^[a-z0-9]+([-.]{1}[a-z0-9]+)*$`: alphanumeric runs joined by single dots or hyphens.
    private static func isHostName(_ value: String) -> Bool {
        Array(value.utf8).split(omittingEmptySubsequences: false) { "-.".utf8.contains($0) }
            .allSatisfy { !$0.isEmpty && $0.allSatisfy(isLowerOrDigit) }
    }

    private static func consists(of value: String, _ allowed: (UInt8) -> Bool) -> Bool {
        !value.isEmpty && value.utf8.allSatisfy(allowed)
    }

    private static func isLowerOrDigit(_ byte: UInt8) -> Bool {
        (97...122).contains(byte) || (48...57).contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        isLowerOrDigit(byte) || (65...90).contains(byte)
    }
}
