import AMQPCodec
import AMQPEndpoints

/// One AMQP session of a connection: its machine, its links by handle and its unsettled deliveries.
final class Session {
    /// What the session is for; one per class and side, as skupper-router has it.
    enum Purpose: Equatable {
        case control
        case data(Int)
        case endpoint, streaming, remote
        /// One long message after another; see ``AMQPConnection/startLongMessage(_:)``.
        case longMessage
    }

    unowned let connection: AMQPConnection
    let localChannel: UInt16
    var remoteChannel: UInt16?
    let purpose: Purpose
    /// `purpose` is ``Purpose/longMessage``; asked for each delivery.
    let isForLongMessages: Bool
    var machine: SessionMachine
    /// Links by the handle the peer chose.
    var remoteLinks: [UInt32: Link] = [:]
    /// Links by our handle.
    var localLinks: [UInt32: Link] = [:]
    /// Links of ours whose attach the peer has not answered, by role and name.
    var attaching: [String: Link] = [:]
    /// Links whose attach is held, and those that came after them; see ``Link/heldAttach``.
    var heldLinks = Fifo<Link>()
    private var nextHandle: UInt32 = 0
    private var freeHandles: [UInt32] = []
    var nextDeliveryID: UInt32 = 0
    var outgoing: [UInt32: OutgoingDelivery] = [:]
    var incoming: [UInt32: IncomingDelivery] = [:]
    /// Counted by the policy.
    var isCounted = false
    /// Frames of the window that belong to deliveries whose consumer has its fill.
    var heldFrames: UInt32 = 0
    /// Of a long message: the peer has not answered the attach of its link.
    var awaitsMessageLink: Bool
    /// Unsettled deliveries we leave open towards a peer, whatever credit it gives.
    static let unsettledMaximum = 65536
    /// Highest handle we let a peer use.
    static let handleMaximum: UInt32 = 1 << 20

    init(connection: AMQPConnection, localChannel: UInt16, purpose: Purpose, incomingWindow: UInt32) {
        self.connection = connection
        self.localChannel = localChannel
        self.purpose = purpose
        isForLongMessages = purpose == .longMessage
        awaitsMessageLink = isForLongMessages
        machine = SessionMachine(incomingWindow: incomingWindow)
    }

    func takeHandle() -> UInt32 {
        if let handle = freeHandles.popLast() { return handle }
        nextHandle += 1
        return nextHandle - 1
    }

    func releaseHandle(_ handle: UInt32) { freeHandles.append(handle) }
}

/// One AMQP link of a session.
final class Link {
    /// What the link carries.
    enum Kind: Equatable {
        case control
        case data(priority: Int)
        /// Anonymous link for streaming deliveries between routers.
        case streaming
        /// A client's sender, with the terminus address; nil = anonymous.
        case producer(String?)
        /// A client's receiver, with its hash key.
        case consumer(String)
        /// Between edge router and interior: tells the edge router which of its addresses have consumers elsewhere.
        case tracking
        /// Between edge router and interior: tells the interior of which mesh the edge router is part.
        case meshDiscovery
        /// Between edge routers: tells the neighbour what name the sender bids for their mesh.
        case meshBid
        /// Between edge routers: anonymous, for what is addressed to the neighbour itself.
        case interEdge
        /// In an edge router, the anonymous sender to the interior.
        case uplink
        /// In an edge router, the receiver of what the interior has for it.
        case downlink
        /// In an edge router, stands at the interior, or at a neighbour in the mesh, for the consumers (receiver) or
        /// producers (sender) of an address.
        case proxy(String)

        /// The control thread sends messages on it or chooses it for deliveries.
        var isNumbered: Bool {
            switch self {
            case .consumer, .tracking, .meshDiscovery, .meshBid, .interEdge, .uplink, .downlink, .proxy: true
            case .control, .data, .streaming, .producer: false
            }
        }
    }

    unowned let session: Session
    let name: String
    let kind: Kind
    let localHandle: UInt32
    var remoteHandle: UInt32?
    var machine: LinkMachine
    let capacity: UInt32
    /// Deliveries received since the last flow; credit goes back in batches.
    var consumed: UInt32 = 0
    /// Receiving: the delivery whose frames are arriving.
    var receiving: IncomingDelivery?
    /// Sending: the delivery whose frames are leaving.
    var sending: OutgoingDelivery?
    /// Sending: deliveries that wait for credit or for their turn.
    var waiting = Fifo<OutgoingDelivery>()
    /// Deliveries are being started: the loop that does it goes on, so that a long queue needs no deep stack.
    var isStarting = false
    /// Counted by the policy.
    var isCounted = false
    /// Attached for an `autoLink` entity.
    var isAutomatic = false
    /// In the pool of streaming links that wait for a delivery.
    var isIdle = false
    /// A client's sender to an address that nobody takes: it gets no credit until somebody does.
    var isStarved = false
    /// Receiving: deliveries for which credit has not been given back.
    var owed: UInt32 = 0
    /// Receiving: credit is given back at the end of the loop's turn.
    var isCreditDue = false
    /// Receiving: the address that the link's credit depends on; nil = it depends on none.
    var scope: AddressScope?
    /// Receiving: the peer wants its messages forwarded before they are complete.
    var takesStreams = false
    /// Receiving: the peer wants a message that a consumer releases to be sent to another one.
    var resendsReleased = false
    /// Sending: the peer wants deliveries settled when they are sent; what it would have answered is `accepted`.
    var sendsSettled = false
    /// Settle modes as the peer asked for them.
    var senderSettleMode: UInt8 = 2
    var receiverSettleMode: UInt8 = 0
    /// A client's receiver: our half of the attach, unsent until every loop knows the consumer. Who holds the attach
    /// may tell others the address, and a message for it can arrive on any loop.
    var heldAttach: (source: Source, target: Target)?
    /// The held attach is only held because others are that came before it.
    var isAnswerDue = false
    /// Number under which the control thread knows a consumer link.
    let number: UInt64
    var statistics = LinkStatistics()

    init(session: Session, name: String, kind: Kind, localHandle: UInt32, role: Role, capacity: UInt32, number: UInt64)
    {
        self.session = session
        self.name = name
        self.kind = kind
        self.localHandle = localHandle
        self.capacity = capacity
        self.number = number
        machine = LinkMachine(role: role)
    }

    var role: Role { machine.role }
}
