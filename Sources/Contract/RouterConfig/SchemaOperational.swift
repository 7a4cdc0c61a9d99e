extension Schema {
    /// Entities that only report the router's state (router-protocol.md §6.4).
    static let operationalTypes: [EntityType] = [
        EntityType(
            "connection", "A connection of the router, AMQP or TCP.", operations: [.read, .query, .update],
            isConfigurable: false, attributes: connectionAttributes),
        EntityType(
            "router.link", "An AMQP link of the router.", operations: reportOnly, isConfigurable: false,
            attributes: linkAttributes),
        EntityType(
            "router.address", "An address known to the router.", operations: reportOnly, isConfigurable: false,
            attributes: addressAttributes),
        EntityType(
            "router.node", "A router of the network, as this one sees it.", operations: reportOnly,
            isConfigurable: false,
            attributes: [
                .string("id", flags: [.readOnly], "Router id."),
                .integer("index", flags: [.readOnly], "Slot number in this router."),
                .integer("protocolVersion", flags: [.readOnly], "Version of the routing protocol."),
                .integer("instance", flags: [.readOnly], "Changes when the router restarts."),
                .list("linkState", flags: [.readOnly], "Ids of its neighbours."),
                .string("nextHop", flags: [.readOnly], "Neighbour on the path to it; (self) for this router."),
                .list("validOrigins", flags: [.readOnly], "Routers whose deliveries may pass here on their way to it."),
                .string("address", flags: [.readOnly], "Address of the router."),
                .integer("routerLink", flags: [.readOnly], "Slot number of the link towards it."),
                .integer("cost", flags: [.readOnly], "Path cost."),
                .integer(
                    "lastTopoChange", flags: [.readOnly], "Time of the last change of the network (this router only)."),
            ]),
        EntityType(
            "routerMetrics", "Counters of the whole router.", operations: [.query], isConfigurable: false,
            attributes: metricsAttributes),
        EntityType(
            "allocator", "Use of one kind of pooled memory.", operations: [.query], isConfigurable: false,
            attributes: [.string("typeName", flags: [.readOnly], "Kind of memory.")]
                + counters([
                    ("typeSize", "Octets of one piece."), ("transferBatchSize", "Pieces moved at a time."),
                    ("localFreeListMax", "Free pieces a thread keeps."),
                    ("globalFreeListMax", "Free pieces kept in common; 0 for no limit."),
                    ("totalAllocFromHeap", "Pieces taken from the heap."),
                    ("totalFreeToHeap", "Pieces given back to the heap."),
                    ("heldByThreads", "Pieces the threads have."),
                    ("batchesRebalancedToThreads", "Batches moved to threads."),
                    ("batchesRebalancedToGlobal", "Batches moved to the common list."),
                ])),
        EntityType(
            "logStats", "Lines logged by one module.", operations: reportOnly, isConfigurable: false,
            attributes: counters([
                ("debugCount", "Lines of level debug."), ("infoCount", "Lines of level info."),
                ("noticeCount", "Always 0."),
                ("warningCount", "Lines of level warning."), ("errorCount", "Lines of level error."),
                ("criticalCount", "Lines of level critical."),
            ])),
        EntityType(
            "vhostStats", "Connections and refusals of one vhost.", operations: reportOnly, isConfigurable: false,
            attributes: [
                .string("hostname", flags: [.readOnly], "Host name of the vhost."),
                .map("perUserState", flags: [.readOnly], "Connections by user."),
                .map("perHostState", flags: [.readOnly], "Connections by host."),
            ]
                + counters([
                    ("connectionsApproved", "Connections let in."), ("connectionsDenied", "Connections refused."),
                    ("connectionsCurrent", "Connections now."), ("sessionDenied", "Sessions refused."),
                    ("senderDenied", "Sending links refused."), ("receiverDenied", "Receiving links refused."),
                    ("maxMessageSizeDenied", "Messages refused for their size."),
                ])),
        EntityType(
            "tcpConnection", "Known to the schema only; TCP connections are reported as connection.",
            operations: reportOnly, isConfigurable: false,
            attributes: [
                .string("address", flags: [.readOnly], "Service address."),
                .string("host", flags: [.readOnly], "Peer."),
                .choice("direction", ["in", "out"], flags: [.readOnly], "Accepted or dialled."),
            ]
                + counters([
                    ("bytesIn", "Octets received."), ("bytesOut", "Octets sent."), ("uptimeSeconds", "Age."),
                    ("lastInSeconds", "Time since octets were received."),
                    ("lastOutSeconds", "Time since octets were sent."),
                ])),
        EntityType(
            "management", "The management agent itself.", operations: [.read, .query], isSingleton: true,
            isConfigurable: false, attributes: []),
    ]

    private static func counters(_ entries: [(name: String, summary: String)]) -> [Attribute] {
        entries.map { .integer($0.name, flags: [.readOnly], $0.summary) }
    }

    private static let connectionAttributes: [Attribute] = [
        .string("host", flags: [.readOnly], "Peer address and port."),
        .string("localSocket", flags: [.readOnly], "Own address and port."),
        .string("role", flags: [.readOnly], "Role of the connection."),
        .string("protocol", flags: [.readOnly], "amqp, tcp, http1 or http2."),
        .choice("dir", ["in", "out"], flags: [.readOnly], "Accepted or dialled."),
        .string("container", flags: [.readOnly], "Container id of the peer; a router's id if it is one."),
        .string("sasl", flags: [.readOnly], "SASL mechanism used."),
        .boolean("isAuthenticated", flags: [.readOnly], "Whether the peer proved who it is."),
        .string("user", flags: [.readOnly], "User name of the peer."),
        .boolean("isEncrypted", flags: [.readOnly], "Whether TLS is used."),
        .string("sslProto", flags: [.readOnly], "TLS version."),
        .string("sslCipher", flags: [.readOnly], "TLS cipher."),
        .map("properties", flags: [.readOnly], "Properties of the peer's Open."),
        .integer("sslSsf", flags: [.readOnly], "Strength of the cipher, in bits."),
        .boolean("ssl", flags: [.readOnly], "Whether TLS is used."),
        .boolean("opened", flags: [.readOnly], "Whether Open was exchanged."),
        .boolean("active", flags: [.readOnly], "Whether an edge connection is the one in use."),
        .choice(
            "adminStatus", ["enabled", "deleted"], default: "enabled", flags: [.updatable],
            "Writing deleted closes the connection."),
        .choice("operStatus", ["up", "closing"], flags: [.readOnly], "State of the connection."),
        .integer("uptimeSeconds", flags: [.readOnly], "Age."),
        .integer("lastDlvSeconds", flags: [.readOnly], "Time since the last delivery."),
        .boolean(
            "enableProtocolTrace", flags: [.updatable],
            "Whether its AMQP frames are logged, by module PROTOCOL; a change of that module's levels overrides it."),
        .string("meshId", flags: [.readOnly], "Mesh of edge routers the peer is in."),
        .integer("tlsOrdinal", flags: [.readOnly], "Generation of the certificate in use."),
        .string("groupCorrelationId", flags: [.readOnly], "Common to a control connection and its data connections."),
        .integer("groupOrdinal", flags: [.readOnly], "Generation of that group."),
    ]

    private static let linkAttributes: [Attribute] =
        [
            .string("linkName", flags: [.readOnly], "Name in Attach."),
            .choice(
                "linkType", ["endpoint", "router-control", "inter-router", "edge-downlink", "inter-edge"],
                flags: [.readOnly],
                "What the link is for."),
            .choice("linkDir", ["in", "out"], flags: [.readOnly], "Direction of deliveries, seen from the router."),
            .string("owningAddr", flags: [.readOnly], "Address the link belongs to."),
            .string("connectionId", flags: [.readOnly], "Identity of its connection."),
            .choice("operStatus", ["up", "down", "quiescing", "idle"], flags: [.readOnly], "State of the link."),
            .list("ingressHistogram", flags: [.readOnly], "Deliveries by the router they came in at."),
        ]
        + counters([
            ("capacity", "Credit."), ("undeliveredCount", "Deliveries waiting."),
            ("unsettledCount", "Deliveries not settled."), ("deliveryCount", "Deliveries so far."),
            ("presettledCount", "Deliveries sent settled."), ("droppedPresettledCount", "Settled deliveries dropped."),
            ("acceptedCount", "Deliveries accepted."), ("rejectedCount", "Deliveries rejected."),
            ("releasedCount", "Deliveries released."), ("modifiedCount", "Deliveries modified."),
            ("deliveriesDelayed1Sec", "Deliveries settled after more than 1 s."),
            ("deliveriesDelayed10Sec", "Deliveries settled after more than 10 s."),
            ("deliveriesStuck", "Deliveries unsettled for more than 10 s."),
            ("openMovedStreams", "Streaming deliveries moved to links of their own and still open."),
            ("priority", "Priority of the link."), ("settleRate", "Deliveries settled in a second."),
            ("creditAvailable", "Credit left."), ("zeroCreditSeconds", "Time without credit."),
        ])

    private static let addressAttributes: [Attribute] =
        [
            .string("key", flags: [.readOnly], "Key in the address table."),
            .choice(
                "distribution", ["flood", "multicast", "closest", "balanced", "linkBalanced", "unavailable"],
                flags: [.readOnly], "How deliveries spread over consumers."),
            .list("remoteHostRouters", flags: [.readOnly], "Routers that have consumers."),
            .list("transitOutstanding", flags: [.readOnly], "Unsettled deliveries by neighbour."),
            .boolean("watch", flags: [.readOnly], "Whether something in the router watches the address."),
        ]
        + counters([
            ("inProcess", "Consumers inside the router."), ("subscriberCount", "Consumers at this router."),
            ("remoteCount", "Routers with consumers."), ("containerCount", "Route containers attached."),
            ("deliveriesIngress", "Deliveries from producers here."),
            ("deliveriesEgress", "Deliveries to consumers here."), ("deliveriesTransit", "Deliveries passed on."),
            ("deliveriesToContainer", "Deliveries to consumers inside the router."),
            ("deliveriesFromContainer", "Deliveries from producers inside the router."),
            ("deliveriesEgressRouteContainer", "Deliveries to route containers."),
            ("deliveriesIngressRouteContainer", "Deliveries from route containers."),
            ("deliveriesEgressInterNetwork", "Deliveries to other networks."),
            ("deliveriesIngressInterNetwork", "Deliveries from other networks."),
            ("trackedDeliveries", "Deliveries on their way."), ("priority", "Priority of the address."),
            ("deliveriesRedirectedToFallback", "Always 0."),
        ])

    private static let metricsAttributes: [Attribute] =
        [
            .string("id", flags: [.readOnly], "Id of the router."),
            .string("version", flags: [.readOnly], "Version of the router."),
            .map("connectionCounters", flags: [.readOnly], "Connections by protocol."),
        ]
        + counters([
            ("addrCount", "Addresses."), ("linkCount", "AMQP links."), ("nodeCount", "Routers known."),
            ("autoLinkCount", "Automatic links."), ("connectionCount", "Connections."),
            ("presettledDeliveries", "Deliveries sent settled."),
            ("droppedPresettledDeliveries", "Settled deliveries dropped."),
            ("acceptedDeliveries", "Deliveries accepted."), ("rejectedDeliveries", "Deliveries rejected."),
            ("releasedDeliveries", "Deliveries released."), ("modifiedDeliveries", "Deliveries modified."),
            ("deliveriesDelayed1Sec", "Deliveries settled after more than 1 s."),
            ("deliveriesDelayed10Sec", "Deliveries settled after more than 10 s."),
            ("deliveriesStuck", "Deliveries unsettled for more than 10 s."),
            ("deliveriesIngress", "Deliveries from producers here."),
            ("deliveriesEgress", "Deliveries to consumers here."), ("deliveriesTransit", "Deliveries passed on."),
            ("deliveriesIngressRouteContainer", "Deliveries from route containers."),
            ("deliveriesEgressRouteContainer", "Deliveries to route containers."),
            ("deliveriesIngressInterNetwork", "Deliveries from other networks."),
            ("deliveriesEgressInterNetwork", "Deliveries to other networks."),
            ("deliveriesRedirectedToFallback", "Always 0."), ("linksBlocked", "Links without credit."),
            ("uptimeSeconds", "Age of the router."), ("memoryUsage", "Virtual memory in octets."),
            ("residentMemoryUsage", "Resident memory in octets."),
        ])
}
