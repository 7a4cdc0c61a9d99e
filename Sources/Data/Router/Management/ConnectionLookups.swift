import AMQPCodec
import RouterConfig

/// What one loop says of its connections.
struct LoopConnections: Sendable {
    /// AMQP connections.
    var rows: [ManagementRow] = []
    /// TCP connections, for the choice of those whose rows are wanted.
    var places: [StreamPlace] = []
    /// TCP connections whose rows are wanted.
    var facts: [StreamFacts] = []
}

/// Requests about `connection` that wait for the loops.
///
/// TCP connections may be many: first every loop names its own, by number; then only those on the page that was asked
/// for are looked at, some at a time, so that a long list does not hold up a loop. AMQP connections come first on the
/// list, so that no crowd of clients hides a link to another router.
struct ConnectionLookups {
    /// Rows of TCP connections in one reply; a client that wants more asks for pages.
    static let rowMaximum = 5000
    /// TCP connections a loop looks at before it turns to other work.
    static let batch = 128
    /// Requests waiting at once.
    private static let pendingMaximum = 64

    enum Purpose: Equatable {
        case query
        case read
        /// UPDATE with adminStatus=deleted.
        case close
        /// UPDATE of enableProtocolTrace.
        case trace(Bool)
    }

    struct Lookup {
        var request: ManagementRequest
        var purpose: Purpose
        var rows: [ManagementRow]
        var places: [StreamPlace] = []
        var facts: [StreamFacts] = []
        var missing: Int
        var deadline: Int64
        /// TCP connections beyond what one reply holds.
        var leftOut = 0
        var isSecondRound = false
    }

    private(set) var open: [UInt64: Lookup] = [:]
    private var next: UInt64 = 0

    /// Nil when too many wait.
    mutating func begin(_ lookup: Lookup) -> UInt64? {
        guard open.count < ConnectionLookups.pendingMaximum else { return nil }
        next += 1
        open[next] = lookup
        return next
    }

    /// Adds what a loop said; the lookup when it was the last.
    mutating func add(_ id: UInt64, _ answer: LoopConnections) -> Lookup? {
        guard var lookup = open[id] else { return nil }
        lookup.rows += answer.rows
        lookup.places += answer.places
        lookup.facts += answer.facts
        lookup.missing -= 1
        guard lookup.missing == 0 else {
            open[id] = lookup
            return nil
        }
        open[id] = nil
        return lookup
    }

    /// Lookups whose loops did not answer in time.
    mutating func expire(now: Int64) -> [Lookup] {
        let late = open.filter { now > $0.value.deadline }
        for id in late.keys { open[id] = nil }
        return Array(late.values)
    }

    /// The page of a list of `amqp` AMQP connections followed by `streams` TCP connections: which of each are on it,
    /// and how many TCP connections one reply leaves out.
    static func page(
        amqp: Int, streams: Int, offset: Int, count: Int
    ) -> (amqp: Range<Int>, streams: Range<Int>, leftOut: Int) {
        let start = min(offset, amqp + streams)
        let end = count < 0 ? amqp + streams : min(amqp + streams, start + min(count, amqp + streams))
        let first = min(start, amqp)..<min(end, amqp)
        let low = max(start, amqp) - amqp
        let high = max(end, amqp) - amqp
        let kept = min(high, low + rowMaximum)
        return (first, low..<kept, high - kept)
    }
}

