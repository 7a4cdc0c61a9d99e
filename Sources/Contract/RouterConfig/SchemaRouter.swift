extension Schema {
    static let distributions = ["multicast", "closest", "balanced", "unavailable"]
    static let reportOnly: Set<Operation> = [.read, .query]
    static let immutable: Set<Operation> = [.create, .read, .delete, .query]
    static let everything: Set<Operation> = [.create, .read, .update, .delete, .query]
    /// Seconds an interval may take: up to a day.
    static let seconds: ClosedRange<Int64> = 1...86_400

    /// The modules a log entity can be about.
    static let logModules = [
        "ROUTER", "ROUTER_CORE", "ROUTER_HELLO", "ROUTER_LS", "ROUTER_MA", "MESSAGE", "SERVER", "AGENT", "CONTAINER",
        "ERROR", "POLICY", "HTTP", "CONN_MGR", "PYTHON", "PROTOCOL", "TCP_ADAPTOR", "HTTP_ADAPTOR", "FLOW_LOG",
        "ADDRESS_WATCH", "HTTP1_OBSERVER", "HTTP2_OBSERVER", "HTTP2_DECODER", "DEFAULT",
    ]

    /// What the module DEFAULT writes, how and where, unless told otherwise.
    static let defaultLog: [String: AttributeValue] = [
        "enable": "info+", "includeTimestamp": true, "includeSource": false, "outputFile": "stderr",
    ]

    /// The router itself, its place in the network, and its log.
    static let routerTypes: [EntityType] = [
        EntityType(
            "router", "The router itself.", operations: reportOnly, isSingleton: true,
            attributes: routerIdentityAttributes + routerTimingAttributes + routerProcessAttributes),
        EntityType(
            "network", "The application network the router belongs to.", operations: [.read, .query, .update],
            isSingleton: true,
            attributes: [
                .string(
                    "networkId", flags: [.updatable],
                    "Name of the network among others, the same in all its routers; connections of role inter-network "
                        + "need it, and reply addresses hold it."),
                .string(
                    "tenantId",
                    "Tenant: stands, with a slash, before the addresses of TCP services; only routers of one tenant "
                        + "reach each other's."),
            ]),
        EntityType(
            "site", "The site the router works for; reported in telemetry.", operations: reportOnly,
            attributes: [
                .string("location", "Where the site is."),
                .string("provider", "Who runs the machines of the site."),
                .string("version", "Version of the software of the site."),
                .string("platform", "Platform of the site, such as kubernetes or linux."),
                .string("namespace", "Namespace of the site."),
            ]),
        EntityType(
            "log", "What one module of the router writes to the log.", operations: [.read, .query, .update],
            attributes: [
                .choice(
                    "module", logModules, flags: [.required],
                    "Module; DEFAULT stands for all that have no entity. PROTOCOL writes AMQP frames, at level debug."),
                .string(
                    "enable", flags: [.updatable],
                    "Levels written, separated by commas; a plus sign adds the graver ones: info+, debug,error+."),
                .boolean("includeTimestamp", flags: [.updatable], "Whether lines begin with the time."),
                .boolean("includeSource", flags: [.updatable], "Whether lines tell the place in the source."),
                .string("outputFile", flags: [.updatable], "File that takes the lines; standard error if not given."),
            ]),
    ]

    /// For trying out requests; nothing in the router depends on it.
    static let trialTypes: [EntityType] = [
        EntityType(
            "dummy", "An entity without effect, for trying out requests; CALLME gives back what it is sent.",
            operations: everything,
            attributes: [
                .string("arg1", flags: [.updatable], "Any text."),
                .string("arg2", flags: [.updatable], "Any text."),
                .integer("num1", flags: [.updatable], "Any number."),
                .integer("num2", flags: [.updatable], "Any number."),
            ])
    ]

    private static let routerIdentityAttributes: [Attribute] = [
        .string("id", "Identity in the network, unique there; generated from the mode if not given."),
        .string("vanId", "Older name of the network's tenantId, which wins if both are given."),
        .choice(
            "mode", ["standalone", "interior", "edge"], default: "standalone",
            "Alone, a full member of the router network, or a leaf of it."),
        .string("area", default: "0", flags: [.readOnly], "Routing area; there is one only."),
        .string("version", flags: [.readOnly], "Version of the router."),
        .string("hostName", flags: [.readOnly], "Name of the host the router runs on."),
        .string(
            "metadata", "Free text about the router; reported only. A controller keeps its site id here, in JSON."),
        .string(
            "problem", flags: [.readOnly],
            "What is wrong in the network, such as two routers of one id; empty if nothing is."),
    ]

    private static let routerTimingAttributes: [Attribute] = [
        .integer("helloIntervalSeconds", default: 1, in: seconds, "Time between HELLO messages to neighbours."),
        .integer("helloMaxAgeSeconds", default: 3, in: seconds, "Silence after which a neighbour counts as lost."),
        .integer("raIntervalSeconds", default: 30, in: seconds, "Time between router advertisements."),
        .integer("raIntervalFluxSeconds", default: 4, in: seconds, "The same while the network is changing."),
        .integer("remoteLsMaxAgeSeconds", default: 60, in: seconds, "Age at which a remote link state is dropped."),
        .integer(
            "unreachableHoldoffSeconds", default: 1, in: 0...86_400,
            "Wait before the addresses of a router out of reach are dropped."),
    ]

    private static let routerProcessAttributes: [Attribute] = [
        .integer("workerThreads", default: 4, in: 1...1024, "Threads that serve connections."),
        .path("debugDumpFile", flags: [.ignored], "Where to write internals at the end; not used by this router."),
        .path(
            "saslConfigDir", "Folder of Cyrus SASL's configuration for PLAIN; the system's if not given."),
        .string(
            "saslConfigName", default: "skrouterd", "Name of Cyrus SASL's configuration file there, without .conf."),
        .boolean("timestampsInUTC", "Whether log lines carry universal time instead of local time."),
        .string("timestampFormat", "Form of the time in log lines, in the manner of strftime."),
        .choice(
            "defaultDistribution", distributions, default: "balanced",
            "How deliveries spread over the consumers of an address that no address entity covers."),
        .string(
            "dataConnectionCount", default: "auto",
            "Data connections beside each inter-router control connection: a number, or auto."),
        .boolean(
            "dropTcpConnections", default: true, "Whether removing a TCP listener or connector cuts its connections."),
    ]
}
