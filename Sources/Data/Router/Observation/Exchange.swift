/// What telemetry tells of one HTTP request and its response. Times are microseconds since 1970.
struct ExchangeReport: Sendable, Equatable {
    /// Empty = not recorded.
    var id: String
    /// The record of the connection it came on.
    var flow: String
    var protocolName: String
    var method = ""
    /// Status of the final response, and what HTTP/1 says of it in words.
    var result = ""
    var reason = ""
    /// The first name in the request's first X-Forwarded-For.
    var sourceHost = ""
    /// HTTP/2 only.
    var streamID: UInt32?
    /// Octets of the request's and the response's body.
    var octets: UInt64 = 0
    var octetsReverse: UInt64 = 0
    /// Microseconds from the request to the first octets of a response; 0 = none came.
    var latency: Int64 = 0
    var startedAt: Int64
    /// 0 = under way.
    var endedAt: Int64 = 0
}

/// One request and its response, while an observer follows them.
final class Exchange {
    /// Octets kept of a name that comes from a peer.
    static let longestName = 127

    var report: ExchangeReport
    private var told: ExchangeReport?

    fileprivate init(_ report: ExchangeReport) { self.report = report }

    /// The value of an X-Forwarded-For header; the first one counts.
    func noteForwarded(_ value: UnsafeRawBufferPointer) {
        guard report.sourceHost.isEmpty, let first = value.split(separator: UInt8(ascii: ",")).first else { return }
        report.sourceHost = String(decoding: first.prefix(Exchange.longestName), as: UTF8.self)
    }

    /// What has changed since the last call; nil = nothing, or it is not recorded.
    fileprivate func takeChange() -> ExchangeReport? {
        guard !report.id.isEmpty, report != told else { return nil }
        told = report
        return report
    }
}

/// Begins and ends the records of one connection's requests.
final class ExchangeLog {
    private let flow: String
    private let names: FlowNames
    private let clock: () -> Int64
    private let tell: (ExchangeReport) -> Void

    /// - Parameters:
    ///   - flow: name of the connection's record.
    ///   - clock: microseconds since 1970.
    ///   - tell: gets what is new of a recorded request.
    init(flow: String, names: FlowNames, clock: @escaping () -> Int64, tell: @escaping (ExchangeReport) -> Void) {
        self.flow = flow
        self.names = names
        self.clock = clock
        self.tell = tell
    }

    /// A request has begun. It is followed, and not recorded, when too many are on record or nobody listens any more.
    func begin(_ protocolName: String, streamID: UInt32? = nil) -> Exchange {
        Exchange(
            ExchangeReport(
                id: names.takeForExchange() ?? "", flow: flow, protocolName: protocolName, streamID: streamID,
                startedAt: clock()))
    }

    /// The first octets of a response have come.
    func answered(_ exchange: Exchange) {
        if exchange.report.latency == 0 { exchange.report.latency = max(1, clock() - exchange.report.startedAt) }
    }

    func end(_ exchange: Exchange) {
        guard exchange.report.endedAt == 0 else { return }
        exchange.report.endedAt = clock()
        tellChange(of: exchange)
    }

    func tellChange(of exchange: Exchange) { if let change = exchange.takeChange() { tell(change) } }

    /// Room for the header tables of one HTTP/2 connection; false = it is not observed. Every true is given back once.
    func takeTables() -> Bool { names.takeTables() }
    func giveBackTables() { names.giveBackTables() }
}

/// Octets that are looked at where they lie.
struct OctetCursor {
    private(set) var start: UnsafeRawPointer
    private(set) var count: Int

    init(_ start: UnsafeRawPointer, _ count: Int) {
        self.start = start
        self.count = count
    }

    var isEmpty: Bool { count == 0 }

    /// Passes the first octets and returns them; `amount` is at most ``count``.
    @discardableResult
    mutating func take(_ amount: Int) -> UnsafeRawBufferPointer {
        let taken = UnsafeRawBufferPointer(start: start, count: amount)
        start += amount
        count -= amount
        return taken
    }
}
