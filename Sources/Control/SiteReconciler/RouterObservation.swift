/// What the router says about one connector that a Link made.
package struct LinkObservation: Hashable, Sendable {
    /// `connectionStatus`: `CONNECTING`, `SUCCESS` or `FAILED`.
    package var connectionStatus: String
    /// `connectionMsg`: the cause of the last failure.
    package var connectionMessage: String
    /// The router behind the connection is a routing neighbour (for edge routers: the connection is the active one).
    package var isNeighbourUp: Bool
    /// Router id of the peer (its container id), "" when unknown.
    package var remoteRouterID: String
    /// The last failure that was seen, for when `connectionMessage` is empty.
    package var lastError: String

    /// An observation.
    package init(
        connectionStatus: String, connectionMessage: String = "", isNeighbourUp: Bool, remoteRouterID: String = "",
        lastError: String = ""
    ) {
        self.connectionStatus = connectionStatus
        self.connectionMessage = connectionMessage
        self.isNeighbourUp = isNeighbourUp
        self.remoteRouterID = remoteRouterID
        self.lastError = lastError
    }
}

/// One row of the router's `router.node` table.
package struct RouterNode: Hashable, Sendable {
    /// Router id.
    package var id: String
    /// The router's `metadata` attribute (JSON with the site id), "" when not known.
    package var metadata: String

    /// A router of the network.
    package init(id: String, metadata: String = "") {
        self.id = id
        self.metadata = metadata
    }
}

/// Who uses a routing key.
package struct AddressObservation: Hashable, Sendable {
    /// Consumers at this router: servers that can be reached here.
    package var localConsumers: Int
    /// Other routers with consumers.
    package var remoteConsumers: Int
    /// Listeners of other sites, as far as known.
    package var remoteListeners: Int

    /// Counts of an address.
    package init(localConsumers: Int = 0, remoteConsumers: Int = 0, remoteListeners: Int = 0) {
        self.localConsumers = localConsumers
        self.remoteConsumers = remoteConsumers
        self.remoteListeners = remoteListeners
    }
}

/// What the router says about one TCP listener.
package struct ListenerObservation: Hashable, Sendable {
    /// `operStatus`: `up` or `down`. A listener without consumers may be down without a fault.
    package var operStatus: String
    /// `connectionMsg`: why the socket could not be bound; "" when it could.
    package var message: String

    /// An observation.
    package init(operStatus: String, message: String = "") {
        self.operStatus = operStatus
        self.message = message
    }
}

/// The router's truth at one time.
package struct RouterObservation: Hashable, Sendable {
    /// The process runs and answers management.
    package var isRunning: Bool
    /// Why it does not run, "" when unknown.
    package var fault: String
    /// By connector (Link) name; absent until the router has reported it.
    package var links: [String: LinkObservation]
    /// All routers known, this one included.
    package var routers: [RouterNode]
    /// By routing key.
    package var addresses: [String: AddressObservation]
    /// By tcpListener name (`listener/<n>`, `multiAddress/<n>`).
    package var listeners: [String: ListenerObservation]
    /// Faults of AMQP listeners by name (`<router access>-<role>`); absent means it listens.
    package var linkListenerFaults: [String: String]

    /// A router's truth.
    package init(
        isRunning: Bool, fault: String = "", links: [String: LinkObservation] = [:], routers: [RouterNode] = [],
        addresses: [String: AddressObservation] = [:], listeners: [String: ListenerObservation] = [:],
        linkListenerFaults: [String: String] = [:]
    ) {
        self.isRunning = isRunning
        self.fault = fault
        self.links = links
        self.routers = routers
        self.addresses = addresses
        self.listeners = listeners
        self.linkListenerFaults = linkListenerFaults
    }
}
