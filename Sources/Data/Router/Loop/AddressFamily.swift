import Glibc

/// Which of a host's addresses are bound or dialled: `socketAddressFamily`.
enum AddressFamily: Sendable {
    case any, ipv4, ipv6

    /// The family that the attribute names; either if it is nil.
    init(name: String?) {
        switch name {
        case "IPv4": self = .ipv4
        case "IPv6": self = .ipv6
        default: self = .any
        }
    }

    /// What a resolver is asked for.
    var hint: Int32 {
        switch self {
        case .any: AF_UNSPEC
        case .ipv4: AF_INET
        case .ipv6: AF_INET6
        }
    }

    /// For texts: what stands before "address", with a space.
    var words: String {
        switch self {
        case .any: ""
        case .ipv4: "IPv4 "
        case .ipv6: "IPv6 "
        }
    }

    func admits(_ address: SocketAddress) -> Bool { self == .any || address.family == hint }

    /// The address to bind for a host; empty or `*` = every address of the family, IPv4 and IPv6 if it may be either.
    /// Of a name's addresses an IPv4 one goes first, as clients on this machine expect of localhost. Nil if the host
    /// has no address of the family.
    func bindAddress(host: String, port: UInt16, resolve: (String) -> [SocketAddress]) -> SocketAddress? {
        if host.isEmpty || host == "*" {
            let isIPv4 = self == .ipv4 || self == .any && !Sockets.hasIPv6
            return SocketAddress(literal: isIPv4 ? "0.0.0.0" : "::", port: port)
        }
        let known = SocketAddress(literal: host, port: port).map { [$0] } ?? resolve(host)
        let admitted = known.filter(admits)
        return (admitted.first { $0.family == AF_INET } ?? admitted.first)?.with(port: port)
    }
}
