import Testing

@testable import RouterConfig

@Suite struct FormTests {
    private static func message(_ body: () throws -> RouterConfiguration) -> String {
        do {
            return "no error: \(try body().entities)"
        } catch { return "\(error)" }
    }

    @Test func jsonIsReadInProcessingOrder() throws {
        let configuration = try RouterConfiguration.parse(
            json: """
                # a comment
                [
                  ["tcpListener", {"name": "l", "port": "1024", "address": "backend"}],
                    # another
                  ["listener", {"name": "amqps", "port": 5671, "sslProfile": "s", "authenticatePeer": true}],
                  ["ssl-profile", {"name": "s", "ca-cert-file": "/c/ca.crt"}],
                  ["router", {"id": "east-${HOSTNAME}", "mode": "interior", "helloMaxAgeSeconds": "3",
                    "metadata": "{\\"id\\":\\"7c2f\\",\\"v\\":\\"$VERSION\\"}", "version": "1"}],
                  ["address", {"prefix": "$unset", "distribution": "multicast"}]
                ]
                """, file: "a.json", environment: ["HOSTNAME": "pod-1", "VERSION": "2\"3"])
        #expect(
            configuration.entities.map(\.type)
                == ["router", "sslProfile", "router.config.address", "listener", "tcpListener"])
        #expect(configuration.router[string: "id"] == "east-pod-1")
        #expect(configuration.router.integer("helloMaxAgeSeconds") == 3)
        #expect(configuration.router[string: "metadata"] == "{\"id\":\"7c2f\",\"v\":\"2\"3\"}")
        #expect(configuration.entities(ofType: "router.config.address").first?[string: "prefix"] == "$unset")
        #expect(configuration.singleton("policy").integer("maxConnections") == 65_535)
        #expect(
            configuration.warnings
                == ["a.json:7: router.version is set by the router; what the file gives is dropped"])
    }

    @Test(arguments: [
        ("$A|${A}|$AB|${AB}|${}|$|$$A", "a|a|$AB|${AB}|${}|$|$a"), ("${x.y-z}|$x.y-z", "dots|$x.y-z"),
        ("${/$A}|{$A}", "${/$A}|{a}"), ("${A", "${A"), ("$N", "$A"), ("$Q", "\""), ("$L", "1\n2"),
        (#"\\$A"#, #"\a"#),
    ])
    func variablesAreReplaced(text: String, expanded: String) throws {
        let environment = ["A": "a", "N": "$A", "Q": "\"", "L": "1\n2", "x.y-z": "dots"]
        let json = "# $L nonsense, were it not a comment\n[[\"router\", {\"metadata\": \"\(text)\"}]]"
        let configuration = try RouterConfiguration.parse(json: json, environment: environment)
        #expect(configuration.router[string: "metadata"] == expanded)
        let commented = "# $L\nrouter {\n metadata: x$A\n}\n"
        #expect(
            try RouterConfiguration.parse(conf: commented, environment: environment).router[string: "metadata"]
                == "xa")
    }

    /// What looks like a reference and reaches beyond its string is none: the values behind it are still made safe.
    @Test func bracesDoNotReachBeyondAString() throws {
        let read = try RouterConfiguration.parse(
            json: ##"[["router", {"vanId": "a${", "metadata": "}$Q"}]]"##, environment: ["Q": "\"\\"])
        #expect(read.router[string: "metadata"] == "}\"\\")
    }

    @Test func renderingIsStableAndReadBack() throws {
        let text = """
            [
              ["router", {"id": "east", "mode": "interior", "metadata": "{\\"a\\":\\"\\u0001\\n\\"}"}],
              ["sslProfile", {"name": "s"}],
              ["address", {"prefix": "mc", "distribution": "multicast"}],
              ["connector", {"name": "west", "host": "192.0.2.20", "port": "55671", "role": "inter-router", \
            "cost": 2, "sslProfile": "s", "verifyHostname": false}],
              ["listener", {"port": 5672, "openProperties": {"a":{"b":[1,true,null]},"z":"é"}}]
            ]

            """
        let configuration = try RouterConfiguration.parse(json: text)
        #expect(configuration.renderJSON() == text)
        #expect(try RouterConfiguration.parse(json: configuration.renderJSON()) == configuration)
    }

    @Test func confIsTheSameAsJSON() throws {
        let conf = """
            # whole line
            router {
                mode: interior   # behind a value
                id: ${NAME}.x
            }

            ssl-profile {
              name: s
              ca-cert-file: /etc/a b.crt
            }
            listener { port: 5672 }
            listener {
                host: ::1
                port: amqps
                sslProfile: s
                openProperties: {
                    "a": "x, y",
                    n: 5
                    inner {
                        deep: true
                    },
                }
            }
            connector {
                name: "quoted # name"
                port: 1
                openProperties: {"k": "v", "l": 2}
            }
            address
            """ + " {\n pattern: #\n}\nvhost {\n hostname: h\n groups: {\n g: {\n users: *\n }\n }\n}\n"
        let json = """
            [["router", {"mode": "interior", "id": "west.x"}],
             ["sslProfile", {"name": "s", "caCertFile": "/etc/a b.crt"}],
             ["listener", {"port": 5672}],
             ["listener", {"host": "::1", "port": "amqps", "sslProfile": "s",
               "openProperties": {"a": "x, y", "n": 5, "inner": {"deep": true}}}],
             ["connector", {"name": "quoted # name", "port": 1, "openProperties": {"k": "v", "l": 2}}],
             ["address", {"pattern": "#"}],
             ["vhost", {"hostname": "h", "groups": {"g": {"users": "*"}}}]]
            """
        let left = try RouterConfiguration.parse(conf: conf, environment: ["NAME": "west"])
        #expect(try left == RouterConfiguration.parse(json: json))
    }

    /// Maps written as JSON over several lines, in the ways skrouterd's own tests write them.
    @Test func confMapsMayBeJSON() throws {
        let conf = """
            router {
            }
            vhost {
                hostname: h  # a comment
                groups: {
                    "$default": {  # another
                        "users": "*", "remoteHosts": "*",
                        "sources": ["a", "}"], "maxSenders": 5
                    },
                    $admin: {
                        users: a, b
                        nested: {"x": [1, {"y": null}]}
                    }
                }
            }
            listener {
                openProperties: {
                    "k": {"l": [1,
                      2]}, "m": true }
                port: 0
            }
            connector {
                port: 1
                openProperties: {
                        "fraction": 0.0001,
                        "map": {"deep": -3.5, "list": [1, "a,}", 0.02, null], },
                        "text": ", }",
                    }
            }
            """
        let configuration = try RouterConfiguration.parse(conf: conf)
        let listener = try #require(configuration.entities(ofType: "listener").first)
        #expect(listener["openProperties"] == .map(["k": .map(["l": .list([1, 2])]), "m": true]))
        #expect(listener.port() == 0)
        let connector = try #require(configuration.entities(ofType: "connector").first)
        #expect(
            connector["openProperties"]
                == .map([
                    "fraction": .real(0.0001), "text": ", }",
                    "map": .map(["deep": .real(-3.5), "list": .list([1, "a,}", .real(0.02), .null])]),
                ]))
        let groups = configuration.entities(ofType: "vhost").first?["groups"]
        guard case .map(let members)? = groups, case .map(let admin)? = members["$admin"] else {
            Issue.record("groups are \(String(describing: groups))")
            return
        }
        #expect(admin == ["users": "a, b", "nested": .map(["x": .list([1, .map(["y": .null])])])])
        #expect(members["$default"] != nil)
    }

    @Test func aFileWithoutRouterIsAStandaloneOne() throws {
        for configuration in [try RouterConfiguration.parse(json: "[]"), try RouterConfiguration.parse(conf: "# x\n")] {
            #expect(configuration.entities.map(\.type) == ["router"])
            #expect(configuration.router[string: "mode"] == "standalone")
            #expect(configuration.warnings.count == 1)
        }
        #expect(throws: ConfigError.routerCount(0)) { try RouterConfiguration(entities: []) }
    }

    @Test func aTemplateKeepsItsVariables() throws {
        let text = #"[["router", {"id": "east-${HOSTNAME}"}]]"#
        #expect(try RouterConfiguration.parse(json: text).router[string: "id"] == "east-${HOSTNAME}")
        let started = Self.message { try .parse(json: text, file: "t.json", environment: [:]) }
        #expect(started.hasPrefix("t.json: router.id is \"east-${HOSTNAME}\", which is not allowed"))
    }

    @Test(arguments: [
        ("", "f.json:1: not valid JSON: "),
        ("{}", "f.json: the outermost JSON value is not an array"),
        ("[\n[\"router\", {}],\n[\"router\"]\n]", "f.json:3: entry 2 is not a pair"),
        ("[\n[\"router\", {\"mode\": \"interior\",\n\"mode\": \"edge\"}]]", "f.json:3: not valid JSON: duplicate"),
        ("[\n\n[\"rooter\", {}]]", "f.json:3: unknown entity type \"rooter\"; did you mean \"router\"?"),
        ("[[\"router\", {}],\n[\"router\", {\"id\": \"b\"}]]", "f.json:2: the configuration has 2 router entities"),
        (
            "[[\"router\", {}],\n[\"listener\", {\"sslProfile\": \"p\"}]]",
            "f.json:2: listener \"listener/:amqp\": sslProfile"
        ),
        (
            "[[\"router\", {}],\n[\"listener\", {}],\n[\"listener\", {}]]",
            "f.json:3: listener \"listener/:amqp\" is there"
        ),
        (
            "[[\"router\", {}],\n[\"network\", {}],\n[\"network\", {\"name\":\"x\"}]]",
            "f.json:3: network \"x\" is there"
        ),
        ("[[\"router\", {}],\n[\"connector\", {\"role\": \"edge\"}]]", "f.json:2: connector "),
        ("[[\"router\", {}], # no\n[\"connector\", {\"cost\": 0}]]", "f.json:1: not valid JSON"),
    ])
    func jsonErrorsTellThePlace(text: String, beginning: String) {
        let message = Self.message { try .parse(json: text, file: "f.json") }
        #expect(message.hasPrefix(beginning), "\(message)")
        #expect(message.contains("; "), "no remedy in \(message)")
    }

    @Test(arguments: [
        ("router {\nmode: interior\n", "f.conf:1: \"router {\" is never closed"),
        ("router {\n}\n}", "f.conf:3: } without a {"),
        ("mode: x", "f.conf:1: attribute \"mode: x\" stands outside"),
        ("router {\nmode\n}", "f.conf:2: \"mode\" is neither"),
        ("router {\nmode: edge\nmode: edge\n}", "f.conf:3: \"mode\" is given twice"),
        ("router {\n}\nlistener {\n port: x\n}", "f.conf:3: listener.port is \"x\""),
        ("router {\n}\nlistener {\n openProperties: {a b}\n}", "f.conf:4: \"{a b}\" is not a JSON object"),
        ("a {\n" + String(repeating: "b {\n", count: 40), "f.conf:18: braces are nested"),
    ])
    func confErrorsTellThePlace(text: String, beginning: String) {
        let message = Self.message { try .parse(conf: text, file: "f.conf") }
        #expect(message.hasPrefix(beginning), "\(message)")
    }

    @Test func filesAreReadBySuffix() throws {
        let json = try RepositoryFile.withTemporary(Array(#"[["router", {"id": "$A"}]]"#.utf8), suffix: ".json") {
            try RouterConfiguration.load(path: $0, environment: ["A": "one"])
        }
        #expect(json.router[string: "id"] == "one")
        let conf = try RepositoryFile.withTemporary(Array("router {\nid: $A\n}".utf8), suffix: ".conf") {
            try RouterConfiguration.load(path: $0, environment: ["A": "two"])
        }
        #expect(conf.router[string: "id"] == "two")
        #expect(
            Self.message { try .load(path: "/no/such.json", environment: [:]) }
                .hasPrefix("cannot read /no/such.json: No such file or directory; "))
        #expect(
            Self.message { try .load(path: "/tmp", environment: [:]) }.hasPrefix("cannot read /tmp: Is a directory"))
        let binary = try RepositoryFile.withTemporary([0xFF, 0xFE], suffix: ".json") { path in
            Self.message { try .load(path: path, environment: [:]) }
        }
        #expect(binary.contains("the text is not UTF-8"))
        #expect(Self.message { try .load(path: "/dev/zero", environment: [:]) }.contains("larger than 16 MiB"))
    }

    @Test func routerIDCanBeGenerated() throws {
        let configuration = try RouterConfiguration.parse(json: #"[["router", {"mode": "interior"}]]"#)
        let id = RouterConfiguration.generatedRouterID(mode: "interior", random: 36)
        #expect(id == "Interior_000000000000010")
        #expect(try configuration.withRouterID(id).router[string: "id"] == id)
        #expect(throws: ConfigError.self) { try configuration.withRouterID("a b") }
    }

    /// Whatever is damaged, the answer is a configuration or an error.
    @Test(arguments: 1...4 as ClosedRange<UInt64>) func damagedTextDoesNoHarm(seed: UInt64) {
        var random = SplitMix(seed)
        let json = Array(
            #"[["router",{"id":"a${B}","mode":"edge"}],["listener",{"openProperties":{"a":[1,{}]}}]]"#.utf8)
        let conf = Array("router {\n id: \"a\" # x\n}\nlistener {\n openProperties: {\n a: {\"b\":1}\n }\n}\n".utf8)
        let pool = Array("{}[]\",:#$\n\\a0 ".utf8) + [0, 0xC3, 0xFF]
        for _ in 0..<2000 {
            var (left, right) = (json, conf)
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let byte = pool.randomElement(using: &random) ?? 0
                left[Int.random(in: 0..<left.count, using: &random)] = byte
                right.insert(byte, at: Int.random(in: 0..<right.count, using: &random))
                if Bool.random(using: &random) { right.remove(at: Int.random(in: 0..<right.count, using: &random)) }
            }
            let environment = ["B": "\"}{"]
            let texts = (String(decoding: left, as: UTF8.self), String(decoding: right, as: UTF8.self))
            if let read = try? RouterConfiguration.parse(json: texts.0, environment: environment) {
                #expect((try? RouterConfiguration.parse(json: read.renderJSON())) != nil, "seed \(seed): \(texts.0)")
            }
            _ = try? RouterConfiguration.parse(conf: texts.1, environment: environment)
        }
    }
}

/// A seeded generator (SplitMix64).
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
