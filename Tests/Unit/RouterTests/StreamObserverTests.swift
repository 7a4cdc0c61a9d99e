import TestKit
import Testing

@testable import Router

/// One connection that is observed: octets of either side in turn, and what was told of the requests.
final class Observed {
    private(set) var reports: [ExchangeReport] = []
    private let names = FlowNames(source: "abcde")
    private(set) var observer: StreamObserver!
    var time: Int64 = 1000

    init(_ choice: ObserverChoice = .auto) {
        names.isObserved = true
        let log = ExchangeLog(flow: "abcde:0", names: names, clock: { [unowned self] in time }) { [unowned self] in
            told($0)
        }
        observer = StreamObserver(choice, log: log)
    }

    private func told(_ report: ExchangeReport) {
        if let index = reports.firstIndex(where: { $0.id == report.id }) {
            reports[index] = report
        } else {
            reports.append(report)
        }
    }

    func client(_ octets: [UInt8]) { pass(true, octets) }
    func server(_ octets: [UInt8]) { pass(false, octets) }
    func client(_ text: String) { pass(true, Array(text.utf8)) }
    func server(_ text: String) { pass(false, Array(text.utf8)) }

    func pass(_ fromClient: Bool, _ octets: [UInt8]) {
        octets.withUnsafeBytes { bytes in
            if let start = bytes.baseAddress {
                observer.observe(fromClient: fromClient, OctetCursor(start, bytes.count))
            }
        }
    }

    /// What was told of requests that have ended, in words, in the order in which they began.
    var ended: [String] {
        reports.filter { $0.endedAt > 0 }.sorted { ($0.id.utf8.count, $0.id) < ($1.id.utf8.count, $1.id) }.map {
            let stream = $0.streamID.map { " #\($0)" } ?? ""
            return "\($0.protocolName) \($0.method) \($0.result) \($0.reason)|\($0.octets)|\($0.octetsReverse)\(stream)"
        }
    }
}

typealias Step = (isClient: Bool, octets: [UInt8])

/// The conversation in whole steps, cut at each octet, and octet by octet tells the same.
func expectEverywhere(_ steps: [Step], _ expected: [String], _ choice: ObserverChoice = .auto, ends: Bool = false) {
    func told(_ pass: (Observed) -> Void) -> [String] {
        let observed = Observed(choice)
        pass(observed)
        observed.observer.tellChanges()
        if ends { observed.observer.end() }
        return observed.ended
    }
    #expect(told { for step in steps { $0.pass(step.isClient, step.octets) } } == expected)
    #expect(
        told { for step in steps { for octet in step.octets { $0.pass(step.isClient, [octet]) } } } == expected)
    for (index, step) in steps.enumerated() {
        for cut in 1..<max(1, step.octets.count) {
            let found = told { observed in
                for (other, step) in steps.enumerated() where other != index {
                    if other > index { break }
                    observed.pass(step.isClient, step.octets)
                }
                observed.pass(step.isClient, Array(step.octets[..<cut]))
                observed.pass(step.isClient, Array(step.octets[cut...]))
                for step in steps[(index + 1)...] { observed.pass(step.isClient, step.octets) }
            }
            if found != expected {
                Issue.record("cut at octet \(cut) of step \(index): \(found)")
                return
            }
        }
    }
}

private func client(_ text: String) -> Step { (true, Array(text.utf8)) }
private func server(_ text: String) -> Step { (false, Array(text.utf8)) }

@Suite struct HTTP1ObserverTests {
    @Test func requestsOneAfterTheOther() {
        expectEverywhere(
            [
                client("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"),
                server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
                client("POST /b HTTP/1.1\r\ncontent-LENGTH:  3 \r\n\r\nabc"),
                server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            ], ["HTTP/1.1 GET 200 OK|0|5", "HTTP/1.1 POST 404 Not Found|3|0"])
    }

