import CLibevent
import Glibc
import Threading

/// The libevent side of a server: event base, HTTP machine and callbacks.
///
/// `@unchecked Sendable`: the pointers are made before the thread starts and are then used on that thread only,
/// except by `requestStop`: `event_active` may be called from any thread, and `isEnded` keeps it from a freed event.
final class ServerLoop: @unchecked Sendable {
    /// The path of the request that stands in for what a refused client might have asked.
    private static let refusedPath = "/.refused"

    private let base: OpaquePointer
    private let http: OpaquePointer
    private let stopEvent: OpaquePointer
    private let limits: HTTPLimits
    private let webSockets: WebSocketService?
    private let handler: @Sendable (HTTPRequest) -> HTTPResponse
    /// WebSockets that have not ended.
    private var relays: [ObjectIdentifier: WebSocketRelay] = [:]
    /// Nil for a server in clear text, for ever; replaced by any thread.
    private let tls: Locked<TLSContext?>
    private let isEnded = Locked(false)
    /// Events of the base when there is no connection.
    private var idleEvents: Int32 = 0

    /// libevent's locks, switched on once for the process: they let one thread wake another one's loop.
    private static let threading: Int32 = evthread_use_pthreads()

    init(
        socket: consuming ListeningSocket, tls identity: TLSIdentity?, limits: HTTPLimits,
        webSockets: WebSocketService?, handler: @escaping @Sendable (HTTPRequest) -> HTTPResponse
    ) throws(HTTPServerError) {
        guard ServerLoop.threading == 0 else { throw .unavailable("libevent has no thread support") }
        var tlsContext: TLSContext?
        if let identity { tlsContext = try TLSContext(identity) }
        guard let base = event_base_new() else { throw .unavailable("no event base could be made") }
        guard let http = evhttp_new(base) else {
            event_base_free(base)
            throw .unavailable("no HTTP server could be made")
        }
        let context = UnsafeMutableRawPointer(base)
        guard let stopEvent = event_new(base, -1, Int16(EV_PERSIST), stopRequested, context) else {
            evhttp_free(http)
            event_base_free(base)
            throw .unavailable("no event could be made")
        }
        let descriptor = socket.release()
        guard evhttp_accept_socket_with_handle(http, descriptor) != nil else {
            close(descriptor)
            event_free(stopEvent)
            evhttp_free(http)
            event_base_free(base)
            throw .unavailable("the socket could not be watched")
        }
        self.base = base
        self.http = http
        self.stopEvent = stopEvent
        self.limits = limits
        self.webSockets = webSockets
        self.handler = handler
        tls = Locked(tlsContext)
        configure()
    }

    private func configure() {
        let methods =
            EVHTTP_REQ_GET.rawValue | EVHTTP_REQ_POST.rawValue | EVHTTP_REQ_HEAD.rawValue | EVHTTP_REQ_PUT.rawValue
            | EVHTTP_REQ_DELETE.rawValue | EVHTTP_REQ_OPTIONS.rawValue | EVHTTP_REQ_PATCH.rawValue
        evhttp_set_allowed_methods(http, UInt16(truncatingIfNeeded: methods))
        evhttp_set_max_headers_size(http, limits.headerBytes)
        evhttp_set_max_body_size(http, limits.bodyBytes)
        evhttp_set_timeout(http, Int32(clamping: max(1, limits.idleSeconds)))
        evhttp_set_default_content_type(http, nil)
        let context = Unmanaged.passUnretained(self).toOpaque()
        evhttp_set_bevcb(http, connectionAccepted, context)
        evhttp_set_gencb(http, requestReceived, context)
        idleEvents = event_base_get_num_events(base, UInt32(EVENT_BASE_COUNT_ADDED))
    }

    /// Starts the thread, which owns this object until it ends.
    func start() throws(HTTPServerError) -> pthread_t {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let status = pthread_create(&thread, nil, serve, context)
        guard status == 0 else {
            Unmanaged<ServerLoop>.fromOpaque(context).release()
            release()
            throw .unavailable("no thread could be started: \(String(cString: strerror(status)))")
        }
        return thread
    }

    /// Makes the thread end after what it is doing. For any thread.
    func requestStop() {
        isEnded.withLock { ended in
            // An event, unlike a loop break, is not lost if the loop has not begun yet.
            if !ended { event_active(stopEvent, Int32(EV_TIMEOUT), 0) }
        }
    }

