import AMQPCodec

/// An edge router's side of its active connection to the interior (router-protocol sheet, sections 7.1 and 7.2).
struct Uplink {
    /// The active connection; nil = none is up.
    var connection: ConnectionRef?
    /// The sender that tells the name of our mesh, and how many names it has told.
    var mesh: UInt64 = 0
    var namesTold = 0
    /// The anonymous sender.
    var sender: UInt64 = 0
    /// Receivers that stand at the interior for our consumers, by hash key.
    var consumers: [String: UInt64] = [:]
    /// Senders that stand at the interior for our producers, by hash key.
    var producers: [String: UInt64] = [:]
}

/// Numbers of the links that an edge router attaches when a connection becomes its active one.
struct UplinkNumbers: Sendable {
    var mesh: UInt64
    var sender: UInt64
    var downlink: UInt64
    var tracking: UInt64
}

extension Core {
    /// Link numbers given by the control thread; loops count below.
    func takeLinkNumber() -> UInt64 {
        nextLink += 1
        return UInt64(1) << 62 | nextLink
    }

    /// Chooses the active connection among those to interior routers: the highest TLS ordinal, then the one that is
    /// active already, then the first that opened.
    func electUplink() {
        guard isEdge else { return }
        let candidates = connections.values.filter { $0.info.role == .edge && $0.info.isConnector }.map(\.info)
        let best = preferred(candidates, current: uplink.connection)
        guard best?.ref != uplink.connection else { return }
        leaveUplink()
        guard let best else { return Log.write(.core, .warning, "edge router: no connection to an interior router") }
        activate(best)
    }

    /// Among connections to the same end: the highest TLS ordinal, then the current one, then the first that opened.
    func preferred(_ candidates: [ConnectionInfo], current: ConnectionRef?) -> ConnectionInfo? {
        candidates.max { one, other in
            let ordinals = (one.tlsOrdinal, other.tlsOrdinal)
            if ordinals.0 != ordinals.1 { return ordinals.0 < ordinals.1 }
            if one.ref == current || other.ref == current { return other.ref == current }
            return one.openedMilliseconds > other.openedMilliseconds
        }
    }

    private func activate(_ info: ConnectionInfo) {
        Log.write(.core, .info, "[C\(info.ref.id)] is the active connection to the interior, router \(info.container)")
        let ref = info.ref
        let numbers = UplinkNumbers(
            mesh: takeLinkNumber(), sender: takeLinkNumber(), downlink: takeLinkNumber(), tracking: takeLinkNumber())
        uplink = Uplink(connection: ref, mesh: numbers.mesh, sender: numbers.sender)
        let worker = workers[ref.worker]
        worker.post { worker.connections[ref.id]?.attachUplink(numbers) }
        announceMesh()
        changeAddress(AddressScope.uplinkKey) {
            $0.consumers = [
                LocalConsumer(connection: ref, link: numbers.sender, load: LoadCounter(), peer: .interior)
            ]
        }
    }

    /// The active connection is lost or another one is better: its links go; streams on their own links live on.
    private func leaveUplink() {
        guard let ref = uplink.connection else { return }
        let old = uplink
        uplink = Uplink()
        changeAddress(AddressScope.uplinkKey) { $0.consumers = [] }
        for key in old.producers.keys where addresses[key] != nil {
            changeAddress(key) { $0.consumers.removeAll { $0.peer == .interior } }
        }
        let worker = workers[ref.worker]
        worker.post { worker.connections[ref.id]?.detachEdgeLinks() }
    }

    /// Tells the interior of which mesh we are part.
    func announceMesh() {
        guard let ref = uplink.connection else { return }
        let announcement = EdgeMessages.meshName(meshID)
        let worker = workers[ref.worker]
        let number = uplink.mesh
        uplink.namesTold += 1
        worker.post { worker.announceMesh(announcement, on: ref.id, number) }
    }

