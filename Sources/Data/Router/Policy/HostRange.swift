/// The number of a host, as users come from it: 4 or 16 octets, IPv4 in one form only.
struct HostNumber: Equatable, Comparable, Sendable {
    private var octets: [UInt8]

    /// - Parameter octets: 4 of IPv4, 16 of IPv6.
    init?(_ octets: [UInt8]) {
        switch octets.count {
        case 4:
            self.octets = octets
        case 16:
            // An IPv4 host as a socket of both kinds shows it.
            let isMapped = octets.prefix(10).allSatisfy { $0 == 0 } && octets[10] == 0xff && octets[11] == 0xff
            self.octets = isMapped ? Array(octets.suffix(4)) : octets
        default:
            return nil
        }
    }

    /// - Parameter literal: a numeric address without a port.
    init?(literal: String) {
        guard let address = SocketAddress(literal: literal, port: 0) else { return nil }
        self.init(address.hostOctets)
    }

    var isIPv4: Bool { octets.count == 4 }

    static func < (left: HostNumber, right: HostNumber) -> Bool {
        left.octets.count == right.octets.count
            ? left.octets.lexicographicallyPrecedes(right.octets) : left.octets.count < right.octets.count
    }
}

/// Hosts that users of a group may come from: every host, one, or those from one number to another.
enum HostRange: Equatable, Sendable {
    case everyone
    case hosts(ClosedRange<HostNumber>)

    /// - Parameters:
    ///   - text: `*`, a host, or two with a hyphen between.
    ///   - resolve: the numbers of a name; not called where the text has only numbers.
    init(_ text: String, resolve: (String) -> [HostNumber]) throws(PolicyError) {
        if text == "*" {
            self = .everyone
            return
        }
        let parts = text.split(separator: "-", omittingEmptySubsequences: false).map(HostRange.trimmed)
        if parts.count == 2, let low = HostNumber(literal: parts[0]), let high = HostNumber(literal: parts[1]) {
            self = try HostRange.range(from: low, to: high, text)
            return
        }
        // A name may have hyphens of its own.
        if let one = HostRange.single(text, resolve) {
            self = .hosts(one...one)
            return
        }
        guard parts.count == 2, let low = HostRange.single(parts[0], resolve),
            let high = HostRange.single(parts[1], resolve)
        else { throw PolicyError("'\(text)' is no host, nor two hosts with a hyphen between") }
        self = try HostRange.range(from: low, to: high, text)
    }

    private static func range(
        from low: HostNumber, to high: HostNumber, _ text: String
    ) throws(PolicyError) -> HostRange {
        guard low.isIPv4 == high.isIPv4 else { throw PolicyError("'\(text)' goes from one address family to another") }
        guard low <= high else { throw PolicyError("'\(text)' must begin with the lower address") }
        return .hosts(low...high)
    }

    private static func single(_ text: String, _ resolve: (String) -> [HostNumber]) -> HostNumber? {
        if let number = HostNumber(literal: text) { return number }
        let found = resolve(text)
        guard let first = found.first, found.allSatisfy({ $0 == first }) else { return nil }
        return first
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return String(text)
    }

    /// - Parameter host: nil = unknown.
    func contains(_ host: HostNumber?) -> Bool {
        switch self {
        case .everyone: true
        case .hosts(let range): host.map { range.contains($0) } ?? false
        }
    }
}

extension HostLookup {
    /// The numbers of a name; none when it is unknown or was not answered in time.
    func numbers(of name: String) -> [HostNumber] { addresses(of: name).compactMap { HostNumber($0.hostOctets) } }
}
