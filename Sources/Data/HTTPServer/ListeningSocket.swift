import Glibc

/// A bound TCP socket that listens, closed with this value unless released.
struct ListeningSocket: ~Copyable {
    private var descriptor: Int32
    /// The port in use; the system's choice if 0 was asked for.
    let port: UInt16

    /// Binds the first address of `host` that can be bound; an empty host is every address, IPv6 and IPv4. Of the
    /// addresses only those of `family` count.
    init(host: String, port: UInt16, family: HTTPAddressFamily = .any) throws(HTTPServerError) {
        var failure = ENOENT
        for address in try ListeningSocket.addresses(host, port, family) {
            switch ListeningSocket.listen(on: address, takesIPv4: family == .any) {
            case .success(let descriptor):
                self.descriptor = descriptor
                self.port = ListeningSocket.boundPort(of: descriptor) ?? port
                return
            case .failure(let error):
                failure = error.code
                // Another family would only split one port between two programs.
                if failure == EADDRINUSE { throw .addressInUse(host: host, port: port) }
            }
        }
        throw .cannotBind(host: host, port: port, reason: String(cString: strerror(failure)))
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Hands the descriptor over to a new owner.
    mutating func release() -> Int32 {
        defer { descriptor = -1 }
        return descriptor
    }

    private struct SystemError: Error {
        let code: Int32
    }

    /// A socket address in its own storage.
    private struct Address {
        let family: Int32
        let bytes: [UInt8]
    }

    private static func addresses(
        _ host: String, _ port: UInt16, _ family: HTTPAddressFamily
    ) throws(HTTPServerError) -> [Address] {
        var hints = addrinfo()
        hints.ai_family = family == .any ? AF_UNSPEC : family == .ipv4 ? AF_INET : AF_INET6
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host.isEmpty ? nil : host, String(port), &hints, &list)
        guard status == 0 else {
            throw .cannotBind(host: host, port: port, reason: String(cString: gai_strerror(status)))
        }
        defer { freeaddrinfo(list) }
        var result: [Address] = []
        var next = list
        while let entry = next?.pointee {
            if let address = entry.ai_addr {
                let bytes = UnsafeRawBufferPointer(start: address, count: Int(entry.ai_addrlen))
                result.append(Address(family: entry.ai_family, bytes: Array(bytes)))
            }
            next = entry.ai_next
        }
        // The IPv6 wildcard takes IPv4 as well, so it comes first.
        return host.isEmpty ? result.filter { $0.family == AF_INET6 } + result.filter { $0.family != AF_INET6 } : result
    }

    private static func listen(on address: Address, takesIPv4: Bool) -> Result<Int32, SystemError> {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.family, type, 0)
        guard descriptor >= 0 else { return .failure(SystemError(code: errno)) }
        var on: Int32 = 1
        var isIPv6Only: Int32 = takesIPv4 ? 0 : 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, size)
        if address.family == AF_INET6 {
            setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &isIPv6Only, size)
        }
        let bound = address.bytes.withUnsafeBytes { bytes in
            bind(
                descriptor, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
        }
        guard bound == 0, Glibc.listen(descriptor, 128) == 0 else {
            let code = errno
            close(descriptor)
            return .failure(SystemError(code: code))
        }
        return .success(descriptor)
    }

    private static func boundPort(of descriptor: Int32) -> UInt16? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutableBytes(of: &storage) { bytes in
            getsockname(descriptor, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
        }
        guard status == 0 else { return nil }
        // The port stands at the same place in IPv4 and IPv6 addresses.
        return withUnsafeBytes(of: &storage) { UInt16($0[2]) << 8 | UInt16($0[3]) }
    }
}
