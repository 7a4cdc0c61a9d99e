import COpenSSL

/// What a server offers to requests that ask for a WebSocket (RFC 6455): a stream of octets in binary messages.
package struct WebSocketService: Sendable {
    /// Names of sub-protocols; of a client's list the first of these is taken.
    package var protocols: [String]
    /// WebSockets at a time; further ones are answered with 503.
    package var limit: Int
    /// Seconds without an octet after which a client is sent a ping, and after as many more is cut off.
    package var pingSeconds: Int
    /// Given the other end of each WebSocket, a stream socket which it then owns, and the client as `address:port`.
    ///
    /// It runs on the server's thread and must not block.
    package var accept: @Sendable (_ descriptor: Int32, _ peer: String) -> Void

    package init(
        protocols: [String], limit: Int = 256, pingSeconds: Int = 60,
        accept: @escaping @Sendable (_ descriptor: Int32, _ peer: String) -> Void
    ) {
        self.protocols = protocols
        self.limit = limit
        self.pingSeconds = pingSeconds
        self.accept = accept
    }
}

/// The opening handshake of a WebSocket (RFC 6455, section 4.2).
enum WebSocketHandshake {
    /// Section 1.3: goes into the digest behind the client's key.
    private static let suffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    static func isAsked(by request: HTTPRequest) -> Bool {
        words(request, "Upgrade").contains { $0.lowercased() == "websocket" }
    }

    /// The answer to a request that asks for a WebSocket: 101, or what is wrong with it.
    static func answer(_ request: HTTPRequest, protocols: [String]) -> HTTPResponse {
        guard request.method == "GET", words(request, "Connection").contains(where: { $0.lowercased() == "upgrade" })
        else { return .text("a WebSocket is asked for with GET and the field Connection: Upgrade\n", status: 400) }
        guard request.header("Sec-WebSocket-Version") == "13" else {
            var refusal = HTTPResponse.text("this is no version of WebSocket known here; use 13\n", status: 426)
            refusal.headers += [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")]
            return refusal
        }
        // Sixteen octets in base64.
        guard let key = request.header("Sec-WebSocket-Key"), key.utf8.count == 24, key.hasSuffix("==") else {
            return .text("Sec-WebSocket-Key must be 16 octets in base64\n", status: 400)
        }
        guard let name = words(request, "Sec-WebSocket-Protocol").first(where: { protocols.contains($0) }) else {
            let known = protocols.joined(separator: " or ")
            return .text("no sub-protocol that is asked for is known here; ask for \(known)\n", status: 400)
        }
        return HTTPResponse(
            status: 101,
            headers: [
                ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", proof(of: key)),
                ("Sec-WebSocket-Protocol", name),
            ])
    }

    /// The value of Sec-WebSocket-Accept for a key.
    static func proof(of key: String) -> String {
        let text = Array((key + suffix).utf8)
        var digest = [UInt8](repeating: 0, count: 20)
        var size: UInt32 = 0
        guard EVP_Digest(text, text.count, &digest, &size, EVP_sha1(), nil) == 1 else { return "" }
        var encoded = [UInt8](repeating: 0, count: 29)
        let count = EVP_EncodeBlock(&encoded, digest, 20)
        return String(decoding: encoded.prefix(Int(count)), as: UTF8.self)
    }

    /// The items of a list in all fields of a name.
    private static func words(_ request: HTTPRequest, _ name: String) -> [String] {
        let wanted = name.lowercased()
        return request.headers.filter { $0.0.lowercased() == wanted }.flatMap { field in
            field.1.split { $0 == "," || $0 == " " || $0 == "\t" }.map(String.init)
        }
    }
}
