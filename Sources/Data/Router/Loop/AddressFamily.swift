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

    /// The address that is bound for a name which has these: the first of IPv4, else the first.
    static func toBind(_ addresses: [SocketAddress]) -> SocketAddress? {
        addresses.first { $0.family == AF_INET } ?? addresses.first
    }
}
