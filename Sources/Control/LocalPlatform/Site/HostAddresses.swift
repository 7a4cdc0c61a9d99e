import Glibc
import SiteModel

/// The addresses and name of this host.
package struct HostAddresses: Hashable, Sendable {
    /// IPv4 addresses of interfaces that are up, other than loopback, in the system's order.
    package var ipv4: [String]
    /// IPv6 addresses likewise, without link-local ones (they mean nothing to another host).
    package var ipv6: [String]
    /// The host's name.
    package var name: String

    package init(ipv4: [String], ipv6: [String], name: String) {
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self.name = name
    }

    /// What the system says now.
    package static func current() -> HostAddresses {
        var result = HostAddresses(ipv4: [], ipv6: [], name: hostName())
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return result }
        defer { freeifaddrs(list) }
        var entry = list
        while let item = entry {
            entry = item.pointee.ifa_next
            let flags = Int32(bitPattern: item.pointee.ifa_flags)
            guard let address = item.pointee.ifa_addr, flags & Int32(IFF_UP) != 0,
                flags & Int32(IFF_LOOPBACK) == 0, let text = numeric(address)
            else { continue }
            if Int32(address.pointee.sa_family) == AF_INET {
                if !result.ipv4.contains(text) { result.ipv4.append(text) }
            } else if !text.hasPrefix("fe80:"), !result.ipv6.contains(text) {
                result.ipv6.append(text)
            }
        }
        return result
    }

    /// The host other sites are told to connect to: the advertised one, else the bound one if it is a certain
    /// address, else the first IPv4 address, else loopback.
    package func advertised(setting: String?, bindHost: String?) -> String {
        if let setting, !setting.isEmpty { return setting }
        if let bindHost, !bindHost.isEmpty, bindHost != "0.0.0.0", bindHost != "::" { return bindHost }
        return ipv4.first ?? "127.0.0.1"
    }

    /// All names a server certificate of this host should hold, sorted so that equal hosts give equal certificates.
    package func certificateHosts(extra: [String]) -> [String] {
        let own = ipv4 + ipv6 + ["127.0.0.1", "localhost", name]
        return Set((own + extra).filter { !$0.isEmpty }).sorted()
    }

    private static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func numeric(_ address: UnsafeMutablePointer<sockaddr>) -> String? {
        let family = Int32(address.pointee.sa_family)
        let size: Int
        switch family {
        case AF_INET: size = MemoryLayout<sockaddr_in>.size
        case AF_INET6: size = MemoryLayout<sockaddr_in6>.size
        default: return nil
        }
        var buffer = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard
            getnameinfo(address, socklen_t(size), &buffer, socklen_t(buffer.count), nil, 0, NI_NUMERICHOST) == 0
        else { return nil }
        let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return text.contains("%") ? nil : text
    }
}
