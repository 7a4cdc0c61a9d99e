import CLibuv
import Glibc

/// A numeric network address with port, ready for `bind` or `connect`.
struct SocketAddress: Hashable, Sendable {
    private var storage: [UInt8]

    init(_ address: UnsafePointer<sockaddr>, length: Int) {
        storage = Array(UnsafeRawBufferPointer(start: address, count: length))
    }

    /// Parses an IPv4 or IPv6 literal; nil for a name.
    init?(literal: String, port: UInt16) {
        var v4 = sockaddr_in()
        if uv_ip4_addr(literal, Int32(port), &v4) == 0 {
            storage = withUnsafeBytes(of: &v4) { Array($0) }
            return
        }
        var v6 = sockaddr_in6()
        if uv_ip6_addr(literal, Int32(port), &v6) == 0 {
            storage = withUnsafeBytes(of: &v6) { Array($0) }
            return
        }
        return nil
    }

    /// The addresses that a resolution has found.
    static func all(in list: UnsafeMutablePointer<addrinfo>?, atMost most: Int = .max) -> [SocketAddress] {
        var found: [SocketAddress] = []
        var next = list
        while let entry = next, found.count < most {
            if let address = entry.pointee.ai_addr {
                found.append(SocketAddress(address, length: Int(entry.pointee.ai_addrlen)))
            }
            next = entry.pointee.ai_next
        }
        return found
    }

    /// The same host with another port.
    func with(port: UInt16) -> SocketAddress {
        var other = self
        // The port stands at the same place in both families.
        withUnsafeBytes(of: port.bigEndian) { other.storage.replaceSubrange(2..<4, with: $0) }
        return other
    }

    /// AF_INET or AF_INET6.
    var family: Int32 { Int32(storage.withUnsafeBytes { $0.loadUnaligned(as: sa_family_t.self) }) }

    /// The address without port, in network order.
    var hostOctets: [UInt8] {
        family == AF_INET6 ? Array(storage[8..<24]) : Array(storage[4..<8])
    }

    func withSockaddr<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        storage.withUnsafeBytes {
            body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
    }

    /// The address without port, as a literal.
    var host: String {
        var buffer = [CChar](repeating: 0, count: 64)
        withSockaddr { address, _ in _ = uv_ip_name(address, &buffer, 64) }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    var port: UInt16 {
        storage.withUnsafeBytes { UInt16(bigEndian: $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self)) }
    }

    /// `host:port`, with brackets around IPv6.
    var text: String {
        let host = host
        // An IPv4 peer of a socket that takes both kinds.
        if host.utf8.starts(with: "::ffff:".utf8) { return "\(host.dropFirst(7)):\(port)" }
        return family == AF_INET6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

/// Thin wrappers over the socket calls the loops make; every call is non-blocking.
enum Sockets {
    /// The system can bind IPv6 addresses.
    static let hasIPv6: Bool = {
        guard let address = SocketAddress(literal: "::", port: 0) else { return false }
        guard case .success(let descriptor) = listen(address, backlog: 1, shared: false) else { return false }
        close(descriptor)
        return true
    }()

    /// The text of an errno, without its number.
    static func text(_ code: Int32) -> String { String(cString: strerror(code)).lowercased() }

    /// A listening socket. `shared` lets every loop bind its own socket to the same port (SO_REUSEPORT); at "::" IPv4
    /// comes in too, unless `takesIPv4` is false.
    static func listen(
        _ address: SocketAddress, backlog: Int32, shared: Bool, takesIPv4: Bool = true
    ) -> Result<Int32, SocketFailure> {
        let descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue) | nonBlocking, 0)
        guard descriptor >= 0 else { return .failure(SocketFailure(operation: "socket", code: errno)) }
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        // Whatever the system's default.
        if address.family == AF_INET6 { set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, takesIPv4 ? 0 : 1) }
        if shared { set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
        let bound = address.withSockaddr { bind(descriptor, $0, $1) }
        // Accepted sockets inherit it.
        sendAtOnce(descriptor)
        guard bound == 0, Glibc.listen(descriptor, backlog > 0 ? backlog : 4096) == 0 else {
            let failure = SocketFailure(operation: bound == 0 ? "listen" : "bind", code: errno)
            close(descriptor)
            return .failure(failure)
        }
        return .success(descriptor)
    }

    /// Starts a connection. `connected` tells whether it is established already.
    static func connect(_ address: SocketAddress) -> Result<(descriptor: Int32, connected: Bool), SocketFailure> {
        let descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue) | nonBlocking, 0)
        guard descriptor >= 0 else { return .failure(SocketFailure(operation: "socket", code: errno)) }
        if address.withSockaddr({ Glibc.connect(descriptor, $0, $1) }) == 0 { return .success((descriptor, true)) }
        if errno == EINPROGRESS { return .success((descriptor, false)) }
        let failure = SocketFailure(operation: "connect", code: errno)
        close(descriptor)
        return .failure(failure)
    }

    /// The pending error of a socket whose connect just ended; 0 = connected.
    static func pendingError(_ descriptor: Int32) -> Int32 {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
        return code
    }

    static func accept(_ listener: Int32) -> Int32 { accept4(listener, nil, nil, nonBlocking) }

    /// Small pieces leave at once. Accepted sockets have it from their listener.
    static func sendAtOnce(_ descriptor: Int32) { set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1) }

    /// The system takes about so many octets that it cannot send yet. Accepted sockets have it from their listener.
    static func boundUnsent(_ descriptor: Int32, _ octets: UInt64) {
        set(descriptor, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, Int32(octets))
    }

    static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Makes the coming close send a reset instead of an orderly end.
    static func resetOnClose(_ descriptor: Int32) {
        var value = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    }

    static func peer(of descriptor: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getpeername(descriptor, $0, &length) == 0 ? network($0, length) : nil
            }
        }
    }

    static func local(of descriptor: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length) == 0 ? network($0, length) : nil
            }
        }
    }

    /// Nil for an end of a socket pair, which has neither host nor port.
    private static func network(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> SocketAddress? {
        let family = Int32(address.pointee.sa_family)
        return family == AF_INET || family == AF_INET6 ? SocketAddress(address, length: Int(length)) : nil
    }

    private static let nonBlocking = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
}

/// A socket call that failed, with the operating system's reason.
struct SocketFailure: Error, Sendable {
    var operation: String
    var code: Int32
    var text: String { Sockets.text(code) }
}