    func replaceIdentity(_ identity: TLSIdentity) throws(HTTPServerError) {
        guard tls.withLock({ $0 != nil }) else { throw .notTLS }
        let replacement = try TLSContext(identity)
        tls.withLock { $0 = replacement }
    }

    /// The thread's work: serves until the stop event, then closes everything.
    fileprivate func run() {
        event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY)
        release()
    }

    private func release() {
        isEnded.withLock { ended in
            guard !ended else { return }
            ended = true
            event_free(stopEvent)
            for relay in relays.values { relay.cut() }
            // Closes the connections, and the listening socket, which it was given to own.
            evhttp_free(http)
            event_base_free(base)
        }
    }

    /// A buffer for a connection just accepted: TLS or clear, or one that refuses when the limit is reached.
    fileprivate func makeBuffer() -> OpaquePointer? {
        // libevent does not tell how many connections a server has, but each of them waits to read with a time
        // limit, which counts as two events; waiting to write as well makes it four.
        // A WebSocket has at least three, and a limit of its own.
        let events =
            Int(event_base_get_num_events(base, UInt32(EVENT_BASE_COUNT_ADDED)) - idleEvents) - 3 * relays.count
        guard events / 2 < limits.connections else { return refusingBuffer() }
        let options = Int32(BEV_OPT_CLOSE_ON_FREE.rawValue)
        guard let context = tls.withLock({ $0 }) else { return bufferevent_socket_new(base, -1, options) }
        guard let session = context.makeSession() else { return refusingBuffer() }
        guard
            let buffer = bufferevent_openssl_socket_new(base, -1, session, BUFFEREVENT_SSL_ACCEPTING, options)
        else { return refusingBuffer() }
        // Clients often leave without the TLS farewell; lengths, not the end of the stream, delimit messages here.
        bufferevent_openssl_set_allow_dirty_shutdown(buffer, 1)
        return buffer
    }

    /// A clear buffer that already holds a request, which is answered with 503 and the end of the connection.
    ///
    /// Giving back nil would not refuse: libevent then takes a clear buffer of its own, even for a TLS server.
    private func refusingBuffer() -> OpaquePointer? {
        guard let buffer = bufferevent_socket_new(base, -1, Int32(BEV_OPT_CLOSE_ON_FREE.rawValue)) else {
            return nil
        }
        let input = bufferevent_get_input(buffer)
        evbuffer_unfreeze(input, 0)
        let request = Array("GET \(ServerLoop.refusedPath) HTTP/1.0\r\n\r\n".utf8)
        evbuffer_add(input, request, request.count)
        evbuffer_freeze(input, 0)
        return buffer
    }

    fileprivate func answer(_ request: UnsafeMutablePointer<evhttp_request>) {
        let received = ServerLoop.request(from: request)
        if received.path == ServerLoop.refusedPath {
            reply(to: request, received, .text("too many connections; try again later\n", status: 503))
        } else if let webSockets, WebSocketHandshake.isAsked(by: received) {
            upgrade(request, received, webSockets)
        } else {
            reply(to: request, received, handler(received))
        }
    }

    private func upgrade(
        _ request: UnsafeMutablePointer<evhttp_request>, _ received: HTTPRequest, _ service: WebSocketService
    ) {
        let response = WebSocketHandshake.answer(received, protocols: service.protocols)
        guard response.status == 101 else { return reply(to: request, received, response) }
        guard relays.count < service.limit, let connection = evhttp_request_get_connection(request),
            let relay = WebSocketRelay.start(
                self, base: base, connection: connection, response, service,
                peer: ServerLoop.peerText(of: connection))
        else {
            return reply(to: request, received, .text("too many WebSockets; try again later\n", status: 503))
        }
        relays[ObjectIdentifier(relay)] = relay
        relay.readAhead()
    }

    func ended(_ relay: WebSocketRelay) { relays[ObjectIdentifier(relay)] = nil }

    private func reply(
        to request: UnsafeMutablePointer<evhttp_request>, _ received: HTTPRequest, _ response: HTTPResponse
    ) {
        let fields = evhttp_request_get_output_headers(request)
        for (name, value) in response.headers { evhttp_add_header(fields, name, value) }
        if let file = response.file, received.method != "HEAD" {
            evhttp_add_header(fields, "Content-Length", String(file.size))
            return FileTransfer.start(request, status: response.status, file, idleSeconds: limits.idleSeconds)
        }
        guard let body = evbuffer_new() else {
            evhttp_send_error(request, 500, nil)
            return
        }
        if received.method == "HEAD" {
            // libevent would send the body.
            evhttp_add_header(fields, "Content-Length", String(response.file?.size ?? response.body.count))
        } else {
            evbuffer_add(body, response.body, response.body.count)
        }
        evhttp_send_reply(request, Int32(clamping: response.status), nil, body)
        evbuffer_free(body)
    }

    private static func request(from request: UnsafeMutablePointer<evhttp_request>) -> HTTPRequest {
        let uri = evhttp_request_get_evhttp_uri(request)
        var headers: [(String, String)] = []
        var field = evhttp_request_get_input_headers(request)?.pointee.tqh_first
        while let current = field?.pointee {
            headers.append((text(current.key), text(current.value)))
            field = current.next.tqe_next
        }
        let input = evhttp_request_get_input_buffer(request)
        let length = evbuffer_get_length(input)
        let body = [UInt8](unsafeUninitializedCapacity: length) { bytes, count in
            count = max(0, Int(evbuffer_copyout(input, bytes.baseAddress, length)))
        }
        let path = text(evhttp_uri_get_path(uri))
        return HTTPRequest(
            method: method(evhttp_request_get_command(request)), path: path.isEmpty ? "/" : path,
            query: evhttp_uri_get_query(uri).map { String(cString: $0) }, headers: headers, body: body,
            peerAddress: peerAddress(of: request))
    }

    private static func peerAddress(of request: UnsafeMutablePointer<evhttp_request>) -> String {
        evhttp_request_get_connection(request).map { peer(of: $0).address } ?? ""
    }

    /// `address:port`, with brackets around IPv6.
    private static func peerText(of connection: OpaquePointer) -> String {
        let (address, port) = peer(of: connection)
        return address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    private static func peer(of connection: OpaquePointer) -> (address: String, port: UInt16) {
        var address: UnsafeMutablePointer<CChar>?
        var port: UInt16 = 0
        evhttp_connection_get_peer(connection, &address, &port)
        let numeric = text(address)
        // An IPv4 client at an IPv6 socket; one client should have one address wherever it is counted.
        let mapped = "::ffff:"
        let isMapped = numeric.hasPrefix(mapped) && numeric.contains(".")
        return (isMapped ? String(numeric.dropFirst(mapped.count)) : numeric, port)
    }

    private static func text(_ pointer: UnsafePointer<CChar>?) -> String {
        pointer.map { String(cString: $0) } ?? ""
    }

    private static func text(_ pointer: UnsafeMutablePointer<CChar>?) -> String {
        pointer.map { String(cString: $0) } ?? ""
    }

    private static func method(_ command: evhttp_cmd_type) -> String {
        switch command {
        case EVHTTP_REQ_GET: "GET"
        case EVHTTP_REQ_POST: "POST"
        case EVHTTP_REQ_HEAD: "HEAD"
        case EVHTTP_REQ_PUT: "PUT"
        case EVHTTP_REQ_DELETE: "DELETE"
        case EVHTTP_REQ_OPTIONS: "OPTIONS"
        case EVHTTP_REQ_PATCH: "PATCH"
        default: "UNKNOWN"
        }
    }
}

// C callbacks: free functions, so that they belong to no actor.

private func serve(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    // Signals are for the program's main thread; a write to a closed socket then gives an error instead of SIGPIPE.
    var all = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_BLOCK, &all, nil)
    Unmanaged<ServerLoop>.fromOpaque(context).takeRetainedValue().run()
    return nil
}

private func stopRequested(_: Int32, _: Int16, _ base: UnsafeMutableRawPointer?) {
    guard let base else { return }
    event_base_loopbreak(OpaquePointer(base))
}

private func connectionAccepted(_: OpaquePointer?, _ context: UnsafeMutableRawPointer?) -> OpaquePointer? {
    guard let context else { return nil }
    return Unmanaged<ServerLoop>.fromOpaque(context).takeUnretainedValue().makeBuffer()
}

private func requestReceived(_ request: UnsafeMutablePointer<evhttp_request>?, _ context: UnsafeMutableRawPointer?) {
    guard let request, let context else { return }
    Unmanaged<ServerLoop>.fromOpaque(context).takeUnretainedValue().answer(request)
}
