import Glibc

/// What this host says about itself, for variables of the configuration.
///
/// Asking for addresses may wait for a name server.
enum HostFacts {
    /// The host's name; empty if it has none.
    static func name() -> String {
        var text = [CChar](repeating: 0, count: 256)
        guard gethostname(&text, text.count - 1) == 0 else { return "" }
        return text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    /// The addresses of the host's name, each once, with spaces between them, as `hostname -i` prints them; empty if
    /// there are none.
    static func addresses() -> String {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name(), nil, &hints, &list) == 0 else { return "" }
        defer { freeaddrinfo(list) }
        var texts: [String] = []
        var next = list
        while let entry = next?.pointee {
            var text = [CChar](repeating: 0, count: 64)
            let status = getnameinfo(
                entry.ai_addr, entry.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
            let address = text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
            if status == 0, !texts.contains(address) { texts.append(address) }
            next = entry.ai_next
        }
        return texts.joined(separator: " ")
    }
}
