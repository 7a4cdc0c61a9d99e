import Synchronization

/// Names one AMQP connection: the loop that owns it and its number.
struct ConnectionRef: Hashable, Sendable {
    var worker: Int
    var id: UInt64
}

/// Counts what is open towards one destination. Shared by all loops; touched once per stream, never per frame.
final class LoadCounter: Sendable {
    private let count = Atomic<Int>(0)
    private let opened = Atomic<Int>(0)
    func increment() {
        count.wrappingAdd(1, ordering: .relaxed)
        opened.wrappingAdd(1, ordering: .relaxed)
    }
    func decrement() { count.wrappingSubtract(1, ordering: .relaxed) }
    var value: Int { count.load(ordering: .relaxed) }
    var total: Int { opened.load(ordering: .relaxed) }
}

/// The connections to one neighbour: its control connection and the data connections of the same group.
struct NeighbourGroup: Sendable {
    var slot: Int
    var control: ConnectionRef
    /// Data connections in a stable order; empty when trunking is off or not offered by the peer.
    var data: [ConnectionRef]
}

/// A reachable remote router.
struct RemoteRoute: Sendable {
    var id: String
    /// Next hop's slot.
    var slot: Int
    var cost: Int
    /// Routers whose shortest path to `id` passes through us; we may forward for these and for ourselves.
    var validOrigins: Set<String>
    /// With so much open over the next hop other consumers are preferred; nil = the cost alone decides.
    var capacity: Int?
}

/// Who is at the other end of a consumer's link.
enum ConsumerPeer: Sendable {
    /// A client: it gets the bare message.
    case client
    /// An edge router below us.
    case edge
    /// The interior router above us, which are an edge router.
    case interior
    /// Another edge router in the mesh of which we, an edge router, are part.
    case meshPeer
}

/// A consumer on one of our own AMQP connections.
struct LocalConsumer: Sendable {
    var connection: ConnectionRef
    var link: UInt64
    var load: LoadCounter
    var peer = ConsumerPeer.client
    /// The mesh of edge routers that it leads to.
    var meshID: String?

    /// Of an interior router: it does not always know which addresses are in our mesh only, and may offer them to us.
    var isUnsureOfMeshes = false

    /// A client that wants to see the router annotations.
    var seesAnnotations = false
    /// Reached by an automatic link, of ours or of its own.
    var outside: Outside?

    /// Known here first, so that this router tells others of it.
    var isOwn: Bool { peer == .client || peer == .edge }
    /// Streams may go there.
    var isRouter: Bool { peer != .client }
    /// Messages go there with router annotations.
    var isAnnotated: Bool { peer != .client || seesAnnotations }
}

/// A service address's consumers on a remote router.
struct RemoteConsumer: Sendable {
    var route: RemoteRoute
    var load: LoadCounter
    /// The mesh of edge routers that all consumers there are in.
    var meshID: String?
}

/// One address with everything a loop needs to choose a destination.
struct AddressEntry: Sendable {
    var key: String
    var treatment: Treatment
    /// Handled inside this router by the control thread.
    var inProcess: Bool
    var connectors: [TCPConnectorTarget]
    var consumers: [LocalConsumer]
    var remotes: [RemoteConsumer]
    /// Overrides the priority of messages; nil = theirs.
    var priority: Int?
    let traffic: AddressTraffic

    /// A TCP stream to this address would find a connector, or an AMQP client that stands for a server.
    var takesStreams: Bool { !connectors.isEmpty || !remotes.isEmpty || !consumers.isEmpty }
    /// Messages to this address may leave on links that other messages share.
    var leadsToRouters: Bool { !remotes.isEmpty || consumers.contains { $0.isRouter } }
    var isReachable: Bool { inProcess || !connectors.isEmpty || !consumers.isEmpty || !remotes.isEmpty }
}

/// The routing and address tables at one moment. Computed by the control thread, read by every loop without locks.
final class Snapshot: Sendable {
    let version: UInt64
    let routerID: String
    let radius: Int
    let routes: [String: RemoteRoute]
    let groups: [Int: NeighbourGroup]
    let addresses: [String: AddressEntry]
    /// Treatments of addresses that are in no table.
    let treatments: TreatmentRules
    /// In an edge router, the name of its mesh.
    let meshID: String?

    init(
        version: UInt64, routerID: String, radius: Int, routes: [String: RemoteRoute], groups: [Int: NeighbourGroup],
        addresses: [String: AddressEntry], treatments: TreatmentRules = TreatmentRules(),
        meshID: String? = nil
    ) {
        self.meshID = meshID
        self.treatments = treatments
        self.version = version
        self.routerID = routerID
        self.radius = radius
        self.routes = routes
        self.groups = groups
        self.addresses = addresses
    }
}
