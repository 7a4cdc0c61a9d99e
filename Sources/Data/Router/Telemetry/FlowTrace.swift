import Glibc
import Synchronization

/// Names records of this router. Shared by all loops.
///
/// A flow gets a name only while a collector listens and fewer than ``FlowNames/liveMaximum`` flows are on record, so
/// that telemetry costs nothing when nobody looks and bounded memory when somebody does.
final class FlowNames: Sendable {
    /// Flows on record at a time; further ones are not recorded.
    static let liveMaximum = 5000
    /// Requests on record at a time; further ones are not recorded.
    static let exchangeMaximum = 5000
    /// Connections of HTTP/2 observed at a time; each has header tables, of 1.5 MB at the worst.
    static let tablesMaximum = 200
    /// Five characters that name this router's records in the network.
    let source: String
    private let next = Atomic<Int>(1)
    private let live = Atomic<Int>(0)
    private let liveExchanges = Atomic<Int>(0)
    private let tables = Atomic<Int>(0)
    private let observed = Atomic<Bool>(false)

    init(source: String) { self.source = source }

    /// A collector receives flow records.
    var isObserved: Bool {
        get { observed.load(ordering: .relaxed) }
        set { observed.store(newValue, ordering: .relaxed) }
    }

    func take() -> String { "\(source):\(next.wrappingAdd(1, ordering: .relaxed).oldValue)" }

    /// A name for a new flow; nil when it is not recorded.
    func takeForFlow() -> String? {
        guard isObserved, live.load(ordering: .relaxed) < FlowNames.liveMaximum else { return nil }
        live.wrappingAdd(1, ordering: .relaxed)
        return take()
    }

    /// A flow is off the record.
    func release() { live.wrappingSubtract(1, ordering: .relaxed) }

    /// A name for a new request; nil when it is not recorded.
    func takeForExchange() -> String? {
        guard isObserved, liveExchanges.load(ordering: .relaxed) < FlowNames.exchangeMaximum else { return nil }
        liveExchanges.wrappingAdd(1, ordering: .relaxed)
        return take()
    }

    /// A request is off the record.
    func releaseExchange() { liveExchanges.wrappingSubtract(1, ordering: .relaxed) }

    /// One more connection of HTTP/2 may be observed.
    func takeTables() -> Bool {
        guard tables.load(ordering: .relaxed) < FlowNames.tablesMaximum else { return false }
        tables.wrappingAdd(1, ordering: .relaxed)
        return true
    }

    func giveBackTables() { tables.wrappingSubtract(1, ordering: .relaxed) }
}

/// Telemetry of one TCP stream, on its loop. Streams without one are not recorded.
final class FlowTrace {
    let id: String
    let startedAt = Clock.microseconds
    /// Connector side: routers passed by the client stream.
    let route: String
    /// The socket's remote end at a listener, its own end at a connector.
    var end: (host: String, port: String)?
    /// When octets first came from and went to the socket; 0 = not yet.
    var firstRead: Int64 = 0
    var firstWritten: Int64 = 0
    var failure: String?
    /// Looks for requests; nil where none are looked for, or none can be understood any more.
    private(set) var observer: StreamObserver?
    /// What was reported last.
    var reported: FlowReport?

    init(id: String, route: String = "") {
        self.id = id
        self.route = route
    }

    func observe(_ choice: ObserverChoice, log: @autoclosure () -> ExchangeLog) {
        if choice != .none { observer = StreamObserver(choice, log: log()) }
    }

    /// Clear octets came from the socket.
    func noteRead(_ bytes: UnsafeRawPointer, _ count: Int) {
        if firstRead == 0 { firstRead = Clock.microseconds }
        observe(fromClient: true, bytes, count)
    }

    /// Clear octets are on their way to the socket.
    func noteDelivered(_ bytes: UnsafeRawPointer, _ count: Int) { observe(fromClient: false, bytes, count) }

    private func observe(fromClient: Bool, _ bytes: UnsafeRawPointer, _ count: Int) {
        guard let observer else { return }
        observer.observe(fromClient: fromClient, OctetCursor(bytes, count))
        if observer.hasEnded { self.observer = nil }
    }

    func noteEnd(_ address: SocketAddress?) {
        guard let address, let colon = address.text.lastIndex(of: ":") else { return }
        let host = address.text[..<colon].filter { $0 != "[" && $0 != "]" }
        end = (host, String(address.text[address.text.index(after: colon)...]))
    }
}

/// What a loop tells the control thread of one flow.
struct FlowReport: Sendable, Equatable {
    var id: String
    /// Key of the listener's or connector's record.
    var service: String
    var isListener: Bool
    var route: String
    var host: String
    var port: String
    var octets: UInt64
    var octetsReverse: UInt64
    /// Microseconds; 0 = not known yet.
    var latency: Int64
    var failure: String?
    var startedAt: Int64
    /// 0 = still open.
    var endedAt: Int64
}

/// Octets of one connection between routers since it opened.
struct LinkOctets: Sendable {
    var ref: ConnectionRef
    var octetsIn: Int
    var octetsOut: Int
}

/// Wall clock time.
enum Clock {
    /// Microseconds since 1970.
    static var microseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}
