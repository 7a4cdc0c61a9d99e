import AMQPCodec
import CLibuv
import Glibc
import LinkStateRouting
import RouterConfig
import Synchronization

/// The control thread: the one owner of routing, address and entity tables.
///
/// It talks to neighbours through the loops, computes routes, answers management and publishes an immutable
/// ``Snapshot`` to every loop whenever something changed. No payload of services passes here.
final class Core: EventLoop, @unchecked Sendable {  // loop-confined; others only call post(_:) and takeConnectionID()
    let routerID: String
    let routerEntity: Entity
    /// This router runs in edge mode.
    let isEdge: Bool
    /// Names the mesh of edge routers that this one is part of: 15 random characters.
    var meshID: String
    let startedSeconds: Int64
    /// All that was configured is in place.
    var isOperational = false
    private(set) var workers: [Worker] = []
    var routing: RoutingMachine
    let timers: RoutingTimers
    private var nextHello: Int64 = 0
    private var wakeAt: Int64 = .max
    /// When a listener whose port was taken tries again.
    var retryListenersAt: Int64 = .max
    /// Bounds what streams hold; the loops ask it.
    let memory: MemoryLimit
    private let idleMemory: IdleMemory?
    /// When memory is given back; every loop that became quiet puts it off a little.
    private var releaseAt: Int64 = .max
    /// Bounds what the loops send here.
    let messages = MessageBudget()
    /// Who may come in and what for; the loops ask it.
    let policy = PolicyGate()
    private let connectionIDs = Atomic<UInt64>(0)

    /// Names of telemetry records; the loops take some.
    let flowNames: FlowNames
    var telemetry = Telemetry()

    // Tables
    var connections: [ConnectionRef: ConnectionState] = [:]
    /// Control connections by slot.
    var slots: [Int: ConnectionRef] = [:]
    var addresses: [String: AddressRecord] = [:]
    var treatments = TreatmentRules()
    /// Edge routers below us.
    var edgePeers: [ConnectionRef: EdgePeer] = [:]
    /// In edge mode: the edge routers that we are connected to.
    var mesh: EdgeMesh
    /// In edge mode: what is attached at the interior.
    var uplink = Uplink()
    var nextLink: UInt64 = 0
    /// Links towards containers that were configured.
    lazy var autoLinks = AutoLinks { [unowned self] in takeLinkNumber() }
    /// The numbers by which clients know them, by entity.
    var autoLinkNumbers: [String: Int] = [:]
    var configurationCount = 0
    var linkKeys: [UInt64: (key: String, connection: ConnectionRef?)] = [:]

    // Entities
    var sslProfiles: [String: Entity] = [:]
    /// How profiles that say so make user names, by profile.
    var userNames: [String: CertificateUserNames] = [:]
    var amqpListeners: [String: AMQPListenerState] = [:]
    var amqpConnectors: [String: AMQPConnectorState] = [:]
    /// Started when a listener first needs it.
    var users: UserDatabase?
    var tcpListeners: [String: TCPListenerState] = [:]
    var tcpConnectors: [String: TCPConnectorState] = [:]
    /// What stands, with a slash, before every address of a TCP service; nil = nothing.
    var tenant: String?
    /// The name of this network among others; nil = it has none.
    var networkID: String?
    /// The name that it is to get, and when.
    var renaming: (name: String?, at: Int64)?
    var hasTCPServices: Bool { !tcpListeners.isEmpty || !tcpConnectors.isEmpty }
    /// Octets of TCP services as last collected.
    var serviceSums: [ObjectIdentifier: OctetPair] = [:]
    /// Who waits for the next round of collecting them.
    var octetAskers: [@Sendable (Core) -> Void] = []
    var isCollectingOctets = false
    var otherEntities: [Entity] = []
    var agent = ManagementAgent()
    var lastCounters: [Int: Worker.Counters] = [:]
    /// Seconds since 1970; 0 = never.
    var topologyChangedAt: Int64 = 0

    private var version: UInt64 = 0
    private var needsPublish = false
    /// With large tables, when they may be published again.
    private var publishNotBefore: Int64 = 0
    /// Consumers whose attach waits for the next tables to be adopted.
    private var newConsumers: [(connection: ConnectionRef, link: UInt64)] = []
    var random = SystemRandomNumberGenerator()

    /// Addresses the router itself answers.
    static let inProcessKeys = ["M$management", "L$management"]