    @Test func requestsThatDoNotWait() {
        expectEverywhere(
            [
                client("GET /a HTTP/1.1\r\n\r\nHEAD /b HTTP/1.1\r\n\r\n\r\nGET /c HTTP/1.1\r\n\r\n"),
                server(
                    "HTTP/1.1 200 OK\nContent-Length: 2\n\nhiHTTP/1.1 200\r\nContent-Length: 99\r\n\r\n"
                        + "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
            ], ["HTTP/1.1 GET 200 OK|0|2", "HTTP/1.1 HEAD 200 |0|0", "HTTP/1.1 GET 304 Not Modified|0|0"])
    }

    @Test func chunksBothWays() {
        expectEverywhere(
            [
                client(
                    "PUT /a HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5;x=y\r\nabcde\r\nA\r\n0123456789\r\n"
                        + "0\r\nTrailer: 1\r\n\r\n"),
                server(
                    "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n1f\r\n"
                        + "\(String(repeating: "z", count: 31))\r\n"
                ),
                server("0\r\n\r\n"),
                client("GET / HTTP/1.0\r\n\r\n"), server("HTTP/1.0 204 No Content\r\n\r\n"),
            ], ["HTTP/1.1 PUT 201 Created|15|31", "HTTP/1.0 GET 204 No Content|0|0"])
    }

    @Test func interimResponsesComeBefore() {
        expectEverywhere(
            [
                client("POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"),
                server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), client("body"),
                server("HTTP/1.1 200 Fine\r\nContent-Length: 1\r\n\r\n!"),
            ], ["HTTP/1.1 POST 200 Fine|4|1"])
    }

    @Test func aBodyWithoutALengthEndsWithTheStream() {
        let steps = [client("GET / HTTP/1.0\r\n\r\n"), server("HTTP/1.0 200 OK\r\n\r\nuntil the end")]
        expectEverywhere(steps, [])
        expectEverywhere(steps, ["HTTP/1.0 GET 200 OK|0|13"], ends: true)
    }

    @Test func anUpgradeEndsTheRequestAndTheObservation() {
        expectEverywhere(
            [
                client("GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
                server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}\u{2}"),
                client("GET / HTTP/1.1\r\n\r\n"),
            ], ["HTTP/1.1 GET 101 Switching Protocols|0|0"])
        expectEverywhere(
            [
                client("CONNECT h:1 HTTP/1.1\r\n\r\n"), server("HTTP/1.1 200 OK\r\n\r\n"),
                client("GET / HTTP/1.1\r\n\r\n"), server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ], ["HTTP/1.1 CONNECT 200 OK|0|0"])
    }

    @Test func theFirstForwardedNameCounts() {
        let observed = Observed()
        observed.client(
            "GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nx-forwarded-for: 192.0.2.3\r\n\r\n"
                + "GET / HTTP/1.1\r\nx-forwarded-for: \(String(repeating: "9", count: 300))\r\n\r\n")
        observed.observer.tellChanges()
        #expect(observed.reports.map(\.sourceHost) == ["192.0.2.1", String(repeating: "9", count: 127)])
    }

