/// What the `observer` of a tcpListener says to look for.
enum ObserverChoice: UInt8, Sendable {
    case none, auto, http1, http2

    init(name: String?) {
        switch name {
        case "none": self = .none
        case "http1": self = .http1
        case "http2": self = .http2
        default: self = .auto
        }
    }
}

/// Looks at the clear octets of one client's connection for requests and responses. It changes and delays nothing; what
/// it does not understand ends the observation and never the stream.
///
/// Memory of one stream: HTTP/1 at most 16 KiB of cut lines and 128 requests, HTTP/2 256 requests and what two
/// ``HeaderInflater`` hold.
final class StreamObserver {
    private enum State {
        /// So many octets of the client are the beginning of what HTTP/2 clients say first.
        case undecided(seen: Int)
        case http1(HTTP1Observer)
        case http2(HTTP2Observer)
        case ended
    }

    /// Octets of a server that speaks first, as servers of HTTP/2 may do.
    private static let earlyMaximum = 1024

    private let log: ExchangeLog
    private var state: State
    private var early: [UInt8] = []

    init(_ choice: ObserverChoice, log: ExchangeLog) {
        self.log = log
        switch choice {
        case .none: state = .ended
        case .auto: state = .undecided(seen: 0)
        case .http1: state = .http1(HTTP1Observer(log: log))
        case .http2: state = HTTP2Observer(log: log).map { .http2($0) } ?? .ended
        }
    }

    /// Nothing more will come of it.
    var hasEnded: Bool { if case .ended = state { true } else { false } }

    /// The protocol that is followed; `none` as long as it is not known which.
    var found: ObserverChoice {
        switch state {
        case .http1: .http1
        case .http2: .http2
        case .undecided, .ended: .none
        }
    }

    /// Octets that pass, in order.
    func observe(fromClient: Bool, _ octets: OctetCursor) {
        guard !octets.isEmpty else { return }
        switch state {
        case .undecided(let seen):
            if fromClient { decide(octets, seen) } else { keepEarly(octets) }
        case .http1(let observer):
            if !observer.observe(fromClient: fromClient, octets) { end() }
        case .http2(let observer):
            if !observer.observe(fromClient: fromClient, octets) { end() }
        case .ended: break
        }
    }

    /// Tells what is new of the requests under way.
    func tellChanges() {
        switch state {
        case .http1(let observer): observer.tellChanges()
        case .http2(let observer): observer.tellChanges()
        case .undecided, .ended: break
        }
    }

    /// The stream has closed, or what passes is not understood.
    func end() {
        switch state {
        case .http1(let observer): observer.end()
        case .http2(let observer): observer.end()
        case .undecided, .ended: break
        }
        state = .ended
        early = []
    }

    // MARK: Which protocol

    /// HTTP/2 is known by its preface; anything else is taken for HTTP/1 until it shows that it is not.
    private func decide(_ octets: OctetCursor, _ seen: Int) {
        let preface = HTTP2Observer.preface
        var rest = octets
        var matched = seen
        while !rest.isEmpty, matched < preface.count, rest.start.load(as: UInt8.self) == preface[matched] {
            rest.take(1)
            matched += 1
        }
        if matched == preface.count {
            guard let observer = HTTP2Observer(log: log) else { return end() }
            state = .http2(observer)
        } else if rest.isEmpty {
            state = .undecided(seen: matched)
            return
        } else {
            state = .http1(HTTP1Observer(log: log))
        }
        // What was seen before is known: it is the beginning of the preface.
        preface.withUnsafeBytes { known in
            if let start = known.baseAddress { observe(fromClient: true, OctetCursor(start, matched)) }
        }
        observe(fromClient: true, rest)
        let held = early
        early = []
        held.withUnsafeBytes { known in
            if let start = known.baseAddress { observe(fromClient: false, OctetCursor(start, known.count)) }
        }
    }

    private func keepEarly(_ octets: OctetCursor) {
        guard early.count + octets.count <= StreamObserver.earlyMaximum else { return end() }
        early.append(contentsOf: UnsafeRawBufferPointer(start: octets.start, count: octets.count))
    }
}
