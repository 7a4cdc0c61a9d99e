extension Schema {
    /// Address rules and automatic links.
    static let addressTypes: [EntityType] = [
        EntityType(
            "router.config.address", "How deliveries to matching addresses are spread.", operations: immutable,
            attributes: [
                .string("prefix", "First parts of the addresses meant; exclusive with pattern."),
                .string("pattern", "Pattern of the addresses meant: * is one part, # any number of parts."),
                .choice("distribution", distributions, default: "balanced", "How deliveries spread over consumers."),
                .integer("priority", in: 0...9, "Priority of deliveries that have none of their own."),
            ]),
        EntityType(
            "router.config.autoLink", "An AMQP link opened by the router towards a container or another network.",
            operations: immutable,
            attributes: [
                .string(
                    "address",
                    "Address in the router network; for direction in it may be left to the messages."),
                .choice("direction", ["in", "out"], flags: [.required], "Towards the router, or away from it."),
                .string(
                    "containerId",
                    "Container id of the peers meant, in roles route-container and inter-network; exclusive with "
                        + "connection."),
                .string(
                    "connection",
                    "Connector or listener of role route-container or inter-network whose connections are meant."),
                .string("externalAddress", "Address at the container or in the other network, if it differs."),
                .string("linkRef", flags: [.readOnly], "Identity of the link."),
                .choice(
                    "operStatus", ["inactive", "attaching", "failed", "active", "quiescing", "idle"],
                    flags: [.readOnly],
                    "State of the link."),
                .string("lastError", flags: [.readOnly], "Cause of the last failure."),
            ]),
    ]

    /// TCP services (router-protocol.md §5.1).
    static let serviceTypes: [EntityType] = [
        EntityType(
            "tcpListener", "A TCP socket where clients reach a service of the network.", operations: everything,
            attributes: tcpListenerAttributes),
        EntityType(
            "tcpConnector", "A TCP server offered to the network as a service.", operations: immutable,
            attributes: [
                .string("address", flags: [.required], "Service address the server stands behind."),
                .string("host", default: "127.0.0.1", "Host of the server."),
                .port(flags: [.required], "Port of the server."),
                .string("siteId", "Identifier of the site; reported only."),
                .string("processId", "Identifier of the server's process; reported only."),
                .string("sslProfile", "Name of the sslProfile for TLS towards the server; clear text if not given."),
                .boolean(
                    "verifyHostname", default: true, "Whether the server's certificate must carry the name dialled."),
            ] + tcpCounters),
        EntityType(
            "listenerAddress", "One of several service addresses behind a TCP listener.", operations: immutable,
            attributes: [
                .string("address", flags: [.required], "Service address."),
                .integer(
                    "value", in: 0...2_147_483_647, flags: [.required],
                    "Priority or weight, as the listener's strategy has it."),
                .string("listener", flags: [.required], "Name of the tcpListener."),
                .integer("connectionsOpened", flags: [.readOnly], "Connections opened to this address."),
            ]),
    ]

    private static let tcpListenerAttributes: [Attribute] =
        [
            .string("address", "Service address; not with a multiAddressStrategy."),
            .string("host", default: "", "Address to bind; empty for all."),
            .port(flags: [.required], "Port to bind."),
            .integer(
                "backlog", default: 0, in: 0...65_535, "Connections waiting to be accepted; 0 for the system's most."),
            .choice(
                "multiAddressStrategy", ["none", "priority", "weighted"], default: "none",
                "How one of the listenerAddress entities is chosen for a connection."),
            .string("siteId", "Identifier of the site; reported only."),
            .string("sslProfile", "Name of the sslProfile for TLS towards clients; clear text if not given."),
            .boolean("authenticatePeer", default: false, "Whether clients must have a certificate."),
            .choice("operStatus", ["up", "down"], flags: [.readOnly], "Whether the socket is listening."),
            .string("connectionMsg", flags: [.readOnly], "Last error or state of the socket."),
            .choice(
                "observer", ["none", "auto", "http1", "http2"], default: "auto", flags: [.updatable],
                "Protocol looked for in the traffic, for telemetry."),
        ] + tcpCounters

    private static let tcpCounters: [Attribute] = [
        .integer("connectionsOpened", flags: [.readOnly], "Connections opened."),
        .integer("connectionsClosed", flags: [.readOnly], "Connections closed."),
        .integer("bytesIn", flags: [.readOnly], "Octets received from its sockets, without those of TLS."),
        .integer("bytesOut", flags: [.readOnly], "Octets sent to its sockets, without those of TLS."),
    ]

    private static let connectionLimit: Int64 = 65_535
    private static let linkLimit: Int64 = 2_147_483_647

    /// Who may connect, and what for.
    static let policyTypes: [EntityType] = [
        EntityType(
            "policy", "How many peers may connect, and whether vhosts say what they may do.", operations: reportOnly,
            isSingleton: true,
            attributes: [
                .integer(
                    "maxConnections", default: connectionLimit, in: 0...Int64.max,
                    "Connections of all AMQP listeners at a time; further ones are closed at once."),
                .integer(
                    "maxMessageSize", default: 0, in: 0...Int64.max,
                    "Octets of a message where vhosts apply and say nothing else; 0 for no limit."),
                .boolean(
                    "enableVhostPolicy", default: false,
                    "Whether vhosts apply to all listeners but those of role inter-router."),
                .boolean(
                    "enableVhostNamePatterns", default: false,
                    "Whether names and aliases of vhosts are patterns: * is one part, # any number of parts."),
                .path("policyDir", default: "", "Folder whose .json files have further vhosts."),
                .string(
                    "defaultVhost", default: "$default",
                    "Vhost of clients whose host name has none; empty to refuse them."),
                .integer("connectionsProcessed", flags: [.readOnly], "Connections seen."),
                .integer("connectionsDenied", flags: [.readOnly], "Connections beyond maxConnections."),
                .integer("connectionsCurrent", flags: [.readOnly], "Connections now."),
                .integer("linksDenied", flags: [.readOnly], "Links refused."),
                .integer("maxMessageSizeDenied", flags: [.readOnly], "Messages refused for their size."),
                .integer("totalDenials", flags: [.readOnly], "Refusals of every kind."),
            ]),
        EntityType(
            "vhost", "Rules for clients that name one host in Open, or whose listener names it.",
            operations: everything,
            attributes: [
                .string("hostname", flags: [.required], "Host name in Open that the rules are for."),
                .string("aliases", flags: [.updatable], "Further host names."),
                .integer(
                    "maxConnections", default: connectionLimit, in: 0...Int64.max, flags: [.updatable],
                    "Connections at a time."),
                .integer(
                    "maxMessageSize", in: 0...Int64.max, flags: [.updatable],
                    "Octets of a message, 0 for no limit; the policy's limit if not given."),
                .integer(
                    "maxConnectionsPerUser", default: connectionLimit, in: 0...Int64.max, flags: [.updatable],
                    "Connections of one user."),
                .integer(
                    "maxConnectionsPerHost", default: connectionLimit, in: 0...Int64.max, flags: [.updatable],
                    "Connections from one host."),
                .boolean(
                    "allowUnknownUser", default: false, flags: [.updatable],
                    "Whether users in no group are let in, with the rules of group $default."),
                .map("groups", flags: [.updatable], "User groups by name, each a vhostUserGroupSettings map."),
            ]),
        EntityType(
            "vhostUserGroupSettings",
            "Rules for one group of users, as the groups of a vhost have them; by itself it has no effect.",
            operations: reportOnly,
            attributes: [
                .string(
                    "users", flags: [.required], "Users of the group, separated by commas; * for those in no other."),
                .string(
                    "remoteHosts", flags: [.required],
                    "Hosts the users may come from: names, numbers, ranges such as 10.0.0.0-10.0.0.255, or *."),
                .integer("maxConnectionsPerUser", flags: [.readOnly], "Connections of one user."),
                .integer("maxConnectionsPerHost", flags: [.readOnly], "Connections from one host."),
                .integer("maxMessageSize", flags: [.readOnly], "Octets of a message."),
                .integer("maxFrameSize", in: frameSizes, "Octets of a frame."),
                .integer("maxSessionWindow", in: 0...Int64.max, "Octets of a session's window."),
                .integer("maxSessions", in: 1...32_768, "Sessions of a connection."),
                .integer("maxSenders", default: linkLimit, in: 0...linkLimit, "Links on which a client sends."),
                .integer("maxReceivers", default: linkLimit, in: 0...linkLimit, "Links on which a client receives."),
                .boolean("allowDynamicSource", default: false, "Whether temporary addresses may be asked for."),
                .boolean("allowAnonymousSender", default: false, "Whether links without target may be made."),
                .boolean("allowUserIdProxy", default: false, "Whether messages may carry another user's name."),
                .boolean("allowAdminStatusUpdate", default: true, "Whether connections may be closed by management."),
                .string(
                    "sources",
                    "Addresses to receive from, separated by commas; * at the end for any, ${user} for the user."),
                .string("targets", "Addresses to send to, written as sources are."),
                .string(
                    "sourcePattern",
                    "Instead of sources: patterns (* one part, # any number), ${user} at the beginning or end."),
                .string("targetPattern", "Instead of targets: patterns, as in sourcePattern."),
            ]),
    ]
}
