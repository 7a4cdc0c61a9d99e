/// Where an address text leads, seen from one router (router-protocol sheet, section 4.1).
enum AddressScope: Equatable, Sendable {
    /// `_local/x`, or `_topo/0/<self>/x`: this router only; the hash key is `L` + x.
    case local(String)
    /// `_topo/0/all/x`: every router; the hash key is `T` + x.
    case all(String)
    /// `_topo/0/<id>/…`: forwarded as a whole to router `id`.
    case router(String)
    /// `_edge/<id>/…`: an edge router reachable through some interior router; the hash key is `H` + id.
    case edge(String)
    /// A service address; the hash key is `M` + text.
    case mobile(String)
    /// `_xtopo/<network>/…` and `_xedge/<network>/…` of a network that is not ours: forwarded as a whole to who
    /// takes what is meant for it; the hash key is `N` + network.
    case network(String)
    /// In an edge router, an address that only the interior can follow; the hash key is ``uplinkKey``.
    case uplink

    /// Under this key an edge router holds its link to the interior.
    static let uplinkKey = "L_edge"

    /// Classifies a `to` or terminus address. Never fails: what is not special is mobile.
    ///
    /// `_xtopo/<network>/…` and `_xedge/<network>/…` are what routers make of `_topo/…` and `_edge/…` when they
    /// have a `networkId`. A router without one takes any name for that of its own network.
    ///
    /// - Parameter network: our `networkId`; nil = there is none.
    init(_ text: String, selfID: String, isEdge: Bool = false, network: String? = nil) {
        let rest = AddressScope.normalised(text)
        if let name = rest.dropping("_local/") {
            self = .local(String(name))
        } else if let path = rest.dropping("_topo/") {
            self = isEdge ? .uplink : AddressScope.topological(path, whole: rest, selfID: selfID)
        } else if let path = rest.dropping("_edge/") {
            self = AddressScope.ofEdge(path, selfID: selfID, isEdge: isEdge)
        } else if let path = rest.dropping("_xtopo/"), let place = NetworkPlace(path, own: network) {
            switch place {
            case .here(let path): self = isEdge ? .uplink : AddressScope.topological(path, whole: rest, selfID: selfID)
            case .elsewhere(let name): self = isEdge ? .uplink : .network(name)
            }
        } else if let path = rest.dropping("_xedge/"), let place = NetworkPlace(path, own: network) {
            switch place {
            case .here(let path): self = AddressScope.ofEdge(path, selfID: selfID, isEdge: isEdge)
            case .elsewhere(let name): self = isEdge ? .uplink : .network(name)
            }
        } else {
            self = .mobile(String(rest))
        }
    }

    /// The whole address of what is `L` + `name` in the router `selfID`, as every router of its network can follow it
    /// and, with a `network`, routers of others as well.
    static func address(ofLocal name: some StringProtocol, selfID: String, isEdge: Bool, network: String?) -> String {
        let x = network == nil ? "" : "x"
        let place = network.map { $0 + "/" } ?? ""
        return isEdge ? "amqp:/_\(x)edge/\(place)\(selfID)/\(name)" : "amqp:/_\(x)topo/\(place)0/\(selfID)/\(name)"
    }

    private static func ofEdge(_ path: Substring.UTF8View, selfID: String, isEdge: Bool) -> AddressScope {
        let id = path.prefix { $0 != UInt8(ascii: "/") }
        if isEdge, id.elementsEqual(selfID.utf8) { return .local(String(path.dropFirst(id.count + 1))) }
        return .edge(String(id) ?? "")
    }

    private static func topological(_ path: Substring.UTF8View, whole: Substring.UTF8View, selfID: String)
        -> AddressScope
    {
        let slash = UInt8(ascii: "/")
        if let name = path.dropping("all/") { return .all(String(name)) }
        guard let afterArea = path.dropping("0/") else { return .mobile(String(whole)) }
        let id = afterArea.prefix { $0 != slash }
        let name = afterArea.dropFirst(id.count + 1)
        if id.elementsEqual("all".utf8) { return .all(String(name)) }
        if id.elementsEqual(selfID.utf8) { return .local(String(name)) }
        return .router(String(id) ?? "")
    }

    /// Skips scheme, host and one leading slash; drops one trailing `.` or `/`.
    private static func normalised(_ text: String) -> Substring.UTF8View {
        let slash = UInt8(ascii: "/")
        var view = Substring(text).utf8
        if let colon = view.firstIndex(of: UInt8(ascii: ":")) {
            let after = view[view.index(after: colon)...]
            if after.starts(with: "//".utf8) {
                let host = after.dropFirst(2)
                if let end = host.firstIndex(of: slash) { view = host[host.index(after: end)...] }
            } else if after.first == slash {
                view = after.dropFirst()
            }
        } else if view.first == slash {
            view = view.dropFirst()
        }
        if let last = view.last, last == slash || last == UInt8(ascii: ".") { view = view.dropLast() }
        return view
    }

    /// The key under which address tables hold it.
    var key: String {
        switch self {
        case .local(let name): "L" + name
        case .all(let name): "T" + name
        case .router(let id): "R" + id
        case .edge(let id): "H" + id
        case .mobile(let text): "M" + text
        case .network(let name): "N" + name
        case .uplink: AddressScope.uplinkKey
        }
    }
}

extension Substring.UTF8View {
    fileprivate func dropping(_ prefix: StaticString) -> Substring.UTF8View? {
        prefix.withUTF8Buffer { bytes in
            starts(with: bytes) ? self.dropFirst(bytes.count) : nil
        }
    }
}

/// Which network an address with a network's name in it is in.
private enum NetworkPlace {
    /// Ours; what follows the name.
    case here(Substring.UTF8View)
    case elsewhere(String)

    /// Nil = there is nothing behind the name, and we are not to tell names apart.
    /// - Parameters:
    ///   - path: from the name on.
    ///   - own: our `networkId`; `0` stands for it in any network.
    init?(_ path: Substring.UTF8View, own: String?) {
        let slash = UInt8(ascii: "/")
        let name = path.prefix { $0 != slash }
        let rest = path.dropFirst(name.count + 1)
        let isBare = name.endIndex == path.endIndex
        guard let own else {
            guard !isBare else { return nil }
            self = .here(rest)
            return
        }
        let behind = path.starts(with: own.utf8) ? path.dropFirst(own.utf8.count) : path.prefix(0)
        if behind.first == slash {
            self = .here(behind.dropFirst())
        } else if !isBare, name.elementsEqual("0".utf8) {
            self = .here(rest)
        } else {
            self = .elsewhere(String(Substring(name)))
        }
    }
}

extension String {
    fileprivate init(_ view: Substring.UTF8View) { self = String(Substring(view)) }
}

/// How an address chooses among its consumers; the raw values are those of mobile-address messages.
enum Treatment: Int, Sendable {
    case multicastFlood = 0
    case multicastOnce, closest, balanced, unavailable

    /// From a configuration word.
    init?(name: String) {
        switch name {
        case "multicast": self = .multicastOnce
        case "closest": self = .closest
        case "balanced": self = .balanced
        case "unavailable": self = .unavailable
        default: return nil
        }
    }

    var name: String {
        switch self {
        case .multicastFlood: "flood"
        case .multicastOnce: "multicast"
        case .closest: "closest"
        case .balanced: "balanced"
        case .unavailable: "unavailable"
        }
    }
}
