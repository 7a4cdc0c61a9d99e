import AMQPCodec
import Glibc

/// The records of this router and what has been told of them. Owned by the control thread.
struct Telemetry {
    /// A flow on record.
    struct Flow {
        var record: TelemetryRecord
        /// The listener's loop has told of it: the connector's side may be faster.
        var isKnown = false
        var hasFarSide = false
        var isQueued = false
        var madeAt: Int64
        /// Monotonic milliseconds; 0 = open.
        var endedAt: Int64 = 0
        var endTime: Int64 = 0
    }

    /// A request on record.
    struct RecordedExchange {
        var record: TelemetryRecord
        var isQueued = false
    }

    /// Milliseconds that an ended flow waits for the connector's side.
    static let holdEnded: Int64 = 5000
    static let tick: Int64 = 1000
    static let heartbeat: Int64 = 2000
    static let beacon: Int64 = 10_000
    /// Records in one message, and messages of one kind in one tick: at most 2,000 records a second.
    static let recordsInMessage = 50
    static let messagesInTick = 40
    /// Records that wait for other routers.
    static let farMaximum = 5000

    /// Router, links, accesses, listeners and connectors, by what they stand for.
    var base: [String: TelemetryRecord] = [:]
    private var identities: [String: String] = [:]
    var flows: [String: Flow] = [:]
    /// Ids of flows with something to tell, in the order in which it came up.
    var changedFlows = Fifo<String>()
    /// Requests, and those with something to tell, as with flows.
    var exchanges: [String: RecordedExchange] = [:]
    var changedExchanges = Fifo<String>()
    /// Our connectors' side of other routers' flows, by their source.
    var far: [String: [TelemetryRecord]] = [:]
    var farCount = 0
    var linkOctets: [ConnectionRef: LinkOctets] = [:]
    var nextTick: Int64 = 0
    var nextHeartbeat: Int64 = 0
    var nextBeacon: Int64 = 0
    var nextLogRecords: Int64 = 0
    var hadCollector = false
    private var messages: Int64 = 0

    /// The identity of what a key stands for; made once.
    mutating func identity(_ key: String, names: FlowNames) -> String {
        if let known = identities[key] { return known }
        let made = names.take()
        identities[key] = made
        return made
    }

    mutating func forget(_ key: String) {
        identities[key] = nil
        base[key] = nil
    }

    /// A message of this router's telemetry, without annotations.
    mutating func message(
        to address: String, subject: String, properties: [MapEntry] = [], body: AMQPValue
    ) -> [UInt8] {
        var encoder = AMQPEncoder()
        encoder.described(0x73)
        let number = messages
        messages += 1
        encoder.list(4) { list in
            list.long(number)
            list.null()
            list.string(address)
            list.string(subject)
        }
        if !properties.isEmpty {
            encoder.described(0x74)
            encoder.value(.map(properties))
        }
        encoder.described(0x77)
        encoder.value(body)
        return encoder.bytes
    }

    /// The five characters before the colon: the end of a pod's name, else random.
    static func sourceName(random: String) -> String {
        guard getenv("KUBERNETES_SERVICE_HOST") != nil, let host = environment("HOSTNAME"),
            let dash = host.lastIndex(of: "-")
        else { return random }
        let tail = host[host.index(after: dash)...]
        return tail.isEmpty ? random : String(tail.suffix(5))
    }

    static func environment(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        return text.isEmpty ? nil : text
    }
}
