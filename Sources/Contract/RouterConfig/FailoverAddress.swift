/// One place to dial of a fail-over list: a URL of `failoverUrls`, or what a peer's Open gives.
package struct FailoverAddress: Hashable, Sendable {
    /// amqp or amqps, as given; nil if not given. Whether TLS is used is for the connector to say.
    package var scheme: String?
    /// Name or address.
    package var host: String
    /// Port number, or amqp or amqps.
    package var port: String

    /// A place to dial.
    package init(scheme: String?, host: String, port: String) {
        self.scheme = scheme
        self.host = host
        self.port = port
    }

    /// As a URL.
    package var url: String {
        "\(scheme ?? "amqp")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }

    /// Why a text is no list of URLs.
    package struct Fault: Error, Equatable {
        /// The part at fault.
        package var item: String

        /// A fault of one part.
        package init(item: String) { self.item = item }
    }

    /// The places in a list of URLs that are separated by commas: `[scheme://]host[:port]`, an IPv6 address in
    /// brackets. White space counts for nothing. Without a port, amqps means 5671 and everything else 5672.
    package static func list(_ text: String) throws(Fault) -> [FailoverAddress] {
        var addresses: [FailoverAddress] = []
        let visible = String(decoding: text.utf8.filter { $0 > 32 && $0 != 127 }, as: UTF8.self)
        for item in visible.split(separator: ",") {
            guard let address = FailoverAddress(url: item) else { throw Fault(item: String(item)) }
            addresses.append(address)
        }
        return addresses
    }

    private init?(url: Substring) {
        var rest = url
        if let mark = url.firstRange(of: "://") {
            scheme = String(url[..<mark.lowerBound])
            rest = url[mark.upperBound...]
            guard scheme == "amqp" || scheme == "amqps" else { return nil }
        }
        let name: Substring
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            name = rest[rest.index(after: rest.startIndex)..<end]
            rest = rest[rest.index(after: end)...]
        } else {
            name = rest.prefix { $0 != ":" }
            rest = rest[name.endIndex...]
        }
        guard !name.isEmpty, name.utf8.count <= 255 else { return nil }
        host = String(name)
        guard !rest.isEmpty else {
            port = scheme == "amqps" ? "5671" : "5672"
            return
        }
        port = String(rest.dropFirst())
        guard rest.first == ":", let number = Schema.portNumber(port), number > 0 else { return nil }
    }
}
