import Glibc
import RouterConfig

/// Where listeners are bound.
extension Core {
    /// Binds an entity's host and port.
    func bind(_ entity: Entity, backlog: Int32, shared: Bool) throws(EntityFailure) -> Int32 {
        let address = try bindAddress(of: entity)
        let takesIPv4 = AddressFamily(name: entity[string: "socketAddressFamily"]) == .any
        switch Sockets.listen(address, backlog: backlog, shared: shared, takesIPv4: takesIPv4) {
        case .success(let descriptor): return descriptor
        case .failure(let failure):
            let remedy =
                failure.code == EADDRINUSE
                ? "another program has this port; stop it or choose another port"
                : "use an address of this machine and a port this user may open"
            throw EntityFailure(
                status: 400,
                text: "\(entity.type) '\(entity.name)': cannot listen on \(entity[string: "host"] ?? ""):"
                    + "\(entity[string: "port"] ?? ""): \(failure.text); \(remedy)")
        }
    }

    /// The address to bind for an entity's host, port and family.
    func bindAddress(of entity: Entity) throws(EntityFailure) -> SocketAddress {
        let host = entity[string: "host"] ?? ""
        guard let port = entity.port() else {
            throw EntityFailure(
                status: 400, text: "\(entity.type) '\(entity.name)': port '\(entity[string: "port"] ?? "")' is no port")
        }
        let family = AddressFamily(name: entity[string: "socketAddressFamily"])
        let lookup = hostLookup()
        if let address = family.bindAddress(host: host, port: port, resolve: lookup.addresses) { return address }
        throw EntityFailure(
            status: 400,
            text: "\(entity.type) '\(entity.name)': host '\(host)' has no \(family.words)address"
                + (lookup.complaint ?? "; use one of this machine's"))
    }

    /// A look-up that waits as long as the control thread may now.
    func hostLookup() -> HostLookup {
        HostLookup(patience: isOperational ? HostLookup.patience : HostLookup.patienceAtStart)
    }
}
