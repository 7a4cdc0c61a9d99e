import Glibc
import RouterConfig

/// TCP listeners and connectors.
extension Core {
    private func serviceContext(_ entity: Entity, server: Bool) throws(EntityFailure) -> TLSContext? {
        guard let profile = try profile(entity[string: "sslProfile"]) else { return nil }
        do {
            return try TLSContext(
                profile: profile, server: server, requirePeer: server && entity.boolean("authenticatePeer") == true,
                offersHTTP: server)
        } catch {
            throw EntityFailure(status: 400, text: "\(entity.type) '\(entity.name)': \(error.text)")
        }
    }

    /// New connections of services with this sslProfile use its files as they are now; all of them or, when a file is
    /// not usable, none.
    func reloadServices(_ profile: String) throws(EntityFailure) {
        var made: [(ServiceTLS, TLSContext)] = []
        for state in tcpListeners.values where state.entity[string: "sslProfile"] == profile {
            guard let service = state.target.serviceTLS, let context = try serviceContext(state.entity, server: true)
            else { continue }
            made.append((service, context))
        }
        for state in tcpConnectors.values where state.entity[string: "sslProfile"] == profile {
            guard let service = state.target.serviceTLS, let context = try serviceContext(state.entity, server: false)
            else { continue }
            made.append((service, context))
        }
        for (service, context) in made { service.replace(context) }
    }

    /// Puts the addresses of services that are made from now on under a tenant, so that several tenants can share a
    /// network; nil changes nothing, and an empty text means none.
    ///
    /// The network's `tenantId` comes after the router's `vanId` and wins if both are given (router-protocol.md §6.3).
    func joinTenant(_ name: String?) {
        guard let name else { return }
        tenant = name.isEmpty ? nil : name
        if let tenant { Log.write(.router, .info, "addresses of TCP services begin with \(tenant)/, the tenant") }
    }

    /// Gives this network a name among others, from now on: in reply addresses, and to tell which addresses are ours.
    /// The links that there are keep the addresses that they have.
    func joinNetwork(_ name: String?) {
        renaming = nil
        let given = name.flatMap { $0.isEmpty || $0 == "0" ? nil : $0 }
        guard given != networkID else { return }
        networkID = given
        Log.write(.router, .info, given.map { "this network is called \($0)" } ?? "this network has no name any more")
        // Not with the tables: the loops have to know before the first link is attached.
        for worker in workers { worker.post { worker.joinNetwork(given) } }
    }

    /// The address that a service entity has in the network; the entity itself shows it without the tenant.
    func serviceAddress(_ entity: Entity) -> String {
        let address = entity[string: "address"] ?? ""
        return tenant.map { "\($0)/\(address)" } ?? address
    }

    func createTCPConnector(_ entity: Entity) throws(EntityFailure) {
        guard let port = entity.port() else {
            throw EntityFailure(
                status: 400, text: "tcpConnector '\(entity.name)': port '\(entity[string: "port"] ?? "")' is no port")
        }
        let target = TCPConnectorTarget(
            name: entity.name, address: serviceAddress(entity), host: entity[string: "host"] ?? "127.0.0.1", port: port,
            processID: entity[string: "processId"], tls: try serviceContext(entity, server: false),
            verifyHostname: entity.boolean("verifyHostname") ?? true, loops: workers.count)
        tcpConnectors[entity.name] = TCPConnectorState(
            entity: entity, target: target, number: takeConnectionID(), createdAt: now)
        changeAddress("M" + target.address) { $0.connectors.append(target) }
        Log.write(.tcp, .info, "connector \(entity.name): address \(target.address) leads to \(target.host):\(port)")
    }

    func createTCPListener(_ entity: Entity) throws(EntityFailure) {
        let strategy = AddressStrategy(rawValue: entity[string: "multiAddressStrategy"] ?? "none") ?? .none
        let socketAddress = try bindAddress(of: entity)
        let target = TCPListenerTarget(
            name: entity.name, address: strategy == .none ? serviceAddress(entity) : nil, strategy: strategy,
            socketAddress: socketAddress, backlog: Int32(entity.integer("backlog") ?? 0),
            tls: try serviceContext(entity, server: true), loops: workers.count,
            observer: ObserverChoice(name: entity[string: "observer"]))
        tcpListeners[entity.name] = TCPListenerState(entity: entity, target: target)
        tablesChanged()
    }

