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
    /// Another TLS fault: protocol version, damaged CA text, …
    case tlsOther(detail: String)
    /// The response body is larger than `HTTPSClient.maximumResponseBytes`.
    case tooLarge(limitBytes: Int)
    /// The URL cannot be used: wrong scheme or not parsable.
    case invalidURL(detail: String)
    /// Anything else, in libcurl's words.
    case other(detail: String)

    /// What happened, the likely cause and what to do.
    package var description: String { "" }

    /// True when a later attempt may succeed without anything being changed by a person.
    package var isTemporary: Bool { false }
}

/// An HTTPS client over libcurl: one exchange per call, no redirects, no proxies from the environment, no state.
package struct HTTPSClient: Sendable {
    /// Largest accepted response body, bytes.
    package static let maximumResponseBytes = 1024 * 1024

    /// A client; it holds nothing between calls.
    package init() {}

    /// Sends a POST and reads the whole response; blocks at most `timeoutMilliseconds`.
    /// - Parameters:
    ///   - url: must have scheme https.
    ///   - headers: names and values without line breaks.
    ///   - body: raw bytes.
    ///   - trustedCAPEM: the only CA certificates trusted; nil uses the system's.
    ///   - minimumTLS13: refuse older TLS versions.
    ///   - timeoutMilliseconds: for the whole exchange.
    /// - Returns: the status, also for 3xx, 4xx and 5xx, and the body.
    package func post(
        url: String, headers: [(String, String)], body: [UInt8], trustedCAPEM: String?, minimumTLS13: Bool,
        timeoutMilliseconds: Int
    ) throws(HTTPClientError) -> (status: Int, body: [UInt8]) { fatalError("declared only") }
}