    /// The interior knows the name of our mesh.
    ///
    /// skupper-router's takes a second name for the connection but not for addresses that have one already, and would
    /// go on to offer our neighbours in the mesh what it then does not send them. It looks again when receivers come
    /// and go: the new ones before the old.
    func meshTold(_ ref: ConnectionRef) {
        guard uplink.connection == ref, uplink.namesTold > 1, connections[ref]?.takesLiveCost == false else { return }
        let old = uplink.consumers
        uplink.consumers = adjust([:], to: Set(old.keys), role: .receiver, ref)
        _ = adjust(old, to: [], role: .receiver, ref)
    }

    // MARK: Proxies

    /// Keys of the addresses that TCP listeners and telemetry wait for.
    private var watchedKeys: Set<String> {
        telemetryKeys.union(tcpListeners.values.flatMap { $0.target.addresses.map(\.key) })
    }

    /// After new tables: one receiver for each address with consumers here, one sender for each with producers.
    func adjustProxies() {
        guard isEdge, uplink.connection != nil || !mesh.peers.isEmpty else { return }
        var consumed: Set<String> = []
        var produced = watchedKeys
        for (key, record) in addresses where record.key.first == "M" && (!record.inProcess || record.isAnnounced) {
            let hasConsumer =
                !record.connectors.isEmpty || record.consumers.contains(where: { $0.isOwn })
            if record.isAnnounced || hasConsumer {
                consumed.insert(key)
            }
            if !record.producers.isEmpty { produced.insert(key) }
        }
        adjustMeshReceivers(consumed)
        guard let ref = uplink.connection else { return }
        uplink.consumers = adjust(uplink.consumers, to: consumed, role: .receiver, ref)
        for key in uplink.producers.keys where !produced.contains(key) { setReachable(key, false) }
        uplink.producers = adjust(uplink.producers, to: produced, role: .sender, ref)
    }

    /// Attaches what is wanted and is not there, detaches what is not wanted any more.
    func adjust(
        _ links: [String: UInt64], to wanted: Set<String>, role: Role, _ ref: ConnectionRef
    ) -> [String: UInt64] {
        var links = links
        let worker = workers[ref.worker]
        for key in wanted where links[key] == nil {
            let number = takeLinkNumber()
            links[key] = number
            let address = String(key.dropFirst())
            worker.post { worker.connections[ref.id]?.attachProxy(address, role: role, number: number) }
        }
        for (key, number) in links where !wanted.contains(key) {
            links[key] = nil
            worker.post { worker.connections[ref.id]?.detachNumbered(number) }
        }
        return links
    }

    /// The interior tells whether an address of our producers has a consumer elsewhere.
    func trackingReceived(_ context: MessageContext, bytes: [UInt8]) {
        guard context.connection == uplink.connection, let told = EdgeMessages.reachability(in: bodyValue(bytes))
        else { return Log.write(.core, .warning, "[C\(context.connection.id)] address tracking message dropped") }
        setReachable(told.key, told.isReachable)
    }

    private func setReachable(_ key: String, _ isReachable: Bool) {
        guard let ref = uplink.connection else { return }
        guard isReachable, let number = uplink.producers[key] else {
            guard addresses[key]?.consumers.contains(where: { $0.peer == .interior }) == true else { return }
            return changeAddress(key) { $0.consumers.removeAll { $0.peer == .interior } }
        }
        // skupper-router's interior takes a mesh's addresses that it has from another interior for anybody's.
        let isOurs = connections[ref]?.takesLiveCost ?? true
        changeAddress(key) { record in
            guard !record.consumers.contains(where: { $0.peer == .interior }) else { return }
            record.consumers.append(
                LocalConsumer(
                    connection: ref, link: number, load: LoadCounter(), peer: .interior, isUnsureOfMeshes: !isOurs))
        }
    }

    /// The interior refused or closed one of our links, or answers our detach of a proxy that is no longer wanted.
    func uplinkLinkGone(_ link: UInt64, isProxy: Bool) {
        if let key = uplink.producers.first(where: { $0.value == link })?.key {
            setReachable(key, false)
            uplink.producers[key] = nil
        } else if let key = uplink.consumers.first(where: { $0.value == link })?.key {
            uplink.consumers[key] = nil
        } else if !isProxy, let ref = uplink.connection, connections[ref] != nil {
            closeConnection(ref, reason: "the interior router detached a link that an edge router needs")
        }
    }
}
