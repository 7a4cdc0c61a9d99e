/// Where one anycast delivery goes.
enum Choice {
    case connector(TCPConnectorTarget)
    case consumer(LocalConsumer)
    case remote(RemoteRoute, LoadCounter?)
    case inProcess
    case nowhere
}

/// How a delivery came to this router, as far as that bars consumers from it.
struct Arrival {
    var connection: ConnectionRef
    /// The connection is one between an edge router and an interior router, or between edge routers.
    var viaEdge: Bool
    /// The mesh of edge routers where the message entered the network.
    var meshID: String?
    /// The connection is one to another network.
    var viaNetwork = false

    /// The delivery would go back to where it came from.
    func bars(_ consumer: LocalConsumer) -> Bool {
        if viaEdge, consumer.peer == .interior || consumer.peer == .meshPeer || consumer.connection == connection {
            return true
        }
        // Between networks nobody sees which routers a message has passed: it could go back and forth for ever.
        if viaNetwork, consumer.connection == connection { return true }
        guard let mesh = consumer.meshID else { return false }
        return mesh == meshID
    }

    /// All consumers there are in the mesh where the delivery comes from.
    func bars(_ consumer: RemoteConsumer) -> Bool {
        guard let mesh = consumer.meshID else { return false }
        return mesh == meshID
    }
}

/// The rule that picks one consumer of an address; pure, so that every choice can be explained and predicted.
///
/// balanced: the least (open streams + path cost) wins; a local consumer costs 0. For a remote one all that is open
/// over its next hop counts, since that router chooses again, among its own consumers and those behind it.
/// Where `linkCapacity` was given for the connection to the next hop, one with so much open over it comes after all
/// others; without it the rule holds for any number.
/// closest: any local consumer before any remote one, since those cost 1 at least, then the least path cost.
/// Ties go round by `turn`, except that a neighbour in a mesh of edge routers comes before the interior.
enum ConsumerChoice {
    /// - Parameters:
    ///   - origin: the router where the delivery entered the network; nil = here.
    ///   - arrival: how the delivery came; nil = from a TCP client here.
    ///   - turn: a counter of the caller that spreads ties.
    static func pick(_ entry: AddressEntry, origin: String?, arrival: Arrival? = nil, turn: Int) -> Choice {
        if entry.treatment == .unavailable { return .nowhere }
        if entry.inProcess { return .inProcess }
        let total = entry.connectors.count + entry.consumers.count + entry.remotes.count
        if total == 0 { return .nowhere }
        var best: (index: Int, value: Int)?
        for step in 0..<total {
            let index = (step &+ turn) % total
            guard let value = value(entry, index, origin: origin, arrival: arrival) else { continue }
            if best.map({ value < $0.value || value == $0.value && isNearer(index, than: $0.index, entry) }) ?? true {
                best = (index, value)
            }
        }
        guard let best else { return .nowhere }
        return choice(entry, best.index)
    }

    /// A neighbour in the mesh is nearer than what is behind the interior, which may be that neighbour again.
    private static func isNearer(_ index: Int, than other: Int, _ entry: AddressEntry) -> Bool {
        peer(entry, index) == .meshPeer && peer(entry, other) == .interior
    }

    private static func peer(_ entry: AddressEntry, _ index: Int) -> ConsumerPeer? {
        let consumer = index - entry.connectors.count
        return entry.consumers.indices.contains(consumer) ? entry.consumers[consumer].peer : nil
    }

    /// More than open streams and costs can come to.
    private static let full = 1 << 48

    /// The candidate's weight; nil when it may not be chosen for this origin.
    private static func value(_ entry: AddressEntry, _ index: Int, origin: String?, arrival: Arrival?) -> Int? {
        let isClosest = entry.treatment == .closest
        if index < entry.connectors.count { return isClosest ? 0 : entry.connectors[index].load.value }
        let consumer = index - entry.connectors.count
        if consumer < entry.consumers.count {
            let local = entry.consumers[consumer]
            if let arrival, arrival.bars(local) { return nil }
            if local.isUnsureOfMeshes, entry.consumers.contains(where: { $0.peer == .meshPeer }) { return nil }
            return isClosest ? 0 : local.load.value
        }
        let remote = entry.remotes[consumer - entry.consumers.count]
        if let origin, !remote.route.validOrigins.contains(origin) { return nil }
        if let arrival, arrival.bars(remote) { return nil }
        if isClosest { return remote.route.cost }
        let open = remote.load.value
        let isFull = remote.route.capacity.map { open >= $0 } ?? false
        return open &+ remote.route.cost &+ (isFull ? full : 0)
    }

    private static func choice(_ entry: AddressEntry, _ index: Int) -> Choice {
        if index < entry.connectors.count { return .connector(entry.connectors[index]) }
        let consumer = index - entry.connectors.count
        if consumer < entry.consumers.count { return .consumer(entry.consumers[consumer]) }
        let remote = entry.remotes[consumer - entry.consumers.count]
        return .remote(remote.route, remote.load)
    }
}
