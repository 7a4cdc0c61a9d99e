import Glibc

/// A cheap look whether a connector's server can be reached: one TCP connection, closed at once.
package enum BackendProbe {
    /// Longest wait for a connection, milliseconds.
    package static let limit: Int32 = 2_000

    /// Why `host`:`port` cannot be connected to; nil if it can.
    package static func fault(host: String, port: UInt16) -> String? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let failure = getaddrinfo(host, String(port), &hints, &list)
        guard failure == 0 else { return "\(host) has no address (\(String(cString: gai_strerror(failure))))" }
        defer { freeaddrinfo(list) }
        var last = "\(host) has no address"
        var entry = list
        while let info = entry {
            entry = info.pointee.ai_next
            guard let fault = fault(info.pointee) else { return nil }
            last = fault
        }
        return last
    }

    private static func fault(_ info: addrinfo) -> String? {
        let type = info.ai_socktype | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(info.ai_family, type, info.ai_protocol)
        guard descriptor >= 0 else { return errorText(errno) }
        defer { close(descriptor) }
        if connect(descriptor, info.ai_addr, info.ai_addrlen) == 0 { return nil }
        guard errno == EINPROGRESS else { return errorText(errno) }
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&entry, 1, limit) > 0 else { return "no answer within \(limit / 1000) s" }
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
        return code == 0 ? nil : errorText(code)
    }
}
