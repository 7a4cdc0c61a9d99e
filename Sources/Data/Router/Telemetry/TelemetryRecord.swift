import AMQPCodec

/// Kinds of telemetry records that routers emit (router-protocol sheet, section 8.3); raw values are those of the wire.
enum TelemetryKind: UInt32, Sendable {
    case site = 0
    case router = 1
    case link = 2
    case listener = 4
    case connector = 5
    /// A grave line of the log.
    case log = 14
    case routerAccess = 15
    /// A TCP connection, from the listener's side.
    case flow = 16
    /// A request and its response on such a connection.
    case exchange = 17
}

/// Attributes of records (section 8.4). Times are microseconds since 1970, latencies microseconds.
enum TelemetryAttribute: UInt32, Sendable {
    case parent = 2
    case startTime = 3
    case endTime = 4
    case peer = 6
    case process = 7
    case location = 9
    case provider = 10
    case platform = 11
    case namespace = 12
    case mode = 13
    case sourceHost = 14
    case destinationHost = 15
    case protocolName = 16
    case sourcePort = 17
    case destinationPort = 18
    case vanAddress = 19
    case imageName = 20
    case imageVersion = 21
    case hostName = 22
    case octets = 23
    case latency = 24
    case method = 27
    case result = 28
    case reason = 29
    case name = 30
    case trace = 31
    case buildVersion = 32
    case linkCost = 33
    case flowCount = 40
    case streamID = 47
    case logSeverity = 48
    case logText = 49
    case sourceFile = 50
    case sourceLine = 51
    case linkCount = 52
    case operStatus = 53
    case role = 54
    case upTimestamp = 55
    case downTimestamp = 56
    case downCount = 57
    case octetsReverse = 58
    case connector = 60
    case processLatency = 61
    case proxyHost = 62
    case proxyPort = 63
    case errorListenerSide = 64
    case errorConnectorSide = 65
    case activeTLSOrdinal = 66
    case httpProxy = 67
}

/// Numbers travel as ulong and texts as string; collectors drop records with other types.
enum TelemetryValue: Equatable, Sendable {
    case text(String)
    case number(UInt64)

    /// Octets of a text; what is beyond is cut off, with the rest of its last character.
    static let longest = 300

    var amqp: AMQPValue {
        switch self {
        case .text(let text): .string(TelemetryValue.shortened(text))
        case .number(let number): .ulong(number)
        }
    }

    private static func shortened(_ text: String) -> String {
        guard text.utf8.count > longest else { return text }
        // A character takes up to four octets.
        return (longest - 3...longest).reversed().lazy.compactMap { String(text.utf8.prefix($0)) }.first ?? ""
    }

    init?(_ value: AMQPValue) {
        switch value {
        case .string(let text): self = .text(text)
        case .ulong(let number): self = .number(number)
        default: return nil
        }
    }
}

/// One record: what it is, what is known of it, and what collectors have not been told.
struct TelemetryRecord: Sendable {
    let kind: TelemetryKind
    let id: String
    private(set) var values: [TelemetryAttribute: TelemetryValue] = [:]
    private var changed: Set<TelemetryAttribute> = []

    init(_ kind: TelemetryKind, id: String) {
        self.kind = kind
        self.id = id
    }

    var isChanged: Bool { !changed.isEmpty }

    mutating func set(_ attribute: TelemetryAttribute, _ value: TelemetryValue?) {
        guard let value, values[attribute] != value else { return }
        values[attribute] = value
        changed.insert(attribute)
    }

    mutating func set(_ attribute: TelemetryAttribute, _ text: String?) {
        if let text, !text.isEmpty { set(attribute, .text(text)) }
    }

    mutating func set(_ attribute: TelemetryAttribute, _ number: Int64) {
        set(attribute, .number(UInt64(clamping: number)))
    }

    /// A collector wants everything again.
    mutating func forgetSent() { changed = Set(values.keys) }

    /// Kind, identity and what changed, as the map of a record message; nothing counts as changed afterwards.
    mutating func takeChanges() -> AMQPValue {
        var entries = [
            MapEntry(key: .uint(0), value: .uint(kind.rawValue)), MapEntry(key: .uint(1), value: .string(id)),
        ]
        for attribute in changed.sorted(by: { $0.rawValue < $1.rawValue }) {
            guard let value = values[attribute] else { continue }
            entries.append(MapEntry(key: .uint(attribute.rawValue), value: value.amqp))
        }
        changed = []
        return .map(entries)
    }
}
