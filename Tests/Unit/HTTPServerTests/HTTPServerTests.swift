import COpenSSL
import Glibc
import Synchronization
import Testing

@testable import HTTPServer

/// One after the other: some tests count the descriptors and threads of the process.
@Suite(.serialized) struct HTTPServerTests {
    private static func server(
        tls: TLSIdentity? = nil, limits: HTTPLimits = HTTPLimits(),
        handler: @escaping @Sendable (HTTPRequest) -> HTTPResponse = { .text("path \($0.path)") }
    ) throws -> HTTPServer {
        try HTTPServer(host: "127.0.0.1", port: 0, tls: tls, limits: limits, handler: handler)
    }

    @Test func handlerSeesTheWholeRequest() throws {
        let seen = Mutex<[HTTPRequest]>([])
        let server = try Self.server { request in
            seen.withLock { $0.append(request) }
            return HTTPResponse(
                status: 201, headers: [("X-Answer", "yes"), ("X-Split", "a\r\nSet-Cookie: b")], body: Array("made".utf8)
            )
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        try client.send(
            "POST /a/b%20c?d=e&f HTTP/1.1\r\nHost: x\r\nX-One: 1\r\nX-One: 2\r\nContent-Length: 5\r\n\r\nhello")
        let response = try client.receiveResponse()
        #expect(response.status == 201)
        #expect(response.body == "made")
        #expect(response.head.range(of: "X-Answer: yes") != nil)
        #expect(response.head.range(of: "Set-Cookie") == nil, "a line break in a value must not make a field")
        let request = try #require(seen.withLock { $0 }.first)
        #expect(request.method == "POST")
        #expect(request.path == "/a/b%20c")
        #expect(request.query == "d=e&f")
        #expect(request.headers.filter { $0.0 == "X-One" }.map(\.1) == ["1", "2"])
        #expect(request.header("host") == "x")
        #expect(request.body == Array("hello".utf8))
        #expect(request.peerAddress == "127.0.0.1")
    }

    @Test func anyAddressTakesBothFamiliesAndGivesPlainIPv4() throws {
        let server = try HTTPServer(host: "", port: 0, tls: nil) { .text($0.peerAddress) }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.receiveResponse().body == "127.0.0.1")
    }

