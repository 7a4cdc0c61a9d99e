/// The link-state database and everything that is settled after an event (§3.4, §3.5).
extension RoutingMachine {
    /// Makes sure the router is in the table; false if the table is full.
    mutating func learn(_ router: String, isNeighbour: Bool, now: Int64) -> Bool {
        if remotes[router] != nil { return true }
        if remotes.count >= limits.remoteRouters {
            // A router we can touch is worth more than a name in somebody's link state.
            let hearsay = sortedRemotes.last { remotes[$0]?.lastHeard == longAgo && remotes[$0]?.slot == nil }
            guard isNeighbour, let victim = hearsay else {
                reject(.routerTableFull, subject: router, now: now)
                return false
            }
            forget(victim)
        }
        let taken = Set(remotes.values.map(\.maskBit))
        guard let bit = (1...max(1, limits.remoteRouters)).first(where: { !taken.contains($0) }) else { return false }
        remotes[router] = RemoteRouter(id: router, maskBit: bit)
        sortedRemotes.append(router)
        sortedRemotes.sort(by: precedesInOctetOrder)
        noteWish(of: router)
        pathsOutdated = true
        return true
    }

    private mutating func forget(_ router: String) {
        guard let gone = remotes.removeValue(forKey: router) else { return }
        sortedRemotes.removeAll { $0 == router }
        wishers.removeAll { $0 == router }
        remoteAddressCount -= gone.addresses.count
        if gone.isReachable || !gone.addresses.isEmpty { tablesChanged = true }
        pathsOutdated = true
    }

    /// Compares instances; a new one means that the router was restarted. False if the message must not be used.
    mutating func acceptInstance(of origin: MessageOrigin, isDirect: Bool, now: Int64) -> Bool {
        guard origin.instance != 0, var remote = remotes[origin.id], remote.instance != origin.instance else {
            return true
        }
        if remote.instance == 0 {
            remotes[origin.id]?.instance = origin.instance
            tablesChanged = true
            return true
        }
        // A flooded message of the earlier run may arrive after the first one of the new run. An older instance is
        // believed only from the router itself, or when nothing has been heard of the newer one for a while.
        let patience = 2 * timers.raIntervalFluxMilliseconds
        if !isDirect, origin.instance < remote.instance, now - remote.lastHeard <= patience {
            reject(.staleInstance, subject: origin.id, now: now)
            return false
        }
        remote.instance = origin.instance
        remote.peers = [:]
        remote.linkStateSequence = 0
        remote.advertisedLinkState = 0
        remote.linkStateSeen = now
        remote.linkStateRequest.wantAfresh()
        remotes[origin.id] = remote
        dropAddresses(of: origin.id)
        remotes[origin.id]?.advertisedMobile = 0
        remotes[origin.id]?.mobileRequest.wantAfresh()
        noteWish(of: origin.id)
        pathsOutdated = true
        tablesChanged = true
        effects.append(.log(.info, "router \(origin.id) was restarted (instance \(origin.instance))"))
        return true
    }

    /// Keeps the version of the link-state protocol a router speaks; address messages count their own.
    mutating func noteVersion(of origin: MessageOrigin) {
        let version = Int(clamping: origin.version)
        guard let remote = remotes[origin.id], remote.protocolVersion != version else { return }
        remotes[origin.id]?.protocolVersion = version
        tablesChanged = true
    }

    mutating func receiveAdvertisement(from router: String, linkState: Int64, mobile: Int64, now: Int64) {
        guard var remote = remotes[router] else { return }
        remote.linkStateSeen = now
        remote.advertisedLinkState = linkState
        remote.advertisedMobile = mobile
        if remote.linkStateSequence < linkState { remote.linkStateRequest.wantAfresh() }
        if mobile == 0, remote.mobileSequence == 0 {
            // It has no addresses, so it would not answer.
            remote.mobileRequest.isWanted = false
            remote.mobileRequest.repeatsLeft = 0
        } else if remote.mobileSequence < mobile {
            // One step ahead: most likely the differential update is on another path and about to arrive.
            let isNext = mobile - 1 == remote.mobileSequence && remote.mobileSequence > 0
            let wasAsked = now - remote.mobileRequest.lastSent < timers.coalescingMilliseconds
            let delay = isNext || wasAsked ? 2 * timers.coalescingMilliseconds : 0
            remote.mobileRequest.wantAfresh(notBefore: delay == 0 ? longAgo : now + delay)
        }
        remotes[router] = remote
    }

