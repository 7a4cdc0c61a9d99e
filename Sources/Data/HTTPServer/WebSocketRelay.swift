import CLibevent
import Glibc

/// Carries octets between a WebSocket, on a connection taken over from evhttp, and a socket pair.
///
/// Used on the server's thread only. The server holds it until both sides have ended. Neither side is read while the
/// other has more than `limit` octets to take.
final class WebSocketRelay {
    private static let limit = 262_144
    private static let piece = 65_536
    /// Seconds for a peer's answer to a close, and for either side to take what is left for it.
    private static let farewellSeconds = 5

    private let loop: ServerLoop
    private let pingSeconds: Int
    /// evhttp's connection, which owns the buffer of the WebSocket; nil when it has ended.
    private var connection: OpaquePointer?
    private let outer: OpaquePointer
    private var inner: OpaquePointer?
    private var machine = WebSocketMachine()
    private var isOuterPaused = false
    private var isInnerPaused = false
    private var isPingUnanswered = false
    /// A close was sent, or the inner side only takes what it still has to: monotonic seconds when that began.
    private var outerEnding: Int?
    private var isInnerEnding = false

    /// - Parameter inner: buffer of our end of the socket pair, whose owner the relay is from now on.
    private init(
        _ loop: ServerLoop, _ connection: OpaquePointer, outer: OpaquePointer, inner: OpaquePointer, _ ping: Int
    ) {
        self.loop = loop
        self.connection = connection
        self.outer = outer
        self.inner = inner
        pingSeconds = max(1, ping)
    }

    /// Answers with `response`, a 101, and takes the connection over. Nil, with nothing done, if descriptors are short.
    static func start(
        _ loop: ServerLoop, base: OpaquePointer, connection: OpaquePointer, _ response: HTTPResponse,
        _ service: WebSocketService, peer: String
    ) -> WebSocketRelay? {
        guard let outer = evhttp_connection_get_bufferevent(connection) else { return nil }
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { return nil }
        guard let inner = bufferevent_socket_new(base, ends[0], Int32(BEV_OPT_CLOSE_ON_FREE.rawValue)) else {
            ends.forEach { close($0) }
            return nil
        }
        let relay = WebSocketRelay(loop, connection, outer: outer, inner: inner, service.pingSeconds)
        relay.open(response)
        service.accept(ends[1], peer)
        return relay
    }

    private func open(_ response: HTTPResponse) {
        let context = Unmanaged.passUnretained(self).toOpaque()
        evhttp_connection_set_closecb(connection, outerLost, context)
        bufferevent_setcb(outer, outerReadable, outerWritable, outerEvent, context)
        // No limit to what is read at once: with TLS libevent would stop inside a record, whose rest then waits until
        // the client sends more. It reads a record at a time, and none while reading is switched off.
        bufferevent_setwatermark(outer, Int16(EV_WRITE), WebSocketRelay.limit / 2, 0)
        bufferevent_setcb(inner, innerReadable, innerWritable, innerEvent, context)
        bufferevent_setwatermark(inner, Int16(EV_READ), 0, WebSocketRelay.piece)
        bufferevent_setwatermark(inner, Int16(EV_WRITE), WebSocketRelay.limit / 2, 0)
        var silence = timeval(tv_sec: pingSeconds, tv_usec: 0)
        bufferevent_set_timeouts(outer, &silence, nil)
        let fields = response.headers.map { "\($0.0): \($0.1)\r\n" }.joined()
        send(Array("HTTP/1.1 101 Switching Protocols\r\n\(fields)\r\n".utf8))
        bufferevent_enable(outer, Int16(EV_READ | EV_WRITE))
        bufferevent_enable(inner, Int16(EV_READ | EV_WRITE))
    }

    /// What a hasty client has sent behind its request.
    func readAhead() { readOuter() }

    /// Ends both sides at once.
    func cut() {
        endOuter()
        freeInner()
    }

    // MARK: From the WebSocket

    fileprivate func readOuter() {
        guard connection != nil else { return }
        isPingUnanswered = false
        let input = bufferevent_get_input(outer)
        if machine.isEnded {
            evbuffer_drain(input, evbuffer_get_length(input))
            return endIfOverdue()
        }
        while connection != nil, !machine.isEnded, evbuffer_get_length(input) > 0 {
            let isRoom = outputOf(inner) <= WebSocketRelay.limit && outputOf(outer) <= WebSocketRelay.limit
            // At the end nothing is kept, and the client's close is waited for.
            guard isRoom || outerEnding != nil else {
                isOuterPaused = true
                bufferevent_disable(outer, Int16(EV_READ))
                return
            }
            let length = min(evbuffer_get_length(input), WebSocketRelay.piece)
            let octets = [UInt8](unsafeUninitializedCapacity: length) { bytes, count in
                count = max(0, Int(evbuffer_remove(input, bytes.baseAddress, length)))
            }
            let outcome = machine.receive(octets)
            if let inner, !isInnerEnding { bufferevent_write(inner, outcome.payload, outcome.payload.count) }
            send(outcome.replies)
            if machine.isEnded { beginEnd() }
        }
        endIfOverdue()
    }

    private func resumeOuter() {
        guard isOuterPaused, outputOf(inner) <= WebSocketRelay.limit / 2, outputOf(outer) <= WebSocketRelay.limit / 2,
            connection != nil
        else { return }
        isOuterPaused = false
        bufferevent_enable(outer, Int16(EV_READ))
        readOuter()
    }

    // MARK: From the socket pair

