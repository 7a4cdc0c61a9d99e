import ControlIO

/// Why a request to an API server gave no result. `description` is in the words of what failed; who asked adds what it
/// was for.
package enum APIFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// The server answered with another status than success.
    /// - reason: the word of its Status object, for example `NotFound`; empty when the answer was no Status object.
    /// - message: its message, else the start of the answer's text.
    /// - retryAfterSeconds: the pause it asks for; 0 when it asks for none.
    case answer(status: Int, reason: String, message: String, retryAfterSeconds: Int)
    /// No answer came.
    case transport(HTTPClientError, server: String)
    /// There are no credentials to ask with.
    case credentials(String)
    /// An answer came that is not what was asked for.
    case notUnderstood(String)

    /// Whether a later attempt may succeed without anything being changed by a person.
    package var isTemporary: Bool {
        switch self {
        case .answer(let status, _, _, _): status == 429 || status >= 500
        // A server that ends in the middle of a handshake looks like a fault of TLS.
        case .transport(.tlsOther, _): true
        case .transport(let cause, _): cause.isTemporary
        case .credentials, .notUnderstood: false
        }
    }

    package var description: String {
        switch self {
        case .answer(let status, let reason, let message, _):
            message.isEmpty ? "HTTP status \(status) \(reason)" : message
        case .transport(let cause, let server):
            "the API server \(server) does not answer: \(Self.explanation(cause))"
        case .credentials(let text), .notUnderstood(let text):
            text
        }
    }

    /// What happened on the way to the server, the likely cause and what to do.
    private static func explanation(_ cause: HTTPClientError) -> String {
        switch cause {
        case .cannotResolve(let host):
            "no such host: \(host) has no address. Check the server of the kubeconfig's context, and the name servers"
        case .cannotConnect(let host, let port, let reason):
            "connect \(host):\(port): \(reason). Check that the cluster runs, and that this is the right context"
        case .timeout(let milliseconds):
            "nothing came within \(milliseconds) ms: it is overloaded, or a firewall drops the packets. Try again"
        case .tlsUntrusted(let detail):
            "its certificate is not trusted (\(detail)). The kubeconfig may be for another cluster or from before its "
                + "CA changed: fetch it anew"
        case .tlsNameMismatch(let host):
            "its certificate is not valid for \(host). Use a name in the kubeconfig that it is valid for, or set "
                + "tls-server-name there"
        case .caUnreadable(let detail):
            "the CA to know it by cannot be read (\(detail)). Check certificate-authority in the kubeconfig"
        case .tlsOther(let detail):
            "TLS failed (\(detail)). The client certificate of the kubeconfig may be damaged or expired: fetch it anew"
        case .tooLarge(let limit):
            "its answer is larger than \(limit) bytes"
        case .invalidURL(let detail):
            "its address cannot be used: \(detail)"
        case .other(let detail):
            "the exchange failed: \(detail). Try again"
        }
    }
}