    mutating func receiveLinkState(from router: String, sequence: Int64, peers: [String: Int], now: Int64) {
        remotes[router]?.linkStateSeen = now
        guard let held = remotes[router]?.linkStateSequence, sequence > held else { return }
        let others = remotes.values.reduce(0) { $0 + ($1.id == router ? 0 : $1.peers.count) }
        guard others + peers.count <= limits.linkStateEdges else {
            return reject(.linkStateStoreFull, subject: router, now: now)
        }
        remotes[router]?.linkStateSequence = sequence
        if remotes[router]?.peers != peers {
            linkStatesChanged = true
            pathsOutdated = true
            remotes[router]?.peers = peers
        }
        if sequence >= remotes[router]?.advertisedLinkState ?? 0 { remotes[router]?.linkStateRequest.isWanted = false }
        for peer in peers.keys.sorted(by: precedesInOctetOrder) where peer != id {
            guard learn(peer, isNeighbour: false, now: now) else { break }
        }
    }

    // MARK: - Tick

    mutating func tick(now: Int64) {
        forgetOldLogSubjects(now: now)
        tickNeighbours(now: now)
        var listed = Set(ownPeers.keys)
        for remote in remotes.values { listed.formUnion(remote.peers.keys) }
        for router in sortedRemotes { tickRemote(router, isListed: listed.contains(router), now: now) }
        reloadTruncated()
        let inFlux = lastTopologyChange.map { now - $0 < 2 * timers.raIntervalFluxMilliseconds } ?? false
        let interval = inFlux ? timers.raIntervalFluxMilliseconds : timers.raIntervalMilliseconds
        // Half a tick of tolerance, or a tick that comes a little early would delay the RA by a whole one.
        if now + timers.helloIntervalMilliseconds / 2 - lastAdvertisement >= interval { advertisementWanted = true }
    }

    private mutating func tickRemote(_ router: String, isListed: Bool, now: Int64) {
        guard var remote = remotes[router] else { return }
        if remote.linkStateSequence > 0, now - remote.linkStateSeen > timers.remoteLinkStateMaxAgeMilliseconds {
            remote.peers = [:]
            remote.linkStateSequence = 0
            remote.advertisedLinkState = 0
            pathsOutdated = true
            linkStatesChanged = true
        }
        let answerTime = timers.helloIntervalMilliseconds / 2
        if remote.isReachable {
            remote.unreachableTicks = 0
            if remote.linkStateSequence < max(1, remote.advertisedLinkState) {
                remote.linkStateRequest.repeatAtTick(now: now, answerTime: answerTime)
            }
            if remote.mobileSequence < max(1, remote.advertisedMobile) {
                remote.mobileRequest.repeatAtTick(now: now, answerTime: answerTime)
            }
        } else {
            remote.unreachableTicks += 1
        }
        remote.unlistedTicks = isListed || remote.slot != nil || !remote.peers.isEmpty ? 0 : remote.unlistedTicks + 1
        remotes[router] = remote
        if remote.hasWish { noteWish(of: router) }
        if remote.unreachableTicks >= timers.unreachableHoldoffTicks, !remote.isReachable {
            dropAddresses(of: router)
        }
        if remote.unlistedTicks > 2 { forget(router) }
    }

    // MARK: - After each event

    /// Brings everything derived up to date and sends what has become due.
    mutating func settle(now: Int64) {
        if ownLinkStateChanged {
            ownLinkStateChanged = false
            ownLinkStateSequence += 1
            advertisementWanted = true
            computePaths(now: now)
        } else if pathsOutdated, now >= lastComputation + computationSpacing {
            computePaths(now: now)
        }
        announceAddresses(now: now)
        if let due = wishesDueAt, due <= now { sendDue(now: now) }
        if advertisementWanted {
            advertisementWanted = false
            lastAdvertisement = now
            if !slots.isEmpty {
                effects.append(
                    .flood(
                        .advertisement(
                            id: id, instance: instance, linkStateSequence: ownLinkStateSequence,
                            mobileSequence: ownMobileSequence)))
            }
        }
        scheduleWake(now: now)
    }

    /// Milliseconds from one computation caused by peers to the next. The work grows with routers times links, at some
    /// ten nanoseconds each; it may not take more than a fifth of the thread.
    private var computationSpacing: Int64 {
        max(timers.coalescingMilliseconds, Int64(clamping: remotes.count * linkStateEdgeCount / 20_000))
    }