    /// - Parameters:
    ///   - memoryLimit: octets; 0 = none.
    ///   - idleMemory: what to give back in quiet times; nil = nothing.
    init(router: Entity, instance: Int64, memoryLimit: Int = 0, idleMemory: IdleMemory? = nil) {
        memory = MemoryLimit(octets: memoryLimit)
        self.idleMemory = idleMemory
        routerEntity = router
        routerID = router[string: "id"] ?? ""
        isEdge = router[string: "mode"] == "edge"
        meshID = Core.randomText(MeshElection.idCount, using: &random)
        mesh = EdgeMesh(election: MeshElection(own: Core.newBid(id: meshID, using: &random)))
        flowNames = FlowNames(source: Telemetry.sourceName(random: Core.randomText(5, using: &random)))
        startedSeconds = instance
        timers = RoutingTimers(router: router)
        routing = RoutingMachine(id: routerID, instance: instance, timers: timers)
        super.init(name: "core")
        treatments.fallback = Treatment(name: router[string: "defaultDistribution"] ?? "") ?? .balanced
        for key in Core.inProcessKeys {
            addresses[key] = AddressRecord(key: key, treatment: .closest, inProcess: true)
        }
    }

    /// Told once, before the loop starts, which loops there are.
    func join(_ workers: [Worker]) { self.workers = workers }

    /// The tables before anything is known.
    static func emptySnapshot(routerID: String) -> Snapshot {
        Snapshot(version: 0, routerID: routerID, radius: 0, routes: [:], groups: [:], addresses: [:])
    }

    func takeConnectionID() -> UInt64 { connectionIDs.wrappingAdd(1, ordering: .relaxed).newValue }

    func randomText(_ count: Int) -> String { Core.randomText(count, using: &random) }

