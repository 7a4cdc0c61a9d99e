import CLibuv
import Glibc
import LinkStateRouting
import RouterConfig

/// An open AMQP connection as the control thread knows it.
struct ConnectionState {
    var info: ConnectionInfo
    var slot: Int?
    /// The peer understands live cost changes.
    var takesLiveCost: Bool
}

/// One socket that a connector keeps up: its control connection or one of its data connections.
struct Dialer {
    var role: ConnectionRole
    var worker: Int
    /// The attempt or connection under way.
    var current: ConnectionRef?
    var nextAttempt: Int64 = 0
    var failures = 0
}

/// A `connector` entity at work.
struct AMQPConnectorState {
    var entity: Entity
    var settings: ConnectionSettings
    var places: FailoverList
    var dialers: [Dialer]
    /// skupper-router's words: CONNECTING, SUCCESS, FAILED.
    var status = "CONNECTING"
    var message = ""
}

extension Core {
    /// Neighbours at once; the protocol has 127 mask bits for other routers.
    private static let slotMaximum = 127

    // MARK: Told by the loops

    func connectionOpened(_ info: ConnectionInfo) {
        guard isWanted(info) else {
            return closeConnection(info.ref, reason: "its \(info.isConnector ? "connector" : "listener") was deleted")
        }
        connections[info.ref] = ConnectionState(
            info: info, slot: nil, takesLiveCost: info.properties.contains { $0.key == WireNames.liveCost })
        Log.write(
            .server, .info,
            "[C\(info.ref.id)] connection \(info.isConnector ? "to" : "from") \(info.host) opened: container "
                + "\(info.container), role \(info.role.rawValue), \(info.tlsProtocol ?? "clear text") "
                + "\(info.tlsCipher ?? ""), SASL \(info.mechanism), user \(info.user ?? "anonymous")"
        )
        updateConnector(info.entity) { state in
            guard let index = state.dialers.firstIndex(where: { $0.current == info.ref }) else { return }
            state.dialers[index].failures = 0
            if state.dialers[index].role != .interRouterData {
                state.status = "SUCCESS"
                state.message = "Connection opened: container \(info.container)"
                state.places.opened()
                if let named = info.failover { state.places.learn(named) }
            }
        }
        if info.role == .interRouterData {
            reportSplitGroup(info)
            tablesChanged()
        }
        if info.role == .edge { electUplink() }
        if info.role == .interEdge { meshConnectionOpened(info) }
        if info.role.outside != nil {
            perform(autoLinks.opened(info.ref, AutoLinks.Peer(container: info.container, entity: info.entity)))
        }
    }

    /// Its connector or listener may have been deleted while it was on its way.
    private func isWanted(_ info: ConnectionInfo) -> Bool {
        guard info.isConnector else { return amqpListeners[info.entity] != nil }
        return amqpConnectors[info.entity]?.dialers.contains { $0.current == info.ref } ?? false
    }

    func connectionClosed(_ ref: ConnectionRef, entity: String, reason: String, wasOpen: Bool) {
        let state = connections.removeValue(forKey: ref)
        if let slot = state?.slot {
            slots[slot] = nil
            perform(routing.handle(.neighbourDisconnected(slot: slot), now: now))
        }
        if state?.info.role == .interRouterData { tablesChanged() }
        for (link, known) in linkKeys where known.connection == ref { linkDetached(link: link) }
        edgePeers[ref] = nil
        autoLinks.closed(ref)
        if state?.info.role == .edge { electUplink() }
        if let info = state?.info, info.role == .interEdge { meshConnectionClosed(info) }
        scheduleRedial(ref, entity: entity, reason: reason, wasOpen: wasOpen)
    }

    func controlLinksUp(_ ref: ConnectionRef) {
        guard var state = connections[ref], state.slot == nil else { return }
        if let correlator = state.info.groupCorrelator {
            if adoptSlot(ref, correlator: correlator) { return }
            retireOlder(than: ref, correlator: correlator)
        }
        guard let slot = (0..<Core.slotMaximum).first(where: { slots[$0] == nil }) else {
            Log.write(.core, .error, "[C\(ref.id)] more than \(Core.slotMaximum) neighbours; the connection is closed")
            return closeConnection(ref, reason: "no free neighbour slot")
        }
        state.slot = slot
        connections[ref] = state
        slots[slot] = ref
        perform(routing.handle(.neighbourConnected(slot: slot, cost: state.info.cost), now: now))
        reportSplitGroup(state.info)
        tablesChanged()
    }

