/// A request as the handler sees it: complete, with its body.
package struct HTTPRequest: Sendable {
    /// `GET`, `POST` and so on.
    package let method: String
    /// Path without query, as it was sent (not percent-decoded); `/` if empty.
    package let path: String
    /// What follows the question mark, without it; nil if there is none.
    package let query: String?
    /// Fields in the order sent; names as written by the client.
    package let headers: [(String, String)]
    package let body: [UInt8]
    /// Numeric address of the client, without port.
    package let peerAddress: String

    package init(
        method: String, path: String, query: String? = nil, headers: [(String, String)] = [], body: [UInt8] = [],
        peerAddress: String = ""
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.peerAddress = peerAddress
    }

    /// The first field called `name`, in any case.
    package func header(_ name: String) -> String? {
        let wanted = name.lowercased()
        return headers.first { $0.0.lowercased() == wanted }?.1
    }
}

/// A handler's answer. Length, date and connection fields are added by the server.
package struct HTTPResponse: Sendable {
    package var status: Int
    /// Fields to send; one with a line break in it is left out.
    package var headers: [(String, String)]
    package var body: [UInt8]
    /// Sent instead of `body`, if there is one, as the client takes it.
    package var file: OpenFile?

    package init(status: Int, headers: [(String, String)] = [], body: [UInt8] = [], file: OpenFile? = nil) {
        self.status = status
        self.headers = headers
        self.body = body
        self.file = file
    }

    /// A text of type `contentType`.
    package static func text(
        _ text: String, status: Int = 200, contentType: String = "text/plain"
    ) -> HTTPResponse {
        HTTPResponse(status: status, headers: [("Content-Type", contentType)], body: Array(text.utf8))
    }
}

/// The addresses of a host at which a server may be reached.
package enum HTTPAddressFamily: Hashable, Sendable {
    case any
    case ipv4
    case ipv6
}

/// How much a client may take of the server.
package struct HTTPLimits: Hashable, Sendable {
    /// Octets of a request's body; longer ones are answered with 413.
    package var bodyBytes: Int
    /// Octets of the request line and fields; longer ones are answered with 400.
    package var headerBytes: Int
    /// Connections at a time; further ones are answered with 503 in clear text and closed. A connection with
    /// output that waits for its client counts twice.
    package var connections: Int
    /// Seconds without a byte after which a connection is closed, the TLS handshake included; at least 1.
    package var idleSeconds: Int

    package init(
        bodyBytes: Int = 65_536, headerBytes: Int = 16_384, connections: Int = 256, idleSeconds: Int = 10
    ) {
        self.bodyBytes = bodyBytes
        self.headerBytes = headerBytes
        self.connections = connections
        self.idleSeconds = idleSeconds
    }
}

/// Why a server cannot start, or cannot take an identity.
package enum HTTPServerError: Error, Hashable, Sendable {
    case addressInUse(host: String, port: UInt16)
    case cannotBind(host: String, port: UInt16, reason: String)
    case badCertificate(reason: String)
    case badPrivateKey(reason: String)
    case badClientCA(reason: String)
    case badCiphers(String)
    case unreadableFile(path: String, reason: String)
    /// An identity for a server that was made without one.
    case notTLS
    /// The system has no memory or threads left, or the server is stopped.
    case unavailable(String)
}

extension HTTPServerError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .addressInUse(let host, let port):
            "cannot listen on \(HTTPServerError.place(host, port)): another program has this port; "
                + "stop that program or choose another port"
        case .cannotBind(let host, let port, let reason):
            "cannot listen on \(HTTPServerError.place(host, port)): \(reason); "
                + "use an address of this host, and a port which this user may open"
        case .badCertificate(let reason):
            "the server certificate cannot be used: \(reason); give a PEM file with the certificate first, "
                + "then its chain"
        case .badPrivateKey(let reason):
            "the private key cannot be used: \(reason); give the PEM key of the certificate, and its password if it is "
                + "encrypted"
        case .badClientCA(let reason):
            "the CA for client certificates cannot be used: \(reason); give a PEM file with at least one certificate"
        case .badCiphers(let list):
            "no cipher can be used of '\(list)'; give a list in OpenSSL's form"
        case .unreadableFile(let path, let reason):
            "cannot read \(path): \(reason); check that the file exists and that this user may read it"
        case .notTLS:
            "this HTTP server was started without TLS and cannot take a certificate; start it anew with one"
        case .unavailable(let what):
            "the HTTP server cannot go on: \(what); free memory, threads or descriptors and start it anew"
        }
    }

    private static func place(_ host: String, _ port: UInt16) -> String {
        let shown = host.isEmpty ? "*" : host.contains(":") ? "[\(host)]" : host
        return "\(shown):\(port)"
    }
}
