import Testing

@testable import RouterConfig

@Suite struct ValidationTests {
    private static func failure(
        _ type: String, _ attributes: [String: AttributeValue], _ purpose: ValidationPurpose = .create
    ) -> ConfigError? {
        do {
            _ = try Schema.validate(type: type, attributes: attributes, for: purpose)
            return nil
        } catch { return error }
    }

    @Test func valuesAreBroughtToTheirKinds() throws {
        let entity = try Schema.validate(
            type: "io.skupper.router.listener",
            attributes: [
                "name": "in", "port": .integer(55_671), "role": "inter-router", "cost": " 7 ", "http": "no",
                "authenticate-peer": "on", "healthz": .integer(0), "linkCapacity": .string("250"),
                "type": "io.skupper.router.listener", "sslProfile": .null,
            ], for: .create)
        #expect(
            entity.attributes == [
                "name": "in", "port": "55671", "role": "inter-router", "cost": .integer(7), "http": .boolean(false),
                "authenticatePeer": .boolean(true), "healthz": .boolean(false), "linkCapacity": .integer(250),
            ])
        #expect(entity.type == "listener")
        #expect(entity.port() == 55_671)
        #expect(entity.integer("cost") == 7)
        #expect(entity.boolean("authenticatePeer") == true)
        #expect(entity.boolean("metrics") == true, "default")
        #expect(entity[string: "maxFrameSize"] == "16384", "default as text")
        #expect(entity[string: "sslProfile"] == nil)
        #expect(entity.integer("nonesuch") == nil)
    }

    @Test(arguments: [("amqp", 5672), ("amqps", 5671), ("0", 0), ("65535", 65_535)] as [(String, UInt16)])
    func portsInRange(text: String, number: UInt16) throws {
        let entity = try Schema.validate(type: "listener", attributes: ["port": .string(text)], for: .create)
        #expect(entity.port() == number)
    }

    @Test(arguments: [
        ("listener", "port", "65536"), ("listener", "port", "-1"), ("listener", "port", "+5"), ("listener", "port", ""),
        ("listener", "port", "http"), ("listener", "cost", "0"), ("listener", "cost", "1.5"),
        ("connector", "cost", "x"),
        ("listener", "maxFrameSize", "511"), ("listener", "maxFrameSize", "2147483648"), ("listener", "role", "Normal"),
        ("listener", "http", "maybe"), ("listener", "stripAnnotations", "none"), ("listener", "maxSessions", "-1"),
        ("listener", "maxSessions", "32769"), ("connector", "maxSessionFrames", "1"),
        ("router", "id", ""), ("router", "id", "a b"), ("router", "id", "a|b"), ("router", "id", "a$b"),
        ("router", "id", "a\u{7}"), ("router", "mode", "hub"), ("router", "dataConnectionCount", "many"),
        ("router", "workerThreads", "0"), ("router", "helloIntervalSeconds", "99999999999999999999"),
        ("log", "enable", "loud"), ("log", "enable", "info,+"), ("log", "module", "TCP"),
        ("router.config.address", "priority", "10"), ("router.config.address", "distribution", "any"),
    ])
    func valuesOutOfRange(type: String, attribute: String, value: String) throws {
        let error = try #require(Self.failure(type, [attribute: .string(value)], .file))
        guard case .badValue(type, attribute, value, let expected) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(error.description == "\(type).\(attribute) is \"\(value)\", which is not allowed; give \(expected)")
        #expect(error.statusCode == 400)
    }

    @Test(arguments: [
        ("info+", "critical error info warning"), ("warn+", "critical error warning"), ("none", ""),
        ("DEBUG, error", "debug error"), ("default", ""), ("critical;debug", "critical debug"),
    ])
    func logLevels(enable: String, levels: String) throws {
        let enabled = try #require(Schema.enabledLogLevels(enable))
        #expect(enabled.sorted().joined(separator: " ") == levels)
        _ = try Schema.validate(type: "log", attributes: ["module": "HTTP", "enable": .string(enable)], for: .file)
    }

    @Test func wrongKindsAreRefused() {
        #expect(Self.failure("listener", ["host": .map([:])]) != nil)
        #expect(Self.failure("listener", ["openProperties": "x"]) != nil)
        #expect(Self.failure("listener", ["openProperties": .map(["größe": 1])]) != nil)
        #expect(Self.failure("listener", ["openProperties": .map(["size": "größe"])]) == nil)
        #expect(Self.failure("listener", ["cost": .boolean(true)]) != nil)
        #expect(Self.failure("listener", ["http": .integer(2)]) != nil)
        #expect(Self.failure("listener", ["role": .integer(1)]) != nil)
    }

    @Test func unknownNamesComeWithAdvice() {
        #expect(Self.failure("tcpListner", [:]) == .unknownType(name: "tcpListner", suggestion: "tcpListener"))
        #expect(Self.failure("zzzzzz", [:]) == .unknownType(name: "zzzzzz", suggestion: nil))
        #expect(Self.failure("zzzzzz", [:])?.statusCode == 400)
        #expect(
            Self.failure("connector", ["hots": "x"])
                == .unknownAttribute(type: "connector", name: "hots", suggestion: "host"))
        #expect(
            Self.failure("connector", ["hots": "x"])?.description
                == "connector has no attribute \"hots\"; did you mean \"host\"?")
    }

    @Test func requiredAttributes() {
        let server: [String: AttributeValue] = ["address": "a", "port": .integer(1)]
        #expect(Self.failure("tcpConnector", server) == nil)
        for name in server.keys {
            #expect(
                Self.failure("tcpConnector", server.filter { $0.key != name })
                    == .missingAttribute(type: "tcpConnector", name: name))
        }
        #expect(Self.failure("sslProfile", [:]) == .missingAttribute(type: "sslProfile", name: "name"))
        #expect(
            Self.failure("listenerAddress", ["address": "a", "listener": "l"])
                == .missingAttribute(type: "listenerAddress", name: "value"))
    }

    @Test func purposesDiffer() throws {
        #expect(Self.failure("router", [:]) == .notAllowed(type: "router", operation: "CREATE"))
        #expect(Self.failure("router", [:])?.statusCode == 501)
        #expect(Self.failure("router", [:], .file) == nil)
        #expect(Self.failure("tcpConnector", [:], .update) == .notAllowed(type: "tcpConnector", operation: "UPDATE"))
        #expect(Self.failure("connector", ["cost": "2"], .update) == nil)
        #expect(
            Self.failure("connector", ["host": "b"], .update) == .notUpdatable(type: "connector", attribute: "host"))
        #expect(Self.failure("connector", ["host": "b"], .update)?.statusCode == 501)
        #expect(Self.failure("connector", ["identity": "x"]) == .readOnly(type: "connector", attribute: "identity"))
        #expect(Self.failure("connector", ["identity": "x"], .file) == nil)
        #expect(Self.failure("connection", [:], .file) != nil)
        #expect(Self.failure("connector", ["type": "listener"]) != nil)
        let update = try Schema.validate(
            type: "sslProfile", attributes: ["name": "p", "ordinal": "4", "caCertFile": .null], for: .update)
        #expect(update.attributes == ["name": "p", "ordinal": .integer(4), "caCertFile": .null])
        let profile = try Schema.validate(
            type: "sslProfile", attributes: ["name": "p", "caCertFile": "/ca", "uidFormat": "1"], for: .create)
        #expect(
            try profile.updated(with: update.attributes).attributes
                == ["name": "p", "uidFormat": "1", "ordinal": .integer(4)])
    }

    @Test func attributesThatDoNotGoTogether() {
        let listener: [String: AttributeValue] = ["port": "1", "multiAddressStrategy": "weighted"]
        #expect(Self.failure("tcpListener", listener) == nil)
        #expect(Self.failure("tcpListener", listener.merging(["address": "a"]) { $1 }) != nil)
        #expect(Self.failure("tcpListener", ["port": "1"]) == .missingAttribute(type: "tcpListener", name: "address"))
        #expect(Self.failure("tcpListener", ["port": "1", "address": "a", "authenticatePeer": "yes"]) != nil)
        #expect(Self.failure("address", ["distribution": "closest"]) != nil)
        #expect(Self.failure("address", ["prefix": "a", "pattern": "b"]) != nil)
        #expect(Self.failure("address", ["pattern": "a/#"]) == nil)
        #expect(Self.failure("autoLink", ["direction": "in"]) != nil)
        #expect(Self.failure("autoLink", ["direction": "in", "address": "a", "containerId": "c"]) == nil)
        #expect(Self.failure("listener", ["openProperties": .map(["a": "b"])]) == nil)
        #expect(Self.failure("listener", ["openProperties": .map(["qd.x": "b"])]) != nil)
        #expect(Self.failure("listener", ["openProperties": .map(["a": "b"]), "role": "edge"]) != nil)
        #expect(Self.failure("listener", ["requireSsl": "yes"]) != nil)
        #expect(Self.failure("sslProfile", ["name": "p", "ordinal": 1, "oldestValidOrdinal": 2]) != nil)
        #expect(Self.failure("sslProfile", ["name": "p", "ordinal": 2, "oldestValidOrdinal": 2]) == nil)
    }

    /// router-protocol.md §1.5
    @Test(arguments: ["listener", "connector"], ["standalone", "interior", "edge"])
    func rolesGoWithModes(type: String, mode: String) throws {
        let possible: [String: Set<String>] = [
            "standalone": ["normal", "route-container", "inter-network"],
            "interior": ["normal", "route-container", "inter-network", "inter-router", "edge"],
            "edge": type == "listener"
                ? ["normal", "route-container", "inter-network", "inter-edge"]
                : ["normal", "route-container", "inter-network", "inter-edge", "edge"],
        ]
        for role in Schema.roles {
            let entity = try Schema.validate(type: type, attributes: ["role": .string(role)], for: .create)
            let isAllowed = (try? Schema.checkRole(of: entity, mode: mode)) != nil
            #expect(isAllowed == possible[mode]?.contains(role), "\(type) \(role) in \(mode)")
        }
    }

    @Test func identities() throws {
        func entity(_ type: String, _ attributes: [String: AttributeValue]) throws -> Entity {
            try Schema.validate(type: type, attributes: attributes, for: .file)
        }
        let unnamed = try entity("listener", ["port": .integer(5672)])
        #expect(unnamed.identity == "listener/:5672")
        #expect(unnamed.name == unnamed.identity)
        let named = try entity("tcpConnector", ["name": "c", "port": "80", "address": "a", "host": "::1"])
        #expect(named.identity == "tcpConnector/::1:80:c")
        #expect(named.name == "c")
        #expect(try entity("sslProfile", ["name": "p"]).identity == "sslProfile/p")
        #expect(
            try entity("listenerAddress", ["name": "n", "address": "a", "listener": "l", "value": "1"]).identity
                == "listenerAddress/l:a:n")
        #expect(try entity("log", ["module": "DEFAULT"]).identity == "log/DEFAULT")
        #expect(try entity("router", ["id": "west"]).identity == "router/west")
    }

    @Test func repliesHaveDefaultsAndNoSecrets() throws {
        let entity = try Schema.validate(
            type: "connector", attributes: ["name": "c", "saslPassword": "open sesame"], for: .create)
        let reply = entity.replyAttributes
        #expect(reply["name"] == "c")
        #expect(reply["identity"] == "connector/127.0.0.1:amqp:c")
        #expect(reply["type"] == "io.skupper.router.connector")
        #expect(reply["cost"] == .integer(1))
        #expect(reply["saslPassword"] == nil)
        #expect(entity[string: "saslPassword"] == "open sesame")
        #expect(entity.description == "connector \"c\" {name=c, saslPassword=(hidden)}")
        let failure = Self.failure("connector", ["saslPassword": .list(["open sesame"])])
        #expect(failure?.description.contains("sesame") == false)
    }

    @Test func theKeysPasswordIsNeitherShownNorLogged() throws {
        let entity = try Schema.validate(
            type: "sslProfile", attributes: ["name": "p", "password": "open sesame"], for: .create)
        #expect(entity.replyAttributes["password"] == nil)
        #expect(!entity.description.contains("sesame"))
        let failure = Self.failure("sslProfile", ["name": "p", "password": .list(["open sesame"])])
        #expect(failure != nil)
        #expect(failure?.description.contains("sesame") == false)
    }

    @Test func aCertificateWithoutAKeyIsRefusedOnlyWhereItIsUsed() throws {
        _ = try Schema.validate(
            type: "sslProfile", attributes: ["name": "p", "certFile": "/c.pem", "caCertFile": "/ca.pem"], for: .create)
    }
}
