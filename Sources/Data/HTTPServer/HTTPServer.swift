import CLibevent
import Glibc
import Threading

/// An HTTP/1.1 server with a thread of its own, over TCP or TLS.
///
/// The handler runs on that thread, one request at a time, and may block briefly: meanwhile other clients wait.
/// The server lives until `stop` or until the last reference to it is gone.
package final class HTTPServer: Sendable {
    /// The port in use.
    package let port: UInt16

    private let loop: ServerLoop
    private let thread: Locked<pthread_t?>

    /// Binds `host` (empty for every address) and `port` (0 for any free one) and starts to serve.
    ///
    /// With `tls` nil it speaks clear text, with it nothing else. With `webSockets`, requests for a WebSocket go there,
    /// whatever their path, and not to the handler. Throws `HTTPServerError`.
    package init(
        host: String, port: UInt16, family: HTTPAddressFamily = .any, tls: TLSIdentity?,
        limits: HTTPLimits = HTTPLimits(), webSockets: WebSocketService? = nil,
        handler: @escaping @Sendable (HTTPRequest) -> HTTPResponse
    ) throws(HTTPServerError) {
        let socket = try ListeningSocket(host: host, port: port, family: family)
        self.port = socket.port
        loop = try ServerLoop(socket: socket, tls: tls, limits: limits, webSockets: webSockets, handler: handler)
        thread = Locked(try loop.start())
    }

    deinit {
        stop()
    }

    /// Shows `identity` to connections from now on; those that stand keep what they have.
    ///
    /// Throws `HTTPServerError` and changes nothing if the identity is not usable or the server has no TLS.
    package func replaceIdentity(_ identity: TLSIdentity) throws(HTTPServerError) {
        try loop.replaceIdentity(identity)
    }

    /// Closes the socket and every connection, and waits for the thread to end. Called again it does nothing.
    ///
    /// Called from the handler it does not wait: the server ends after the request.
    package func stop() {
        let ending = thread.withLock { current -> pthread_t? in
            defer { current = nil }
            return current
        }
        guard let ending else { return }
        loop.requestStop()
        if pthread_equal(ending, pthread_self()) != 0 {
            pthread_detach(ending)
        } else {
            pthread_join(ending, nil)
        }
    }
}