    /// Data connections that ended at another router than their control connection, as behind a load balancer, are
    /// not used: what was sent there would not arrive.
    private func reportSplitGroup(_ info: ConnectionInfo) {
        guard let correlator = info.groupCorrelator else { return }
        let isControl = info.role == .interRouter
        for state in connections.values
        where state.info.groupCorrelator == correlator && state.info.container != info.container
            && (isControl ? state.info.role == .interRouterData : state.slot != nil)
        {
            let (data, control) = isControl ? (state.info, info) : (info, state.info)
            Log.write(
                .core, .error,
                "Connection group failure: connections split across routers: \(data.container) "
                    + "([C\(data.ref.id)]) and \(control.container) ([C\(control.ref.id)]); the first is not used. "
                    + "Give \(data.isConnector ? "connector \(data.entity)" : "the peer's connector") an address that "
                    + "always leads to the same router")
        }
    }

    /// A connection with newer certificates takes over from the one that is up, without the neighbour being lost: new
    /// streams use it, those that are open stay on the older connections until their certificates are retired.
    private func adoptSlot(_ ref: ConnectionRef, correlator: String) -> Bool {
        guard let state = connections[ref],
            let (other, older) = connections.first(where: {
                $0.key != ref && $0.value.slot != nil && $0.value.info.groupCorrelator == correlator
            }), let slot = older.slot
        else { return false }
        guard state.info.groupOrdinal > older.info.groupOrdinal else { return false }
        Log.write(
            .core, .info,
            "[C\(ref.id)] takes over from [C\(other.id)] with newer certificates (ordinal "
                + "\(state.info.groupOrdinal) after \(older.info.groupOrdinal))")
        connections[other]?.slot = nil
        connections[ref]?.slot = slot
        slots[slot] = ref
        if state.info.cost != older.info.cost {
            perform(routing.handle(.costChanged(slot: slot, cost: state.info.cost), now: now))
        }
        // The side that dialled says that the older control links are done with.
        if older.info.isConnector {
            let worker = workers[other.worker]
            worker.post { worker.detachControlLinks(other.id) }
        }
        tablesChanged()
        return true
    }

    func controlLinkDetached(_ ref: ConnectionRef) {
        guard connections[ref]?.slot != nil else { return }
        closeConnection(ref, reason: "peer detached its control link")
    }

    /// The sslProfile of these connectors has newer certificates: a further set of connections is dialled. The old set
    /// is not dialled again when it fails.
    func dialNewGeneration(_ name: String) {
        var unopened: [ConnectionRef] = []
        let open = connections
        let now = now
        updateConnector(name) { state in
            for index in state.dialers.indices {
                if let current = state.dialers[index].current, open[current] == nil { unopened.append(current) }
                state.dialers[index].current = nil
                state.dialers[index].failures = 0
                state.dialers[index].nextAttempt = now
            }
        }
        for ref in unopened { closeConnection(ref, reason: "newer certificates") }
        dialDue(now: now)
    }

    /// Closes connections with certificates older than what the profile still allows.
    func closeExpired(profile: String, oldest: Int) {
        for (ref, state) in connections where state.info.tlsOrdinal < oldest {
            let entity =
                state.info.isConnector
                ? amqpConnectors[state.info.entity]?.entity : amqpListeners[state.info.entity]?.entity
            guard entity?[string: "sslProfile"] == profile else { continue }
            Log.write(
                .core, .info,
                "[C\(ref.id)] closed: its certificates (ordinal \(state.info.tlsOrdinal)) are older than sslProfile "
                    + "\(profile) allows (oldestValidOrdinal \(oldest))")
            closeConnection(ref, reason: "certificates older than oldestValidOrdinal \(oldest)")
        }
    }

    /// Nothing arrives on a control connection whose peer had promised otherwise: traffic takes another way until then.
    func connectionSilent(_ ref: ConnectionRef) {
        guard let slot = connections[ref]?.slot else { return }
        perform(routing.handle(.neighbourSilent(slot: slot), now: now))
    }

    /// A connector has one control connection at a time: an older one of the same group is dead or being replaced.
    private func retireOlder(than ref: ConnectionRef, correlator: String) {
        for (other, state) in connections
        where other != ref && state.slot != nil && state.info.groupCorrelator == correlator {
            Log.write(
                .core, .info,
                "[C\(other.id)] replaced by [C\(ref.id)], a newer control connection of the same connector")
            if let slot = state.slot {
                connections[other]?.slot = nil
                slots[slot] = nil
                perform(routing.handle(.neighbourDisconnected(slot: slot), now: now))
            }
            closeConnection(other, reason: "replaced by a newer connection of the same connector")
        }
    }

    /// What management says of a connector: its own state, and what is wrong with this router wherever it connects to.
    func message(of state: AMQPConnectorState) -> String {
        guard state.settings.role == .interRouter, let ownID = ownIDTwice else { return state.message }
        return ownID + "; " + state.message
    }

    /// What management says of the router itself, which may have no connector; nil = every router has an id of its own.
    var doubleIDs: String? {
        let neighbours = routing.twins.map { "two routers use the id \($0): one is left out; change the id of one" }
        let all = [ownIDTwice].compactMap { $0 } + neighbours
        return all.isEmpty ? nil : all.joined(separator: "; ")
    }