    private mutating func computePaths(now: Int64) {
        pathsOutdated = false
        lastComputation = now
        var linkStates = [id: ownPeers]
        for (router, remote) in remotes {
            linkStates[router] = remote.peers.filter { $0.key == id || remotes[$0.key] != nil }
        }
        linkStateEdgeCount = linkStates.values.reduce(0) { $0 + $1.count }
        let computation = PathComputation(selfID: id, linkStates: linkStates)
        if linkStatesChanged { tablesChanged = true }
        linkStatesChanged = false
        var changed = computation.radius != radius
        radius = computation.radius
        for router in sortedRemotes {
            guard var remote = remotes[router], remote.path != computation.paths[router] else { continue }
            changed = true
            if remote.path == nil {
                // It has become reachable: what it was not asked for lack of a path, it is asked now.
                if remote.linkStateSequence < max(1, remote.advertisedLinkState) {
                    remote.linkStateRequest.wantAfresh()
                }
                if remote.mobileSequence < max(1, remote.advertisedMobile) { remote.mobileRequest.wantAfresh() }
                remote.unreachableTicks = 0
            }
            remote.path = computation.paths[router]
            remotes[router] = remote
            if remote.hasWish { noteWish(of: router) }
        }
        if changed {
            tablesChanged = true
            lastTopologyChange = now
        }
    }

    /// To be called whenever a message to this router may have become wanted, or no longer be.
    mutating func noteWish(of router: String) {
        let hasWish = remotes[router]?.hasWish == true
        guard hasWish || !wishers.isEmpty else { return }
        var (low, high) = (0, wishers.count)
        while low < high {
            let middle = (low + high) / 2
            if precedesInOctetOrder(wishers[middle], router) { low = middle + 1 } else { high = middle }
        }
        let isListed = low < wishers.count && wishers[low] == router
        if hasWish, !isListed { wishers.insert(router, at: low) }
        if !hasWish, isListed { wishers.remove(at: low) }
        if hasWish || isListed { wishesDueAt = longAgo }
    }

    private mutating func sendDue(now: Int64) {
        var next: Int64?
        for router in wishers {
            guard var remote = remotes[router], remote.isReachable,
                var due = remote.nextDue(spacing: timers.coalescingMilliseconds)
            else { continue }
            if due <= now {
                sendPending(to: &remote, now: now)
                remotes[router] = remote
                guard let left = remote.nextDue(spacing: timers.coalescingMilliseconds) else { continue }
                due = left
            }
            next = min(next ?? due, due)
        }
        wishers.removeAll { remotes[$0]?.hasWish != true }
        wishesDueAt = next
    }

    private mutating func sendPending(to remote: inout RemoteRouter, now: Int64) {
        let router = remote.id
        let spacing = timers.coalescingMilliseconds
        if remote.linkStateRequest.takeIfDue(now: now, spacing: spacing) {
            effects.append(.sendToRouter(id: router, .linkStateRequest(id: id, to: router)))
        }
        if remote.linkStateReply.takeIfDue(now: now, spacing: spacing) {
            effects.append(
                .sendToRouter(
                    id: router,
                    .linkStateUpdate(
                        id: id, to: router, instance: instance, sequence: ownLinkStateSequence, peers: ownPeers)))
        }
        if remote.mobileRequest.takeIfDue(now: now, spacing: spacing) {
            effects.append(
                .sendToRouter(id: router, .mobileRequest(id: id, to: router, haveSequence: remote.mobileSequence)))
        }
        if remote.mobileReply.takeIfDue(now: now, spacing: 5 * spacing) {
            effects.append(.sendToRouter(id: router, absoluteUpdate(to: router)))
        }
    }

    private mutating func scheduleWake(now: Int64) {
        let spacing = timers.coalescingMilliseconds
        var due: Int64?
        func take(_ time: Int64?) {
            if let time { due = min(due ?? time, time) }
        }
        if pathsOutdated { take(lastComputation + computationSpacing) }
        if pendingIsUrgent { take(lastMobileUpdate + spacing) }
        take(wishesDueAt)
        guard let next = due else { return }
        if let scheduled = scheduledWake, scheduled <= next, scheduled > now { return }
        scheduledWake = max(next, now + 1)
        effects.append(.wakeAfter(milliseconds: max(1, next - now)))
    }
}