    /// The listener that a listenerAddress belongs to.
    func listenerTarget(_ entity: Entity) -> TCPListenerTarget? {
        tcpListeners[entity[string: "listener"] ?? ""]?.target
    }

    func listenerAddresses(of listener: String) -> [Entity] {
        otherEntities.filter { $0.type == "listenerAddress" && $0[string: "listener"] == listener }
    }

    /// A listener waits for consumers of this address.
    func isWatched(_ key: String) -> Bool {
        tcpListeners.values.contains { $0.target.addresses.contains { $0.key == key } }
    }

    /// Addresses one listener may have.
    private static let addressMaximum = 1000

    func createListenerAddress(_ entity: Entity) throws(EntityFailure) {
        let listener = entity[string: "listener"] ?? ""
        guard let target = tcpListeners[listener]?.target else {
            throw EntityFailure(
                status: 400,
                text: "listenerAddress '\(entity.name)': there is no tcpListener '\(listener)'; create it first")
        }
        guard target.strategy != .none else {
            throw EntityFailure(
                status: 400,
                text: "listenerAddress '\(entity.name)': tcpListener '\(listener)' has one address of its own; give it "
                    + "multiAddressStrategy priority or weighted instead of an address")
        }
        guard target.addresses.count < Core.addressMaximum else {
            throw EntityFailure(
                status: 400,
                text: "listenerAddress '\(entity.name)': tcpListener '\(listener)' has \(Core.addressMaximum) "
                    + "addresses already")
        }
        target.add(
            ListenerAddress(
                name: entity.name, address: serviceAddress(entity), value: entity.integer("value") ?? 0))
        otherEntities.append(entity)
        tablesChanged()
    }

    /// Opens the sockets of listeners whose address has a consumer, closes the others.
    func adjustListeners() {
        for name in Array(tcpListeners.keys) {
            guard var state = tcpListeners[name] else { continue }
            let target = state.target
            let isReachable = target.isReachable(in: current)
            if isReachable, !state.isListening {
                open(&state, target)
            } else if !isReachable, state.isListening {
                for worker in workers { worker.post { worker.closeListener(name) } }
                state.isListening = false
                state.message = "no consumer for address \(target.title)"
                Log.write(.tcp, .info, "listener \(name): closed: \(state.message)")
            }
            tcpListeners[name] = state
        }
    }

    /// A port that is taken now may be free soon: the table is looked at again.
    private func retryListenersLater() { retryListenersAt = now + 200 }

    /// Binds one socket for each loop; all or none.
    private func open(_ state: inout TCPListenerState, _ target: TCPListenerTarget) {
        // The loops' sockets share the port with each other only: a first one that does not share tells whether another
        // program, perhaps another router of this user, has it.
        switch Sockets.listen(target.socketAddress, backlog: 1, shared: false) {
        case .success(let descriptor): close(descriptor)
        case .failure(let failure): return cannotOpen(&state, target, failure)
        }
        var descriptors: [Int32] = []
        for _ in workers {
            switch Sockets.listen(target.socketAddress, backlog: target.backlog, shared: true) {
            case .success(let descriptor):
                Sockets.boundUnsent(descriptor, UnsentOctets.ordinary)
                descriptors.append(descriptor)
            case .failure(let failure):
                for descriptor in descriptors { close(descriptor) }
                return cannotOpen(&state, target, failure)
            }
        }
        for (worker, descriptor) in zip(workers, descriptors) {
            worker.post { worker.openListener(target, descriptor: descriptor) }
        }
        state.isListening = true
        state.message = ""
        Log.write(
            .tcp, .info, "listener \(target.name): open on \(target.socketAddress.text) for address \(target.title)")
    }

    private func cannotOpen(_ state: inout TCPListenerState, _ target: TCPListenerTarget, _ failure: SocketFailure) {
        let text = "cannot listen on \(target.socketAddress.text): \(failure.text)"
        if state.message != text {
            Log.write(
                .tcp, .error,
                "listener \(target.name): \(text); stop the program that has the port or choose another")
        }
        state.message = text
        retryListenersLater()
    }
}
