import AMQPCodec
import AMQPEndpoints
import RouterConfig

/// What a connection is for. Local configuration decides; only the data role is announced in Open.
enum ConnectionRole: String, Sendable {
    case normal
    case interRouter = "inter-router"
    case interRouterData = "inter-router-data"
    case edge
    /// Between edge routers.
    case interEdge = "inter-edge"
    case routeContainer = "route-container"
    /// To a router of another network: nothing but what automatic links carry.
    case interNetwork = "inter-network"

    /// Router annotations travel on these connections; towards clients they are stripped.
    var carriesAnnotations: Bool { self == .interRouter || self == .interRouterData || joinsEdge }
    /// At least one end is an edge router.
    var joinsEdge: Bool { self == .edge || self == .interEdge }
    /// What automatic links go to over such a connection; nil = there are none.
    var outside: Outside? {
        switch self {
        case .routeContainer: .container
        case .interNetwork: .network
        default: nil
        }
    }
}

/// What is not part of the network and reached by automatic links.
enum Outside: Sendable {
    /// A route container.
    case container
    /// Another network.
    case network
}

/// Everything a loop needs to run one AMQP connection; decided when it is opened. The policy may narrow its limits when
/// the peer's Open has come.
struct ConnectionSettings: Sendable {
    var role: ConnectionRole
    /// Name of the listener or connector entity.
    var entity: String
    var isConnector: Bool
    /// Connector: host to dial and to verify. Listener: empty.
    var host: String
    var port: String
    var cost: Int
    var maxFrameSize: Int
    var sessionFrames: UInt32
    var idleTimeoutMilliseconds: Int64
    var linkCapacity: UInt32
    /// `linkCapacity` if it was given: with so much open over the connection, consumers elsewhere are preferred.
    var choiceLimit: Int?
    var saslMechanisms: [String]
    /// Listener that offers PLAIN: who may come in.
    var users: UserDatabase?
    /// Connector: its user name and password.
    var credentials: SASLCredentials?
    var authenticatePeer: Bool
    var requireTLS: Bool
    var verifyHostname: Bool
    var tls: TLSContext?
    /// Connector: the proxy to dial instead of the host, which is then asked to dial it.
    var proxy: ProxySettings?
    /// Milliseconds until Open must have arrived.
    var handshakeTimeoutMilliseconds: Int64
    /// Clients: router annotations that come in are taken for true, those that go out are left on.
    var keepsIncomingAnnotations = false
    var keepsOutgoingAnnotations = false
    /// Shared by the control and data connections of one connector.
    var groupCorrelator: String?
    /// Listener for other routers: id of its telemetry record.
    var accessID: String?
    /// Name of the vhost whose rules apply, whatever the peer calls it.
    var policyVhost: String?
    /// Highest channel the peer may use.
    var channelMax: UInt16 = 32767
    /// Listener: where its peers are to dial when this router is lost.
    var failover: [FailoverAddress] = []
    /// Extra properties of Open.
    var openProperties: [String: AttributeValue] = [:]
    /// Connector: which of the host's addresses are dialled.
    var family = AddressFamily.any
    /// Parts of messages that are written to the log while its module MESSAGE writes debug lines.
    var loggedParts: MessageParts = []

    /// Largest frame we accept, bounded by the loop's plaintext buffer.
    static let largestFrame = 65536
    /// Octets that a session's window may let a peer send ahead of its consumers.
    static let windowMaximum = 32 << 20
}

/// What the control thread knows of one open connection.
struct ConnectionInfo: Sendable {
    var ref: ConnectionRef
    var role: ConnectionRole
    var entity: String
    var isConnector: Bool
    var container: String
    var host: String
    var cost: Int
    var groupCorrelator: String?
    var peerTrunking: Bool
    var user: String?
    /// Its requests may close connections.
    var maySetAdminStatus = true
    var mechanism: String
    var tlsProtocol: String?
    var tlsCipher: String?
    /// See ``ConnectionSettings/choiceLimit``.
    var choiceLimit: Int?
    /// Generation of the certificate files that this side used.
    var tlsOrdinal: Int
    /// Generation that the connector's side gave the connections of one correlator.
    var groupOrdinal: Int
    var properties: [(key: String, value: String)]
    /// Connector: where the peer says to dial when it is lost; nil if it says nothing of that.
    var failover: [FailoverAddress]?
    var openedMilliseconds: Int64
}