    @Test func timesAreThoseOfTheOctets() {
        let observed = Observed()
        observed.client("GET / HTTP/1.1\r\n\r\n")
        observed.time = 1250
        observed.server("HTTP/1.1 100 Continue\r\n\r\n")
        observed.time = 2000
        observed.server("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
        observed.observer.tellChanges()
        #expect(observed.reports[0].endedAt == 0)
        observed.time = 3000
        observed.server("x")
        let report = observed.reports[0]
        #expect(observed.reports.count == 1)
        #expect((report.startedAt, report.latency, report.endedAt) == (1000, 250, 3000))
        #expect((report.flow, report.id) == ("abcde:0", "abcde:1"))
    }

    @Test func anythingElseEndsTheObservation() {
        for text in [
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", "EHLO example.org\r\n", "GET /\r\n", "GET  HTTP/1.1\r\n",
            "GET / HTTP/2.0\r\n",
            String(repeating: "A", count: 33), "GET / HTTP/1.1\r\nContent-Length: -1\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "\rGET / HTTP/1.1\r\n",
        ] {
            for cut in [1, text.utf8.count] {
                let observed = Observed()
                let octets = Array(text.utf8)
                for start in stride(from: 0, to: octets.count, by: cut) {
                    observed.client(Array(octets[start..<min(octets.count, start + cut)]))
                }
                #expect(observed.observer.hasEnded, "\(text.debugDescription) in pieces of \(cut)")
            }
        }
        for text in ["220 mail ready\r\n", "HTTP/1.1 2000 X\r\n", "HTTP/1.1 20\r\n", "HTTP/1.1 099 X\r\n"] {
            let observed = Observed()
            observed.client("GET / HTTP/1.1\r\n\r\n")
            observed.server(text)
            #expect(observed.observer.hasEnded, "\(text)")
            #expect(observed.ended == ["HTTP/1.1 GET  |0|0"])
        }
        let early = Observed(.http1)
        early.server("HTTP/1.1 200 OK\r\n\r\n")
        #expect(early.observer.hasEnded)
    }

    @Test func longLinesAndHeadsHaveALimit() {
        func hasEnded(_ text: String) -> [Bool] {
            [1, 100, 1_000_000].map { size in
                let observed = Observed()
                let octets = Array(text.utf8)
                for start in stride(from: 0, to: octets.count, by: size) {
                    observed.client(Array(octets[start..<min(octets.count, start + size)]))
                }
                if !observed.observer.hasEnded { observed.server("HTTP/1.1 204 X\r\n\r\n") }
                return observed.ended.first != "HTTP/1.1 GET 204 X|0|0"
            }
        }
        let long = String(repeating: "x", count: HTTP1Observer.lineMaximum)
        #expect(hasEnded("GET / HTTP/1.1\r\nCookie: \(long)\r\nA: b\r\n\r\n") == [false, false, false])
        #expect(hasEnded("GET /\(long) HTTP/1.1\r\n\r\n") == [true, true, true])
        let lines = String(repeating: "A: \(String(repeating: "b", count: 995))\r\n", count: 66)
        #expect(hasEnded("GET / HTTP/1.1\r\n\(lines)\r\n") == [true, true, true])
        let many = Observed()
        for _ in 0...HTTP1Observer.pipelineMaximum { many.client("GET / HTTP/1.1\r\n\r\n") }
        #expect(many.observer.hasEnded)
        #expect(many.ended.count == HTTP1Observer.pipelineMaximum)
    }

    @Test func manyRequestsAtATimeAreFollowedAndNotRecorded() {
        let names = FlowNames(source: "abcde")
        names.isObserved = true
        for _ in 0..<FlowNames.exchangeMaximum { #expect(names.takeForExchange() != nil) }
        var told = 0
        let observer = StreamObserver(
            .http1, log: ExchangeLog(flow: "f", names: names, clock: { 1 }) { _ in told += 1 })
        let octets = Array("GET / HTTP/1.1\r\n\r\n".utf8)
        octets.withUnsafeBytes { observer.observe(fromClient: true, OctetCursor($0.baseAddress!, $0.count)) }
        observer.end()
        #expect(told == 0)
        names.releaseExchange()
        #expect(names.takeForExchange() != nil)
        #expect(names.takeForExchange() == nil)
    }
}

@Suite struct HTTP2ObserverTests {
    private func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        [UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 0xFF), UInt8(payload.count & 0xFF), type, flags]
            + (0..<4).map { UInt8(stream >> (24 - 8 * $0) & 0xFF) } + payload
    }

    private func text(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }
    /// A field that goes into the table, and one that does not.
    private func kept(_ name: String, _ value: String) -> [UInt8] { [0x40] + text(name) + text(value) }
    private func plain(_ name: String, _ value: String) -> [UInt8] { [0x00] + text(name) + text(value) }
    private let get: [UInt8] = [0x82, 0x86, 0x84]
    private let post: [UInt8] = [0x83, 0x86, 0x84]