extension ManagementAgent {
    /// QUERY, READ, or UPDATE that closes.
    mutating func lookUp(_ request: ManagementRequest, _ purpose: ConnectionLookups.Purpose, _ core: Core) {
        let wanted = request.identity
        let name = request.name
        var lookup = ConnectionLookups.Lookup(
            request: request, purpose: purpose, rows: core.dispatchRows, missing: core.workers.count,
            deadline: core.now + 4000)
        if purpose != .query {
            lookup.rows.removeAll { !OperationalRows.isMeant($0, identity: request.identity, name: request.name) }
        }
        guard let id = lookups.begin(lookup) else {
            return answer(request, .failure(500, "too many management requests are waiting"), core)
        }
        let isQuery = purpose == .query
        let cuts = purpose == .close
        let traces: Bool? = if case .trace(let isOn) = purpose { isOn } else { nil }
        for worker in core.workers {
            worker.post {
                if let traces, let number = wanted.flatMap({ UInt64($0) }) { worker.traceFrames(traces, of: number) }
                var said = LoopConnections(rows: worker.rows(.connection))
                if isQuery {
                    said.places = worker.streamPlaces
                } else {
                    said.rows.removeAll { !OperationalRows.isMeant($0, identity: wanted, name: name) }
                    let number = wanted.flatMap { UInt64($0) }
                    said.facts = number.flatMap { worker.facts($0, cutting: cuts) }.map { [$0] } ?? []
                }
                let answer = said
                worker.core.post { worker.core.agent.loopSaid(id, answer, worker.core) }
            }
        }
    }

    mutating func loopSaid(_ id: UInt64, _ answer: LoopConnections, _ core: Core) {
        guard var lookup = lookups.add(id, answer) else { return }
        lookup.rows.sort {
            OperationalRows.order($0["identity"]?.stringValue ?? "", $1["identity"]?.stringValue ?? "")
        }
        switch lookup.purpose {
        case .query where !lookup.isSecondRound: choosePage(&lookup, core)
        case .query: finishQuery(lookup, core)
        case .read, .close, .trace: finishOne(lookup, core)
        }
    }

    /// Every loop has named its streams: the rows of those on the page are asked for.
    private mutating func choosePage(_ lookup: inout ConnectionLookups.Lookup, _ core: Core) {
        let request = lookup.request
        let page = ConnectionLookups.page(
            amqp: lookup.rows.count, streams: lookup.places.count, offset: request.offset, count: request.count)
        lookup.rows = Array(lookup.rows[page.amqp])
        let chosen = page.streams.isEmpty ? [] : lookup.places.sorted { $0.number < $1.number }[page.streams]
        lookup.places = []
        lookup.leftOut = page.leftOut
        guard !chosen.isEmpty else { return finishQuery(lookup, core) }
        let batches = Dictionary(grouping: chosen, by: \.worker).flatMap { worker, places in
            stride(from: 0, to: places.count, by: ConnectionLookups.batch).map { start in
                (worker, Array(places[start..<min(places.count, start + ConnectionLookups.batch)]))
            }
        }
        lookup.isSecondRound = true
        lookup.missing = batches.count
        lookup.deadline = core.now + 4000
        guard let id = lookups.begin(lookup) else {
            return answer(request, .failure(500, "too many management requests are waiting"), core)
        }
        for (index, places) in batches {
            let worker = core.workers[index]
            worker.post {
                let said = LoopConnections(facts: worker.facts(places))
                worker.core.post { worker.core.agent.loopSaid(id, said, worker.core) }
            }
        }
    }

    private func finishQuery(_ lookup: ConnectionLookups.Lookup, _ core: Core) {
        guard let type = Schema.type(named: "connection") else { return }
        let rows = lookup.rows + lookup.facts.sorted { $0.number < $1.number }.map(\.row)
        var request = lookup.request
        request.offset = 0
        request.count = -1
        var reply = tabulate(request, rows, .one(type))
        if reply.status == 200, lookup.leftOut > 0 {
            reply.description = "OK, without \(lookup.leftOut) more TCP connections; ask for them with offset and count"
        }
        answer(lookup.request, reply, core)
    }

    private func finishOne(_ lookup: ConnectionLookups.Lookup, _ core: Core) {
        let request = lookup.request
        let found = lookup.rows.first ?? lookup.facts.first?.row
        if case .trace(let isOn) = lookup.purpose { return finishTrace(request, found, isOn, core) }
        guard let row = found else { return answer(request, notFound(request), core) }
        guard lookup.purpose == .close else { return answer(request, .entity(row), core) }
        if lookup.rows.isEmpty, let stream = lookup.facts.first {
            Log.write(
                .agent, .info, "\(stream.title): TCP connection \(stream.number) (\(stream.host)) is closed by request")
        } else if let refusal = core.closeByRequest(request.identity ?? "") {
            return answer(request, refusal, core)
        }
        var closed = row
        closed["adminStatus"] = .string("deleted")
        closed["operStatus"] = .string("closing")
        answer(request, .entity(closed), core)
    }

