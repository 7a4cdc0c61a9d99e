/// Connections and HELLO: who is next to us, confirmed in both directions (§3.4).
extension RoutingMachine {
    /// Ids that two of our connections' peers claim, in octet order; of each pair one router is left out.
    package var twins: [String] {
        Set(slots.values.compactMap(\.twinOf)).sorted { precedesInOctetOrder($0, $1) }
    }

    mutating func connect(slot: Int, cost: Int, now: Int64) {
        if slots[slot] != nil { disconnect(slot: slot, now: now) }
        guard slots.count < limits.slots else {
            effects.append(
                .log(.error, "connection \(slot) is not used for routing: \(limits.slots) connections exist already"))
            return
        }
        connectionsMade += 1
        slots[slot] = ConnectionSlot(
            cost: usableCost(cost), order: connectionsMade, answersLeft: limits.answeringHellosPerTick)
        sendHello(slot: slot)
    }

    mutating func disconnect(slot: Int, now: Int64) {
        guard let gone = slots.removeValue(forKey: slot), let peer = gone.peerID else { return }
        let others = slots.filter { $0.value.peerID == peer && $0.value.twinOf == nil }
        if others.isEmpty { hellos[peer] = nil }
        guard remotes[peer]?.slot == slot else { return }
        let fresh = others.filter { now - $0.value.confirmedAt <= timers.silentNeighbourMilliseconds }
        if let (other, connection) = fresh.max(by: { $0.value.order < $1.value.order }) {
            useSlot(other, connection, for: peer)
        } else {
            loseNeighbour(peer, reason: "the connection to it was lost")
        }
    }

    /// The peer of a slot is as good as gone, though the connection is there. The only neighbour is kept until its
    /// HELLO are overdue: there is no other way to take, and withdrawing everything for a pause would help nobody.
    mutating func silence(slot: Int, now: Int64) {
        guard let peer = slots[slot]?.peerID, remotes[peer]?.slot == slot else { return }
        let fresh = slots.filter {
            $0.key != slot && $0.value.peerID == peer && $0.value.twinOf == nil
                && now - $0.value.confirmedAt <= timers.helloIntervalMilliseconds * 3 / 2
        }
        if let (other, connection) = fresh.max(by: { $0.value.order < $1.value.order }) {
            slots[slot]?.confirmedAt = longAgo
            useSlot(other, connection, for: peer)
        } else if ownPeers.count > 1 {
            slots[slot]?.confirmedAt = longAgo
            hellos[peer] = nil
            loseNeighbour(peer, reason: "the connection has fallen silent")
        }
    }

    mutating func changeCost(slot: Int, cost: Int) {
        guard slots[slot] != nil else { return }
        let usable = usableCost(cost)
        slots[slot]?.cost = usable
        guard let peer = slots[slot]?.peerID, remotes[peer]?.slot == slot, ownPeers[peer] != usable else { return }
        ownPeers[peer] = usable
        ownLinkStateChanged = true
    }

    mutating func receiveHello(slot: Int, from origin: MessageOrigin, listsUs: Bool, now: Int64) {
        guard origin.id != id else {
            guard origin.instance != 0, origin.instance != instance else {
                return reject(.ownID, subject: "connection \(slot)", now: now)
            }
            duplicateRouterSeenAt = now
            return reject(.duplicateRouterID, subject: "connection \(slot)", now: now)
        }
        if let bound = slots[slot]?.peerID, bound != origin.id {
            return reject(.neighbourIDChanged, subject: "connection \(slot)", now: now)
        }
        let isNew = hellos[origin.id] == nil || slots[slot]?.peerID == nil
        guard hellos[origin.id] != nil || hellos.count < limits.remoteRouters else {
            return reject(.routerTableFull, subject: "connection \(slot)", now: now)
        }
        hellos[origin.id] = now
        // A HELLO can come before the driver reports the slot; our first HELLO on it will then list the peer.
        guard slots[slot] != nil else { return }
        slots[slot]?.peerID = origin.id
        slots[slot]?.instance = origin.instance
        if slots[slot]?.greetedAt == nil { slots[slot]?.greetedAt = now }
        if let inUse = otherInstance(than: origin, besides: slot, now: now) {
            slots[slot]?.twinOf = origin.id
            // A router that was restarted sends no more HELLO on its old connection; a second router does.
            guard inUse.confirmedAt > slots[slot]?.greetedAt ?? now else { return }
            return reject(.twoRoutersOfOneID(origin.id), subject: "connection \(slot)", now: now)
        }
        slots[slot]?.twinOf = nil
        if listsUs { confirm(slot: slot, origin: origin, now: now) }
        // Answering at once saves the peer a hello interval. A peer that lists us and is not new gets no answer, so
        // two routers that both answer stop after one exchange.
        if isNew || !listsUs, let left = slots[slot]?.answersLeft, left > 0 {
            slots[slot]?.answersLeft = left - 1
            sendHello(slot: slot)
        }
    }

