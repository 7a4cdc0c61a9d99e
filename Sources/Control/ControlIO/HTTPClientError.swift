/// Why an HTTPS exchange gave no response.
package enum HTTPClientError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The host name has no address.
    case cannotResolve(host: String)
    /// No TCP connection: refused, unreachable, …
    case cannotConnect(host: String, port: Int, reason: String)
    /// The whole exchange took longer than allowed.
    case timeout(milliseconds: Int)
    /// The server's certificate is not signed by the trusted CA, or is expired.
    case tlsUntrusted(detail: String)
    /// The server's certificate is for other names than the URL's host.
    case tlsNameMismatch(host: String)
    /// The CA certificates that the server is to be known by cannot be read.
    case caUnreadable(detail: String)
    /// Another TLS fault: protocol version, …
    case tlsOther(detail: String)
    /// The response body is larger than `HTTPSClient.maximumResponseBytes`.
    case tooLarge(limitBytes: Int)
    /// The URL cannot be used: wrong scheme or not parsable.
    case invalidURL(detail: String)
    /// Anything else, in libcurl's words.
    case other(detail: String)

    /// What happened, the likely cause and what to do.
    package var description: String {
        switch self {
        case .cannotResolve(let host):
            "no such host: \(host) has no address: check the name, or the name servers of this machine"
        case .cannotConnect(let host, let port, let reason):
            "connect \(host):\(port): \(reason): check that the server runs and that no firewall stands between"
        case .timeout(let milliseconds):
            "no answer within \(milliseconds) ms: the server is overloaded, or a firewall drops the packets; try again"
        case .tlsUntrusted(let detail):
            "the server's certificate is not trusted (\(detail)): the token is for another server, or the server got "
                + "a new CA since; ask for a new token"
        case .tlsNameMismatch(let host):
            "the server's certificate is not valid for \(host): the server is reached under a name or address it does "
                + "not know of; ask for a token with an advertised host"
        case .caUnreadable(let detail):
            "the CA certificate to know the server by cannot be read (\(detail)): the token was damaged or edited on "
                + "its way; ask for a new token"
        case .tlsOther(let detail):
            "TLS failed (\(detail)): the port may belong to another program, or one side allows other TLS versions only"
        case .tooLarge(let limit):
            "the answer is larger than \(limit) bytes: the URL is likely not that of a grant server"
        case .invalidURL(let detail):
            "the URL cannot be used: \(detail)"
        case .other(let detail):
            "the exchange failed: \(detail); try again"
        }
    }

    /// True when a later attempt may succeed without anything being changed by a person.
    package var isTemporary: Bool {
        switch self {
        case .cannotResolve, .cannotConnect, .timeout, .other: true
        case .tlsUntrusted, .tlsNameMismatch, .caUnreadable, .tlsOther, .tooLarge, .invalidURL: false
        }
    }
}
