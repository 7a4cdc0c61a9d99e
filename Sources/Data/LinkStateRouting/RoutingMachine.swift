import AMQPCodec

/// The routing protocol of one interior router: neighbours, link-state database, paths and mobile addresses (§3).
///
/// Pure: events and the time go in, effects come out, and equal inputs give equal outputs. Unlike skupper-router it
/// acts when something happens instead of at the next tick; all it sends stays within the protocol, so that peers of
/// both kinds understand it.
package struct RoutingMachine {
    /// Own router id.
    package let id: String
    /// Start time of this router, seconds since the epoch; must differ after a restart.
    package let instance: Int64
    /// Durations in force.
    package let timers: RoutingTimers
    /// Bounds in force.
    package let limits: RoutingLimits

    /// Largest number of hops to any router (§2.6, radius rule).
    package internal(set) var radius = 0
    /// When a message with our id and another instance last arrived, in the driver's milliseconds; nil if none did.
    package internal(set) var duplicateRouterSeenAt: Int64?
    /// Own link state: confirmed neighbours and the costs of the connections to them.
    package internal(set) var ownPeers: [String: Int] = [:]
    /// Sequence number of the own link state.
    package internal(set) var ownLinkStateSequence: Int64 = 0
    /// Sequence number of the own advertised addresses.
    package internal(set) var ownMobileSequence: Int64 = 0
    /// Time of the last change of paths, in the driver's milliseconds; nil if there was none.
    package internal(set) var lastTopologyChange: Int64?
    /// How often each kind of message content was refused.
    package internal(set) var rejections: [String: Int] = [:]
    /// Addresses stored for all remote routers.
    package internal(set) var remoteAddressCount = 0

    var remotes: [String: RemoteRouter] = [:]
    /// Keys of `remotes` in octet order; walking in this order makes equal inputs give equal outputs.
    var sortedRemotes: [String] = []
    /// Those of `remotes` that have a wish, in the same order: most events leave nobody with one, and what follows an
    /// event must not cost a walk over the network.
    var wishers: [String] = []
    /// When the first wish of a reachable router is due, nil if none is; a time long ago if it is to be found out.
    var wishesDueAt: Int64?
    var slots: [Int: ConnectionSlot] = [:]
    var hellos: [String: Int64] = [:]
    var connectionsMade = 0
    var ownLinkStateChanged = false
    var pathsOutdated = false
    /// Link states differ from those last published, even if no path does.
    var linkStatesChanged = false
    var lastComputation = longAgo
    /// Edges that the last computation worked on.
    var linkStateEdgeCount = 0
    var advertisementWanted = false
    var lastAdvertisement = longAgo
    /// What was passed on of others' floods.
    var floods = FloodRelay()

    /// Own addresses as peers have been told.
    var announced: [String: AddressInfo] = [:]
    /// Changes peers have not been told; nil means removed.
    var pendingAddresses: [String: AddressInfo?] = [:]
    var pendingIsUrgent = false
    var lastMobileUpdate = longAgo

    var effects: [RoutingEffect] = []
    var tablesChanged = false
    var scheduledWake: Int64?
    var loggedSubjects: [String: Int64] = [:]

    /// A router that knows nobody. `instance` is its start time in seconds since the epoch.
    package init(
        id: String, instance: Int64, timers: RoutingTimers = RoutingTimers(), limits: RoutingLimits = RoutingLimits()
    ) {
        self.id = id
        self.instance = instance
        self.timers = timers
        self.limits = limits
    }

    /// Takes one event at time `now` (monotonic milliseconds) and gives what is to be done, in order.
    package mutating func handle(_ event: RoutingEvent, now: Int64) -> [RoutingEffect] {
        switch event {
        case .tick: tick(now: now)
        case .wake: scheduledWake = nil
        case .neighbourConnected(let slot, let cost): connect(slot: slot, cost: cost, now: now)
        case .neighbourDisconnected(let slot): disconnect(slot: slot, now: now)
        case .neighbourSilent(let slot): silence(slot: slot, now: now)
        case .costChanged(let slot, let cost): changeCost(slot: slot, cost: cost)
        case .messageReceived(let slot, let opcode, let body, _):
            receive(slot: slot, opcode: opcode, body: body, now: now)
        case .localAddressAdded(let key, let treatment, let producers, let meshID):
            addLocalAddress(key, AddressInfo(treatment: treatment, producers: producers, meshID: meshID))
        case .localAddressRemoved(let key): removeLocalAddress(key)
        }
        settle(now: now)
        defer {
            effects.removeAll()
            tablesChanged = false
        }
        return tablesChanged ? [.routesChanged] + effects : effects
    }

    // MARK: - Reading the state

    /// Every reachable remote router, sorted by id.
    package var routes: [RouteEntry] { nodes.filter(\.isReachable) }

    /// Every known remote router, reachable or not, sorted by id.
    package var nodes: [RouteEntry] { sortedRemotes.compactMap { remotes[$0].map(entry) } }

    /// The route to one router, nil if it is unknown or unreachable.
    package func route(to id: String) -> RouteEntry? {
        guard let remote = remotes[id], remote.isReachable else { return nil }
        return entry(remote)
    }

    private func entry(_ remote: RemoteRouter) -> RouteEntry {
        let firstHop = remote.path?.firstHop
        return RouteEntry(
            id: remote.id, maskBit: remote.maskBit, slot: firstHop.flatMap { remotes[$0]?.slot },
            nextHopID: firstHop == remote.id ? nil : firstHop,
            cost: min(remote.path?.cost ?? 0, RoutingLimits.maximumCost), hops: remote.path?.hops ?? 0,
            validOrigins: remote.path?.validOrigins ?? [], peers: remote.peers,
            linkStateSequence: remote.linkStateSequence, mobileSequence: remote.mobileSequence,
            instance: remote.instance, protocolVersion: remote.protocolVersion, isNeighbour: remote.slot != nil,
            neighbourSlot: remote.slot, addresses: remote.addresses)
    }

    // MARK: - Received messages

    private mutating func receive(slot: Int, opcode: String, body: AMQPValue, now: Int64) {
        let parser = RoutingBodyParser(selfID: id, limits: limits)
        let origin: MessageOrigin
        let message: ReceivedMessage
        do {
            (origin, message) = try parser.parse(opcode: opcode, body: body)
        } catch {
            return reject(error, subject: "connection \(slot)", now: now)
        }
        if case .hello(let seen) = message {
            return receiveHello(slot: slot, from: origin, listsUs: seen.contains(id), now: now)
        }
        guard origin.id != id else {
            // What stems from our own earlier run has an older instance.
            guard origin.instance > instance else { return reject(.ownID, subject: "connection \(slot)", now: now) }
            duplicateRouterSeenAt = now
            return reject(.duplicateRouterID, subject: "connection \(slot)", now: now)
        }
        guard slots[slot]?.twinOf != origin.id else {
            return reject(.twoRoutersOfOneID(origin.id), subject: "connection \(slot)", now: now)
        }
        if case .absoluteUpdate = message, remotes[origin.id] == nil {
            return reject(.unknownRouter, subject: origin.id, now: now)
        }
        if case .differentialUpdate = message, remotes[origin.id] == nil {
            return reject(.unknownRouter, subject: origin.id, now: now)
        }
        guard learn(origin.id, isNeighbour: false, now: now), acceptInstance(of: origin, isDirect: false, now: now)
        else { return }
        defer { noteWish(of: origin.id) }
        remotes[origin.id]?.lastHeard = now
        if opcode != "MAR", opcode != "MAU" { noteVersion(of: origin) }
        switch message {
        case .hello: break
        case .advertisement(let linkState, let mobile):
            receiveAdvertisement(from: origin.id, linkState: linkState, mobile: mobile, now: now)
        case .linkStateRequest: remotes[origin.id]?.linkStateReply.want()
        case .linkStateUpdate(let sequence, let peers, let ignored):
            if ignored > 0 { reject(.invalidField("ls.peers"), subject: origin.id, now: now) }
            receiveLinkState(from: origin.id, sequence: sequence, peers: peers, now: now)
        case .mobileRequest(let have):
            if have < ownMobileSequence { remotes[origin.id]?.mobileReply.want() }
        case .absoluteUpdate(let sequence, let exist):
            receiveAbsolute(from: origin.id, sequence: sequence, exist: exist, now: now)
        case .differentialUpdate(let sequence, let added, let removed):
            receiveDifferential(from: origin.id, sequence: sequence, added: added, removed: removed, now: now)
        }
    }

    // MARK: - Logs

    /// Counts a refusal and logs it once per subject and kind in ten minutes.
    mutating func reject(_ rejection: RoutingRejection, subject: String, now: Int64) {
        rejections[rejection.kind, default: 0] += 1
        let level: RoutingLogLevel =
            switch rejection {
            case .unknownRouter, .staleInstance: .debug
            case .duplicateRouterID, .twoRoutersOfOneID: .error
            default: .warning
            }
        logOnce(
            level, key: "\(subject)|\(rejection.kind)", now: now,
            "routing message from \(subject) not used: \(rejection.text)")
    }

    private mutating func logOnce(_ level: RoutingLogLevel, key: String, now: Int64, _ text: String) {
        guard loggedSubjects[key] == nil, loggedSubjects.count < limits.logSubjects else { return }
        loggedSubjects[key] = now
        effects.append(.log(level, text))
        if loggedSubjects.count == limits.logSubjects {
            effects.append(
                .log(
                    .warning,
                    "too many different routing errors; further ones are only counted for ten minutes: "
                        + "look for a faulty or hostile router in the network"))
        }
    }

    mutating func forgetOldLogSubjects(now: Int64) {
        guard !loggedSubjects.isEmpty else { return }
        loggedSubjects = loggedSubjects.filter { now - $0.value < 600_000 }
    }
}