    /// The connection in use to the router of this id, if its HELLO keep coming and name another start time. The
    /// newcomer has to wait until they do not, so that it cannot take over the traffic of a router that lives.
    private func otherInstance(than origin: MessageOrigin, besides slot: Int, now: Int64) -> ConnectionSlot? {
        guard origin.instance != 0, let current = remotes[origin.id]?.slot, current != slot,
            let inUse = slots[current], inUse.instance != 0, inUse.instance != origin.instance,
            now - inUse.confirmedAt <= timers.helloIntervalMilliseconds * 3 / 2
        else { return nil }
        return inUse
    }

    private mutating func confirm(slot: Int, origin: MessageOrigin, now: Int64) {
        slots[slot]?.confirmedAt = now
        guard let connection = slots[slot], learn(origin.id, isNeighbour: true, now: now),
            acceptInstance(of: origin, isDirect: true, now: now)
        else { return }
        remotes[origin.id]?.lastHeard = now
        noteVersion(of: origin)
        if let current = remotes[origin.id]?.slot, current != slot {
            // Two connections to one router: the newer carries the traffic while its HELLO keep coming.
            if let inUse = slots[current], inUse.order > connection.order,
                now - inUse.confirmedAt <= timers.helloIntervalMilliseconds * 3 / 2
            {
                return
            }
        }
        remotes[origin.id]?.confirmedAt = now
        if remotes[origin.id]?.slot != slot { useSlot(slot, connection, for: origin.id) }
    }

    private mutating func useSlot(_ slot: Int, _ connection: ConnectionSlot, for peer: String) {
        remotes[peer]?.slot = slot
        remotes[peer]?.confirmedAt = connection.confirmedAt
        remotes[peer]?.linkStateRequest.wantAfresh()
        noteWish(of: peer)
        if ownPeers[peer] != connection.cost {
            ownPeers[peer] = connection.cost
            ownLinkStateChanged = true
        }
        tablesChanged = true
        effects.append(.neighbourUp(id: peer, slot: slot, cost: connection.cost))
    }

    private mutating func loseNeighbour(_ peer: String, reason: String) {
        guard let slot = remotes[peer]?.slot else { return }
        remotes[peer]?.slot = nil
        if ownPeers.removeValue(forKey: peer) != nil { ownLinkStateChanged = true }
        tablesChanged = true
        effects.append(.neighbourLost(id: peer, slot: slot, reason: reason))
    }

    /// At each tick: forget the silent, greet everyone.
    mutating func tickNeighbours(now: Int64) {
        hellos = hellos.filter { now - $0.value <= timers.helloMaxAgeMilliseconds }
        for peer in sortedRemotes {
            guard let remote = remotes[peer], remote.slot != nil else { continue }
            let silence = now - remote.confirmedAt
            if silence > timers.silentNeighbourMilliseconds {
                loseNeighbour(peer, reason: "no HELLO that lists us for \(silence) ms")
            }
        }
        for slot in slots.keys.sorted() {
            slots[slot]?.answersLeft = limits.answeringHellosPerTick
            sendHello(slot: slot)
        }
    }

    private mutating func sendHello(slot: Int) {
        let seen = hellos.keys.sorted(by: precedesInOctetOrder)
        effects.append(.sendToNeighbour(slot: slot, .hello(id: id, instance: instance, seen: seen)))
    }

    private func usableCost(_ cost: Int) -> Int {
        min(max(1, cost), RoutingLimits.maximumCost)
    }
}
