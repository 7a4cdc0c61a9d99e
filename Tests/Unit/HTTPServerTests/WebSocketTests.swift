import Glibc
import Synchronization
import Testing

@testable import HTTPServer

/// WebSockets of a server: limits and waiting, which need its other end in hand.
@Suite(.serialized) struct WebSocketTests {
    private static let request =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: octets\r\n\r\n"

    /// The ends that were given, with their peers.
    private final class Ends: Sendable {
        private let ends = Mutex<[(descriptor: Int32, peer: String)]>([])

        deinit { ends.withLock { $0.forEach { close($0.descriptor) } } }

        func add(_ descriptor: Int32, _ peer: String) { ends.withLock { $0.append((descriptor, peer)) } }

        func first() throws -> (descriptor: Int32, peer: String) {
            let deadline = ContinuousClock.now + .seconds(10)
            while ContinuousClock.now < deadline {
                if let end = ends.withLock({ $0.first }) { return end }
                sched_yield()
            }
            throw RawClient.Failure(description: "no end was given")
        }
    }

    private static func server(_ ends: Ends, limit: Int = 10, pingSeconds: Int = 60) throws -> HTTPServer {
        let service = WebSocketService(protocols: ["octets"], limit: limit, pingSeconds: pingSeconds) {
            ends.add($0, $1)
        }
        return try HTTPServer(host: "127.0.0.1", port: 0, tls: nil, webSockets: service) { .text($0.path) }
    }

    private static func open(_ server: HTTPServer) throws -> RawClient {
        let client = try RawClient(port: server.port)
        try client.send(request)
        #expect(try client.receiveResponse(hasBody: false).status == 101)
        return client
    }

    /// Writes until nothing is taken for a while, or `most` is reached.
    private static func fill(_ descriptor: Int32, most: Int) -> Int {
        let chunk = [UInt8](repeating: 0, count: 65_536)
        var total = 0
        while total < most {
            var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&wait, 1, 300) == 1 else { break }
            let flags = Int32(truncatingIfNeeded: MSG_DONTWAIT) | Int32(truncatingIfNeeded: MSG_NOSIGNAL)
            let count = send(descriptor, chunk, chunk.count, flags)
            guard count > 0 || errno == EAGAIN else { break }
            total += max(0, count)
        }
        return total
    }

    @Test func aClientThatDoesNotReadIsWaitedFor() throws {
        let ends = Ends()
        let server = try Self.server(ends)
        defer { server.stop() }
        let client = try Self.open(server)
        let end = try ends.first()
        #expect(end.peer.hasPrefix("127.0.0.1:"))
        let most = 64 << 20
        #expect(Self.fill(end.descriptor, most: most) < most / 2)
        withExtendedLifetime(client) {}
    }

    @Test func anEndThatIsNotReadHoldsTheClient() throws {
        let ends = Ends()
        let server = try Self.server(ends)
        defer { server.stop() }
        let client = try Self.open(server)
        let end = try ends.first()
        // One frame of 60 MiB, masked with zeros.
        try client.send([0x82, 0xFF, 0, 0, 0, 0, 3, 0xC0, 0, 0, 0, 0, 0, 0])
        let most = 48 << 20
        let sent = Self.fill(client.descriptor, most: most)
        #expect(sent < most / 2)
        // All of it arrives once it is read.
        var chunk = [UInt8](repeating: 1, count: 1 << 20)
        var received = 0
        while received < sent {
            var wait = pollfd(fd: end.descriptor, events: Int16(POLLIN), revents: 0)
            try #require(poll(&wait, 1, 10_000) == 1, "\(received) of \(sent)")
            let count = read(end.descriptor, &chunk, chunk.count)
            try #require(count > 0)
            received += count
        }
        #expect(received == sent)
    }

    @Test func moreThanTheLimitAreRefused() throws {
        let ends = Ends()
        let server = try Self.server(ends, limit: 2)
        defer { server.stop() }
        let clients = try [Self.open(server), Self.open(server)]
        let third = try RawClient(port: server.port)
        try third.send(Self.request)
        let refusal = try third.receiveResponse()
        #expect(refusal.status == 503 && refusal.body.hasPrefix("too many WebSockets"))
        withExtendedLifetime(clients) {}
    }

    @Test func aSilentClientIsAskedAndThenCutOff() throws {
        let ends = Ends()
        let server = try Self.server(ends, pingSeconds: 1)
        defer { server.stop() }
        let client = try Self.open(server)
        let end = try ends.first()
        #expect(Array(try client.receiveAll().utf8.prefix(8)).count > 0)
        var octet: UInt8 = 0
        var wait = pollfd(fd: end.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&wait, 1, 10_000) == 1 && read(end.descriptor, &octet, 1) == 0)
    }

    @Test func stoppingTheServerEndsBothSides() throws {
        let ends = Ends()
        let server = try Self.server(ends)
        let client = try Self.open(server)
        let end = try ends.first()
        server.stop()
        var octet: UInt8 = 0
        var wait = pollfd(fd: end.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&wait, 1, 10_000) == 1 && read(end.descriptor, &octet, 1) <= 0)
        #expect(try client.receiveAll().isEmpty)
    }
}