    private static func randomText(_ count: Int, using random: inout SystemRandomNumberGenerator) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+_".utf8)
        return String(
            decoding: (0..<count).map { _ in alphabet[Int.random(in: 0..<64, using: &random)] }, as: UTF8.self)
    }

    // MARK: Turn

    override func tick() {
        let now = now
        if now >= nextHello {
            nextHello = now + timers.helloIntervalMilliseconds
            perform(routing.handle(.tick, now: now))
        }
        if now >= wakeAt {
            wakeAt = .max
            perform(routing.handle(.wake, now: now))
        }
        if now >= releaseAt {
            releaseAt = .max
            idleMemory?.release()
        }
        if now >= retryListenersAt {
            retryListenersAt = .max
            adjustListeners()
        }
        if let renaming, now >= renaming.at { joinNetwork(renaming.name) }
        dialDue(now: now)
        if !autoLinkNumbers.isEmpty { perform(autoLinks.tick(now: now)) }
        tickTelemetry(now: now)
        agent.expire(now: now, core: self)
    }

    /// A loop has given back what it needed for traffic.
    func loopBecameQuiet() { releaseAt = now + 500 }

    func wake(after milliseconds: Int64) { wakeAt = min(wakeAt, now + milliseconds) }

    override func turnEnded() {
        guard needsPublish, now >= publishNotBefore else { return }
        needsPublish = false
        let start = uv_hrtime()
        publish()
        // Tables of tens of thousands of addresses take their time; changes that never end may not take the whole
        // thread, or HELLO and management starve.
        let took = Int64((uv_hrtime() - start) / 1_000_000)
        publishNotBefore = took > 5 ? now + 5 * took : 0
    }

    /// Asks for new tables at the end of this turn.
    func tablesChanged() { needsPublish = true }

    // MARK: Tables for the loops

    private func publish() {
        version += 1
        var routes: [String: RemoteRoute] = [:]
        var remoteAddresses: [String: [(RouteEntry, AddressInfo)]] = [:]
        for entry in routing.routes {
            guard let slot = entry.slot else { continue }
            routes[entry.id] = RemoteRoute(
                id: entry.id, slot: slot, cost: entry.cost, validOrigins: entry.validOrigins,
                capacity: slots[slot].flatMap { connections[$0]?.info.choiceLimit })
            for (key, info) in entry.addresses { remoteAddresses[key, default: []].append((entry, info)) }
        }
        for key in remoteAddresses.keys where addresses[key] == nil {
            let hint = Treatment(rawValue: remoteAddresses[key]?.first?.1.treatment ?? 3) ?? .balanced
            let rule = treatments.rule(for: String(key.dropFirst()))
            addresses[key] = AddressRecord(key: key, treatment: rule?.treatment ?? hint, priority: rule?.priority)
        }
        var entries: [String: AddressEntry] = [:]
        for key in Array(addresses.keys) {
            if let entry = entry(for: key, remotes: remoteAddresses[key] ?? [], routes: routes) { entries[key] = entry }
        }
        let snapshot = Snapshot(
            version: version, routerID: routerID, radius: routing.radius, routes: routes, groups: neighbourGroups(),
            addresses: entries, treatments: treatments,
            meshID: isEdge ? meshID : nil)
        current = snapshot
        let attached = newConsumers
        newConsumers = []
        let loopsLeft = SharedCount(left: workers.count)
        for worker in workers {
            worker.post {
                worker.adopt(snapshot)
                if !attached.isEmpty, loopsLeft.countDown() { worker.releaseAttaches(attached) }
            }
        }
        tellEdgePeers(entries)
        adjustProxies()
        adjustListeners()
    }

    /// The tables last published.
    private(set) var current = Snapshot(version: 0, routerID: "", radius: 0, routes: [:], groups: [:], addresses: [:])

    private func entry(
        for key: String, remotes: [(RouteEntry, AddressInfo)], routes: [String: RemoteRoute]
    ) -> AddressEntry? {
        guard var record = addresses[key] else { return nil }
        var consumers: [RemoteConsumer] = []
        for (entry, info) in remotes {
            guard let route = routes[entry.id] else { continue }
            let load = record.loads[route.slot] ?? LoadCounter()
            record.loads[route.slot] = load
            consumers.append(RemoteConsumer(route: route, load: load, meshID: info.meshID))
        }
        if record.localConsumerCount == 0, !record.inProcess, remotes.isEmpty, record.producers.isEmpty {
            addresses[key] = nil
            return nil
        }
        addresses[key] = record
        return AddressEntry(
            key: key, treatment: record.treatment, inProcess: record.inProcess, connectors: record.connectors,
            consumers: distinct(record.consumers), remotes: consumers, priority: record.priority,
            traffic: record.traffic)
    }

    /// Data connections join the control connection of the same correlator.
    private func neighbourGroups() -> [Int: NeighbourGroup] {
        var groups: [Int: NeighbourGroup] = [:]
        for (slot, control) in slots {
            guard let state = connections[control] else { continue }
            var data: [ConnectionRef] = []
            if let correlator = state.info.groupCorrelator, state.info.peerTrunking {
                let all = connections.values.filter {
                    $0.info.role == .interRouterData && $0.info.groupCorrelator == correlator
                        && $0.info.container == state.info.container
                }
                // New streams use the certificates of the control connection as soon as there is a way with them.
                let newest = all.filter { $0.info.groupOrdinal == state.info.groupOrdinal }
                data = (newest.isEmpty ? all : newest).map(\.info.ref)
            }
            data.sort { ($0.worker, $0.id) < ($1.worker, $1.id) }
            groups[slot] = NeighbourGroup(slot: slot, control: control, data: data)
        }
        return groups
    }

    // MARK: Addresses

    /// Changes a record, creating it when needed, and tells routing what the network must know.
    func changeAddress(_ key: String, _ body: (inout AddressRecord) -> Void) {
        var record = addresses[key] ?? newRecord(key)
        body(&record)
        if record.isPublic, !record.inProcess || record.isAnnounced {
            let wanted = record.localConsumerCount > 0 || record.isAnnounced
            if wanted {
                record.isAdvertised = true
                perform(
                    routing.handle(
                        .localAddressAdded(
                            key: key, treatment: record.treatment.rawValue, producers: record.producers.count,
                            meshID: record.soleMesh),
                        now: now))
            } else if record.isAdvertised {
                record.isAdvertised = false
                perform(routing.handle(.localAddressRemoved(key: key), now: now))
            }
        }
        addresses[key] = record
        tablesChanged()
    }

    private func newRecord(_ key: String) -> AddressRecord {
        guard key.first == "M" else { return AddressRecord(key: key, treatment: .balanced) }
        let rule = treatments.rule(for: String(key.dropFirst()))
        // Addresses made for one sender are never configured.
        let fallback = key.utf8.starts(with: "M_$temp.".utf8) ? .balanced : treatments.fallback
        return AddressRecord(key: key, treatment: rule?.treatment ?? fallback, priority: rule?.priority)
    }

    func consumerAttached(key: String, connection: ConnectionRef, link: UInt64, seesAnnotations: Bool) {
        linkKeys[link] = (key, connection)
        let peer: ConsumerPeer = isEdgePeer(connection) ? .edge : isMeshPeer(connection) ? .meshPeer : .client
        let mesh = edgePeers[connection]?.meshID
        let outside = connections[connection]?.info.role.outside
        newConsumers.append((connection, link))
        changeAddress(key) {
            $0.consumers.append(
                LocalConsumer(
                    connection: connection, link: link, load: LoadCounter(), peer: peer, meshID: mesh,
                    seesAnnotations: seesAnnotations, outside: outside))
        }
    }

    func producerAttached(key: String, connection: ConnectionRef, link: UInt64) {
        linkKeys[link] = (key, connection)
        if key.first == "M", isEdgePeer(connection) {
            edgePeers[connection, default: EdgePeer()].produced[link] = EdgePeer.Produced(key: key)
        }
        changeAddress(key) { $0.producers.insert(link) }
    }

    func linkDetached(link: UInt64) {
        guard let known = linkKeys.removeValue(forKey: link) else { return }
        if let connection = known.connection { edgePeers[connection]?.produced[link] = nil }
        changeAddress(known.key) { record in
            record.consumers.removeAll { $0.link == link }
            record.producers.remove(link)
        }
    }
}
