extension Schema {
    /// Roles an AMQP listener or connector can have (router-protocol.md §1.5).
    static let roles = ["normal", "inter-router", "route-container", "edge", "inter-edge", "inter-network"]
    /// Octets of an AMQP frame: the least AMQP allows, up to what fits a positive int.
    static let frameSizes: ClosedRange<Int64> = 512...2_147_483_647

    /// Certificates and proxies.
    static let securityTypes: [EntityType] = [
        EntityType(
            "sslProfile", "Certificates and TLS settings, used by name.", operations: everything, nameRequired: true,
            attributes: [
                .string("ciphers", flags: [.updatable], "Ciphers allowed up to TLS 1.2, in OpenSSL's list form."),
                .string(
                    "protocols", flags: [.updatable], "TLS versions allowed, separated by spaces: TLSv1.2 TLSv1.3."),
                .path("caCertFile", flags: [.updatable], "Certificates (PEM) that peers' certificates must lead to."),
                .path("certFile", flags: [.updatable], "Own certificate chain (PEM)."),
                .path("privateKeyFile", flags: [.updatable], "Private key (PEM) of certFile."),
                .string(
                    "password", flags: [.updatable, .hidden],
                    "Password of the key; the prefixes env:, file:, literal: and pass: tell where it is."),
                .string(
                    "uidFormat",
                    "Parts of a peer's certificate that make up its user name, with semicolons between: up to seven of "
                        + "c (country), s (state), l (locality), o (organization), u (unit), n (common name) and one "
                        + "fingerprint, 1 (SHA-1), 2 (SHA-256) or 5 (SHA-512). Its subject if not given."),
                .string(
                    "uidNameMappingFile",
                    "JSON file, an object that gives user names made by uidFormat other names."),
                .integer(
                    "ordinal", in: 0...Int64.max, flags: [.updatable],
                    "Generation of the certificate, raised at rotation."),
                .integer(
                    "oldestValidOrdinal", in: 0...Int64.max, flags: [.updatable],
                    "Connections made with an older generation are closed."),
            ]),
        EntityType(
            "proxyProfile", "An HTTP proxy that connectors dial through.", operations: everything, nameRequired: true,
            attributes: [
                .string("host", flags: [.updatable], "Host of the proxy."),
                .port(flags: [.updatable], "Port of the proxy."),
                .string("username", flags: [.updatable], "User name for the proxy."),
                .string(
                    "password", flags: [.updatable, .hidden],
                    "Password for the proxy; prefixes as in sslProfile password."),
            ]),
    ]

    /// Sockets for AMQP connections.
    static let connectionTypes: [EntityType] = [
        EntityType(
            "listener", "A socket that accepts AMQP connections, or HTTP requests.", operations: everything,
            attributes: [.string("host", default: "", "Address to bind; empty for all.")] + amqpAttributes
                + listenerAttributes),
        EntityType(
            "connector", "An AMQP connection that the router opens and keeps open.", operations: everything,
            attributes: [.string("host", default: "127.0.0.1", "Host to dial.")] + amqpAttributes
                + connectorAttributes),
    ]

    /// What AMQP listeners and connectors have in common.
    private static let amqpAttributes: [Attribute] = [
        .port(default: "amqp", "Port number, or amqp (5672) or amqps (5671)."),
        .choice(
            "socketAddressFamily", ["IPv4", "IPv6"],
            "The only family of addresses that is bound or dialled; either if not given."),
        .choice("role", roles, default: "normal", "What the connection is for."),
        .integer(
            "cost", default: 1, in: 1...2_147_483_647, flags: [.updatable],
            "Path cost; the greater of both sides' values counts. May be changed live."),
        .string("sslProfile", "Name of the sslProfile to use; clear text if not given."),
        .string("saslMechanisms", "SASL mechanisms allowed, separated by spaces; EXTERNAL asks for a certificate."),
        .integer("maxFrameSize", default: 16_384, in: frameSizes, "Greatest AMQP frame accepted, in octets."),
        .integer(
            "maxSessions", default: 32_768, in: 0...32_768, "Sessions allowed at a time; 0 stands for 32768."),
        .integer(
            "maxSessionFrames", in: 0...2_147_483_647,
            "Session window in frames, at least 2; derived from memory if 0 or not given."),
        .integer(
            "idleTimeoutSeconds", default: 16, in: 0...86_400,
            "Silence after which the connection is closed; 0 for never."),
        .choice(
            "stripAnnotations", ["in", "out", "both", "no"], default: "both",
            "Directions in which router annotations are removed (roles normal and route-container)."),
        .integer(
            "linkCapacity", in: 1...1_000_000,
            "Credit of a link; 250 if not given. If given: of a balanced address, so much may be open over an "
                + "inter-router link before consumers elsewhere are preferred, whatever they cost."),
        .string(
            "messageLoggingComponents", default: "none",
            "Parts of each message written to the log, by module MESSAGE at level debug: none, all, or names with "
                + "commas between them and no spaces: message-id, user-id, to, subject, reply-to, correlation-id, "
                + "content-type, content-encoding, absolute-expiry-time, creation-time, group-id, group-sequence, "
                + "reply-to-group-id, app-properties. Never the body."),
        .string(
            "policyVhost",
            "Vhost whose rules apply, whatever peers name; of a connector, that vhost's group $connector."),
        .map("openProperties", "Extra properties of Open (roles normal and route-container)."),
    ]

    private static let listenerAttributes: [Attribute] = [
        .boolean("authenticatePeer", default: false, "Whether the peer must prove who it is."),
        .boolean("requireEncryption", default: false, "Whether clear text is refused."),
        .boolean("requireSsl", default: false, "Whether anything but TLS is refused."),
        .integer(
            "initialHandshakeTimeoutSeconds", default: 0, in: 0...86_400, "Time allowed up to Open; 0 for no limit."),
        .string("failoverUrls", "Addresses the peer should try when this connection is lost."),
        .boolean("healthz", default: true, "Whether HTTP serves /healthz."),
        .boolean("metrics", default: true, "Whether HTTP serves /metrics."),
        .boolean(
            "websockets", default: true,
            "Whether HTTP accepts AMQP over WebSocket; not if this is not given and httpRootDir is disabled."),
        .boolean("http", default: false, "Whether the socket speaks HTTP."),
        .path(
            "httpRootDir",
            "disabled, or a folder whose files HTTP serves; if given, the socket speaks HTTP."),
    ]

    private static let connectorAttributes: [Attribute] = [
        .string("proxyProfile", "Name of the proxyProfile to dial through."),
        .boolean(
            "allowRedirect", default: true, flags: [.ignored],
            "Whether a redirection by the peer is followed; this router follows none."),
        .boolean("verifyHostname", default: true, "Whether the peer's certificate must carry the name dialled."),
        .string("saslUsername", "User name for SASL."),
        .string("saslPassword", flags: [.hidden], "Password for SASL; env:, file: and pass: tell where it is."),
        .string("failoverUrls", flags: [.readOnly], "Addresses the peer gave for when this connection is lost."),
        .string("connectionStatus", flags: [.readOnly], "State of the connection: CONNECTING, SUCCESS or FAILED."),
        .string("connectionMsg", flags: [.readOnly], "Cause of the last failure."),
    ]
}
