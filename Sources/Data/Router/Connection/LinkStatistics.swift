import AMQPCodec

/// Counters of one link, shown by management.
struct LinkStatistics {
    var deliveries = 0
    var accepted = 0
    var rejected = 0
    var released = 0
    var modified = 0
    var presettled = 0
    var droppedPresettled = 0
    /// Settled after more than 1 s, and of more than 10 s.
    var delayed1 = 0
    var delayed10 = 0
    /// Unsettled now and found so after 10 s by a scan.
    var stuck = 0
    /// Settled deliveries in a second, over the last scan's interval.
    var settleRate = 0
    /// When a scan first found the link without credit and without deliveries since the scan before; 0 = it moves.
    private(set) var withoutCreditSince: Int64 = 0
    private var settled = 0
    private var settledAtScan = 0
    private var deliveriesAtScan = 0

    mutating func count(_ state: DeliveryState?) {
        settled += 1
        switch state {
        case .accepted: accepted += 1
        case .rejected: rejected += 1
        case .released: released += 1
        case .modified: modified += 1
        default: break
        }
    }

    /// A presettled delivery came or went.
    mutating func countPresettled() {
        settled += 1
        presettled += 1
    }

    /// Once in an interval.
    mutating func scan(hasCredit: Bool, now: Int64, intervalMilliseconds: Int64) {
        let count = settled - settledAtScan
        settledAtScan = settled
        settleRate = count * 1000 / Int(intervalMilliseconds)
        // Whoever gives credit one by one may have none at each scan.
        if hasCredit {
            withoutCreditSince = 0
        } else if withoutCreditSince == 0 || deliveries != deliveriesAtScan {
            withoutCreditSince = now
        }
        deliveriesAtScan = deliveries
    }
}

extension Link {
    /// Milliseconds between two scans of a loop's links.
    static let scanInterval: Int64 = 5000
    /// Scans of links for each scan of their unsettled deliveries.
    static let scansPerStuckScan = 6
    /// Age in milliseconds at which an unsettled delivery is stuck.
    static let stuckAge: Int64 = 10_000

    /// A delivery that began at `start` was settled with `state`.
    func settled(_ state: DeliveryState?, since start: Int64) {
        let worker = session.connection.worker
        statistics.count(state)
        // Through the router each delivery goes on two links; the router counts it where it comes in.
        if role == .receiver { worker.counters.count(state) }
        let age = worker.now - start
        // Streams are meant to last.
        guard age > 1000, kind != .streaming else { return }
        if age > 10_000 {
            statistics.delayed10 += 1
            if role == .receiver { worker.counters.delayed10 += 1 }
        } else {
            statistics.delayed1 += 1
            if role == .receiver { worker.counters.delayed1 += 1 }
        }
    }

    /// A delivery that began settled.
    func countPresettled() {
        statistics.countPresettled()
        if role == .receiver, isEndpoint { session.connection.worker.counters.presettled += 1 }
    }

    /// What comes on it has come in here: every link but those between routers for routing and for whole messages.
    var isEndpoint: Bool {
        switch kind {
        case .control, .data, .interEdge: false
        // Also the streams of data connections, as skrouterd counts them.
        case .streaming: session.connection.effectiveRole != .interRouter
        default: true
        }
    }

    /// A settled delivery that found nobody, or that its link's end kept from leaving.
    func countDroppedPresettled() {
        statistics.droppedPresettled += 1
        session.connection.worker.counters.droppedPresettled += 1
    }

    /// A delivery that a scan found stuck.
    func countStuck() {
        statistics.stuck += 1
        session.connection.worker.counters.stuck += 1
    }

    /// One that was counted as stuck is settled, or lost with its link.
    func countNoLongerStuck() {
        statistics.stuck -= 1
        session.connection.worker.counters.stuck -= 1
    }

    /// What is received on it comes from a router.
    fileprivate var isFedByRouter: Bool {
        if case .producer = kind { return false }
        return role == .receiver
    }

    /// The peer has used up its credit and nothing waits for more, as with a management client between two requests.
    fileprivate var isServed: Bool { role == .sender && statistics.deliveries > 0 && waiting.isEmpty }

    /// Blocked: no credit for 10 s, on a sending link or for a client that sends.
    func isBlocked(now: Int64) -> Bool {
        statistics.withoutCreditSince > 0 && now - statistics.withoutCreditSince >= Link.stuckAge
    }
}

extension Worker.Counters {
    mutating func count(_ state: DeliveryState?) {
        switch state {
        case .accepted: accepted += 1
        case .rejected: rejected += 1
        case .released: released += 1
        case .modified: modified += 1
        default: break
        }
    }

    mutating func countIngress(from outside: Outside) {
        switch outside {
        case .container: containerIngress += 1
        case .network: networkIngress += 1
        }
    }

    mutating func countEgress(to outside: Outside) {
        switch outside {
        case .container: containerEgress += 1
        case .network: networkEgress += 1
        }
    }

    mutating func add(_ part: Worker.Counters) {
        octetsIn += part.octetsIn
        octetsOut += part.octetsOut
        streamsOpened += part.streamsOpened
        streamsClosed += part.streamsClosed
        ingress += part.ingress
        egress += part.egress
        containerIngress += part.containerIngress
        containerEgress += part.containerEgress
        networkIngress += part.networkIngress
        networkEgress += part.networkEgress
        transit += part.transit
        accepted += part.accepted
        released += part.released
        rejected += part.rejected
        modified += part.modified
        presettled += part.presettled
        droppedPresettled += part.droppedPresettled
        delayed1 += part.delayed1
        delayed10 += part.delayed10
        stuck += part.stuck
        blockedLinks += part.blockedLinks
        links += part.links
        observedHTTP1 += part.observedHTTP1
        observedHTTP2 += part.observedHTTP2
    }
}

extension Worker {
    /// Rates, links without credit and stuck deliveries: what only a look at all links can tell.
    func scanLinks(deliveries: Bool) {
        var blocked = 0
        var links = 0
        for connection in connections.values {
            for case let session? in connection.sessions {
                links += session.localLinks.count
                for link in session.localLinks.values {
                    link.statistics.scan(
                        hasCredit: link.machine.credit > 0 || link.isFedByRouter || link.isServed, now: now,
                        intervalMilliseconds: Link.scanInterval)
                    if link.isBlocked(now: now) { blocked += 1 }
                }
                if deliveries { scanDeliveries(session) }
            }
        }
        counters.blockedLinks = blocked
        counters.links = links
    }

    /// Brings those counters up to date that only a look at everything can tell.
    func countAll() {
        countLinks()
        countExchanges()
        counters.pool = PoolCount(
            allocated: pool.made - pool.released, idle: pool.freeCount,
            octets: (pool.made - pool.released) * pool.slabCapacity)
    }

    private func countExchanges() {
        counters.observedHTTP1 = 0
        counters.observedHTTP2 = 0
        guard tracedStreams > 0 else { return }
        eachStream { stream in
            switch stream.flow?.observer?.found {
            case .http1: counters.observedHTTP1 += 1
            case .http2: counters.observedHTTP2 += 1
            default: break
            }
        }
    }

    private func countLinks() {
        counters.links = connections.values.reduce(0) { total, connection in
            total + connection.sessions.reduce(0) { $0 + ($1?.localLinks.count ?? 0) }
        }
    }

    private func scanDeliveries(_ session: Session) {
        for delivery in session.incoming.values where delivery.becameStuck(now: now) { delivery.link.countStuck() }
        for delivery in session.outgoing.values where delivery.becameStuck(now: now) { delivery.link?.countStuck() }
    }
}