    @Test func requestsBesideEachOther() {
        expectEverywhere(
            [
                (false, frame(4, 0, 0, [0, 3, 0, 0, 0, 100])),
                (true, HTTP2Observer.preface + frame(4, 0, 0, []) + frame(1, 5, 1, get)),
                (true, frame(1, 4, 3, post) + frame(0, 0, 3, [1, 2, 3]) + frame(8, 0, 0, [0, 0, 1, 0])),
                (
                    false,
                    frame(4, 1, 0, []) + frame(1, 4, 1, [0x88]) + frame(0, 0, 1, [UInt8](repeating: 7, count: 300))
                ),
                (false, frame(1, 5, 3, [0x8D])), (true, frame(0, 1, 3, [4])), (false, frame(0, 1, 1, [9])),
                (true, frame(1, 5, 5, plain(":method", "PATCH"))),
                (false, frame(1, 4, 5, plain(":status", "503"))), (false, frame(1, 5, 5, plain("grpc-status", "0"))),
            ],
            ["HTTP/2 GET 200 |0|301 #1", "HTTP/2 POST 404 |3|0 #3", "HTTP/2 PATCH 503 |0|0 #5"])
    }

    @Test func paddingPriorityAndContinuations() {
        let block = get + plain("x-forwarded-for", "192.0.2.9, 1") + kept("x-a", "b")
        expectEverywhere(
            [
                (true, HTTP2Observer.preface),
                (true, frame(1, 0x29, 1, [3] + [0, 0, 0, 0, 16] + Array(block[..<9]) + [0, 0, 0])),
                (true, frame(9, 0, 1, Array(block[9..<10])) + frame(9, 0, 1, [])),
                (true, frame(9, 4, 1, Array(block[10...]))),
                (false, frame(1, 4, 1, [0x08, 3] + Array("100".utf8)) + frame(1, 4, 1, [0x88])),
                (false, frame(0, 9, 1, [2, 65, 0, 0])),
                // The table has what the first block put there.
                (true, frame(1, 5, 3, get + [0xBE])), (false, frame(1, 5, 3, [0x88])),
            ], ["HTTP/2 GET 200 |0|4 #1", "HTTP/2 GET 200 |0|0 #3"], .http2)
    }

    /// A server may have answered before it has all of the request.
    @Test func trailersAfterTheResponseAreNoRequest() {
        expectEverywhere(
            [
                (true, HTTP2Observer.preface + frame(1, 4, 1, post)), (false, frame(1, 5, 1, [0x8D])),
                (true, frame(0, 0, 1, [1]) + frame(1, 5, 1, kept("x-trailer", "1"))),
                (true, frame(1, 5, 3, get + [0xBE])), (false, frame(1, 5, 3, [0x88])),
            ], ["HTTP/2 POST 404 |0|0 #1", "HTTP/2 GET 200 |0|0 #3"], ends: true)
    }

    @Test func pushedAndResetStreamsKeepTheTables() {
        expectEverywhere(
            [
                (true, HTTP2Observer.preface + frame(1, 5, 1, get)),
                (false, frame(5, 4, 1, [0, 0, 0, 2] + get + kept(":status", "207"))),
                (false, frame(1, 4, 1, [0xBE]) + frame(3, 0, 1, [0, 0, 0, 8])),
            ], ["HTTP/2 GET 207 |0|0 #1"])
    }

    @Test func aReaderMayAllowALargerTable() {
        let announced = HTTP2Observer.preface + frame(4, 0, 0, [0, 1, 0, 1, 0, 0]) + frame(1, 5, 1, get)
        expectEverywhere(
            [(true, announced), (false, frame(1, 5, 1, [0x3F, 0xE1, 0xFF, 0x03, 0x88]))], ["HTTP/2 GET 200 |0|0 #1"])
        // Without having been allowed that is an error, which ends the observation.
        expectEverywhere(
            [
                (true, HTTP2Observer.preface + frame(1, 5, 1, get)),
                (false, frame(1, 5, 1, [0x3F, 0xE1, 0xFF, 0x03, 0x88])), (true, frame(1, 5, 3, get)),
            ], ["HTTP/2 GET  |0|0 #1"])
    }