    private var ownIDTwice: String? {
        guard let seen = routing.duplicateRouterSeenAt, now - seen < 60_000 else { return nil }
        return "another router in the network has the id \(routerID) too: change one of the two and restart it"
    }

    func closeConnection(_ ref: ConnectionRef, reason: String, orderly: Bool = false) {
        guard ref.worker < workers.count else { return }
        let worker = workers[ref.worker]
        worker.post { worker.closeConnection(ref.id, reason: reason, orderly: orderly) }
    }

    // MARK: Connectors

    func updateConnector(_ name: String, _ body: (inout AMQPConnectorState) -> Void) {
        guard var state = amqpConnectors[name] else { return }
        body(&state)
        amqpConnectors[name] = state
    }

    private func scheduleRedial(_ ref: ConnectionRef, entity: String, reason: String, wasOpen: Bool) {
        let jitter = Int64.random(in: 0..<100, using: &random)
        let now = now
        var logged: String?
        var peer = ""
        var stray: [ConnectionRef] = []
        updateConnector(entity) { state in
            peer = "\(state.places.current.host):\(state.places.current.port)"
            guard let index = state.dialers.firstIndex(where: { $0.current == ref }) else { return }
            state.dialers[index].current = nil
            let failures = state.dialers[index].failures
            // 100 ms, doubling to 3 s, with up to 100 % jitter on the first step and less after.
            let longest: Int64 = state.places.hasOthers ? 1000 : 3000
            let delay = wasOpen ? 50 : min(longest, Int64(100) << Int64(min(failures, 5)))
            state.dialers[index].failures = wasOpen ? 0 : failures + 1
            state.dialers[index].nextAttempt = now + delay + jitter
            if state.dialers[index].role != .interRouterData {
                state.status = "FAILED"
                if state.message != reason { logged = reason }
                state.message = reason
                guard state.places.failed() else { return }
                // Data connections go where the control connection goes.
                for other in state.dialers.indices where other != index {
                    if let ref = state.dialers[other].current { stray.append(ref) }
                    state.dialers[other].current = nil
                    state.dialers[other].nextAttempt = now + delay + jitter
                }
            }
        }
        if let logged {
            Log.write(
                .connectionManager, .warning,
                "Connection to \(peer) failed: connector \(entity): \(logged); trying again")
        }
        for ref in stray { closeConnection(ref, reason: "connector \(entity) dials another router") }
    }

    /// Starts the attempts whose time has come.
    func dialDue(now: Int64) {
        for name in Array(amqpConnectors.keys) {
            guard var state = amqpConnectors[name] else { continue }
            for index in state.dialers.indices
            where state.dialers[index].current == nil && now >= state.dialers[index].nextAttempt {
                let dialer = state.dialers[index]
                let worker = workers[dialer.worker % workers.count]
                let ref = ConnectionRef(worker: worker.index, id: takeConnectionID())
                var settings = state.settings
                settings.role = dialer.role
                let place = state.places.current
                settings.host = place.host
                settings.port = place.port
                let port = Schema.portNumber(place.port) ?? 5672
                do throws(EntityFailure) {
                    settings.proxy = try proxy(of: state.entity)
                    settings.credentials = try credentials(of: state.entity)
                } catch {
                    // Never past a proxy that was asked for, nor without a password.
                    if state.message != error.text { Log.write(.connectionManager, .error, error.text) }
                    state.status = "FAILED"
                    state.message = error.text
                    state.dialers[index].nextAttempt = now + 3000
                    continue
                }
                state.dialers[index].current = ref
                if dialer.role != .interRouterData, state.status != "FAILED" { state.status = "CONNECTING" }
                let dialled = settings
                worker.post { worker.dial(id: ref.id, settings: dialled, port: port) }
            }
            amqpConnectors[name] = state
        }
    }

    /// The proxy that a connector names; nil if it names none.
    private func proxy(of connector: Entity) throws(EntityFailure) -> ProxySettings? {
        guard let name = connector[string: "proxyProfile"], !name.isEmpty else { return nil }
        guard let profile = otherEntities.first(where: { $0.type == "proxyProfile" && $0.name == name }) else {
            throw EntityFailure(status: 404, text: "proxyProfile '\(name)' is not there")
        }
        return try ProxySettings(profile)
    }

    /// Changes the cost of a live link without touching its connections.
    func setCost(_ cost: Int, entity name: String) {
        for (ref, state) in connections where state.info.entity == name {
            connections[ref]?.info.cost = cost
            guard let slot = state.slot else { continue }
            perform(routing.handle(.costChanged(slot: slot, cost: cost), now: now))
            if state.takesLiveCost { sendCost(cost, to: ref) }
        }
    }
}
