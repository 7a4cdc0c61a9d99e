import AMQPCodec
import RouterConfig

/// Where a connector dials: the place it was configured with first, then those that its peers have named for when they
/// are lost. Tells where to dial next; who dials, and when, is not known here.
struct FailoverList: Equatable, Sendable {
    /// The connector's own place first.
    private(set) var places: [FailoverAddress]
    /// Place in use, or to be tried next.
    private(set) var index = 0
    /// Failures in a row at this place.
    private var failures = 0

    /// Places kept at most; a peer's list may be longer.
    static let maximum = 32
    /// Attempts at one place before the next.
    static let attempts = 2

    init(own: FailoverAddress) { places = [own] }

    var current: FailoverAddress { places[index] }
    var hasOthers: Bool { places.count > 1 }

    mutating func opened() { failures = 0 }

    /// An attempt failed, or a connection was lost. True when another place is to be dialled from now on.
    mutating func failed() -> Bool {
        failures += 1
        guard hasOthers, failures >= FailoverList.attempts else { return false }
        failures = 0
        index = (index + 1) % places.count
        return true
    }

    /// The peer at the current place has named others: they stand instead of those named before.
    mutating func learn(_ named: [FailoverAddress]) {
        let kept = current
        let own = places[0]
        places = kept == own ? [own] : [own, kept]
        index = places.count - 1
        for place in named where places.count < FailoverList.maximum {
            guard !places.contains(where: { $0.host == place.host && $0.port == place.port }) else { continue }
            places.append(place)
        }
    }

    /// The value of `failoverUrls`: every place, from the current one on.
    var text: String { (places[index...] + places[..<index]).map(\.url).joined(separator: ", ") }
}

extension FailoverAddress {
    /// Property of Open and the keys of its maps.
    static let property = "failover-server-list"
    private static let hostKey = "network-host"
    private static let portKey = "port"
    private static let schemeKey = "scheme"

    /// What a peer's Open names; nil if it says nothing of it. Entries that cannot be dialled are passed over.
    static func read(_ value: AMQPValue?) -> [FailoverAddress]? {
        guard case .list(let items)? = value else { return nil }
        return items.prefix(FailoverList.maximum).compactMap { item in
            guard case .map(let entries) = item else { return nil }
            func field(_ name: String) -> AMQPValue? { entries.first { $0.key.stringValue == name }?.value }
            guard let host = field(hostKey)?.stringValue, !host.isEmpty, host.utf8.count <= 255,
                host.utf8.allSatisfy({ $0 > 32 && $0 < 127 })
            else { return nil }
            let port = field(portKey).flatMap { $0.stringValue ?? $0.intValue.map(String.init) } ?? "5672"
            guard let number = Schema.portNumber(port), number > 0 else { return nil }
            let scheme = field(schemeKey)?.stringValue
            return FailoverAddress(scheme: scheme == "amqps" ? "amqps" : "amqp", host: host, port: port)
        }
    }

    /// This place as an entry of the property.
    var amqp: AMQPValue {
        .map(
            [
                MapEntry(symbol: FailoverAddress.hostKey, .string(host)),
                MapEntry(symbol: FailoverAddress.portKey, .string(port)),
            ] + (scheme.map { [MapEntry(symbol: FailoverAddress.schemeKey, .string($0))] } ?? []))
    }
}