    @Test func malformedFramesEndTheObservation() {
        let bad: [(String, [UInt8])] = [
            ("a frame within a block", frame(1, 0, 1, get) + frame(0, 0, 1, [])),
            ("a continuation of nothing", frame(9, 4, 1, get)),
            ("padding longer than the frame", frame(1, 12, 1, [9, 0x82])),
            ("no room for a priority", frame(1, 0x24, 1, [0, 0])), ("no padding length", frame(1, 12, 1, [])),
            ("a promise of a client", frame(5, 4, 1, [0, 0, 0, 2])),
            ("an index of nothing", frame(1, 5, 1, [0xFF, 0xFF, 0x7F])),
            ("half a field", frame(1, 5, 1, [0x40, 5, 65])),
        ]
        for (name, octets) in bad {
            for choice in [ObserverChoice.auto, .http2] {
                let observed = Observed(choice)
                observed.client(HTTP2Observer.preface + octets)
                #expect(observed.observer.hasEnded, "\(name)")
            }
        }
        let other = Observed(.http2)
        other.client("GET / HTTP/1.1\r\n\r\n")
        #expect(other.observer.hasEnded)
    }

    @Test func connectionsAndRequestsHaveALimit() {
        let names = FlowNames(source: "abcde")
        names.isObserved = true
        func observer() -> StreamObserver {
            StreamObserver(.http2, log: ExchangeLog(flow: "f", names: names, clock: { 1 }) { _ in })
        }
        var all = (0..<FlowNames.tablesMaximum).map { _ in observer() }
        #expect(!all.contains { $0.hasEnded })
        #expect(observer().hasEnded)
        all.removeLast()
        #expect(!observer().hasEnded)
        let observed = Observed(.http2)
        observed.client(HTTP2Observer.preface)
        for stream in 0..<UInt32(HTTP2Observer.streamMaximum + 9) { observed.client(frame(1, 5, 2 * stream + 1, get)) }
        observed.observer.end()
        #expect(observed.ended.count == HTTP2Observer.streamMaximum)
    }

    @Test func aServerThatSpeaksFirstForLong() {
        let observed = Observed()
        observed.server([UInt8](repeating: 0, count: 1024))
        #expect(!observed.observer.hasEnded)
        observed.server([0])
        #expect(observed.observer.hasEnded)
    }
}

@Suite struct ObservedMutationTests {
    private static let first =
        "PUT /a HTTP/1.1\r\nContent-Length: 3\r\nX-Forwarded-For: 192.0.2.1\r\n\r\nabc"
        + "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
    private static let second =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        + "HTTP/1.1 204 No Content\r\nServer: y\r\n\r\n"
    private static let frames: [UInt8] = [
        0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84,
    ]
    private static let answers: [UInt8] = [
        0, 0, 5, 1, 4, 0, 0, 0, 1, 0x88, 0x40, 1, 65, 0, 0, 0, 4, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4,
    ]

    /// Octets changed, left out and doubled, in pieces of any size, from both sides: nothing traps, every request that
    /// began ends, and memory that is asked for stays within its limits.
    @Test(arguments: 0..<20)
    func changedOctets(round: Int) {
        for seed in UInt64(round * 500)..<UInt64(round * 500 + 500) {
            var random = SplitMix64(seed: seed)
            let isTwo = random.below(2) == 0
            var sides =
                isTwo
                ? [HTTP2Observer.preface + Self.frames, Self.answers]
                : [Array(Self.first.utf8), Array(Self.second.utf8)]
            for side in sides.indices {
                for _ in 0..<random.below(6) {
                    let at = random.below(sides[side].count)
                    switch random.below(4) {
                    case 0: sides[side][at] = UInt8(random.below(256))
                    case 1: sides[side][at] ^= 1 << UInt8(random.below(8))
                    case 2: sides[side].remove(at: at)
                    default: sides[side].insert(contentsOf: sides[side][at...].prefix(40), at: at)
                    }
                    if sides[side].isEmpty { sides[side] = [0] }
                }
            }
            let observed = Observed([.auto, .http1, .http2][random.below(3)])
            var turn = 0
            while !sides[0].isEmpty || !sides[1].isEmpty {
                let count = 1 + random.below(60)
                observed.pass(turn == 0, Array(sides[turn].prefix(count)))
                sides[turn].removeFirst(min(count, sides[turn].count))
                turn = random.below(2)
            }
            observed.observer.tellChanges()
            observed.observer.end()
            if observed.reports.contains(where: { $0.endedAt == 0 }) {
                Issue.record("seed \(seed): a request never ended")
            }
        }
    }
}