    @Test func anAddressOfAnotherFamilyIsNotBound() throws {
        for (host, family) in [("127.0.0.1", HTTPAddressFamily.ipv6), ("::1", .ipv4)] {
            do {
                _ = try HTTPServer(host: host, port: 0, family: family, tls: nil) { _ in .text("") }
                Issue.record("bound \(host)")
            } catch {
                guard case .cannotBind(host, 0, _) = error else { throw error }
            }
        }
        let server = try HTTPServer(host: "", port: 0, family: .ipv4, tls: nil) { .text($0.peerAddress) }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.receiveResponse().body == "127.0.0.1")
    }

    @Test func connectionIsKeptAndHeadHasNoBody() throws {
        let server = try Self.server()
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        try client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.receiveResponse().body == "path /1")
        try client.send("HEAD /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        let head = try client.receiveResponse(hasBody: false)
        #expect(head.status == 200)
        #expect(head.body == "")
        try client.send("GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        let rest = try client.receiveAll()
        #expect(rest.hasPrefix("HTTP/1.1 200"), "\(rest)")
        #expect(rest.hasSuffix("path /3"))
    }

    @Test func bodyLimitIsExact() throws {
        let calls = Mutex(0)
        let server = try Self.server { request in
            calls.withLock { $0 += 1 }
            return .text(String(request.body.count))
        }
        defer { server.stop() }
        for (size, status) in [(65_536, 200), (65_537, 413)] {
            let client = try RawClient(port: server.port)
            try client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(size)\r\n\r\n")
            if status == 200 { try client.send([UInt8](repeating: 7, count: size)) }
            let response = try client.receiveResponse()
            #expect(response.status == status)
            if status == 200 { #expect(response.body == "65536") }
        }
        #expect(calls.withLock { $0 } == 1)
    }

    @Test func headersHaveALimit() throws {
        let server = try Self.server()
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        // The server may answer and close while this is still being sent.
        try? client.send("GET / HTTP/1.1\r\nX: " + String(repeating: "a", count: 20_000) + "\r\n\r\n")
        let answer = try client.receiveAll()
        #expect(answer.hasPrefix("HTTP/1.1 400") || answer.isEmpty, "\(answer)")
        let next = try RawClient(port: server.port)
        try next.send("GET /after HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try next.receiveResponse().body == "path /after")
    }

    @Test func furtherConnectionsAreRefusedUntilOneEnds() throws {
        let server = try Self.server(limits: HTTPLimits(connections: 4))
        defer { server.stop() }
        var clients: [RawClient] = []
        for index in 0..<4 {
            let client = try RawClient(port: server.port)
            try client.send("GET /\(index) HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try client.receiveResponse().body == "path /\(index)")
            clients.append(client)
        }
        for _ in 0..<3 {
            let refused = try RawClient(port: server.port)
            #expect(try refused.receiveAll().range(of: " 503 ") != nil)
        }
        clients.removeLast()
        // The server learns of the end in its own time.
        let deadline = ContinuousClock.now + .seconds(5)
        var answer = ""
        while ContinuousClock.now < deadline, !answer.hasSuffix("path /next") {
            let client = try RawClient(port: server.port)
            try? client.send("GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = try client.receiveAll()
        }
        #expect(answer.hasSuffix("path /next"))
    }

    @Test func idleConnectionsAreClosed() throws {
        let server = try Self.server(limits: HTTPLimits(idleSeconds: 1))
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        try client.send("GET / HT")
        let start = ContinuousClock.now
        _ = try client.receiveAll()
        let waited = ContinuousClock.now - start
        #expect(waited > .milliseconds(500) && waited < .seconds(5), "\(waited)")
    }

    @Test func bindErrorsAreTyped() throws {
        let server = try Self.server()
        defer { server.stop() }
        #expect(throws: HTTPServerError.addressInUse(host: "127.0.0.1", port: server.port)) {
            try HTTPServer(host: "127.0.0.1", port: server.port, tls: nil) { _ in .text("") }
        }
        for host in ["192.0.2.1", "no such host"] {
            do {
                _ = try HTTPServer(host: host, port: 0, tls: nil) { _ in .text("") }
                Issue.record("bound \(host)")
            } catch {
                guard case .cannotBind(host, 0, let reason) = error else { throw error }
                #expect(!reason.isEmpty)
                #expect(error.description.hasPrefix("cannot listen on \(host):0: "))
            }
        }
    }

    @Test func stopClosesEverything() throws {
        let identity = try Self.identity("stop")
        // The first server opens what the libraries keep for good.
        try Self.server(tls: identity).stop()
        let (descriptors, threads) = (Self.count("/proc/self/fd"), Self.count("/proc/self/task"))
        for round in 0..<30 {
            let server = try Self.server(tls: round.isMultiple(of: 2) ? identity : nil)
            let client = try RawClient(port: server.port)
            if round.isMultiple(of: 2) { try client.startTLS() }
            try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try client.receiveResponse().status == 200)
            server.stop()
            server.stop()
            #expect(try client.receive().isEmpty)
            #expect(throws: RawClient.Failure.self) { try RawClient(port: server.port) }
        }
        // Other tests in this process open descriptors and threads too, but not one for each round.
        #expect(Self.count("/proc/self/fd") < descriptors + 15)
        #expect(Self.count("/proc/self/task") < threads + 15)
    }

    @Test func stopBeforeAnyRequestAndByTheLastReference() throws {
        for _ in 0..<50 { try Self.server().stop() }
        let port = try Self.server().port
        // Its only reference is gone, so it has stopped.
        #expect(throws: RawClient.Failure.self) { try RawClient(port: port) }
    }

    @Test func handlerMayStopTheServer() throws {
        let holder = Mutex<HTTPServer?>(nil)
        // The box lets the handler reach the server that is made with it.
        let box = Box(holder)
        let server = try Self.server { _ in
            box.value.withLock { $0 }?.stop()
            return .text("bye")
        }
        box.value.withLock { $0 = server }
        let client = try RawClient(port: server.port)
        try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = try client.receiveAll()
        let deadline = ContinuousClock.now + .seconds(5)
        var refused = false
        while !refused, ContinuousClock.now < deadline { refused = (try? RawClient(port: server.port)) == nil }
        #expect(refused)
        box.value.withLock { $0 = nil }
    }

    @Test func clientsThatLeaveEarlyDoNoHarm() throws {
        // Clients of earlier tests blocked it on this thread, and the server's thread would inherit that.
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        pthread_sigmask(SIG_UNBLOCK, &pipe, nil)
        let server = try Self.server { request in
            // A handler that takes its time, so that the client's end arrives meanwhile.
            if request.path == "/slow" { usleep(5000) }
            // A write to a closed socket must not end the process, nor may the server take the program's signals.
            if request.path == "/signals" {
                var blocked = sigset_t()
                pthread_sigmask(SIG_BLOCK, nil, &blocked)
                return .text("\(sigismember(&blocked, SIGPIPE)) \(sigismember(&blocked, SIGTERM))")
            }
            return HTTPResponse(
                status: 200, body: [UInt8](repeating: 65, count: request.path == "/big" ? 8_000_000 : 2))
        }
        defer { server.stop() }
        for _ in 0..<5 {
            let client = try RawClient(port: server.port)
            try client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = try client.receive()
            client.reset()
        }
        for _ in 0..<20 {
            // Gone before the answers.
            let request = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
            try RawClient(port: server.port).send(request + request + request)
        }
        let client = try RawClient(port: server.port)
        try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.receiveResponse().body == "AA")
        try client.send("GET /signals HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.receiveResponse().body == "1 1")
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func randomOctetsDoNoHarm(seed: UInt64) throws {
        var state = seed
        func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
        let server = try Self.server()
        defer { server.stop() }
        let pieces = [
            "GET ", "/", " HTTP/1.1", "\r\n", "\r\n\r\n", ":", "Content-Length: ", "-1", "99", "chunked", "%", "\0",
        ]
        for _ in 0..<100 {
            let client = try RawClient(port: server.port)
            var text: [UInt8] = []
            for _ in 0..<(next() % 12) {
                text += next() % 2 == 0 ? Array(pieces[Int(next() % 12)].utf8) : [UInt8(truncatingIfNeeded: next())]
            }
            try? client.send(text)
        }
        let client = try RawClient(port: server.port)
        try client.send("GET /alive HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.receiveResponse().body == "path /alive", "seed \(seed)")
    }

    static func identity(_ name: String, clientCA: TestCertificate? = nil) throws -> TLSIdentity {
        let certificate = try TestCertificate(commonName: name)
        return TLSIdentity(
            certificatePEM: certificate.certificatePEM, privateKeyPEM: certificate.keyPEM,
            clientCAPEM: clientCA?.certificatePEM)
    }

    private static func count(_ folder: String) -> Int {
        guard let stream = opendir(folder) else { return 0 }
        defer { closedir(stream) }
        var total = 0
        while readdir(stream) != nil { total += 1 }
        return total
    }
}

private final class Box: Sendable {
    let value: Mutex<HTTPServer?>
    init(_ value: consuming sending Mutex<HTTPServer?>) { self.value = value }
}

extension HTTPServerTests {
    @Test func tlsServesAndRefusesOldVersions() throws {
        let server = try HTTPServer(host: "127.0.0.1", port: 0, tls: Self.identity("first")) { .text($0.path) }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        try client.startTLS()
        #expect(client.tlsVersion == "TLSv1.3")
        #expect(client.peerCommonName == "first")
        try client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
        try client.send([UInt8](repeating: 1, count: 60_000))
        #expect(try client.receiveResponse().body == "/x")
        let old = try RawClient(port: server.port)
        #expect(throws: RawClient.Failure.self) { try old.startTLS(newest: TLS1_2_VERSION) }
        var tolerant = try Self.identity("tolerant")
        tolerant.minimumVersion = .tls12
        try server.replaceIdentity(tolerant)
        let again = try RawClient(port: server.port)
        try again.startTLS(newest: TLS1_2_VERSION)
        #expect(again.tlsVersion == "TLSv1.2")
        tolerant.maximumVersion = .tls12
        try server.replaceIdentity(tolerant)
        let bounded = try RawClient(port: server.port)
        try bounded.startTLS()
        #expect(bounded.tlsVersion == "TLSv1.2")
    }

    @Test func clearTextToATLSServerGetsNoAnswer() throws {
        let server = try HTTPServer(
            host: "127.0.0.1", port: 0, tls: Self.identity("tls"), limits: HTTPLimits(idleSeconds: 2)
        ) { .text("secret \($0.path)") }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.receiveAll().range(of: "secret") == nil)
        let good = try RawClient(port: server.port)
        try good.startTLS()
        try good.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try good.receiveResponse().body == "secret /1")
    }

    @Test func identityIsReplacedLive() throws {
        let server = try HTTPServer(host: "127.0.0.1", port: 0, tls: Self.identity("before")) { .text($0.path) }
        defer { server.stop() }
        let standing = try RawClient(port: server.port)
        try standing.startTLS()
        #expect(standing.peerCommonName == "before")
        try server.replaceIdentity(Self.identity("after"))
        let fresh = try RawClient(port: server.port)
        try fresh.startTLS()
        #expect(fresh.peerCommonName == "after")
        try standing.send("GET /still HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try standing.receiveResponse().body == "/still")
        var broken = try Self.identity("broken")
        broken.privateKeyPEM = try Self.identity("other").privateKeyPEM
        #expect(throws: HTTPServerError.self) { try server.replaceIdentity(broken) }
        let unchanged = try RawClient(port: server.port)
        try unchanged.startTLS()
        #expect(unchanged.peerCommonName == "after")
    }

    @Test func clientCertificateIsRequiredIfAsked() throws {
        let accepted = try TestCertificate(commonName: "client")
        let stranger = try TestCertificate(commonName: "stranger")
        let identity = try Self.identity("server", clientCA: accepted)
        let server = try HTTPServer(host: "127.0.0.1", port: 0, tls: identity) { .text($0.path) }
        defer { server.stop() }
        let good = try RawClient(port: server.port)
        try good.startTLS(identity: accepted)
        try good.send("GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try good.receiveResponse().body == "/ok")
        for certificate in [nil, stranger] {
            let bad = try RawClient(port: server.port)
            // With TLS 1.3 the client only learns of the refusal when it reads.
            try? bad.startTLS(identity: certificate)
            try? bad.send("GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try bad.receiveAll() == "")
        }
    }

    @Test func badPEMIsTyped() throws {
        let good = try Self.identity("good")
        func failure(_ change: (inout TLSIdentity) -> Void) -> HTTPServerError? {
            var identity = good
            change(&identity)
            do {
                try HTTPServer(host: "127.0.0.1", port: 0, tls: identity) { _ in .text("") }.stop()
                return nil
            } catch { return error }
        }
        #expect(failure { _ in } == nil)
        #expect(failure { $0.certificatePEM = "nonsense" } == .badCertificate(reason: "it holds no PEM certificate"))
        #expect(failure { $0.ciphers = "none of these" } == .badCiphers("none of these"))
        #expect(failure { $0.clientCAPEM = "" } == .badClientCA(reason: "it holds no PEM certificate"))
        guard case .badPrivateKey = failure({ $0.privateKeyPEM = "nonsense" }) else {
            Issue.record("nonsense taken for a key")
            return
        }
        guard
            case .badPrivateKey(let reason) = failure({
                $0.privateKeyPEM = (try? Self.identity("x"))?.privateKeyPEM ?? ""
            })
        else {
            Issue.record("a foreign key was taken")
            return
        }
        #expect(reason.hasPrefix("it is not the key of the certificate"))
        #expect(throws: HTTPServerError.unreadableFile(path: "/no/such", reason: "No such file or directory")) {
            try TLSIdentity(certificateFile: "/no/such", privateKeyFile: "/no/such")
        }
    }

    @Test func clearServerTakesNoIdentity() throws {
        let server = try HTTPServer(host: "127.0.0.1", port: 0, tls: nil) { _ in .text("") }
        defer { server.stop() }
        #expect(throws: HTTPServerError.notTLS) { try server.replaceIdentity(Self.identity("x")) }
    }
}
