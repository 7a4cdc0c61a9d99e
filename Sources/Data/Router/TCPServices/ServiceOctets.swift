/// Octets of one service's sockets, without TLS's own.
struct OctetPair: Sendable, Equatable {
    /// Received from the sockets.
    var octetsIn: UInt64 = 0
    /// Sent to the sockets.
    var octetsOut: UInt64 = 0

    static func + (left: OctetPair, right: OctetPair) -> OctetPair {
        OctetPair(octetsIn: left.octetsIn &+ right.octetsIn, octetsOut: left.octetsOut &+ right.octetsOut)
    }
}

/// What the closed streams of one tcpListener or tcpConnector have moved. Open streams know their own octets, so that
/// nothing is counted on a frame's way; a stream adds its sum when it closes.
///
/// Each loop has its own cell and is alone in touching it: what a loop reports is the sum of its open and closed
/// streams at one moment, and never goes back.
final class ServiceOctets: @unchecked Sendable {  // cell n belongs to loop n
    private let cells: UnsafeMutablePointer<OctetPair>
    private let count: Int

    init(loops: Int) {
        count = max(1, loops)
        cells = .allocate(capacity: count)
        cells.initialize(repeating: OctetPair(), count: count)
    }

    deinit { cells.deallocate() }

    /// On that loop only: a stream has closed.
    func add(loop: Int, octetsIn: UInt64, octetsOut: UInt64) {
        cells[loop].octetsIn &+= octetsIn
        cells[loop].octetsOut &+= octetsOut
    }

    /// On that loop only: the closed streams.
    func closed(loop: Int) -> OctetPair { cells[loop] }
}

extension TCPStream.Side {
    /// The octets of the service it belongs to.
    var octets: ServiceOctets {
        switch self {
        case .listener(let target): target.octets
        case .connector(let target): target.octets
        }
    }
}

extension Worker {
    /// Octets of this loop's streams, open and closed, in the order of `services`.
    fileprivate func octets(of services: [ServiceOctets]) -> [OctetPair] {
        var open: [ObjectIdentifier: OctetPair] = [:]
        eachStream { stream in
            let pair = OctetPair(octetsIn: stream.octetsSent, octetsOut: stream.octetsWritten)
            open[ObjectIdentifier(stream.side.octets), default: OctetPair()] =
                open[ObjectIdentifier(stream.side.octets), default: OctetPair()] + pair
        }
        return services.map { $0.closed(loop: index) + (open[ObjectIdentifier($0)] ?? OctetPair()) }
    }
}

extension Core {
    /// Asks every loop for the octets of TCP services; `done` runs on the control thread when all have answered.
    func collectServiceOctets(_ done: @escaping @Sendable (Core) -> Void) {
        octetAskers.append(done)
        if !isCollectingOctets { startOctetRound() }
    }

    /// One question to the loops for all who ask meanwhile: their number must not keep the loops from their work.
    private func startOctetRound() {
        isCollectingOctets = true
        let askers = octetAskers
        octetAskers = []
        let services = tcpListeners.values.map(\.target.octets) + tcpConnectors.values.map(\.target.octets)
        let left = SharedCount(left: workers.count)
        let round = ServiceRound(services)
        for worker in workers {
            worker.post {
                let pairs = worker.octets(of: services)
                worker.core.post { [core = worker.core] in
                    round.add(pairs)
                    guard left.countDown() else { return }
                    core.serviceSums = round.sums
                    for done in askers { core.postPatiently { done(core) } }
                    core.isCollectingOctets = false
                    if !core.octetAskers.isEmpty { core.startOctetRound() }
                }
            }
        }
    }

    /// Octets of a service as last collected.
    func sum(_ octets: ServiceOctets) -> OctetPair { serviceSums[ObjectIdentifier(octets)] ?? OctetPair() }
}

/// The loops' answers to one question. Touched on the control thread only.
private final class ServiceRound: @unchecked Sendable {
    private let services: [ServiceOctets]
    private var totals: [OctetPair]

    init(_ services: [ServiceOctets]) {
        self.services = services
        totals = Array(repeating: OctetPair(), count: services.count)
    }

    func add(_ pairs: [OctetPair]) {
        for index in totals.indices { totals[index] = totals[index] + pairs[index] }
    }

    var sums: [ObjectIdentifier: OctetPair] {
        Dictionary(zip(services.map { ObjectIdentifier($0) }, totals), uniquingKeysWith: { first, _ in first })
    }
}