    fileprivate func readInner() {
        guard let inner, !isInnerEnding, connection != nil, outerEnding == nil else { return }
        let input = bufferevent_get_input(inner)
        while evbuffer_get_length(input) > 0 {
            guard outputOf(outer) <= WebSocketRelay.limit else {
                isInnerPaused = true
                bufferevent_disable(inner, Int16(EV_READ))
                return
            }
            let length = min(evbuffer_get_length(input), WebSocketRelay.piece)
            send(WebSocketMachine.header(.binary, length: length))
            evbuffer_remove_buffer(input, bufferevent_get_output(outer), length)
        }
    }

    fileprivate func outerWritten() {
        if outerEnding != nil { return endIfOverdue() }
        if isInnerPaused, let inner, outputOf(outer) <= WebSocketRelay.limit / 2 {
            isInnerPaused = false
            bufferevent_enable(inner, Int16(EV_READ))
            readInner()
        }
        resumeOuter()
    }

    fileprivate func innerWritten() {
        if isInnerEnding {
            if outputOf(inner) == 0 { freeInner() }
            return
        }
        resumeOuter()
    }

    // MARK: Ends

    fileprivate func outerChanged(_ what: Int32) {
        let isReadTimeout = what & (BEV_EVENT_TIMEOUT | BEV_EVENT_READING) == BEV_EVENT_TIMEOUT | BEV_EVENT_READING
        if isReadTimeout, outerEnding == nil, !isPingUnanswered {
            isPingUnanswered = true
            send(WebSocketMachine.frame(.ping, []))
            // The time-out has switched it off.
            bufferevent_enable(outer, Int16(EV_READ))
            return
        }
        endOuter()
        endInner()
    }

    fileprivate func innerChanged(_ what: Int32) {
        // The owner of the other end has closed it: the client is told in order.
        freeInner()
        guard connection != nil, outerEnding == nil else { return }
        send(machine.close(.normal))
        beginEnd()
    }

    /// A close was sent: the client has a little time to take it, and to answer if it has not sent one itself.
    private func beginEnd() {
        guard connection != nil, outerEnding == nil else { return }
        outerEnding = WebSocketRelay.now()
        var wait = timeval(tv_sec: WebSocketRelay.farewellSeconds, tv_usec: 0)
        var waitToo = wait
        bufferevent_set_timeouts(outer, &wait, &waitToo)
        bufferevent_setwatermark(outer, Int16(EV_WRITE), 0, 0)
        isOuterPaused = false
        bufferevent_enable(outer, Int16(EV_READ))
        endInner()
        // What has come meanwhile may hold the client's close.
        if !machine.isEnded { readOuter() }
        endIfOverdue()
    }

    /// The server closes first, once both have sent a close (RFC 6455, section 7.1.1).
    private func endIfOverdue() {
        guard connection != nil, let began = outerEnding else { return }
        let isDone = machine.isClosedByPeer && outputOf(outer) == 0
        if isDone || WebSocketRelay.now() - began > WebSocketRelay.farewellSeconds { endOuter() }
    }

    /// What the client has sent before it left still goes on.
    private func endInner() {
        guard let inner, !isInnerEnding else { return }
        guard outputOf(inner) > 0 else { return freeInner() }
        isInnerEnding = true
        bufferevent_disable(inner, Int16(EV_READ))
        bufferevent_setwatermark(inner, Int16(EV_WRITE), 0, 0)
        var wait = timeval(tv_sec: WebSocketRelay.farewellSeconds, tv_usec: 0)
        bufferevent_set_timeouts(inner, nil, &wait)
    }

    private func endOuter() {
        guard let connection else { return }
        self.connection = nil
        evhttp_connection_set_closecb(connection, nil, nil)
        evhttp_connection_free(connection)
        if inner == nil { loop.ended(self) }
    }

    private func freeInner() {
        guard let inner else { return }
        self.inner = nil
        bufferevent_free(inner)
        if connection == nil { loop.ended(self) }
    }

    /// evhttp ends the connection for reasons of its own.
    fileprivate func outerFreed() {
        connection = nil
        freeInner()
    }

    private func send(_ octets: [UInt8]) {
        if connection != nil, !octets.isEmpty { bufferevent_write(outer, octets, octets.count) }
    }

    private func outputOf(_ buffer: OpaquePointer?) -> Int {
        guard let buffer, buffer != outer || connection != nil else { return 0 }
        return evbuffer_get_length(bufferevent_get_output(buffer))
    }

    private static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec
    }
}

// C callbacks: free functions, so that they belong to no actor. Each keeps the relay to its own end.

private func with(_ context: UnsafeMutableRawPointer?, _ body: (WebSocketRelay) -> Void) {
    guard let context else { return }
    let relay = Unmanaged<WebSocketRelay>.fromOpaque(context).takeUnretainedValue()
    withExtendedLifetime(relay) { body(relay) }
}

private func outerReadable(_: OpaquePointer?, _ context: UnsafeMutableRawPointer?) { with(context) { $0.readOuter() } }

private func outerWritable(_: OpaquePointer?, _ context: UnsafeMutableRawPointer?) {
    with(context) { $0.outerWritten() }
}

private func outerEvent(_: OpaquePointer?, _ what: Int16, _ context: UnsafeMutableRawPointer?) {
    with(context) { $0.outerChanged(Int32(what)) }
}

private func outerLost(_: OpaquePointer?, _ context: UnsafeMutableRawPointer?) { with(context) { $0.outerFreed() } }

private func innerReadable(_: OpaquePointer?, _ context: UnsafeMutableRawPointer?) { with(context) { $0.readInner() } }

private func innerWritable(_: OpaquePointer?, _ context: UnsafeMutableRawPointer?) {
    with(context) { $0.innerWritten() }
}

private func innerEvent(_: OpaquePointer?, _ what: Int16, _ context: UnsafeMutableRawPointer?) {
    with(context) { $0.innerChanged(Int32(what)) }
}
