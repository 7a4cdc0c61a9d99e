import AMQPCodec

/// What the driver tells a `RoutingMachine`. A slot is the driver's number of one inter-router control connection.
package enum RoutingEvent: Equatable, Sendable {
    /// One hello interval has passed.
    case tick
    /// The time asked for with `RoutingEffect.wakeAfter` has passed. Early or repeated calls do no harm.
    case wake
    /// Both control links of a connection are attached. Cost is the effective cost of the connection (§1.6).
    case neighbourConnected(slot: Int, cost: Int)
    /// The control links of a connection are gone.
    case neighbourDisconnected(slot: Int)
    /// Nothing at all has arrived on a connection for so long that its peer, which had promised heartbeats, is dead or
    /// cut off. The connection stays; the next HELLO on it confirms the neighbour anew.
    case neighbourSilent(slot: Int)
    /// The cost of a live connection was changed by configuration.
    case costChanged(slot: Int, cost: Int)
    /// A control message arrived. `ingress` is the router the annotations name as its origin, for logs only.
    case messageReceived(slot: Int, opcode: String, body: AMQPValue, ingress: String?)
    /// A local address has a consumer, or its treatment or number of producers changed. `key` is the hash key (§4.1).
    case localAddressAdded(key: String, treatment: Int, producers: Int, meshID: String? = nil)
    /// A local address has no consumer any more.
    case localAddressRemoved(key: String)
}

/// Weight of a log line.
package enum RoutingLogLevel: String, Sendable {
    case debug, info, warning, error
}

/// What a `RoutingMachine` asks of its driver, in the order to be done.
package enum RoutingEffect: Equatable, Sendable {
    /// Send a HELLO on the control link of one connection.
    case sendToNeighbour(slot: Int, RoutingMessage)
    /// Send towards one router, along the routes just published.
    case sendToRouter(id: String, RoutingMessage)
    /// Send to every router of the network.
    case flood(RoutingMessage)
    /// `routes`, `radius` or the addresses of a route changed; publish them before the effects that follow.
    case routesChanged
    /// Routing over a connection is confirmed in both directions.
    case neighbourUp(id: String, slot: Int, cost: Int)
    /// A confirmed neighbour is no neighbour any more.
    case neighbourLost(id: String, slot: Int, reason: String)
    /// Call back with `.wake` after this time.
    case wakeAfter(milliseconds: Int64)
    /// Write a log line.
    case log(RoutingLogLevel, String)
}

/// What a remote router said of one of its addresses (§3.6).
package struct AddressInfo: Equatable, Sendable {
    /// 0 multicast-flood, 1 multicast-once, 2 closest, 3 balanced, 4 unavailable.
    package var treatment: Int
    /// Number of local producers at the advertising router.
    package var producers: Int
    /// The edge mesh that holds all destinations of the address there, if one does.
    package var meshID: String?

    /// An address with its treatment, producer count and, for edge meshes, the mesh.
    package init(treatment: Int, producers: Int, meshID: String? = nil) {
        self.treatment = treatment
        self.producers = producers
        self.meshID = meshID
    }
}

/// A remote router as the forwarder and the `router.node` management entity see it (§3.5, §6.4).
package struct RouteEntry: Equatable, Sendable {
    /// Router id.
    package var id: String
    /// Bit of this router in trace and origin masks, 1…127; stable while the router is known.
    package var maskBit: Int
    /// Connection slot to forward on; nil if unreachable.
    package var slot: Int?
    /// The neighbour to forward to, nil if the router is reached directly or not at all.
    package var nextHopID: String?
    /// Sum of the edge costs of the path, at most 2^31-1; 0 if unreachable.
    package var cost: Int
    /// Number of edges of the path; 0 if unreachable.
    package var hops: Int
    /// Routers whose shortest path to this one leads through us; ourselves not included, though always valid (§4.5).
    package var validOrigins: Set<String>
    /// Link state: neighbours of the router and the costs it gives them.
    package var peers: [String: Int]
    /// Sequence number of the link state held.
    package var linkStateSequence: Int64
    /// Sequence number of the addresses held.
    package var mobileSequence: Int64
    /// Start time of the router process, seconds since the epoch; 0 if not known.
    package var instance: Int64
    /// Protocol version of its last message; 0 if none was received.
    package var protocolVersion: Int
    /// True if a control connection to it is confirmed, whether or not the shortest path uses it.
    package var isNeighbour: Bool
    /// Slot of the confirmed control connection, if it is a neighbour.
    package var neighbourSlot: Int?
    /// Mobile addresses by hash key.
    package var addresses: [String: AddressInfo]
    /// True if a path exists.
    package var isReachable: Bool { slot != nil }
}