    private func finishTrace(_ request: ManagementRequest, _ found: ManagementRow?, _ isOn: Bool, _ core: Core) {
        // skrouterd answers 400 here, not 404, and its clients look for that.
        guard let row = found else {
            return answer(request, .failure(400, "there is no connection with \(request.target)"), core)
        }
        guard row["protocol"] == .string("amqp") else {
            let refusal = ManagementReply.failure(400, "a TCP connection has no AMQP frames that could be logged")
            return answer(request, isOn ? refusal : .entity(row), core)
        }
        let change = isOn ? "are logged from now on" : "are no longer logged"
        Log.write(.agent, .info, "[C\(request.identity ?? "")] frames \(change), by request (enableProtocolTrace)")
        answer(request, .entity(row), core)
    }

    mutating func expireLookups(now: Int64, core: Core) {
        for lookup in lookups.expire(now: now) {
            answer(lookup.request, .failure(500, "a loop did not answer within 4 s"), core)
        }
    }

    /// UPDATE of a connection entity: adminStatus=deleted closes it, except between routers; enableProtocolTrace turns
    /// the trace of its frames on or off.
    mutating func updateConnection(
        _ request: ManagementRequest, _ changes: [String: AttributeValue], from client: ConnectionRef, _ core: Core
    ) {
        if changes["adminStatus"] == "deleted", core.connections[client]?.info.maySetAdminStatus == false {
            let text = "Forbidden: the policy does not let this user close connections"
            return answer(request, .failure(403, text), core)
        }
        var request = request
        request.identity = request.identity ?? request.name
        guard request.identity != nil else {
            return answer(request, .failure(400, "UPDATE of a connection needs its identity"), core)
        }
        switch (changes["adminStatus"], changes["enableProtocolTrace"]) {
        case ("deleted", _): lookUp(request, .close, core)
        case ("enabled", nil): lookUp(request, .read, core)
        case (nil, let given?), ("enabled", let given?):
            guard let isOn = Schema.boolean(given) else {
                let text = "enableProtocolTrace is \(given.json): give true or false (or yes, no, on, off)"
                return answer(request, .failure(400, text), core)
            }
            lookUp(request, .trace(isOn), core)
        default:
            let text = "of a connection only enableProtocolTrace can be set, and adminStatus to deleted"
            answer(request, .failure(400, text), core)
        }
    }
}

extension Core {
    /// TCP connections as skupper-router counts them: those that are open, and one that stands for each tcpConnector's
    /// place in the network.
    func tcpConnectionCount(_ totals: Worker.Counters) -> Int {
        totals.streamsOpened - totals.streamsClosed + tcpConnectors.count
    }

    /// One row for each tcpConnector's place in the network, as skupper-router has it.
    var dispatchRows: [ManagementRow] {
        tcpConnectors.values.map { state in
            StreamFacts.row(
                number: state.number, host: Core.dispatchHost, isIncoming: false,
                uptimeSeconds: (now - state.createdAt) / 1000)
        }
    }

    private static let dispatchHost = "egress-dispatch"

    /// Closes an AMQP connection; a reply when that is refused.
    func closeByRequest(_ identity: String) -> ManagementReply? {
        if tcpConnectors.values.contains(where: { String($0.number) == identity }) {
            return .failure(403, "this connection is a tcpConnector's place in the network; delete the tcpConnector")
        }
        guard let id = UInt64(identity), let (ref, state) = connections.first(where: { $0.key.id == id }) else {
            return .failure(404, "No entity with identity=\(identity)")
        }
        guard !state.info.role.carriesAnnotations else {
            return .failure(
                403, "a connection between routers is not closed this way; delete its connector or listener")
        }
        closeConnection(ref, reason: "adminStatus was set to deleted")
        return nil
    }
}
