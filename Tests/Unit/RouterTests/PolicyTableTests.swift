import RouterConfig
import Testing

@testable import Router

/// Who may connect, and what is counted.
@Suite struct PolicyTableTests {
    private static func rules(
        _ hostname: String, aliases: String? = nil, maxConnections: Int64 = 10, perUser: Int64 = 10,
        perHost: Int64 = 10, unknown: Bool = true, groups: [String: [String: AttributeValue]] = [:],
        maxMessageSize: Int64? = nil
    ) throws -> VhostRules {
        var all = groups
        if unknown, all["$default"] == nil { all["$default"] = ["remoteHosts": "*"] }
        var attributes: [String: AttributeValue] = [
            "hostname": .string(hostname), "maxConnections": .integer(maxConnections),
            "maxConnectionsPerUser": .integer(perUser), "maxConnectionsPerHost": .integer(perHost),
            "allowUnknownUser": .boolean(unknown), "groups": .map(all.mapValues { .map($0) }),
        ]
        if let aliases { attributes["aliases"] = .string(aliases) }
        if let maxMessageSize { attributes["maxMessageSize"] = .integer(maxMessageSize) }
        return try VhostRules(Schema.validate(type: "vhost", attributes: attributes, for: .file)) { _ in [] }
    }

    private static func table(_ rules: VhostRules..., patterns: Bool = false) throws -> PolicyTable {
        var table = PolicyTable()
        table.settings.usesNamePatterns = patterns
        for one in rules { try table.define(one) }
        return table
    }

    private static func arrival(
        _ id: UInt64, user: String = "anonymous", host: String = "127.0.0.1", hostname: String = "h"
    ) -> PolicyTable.Arrival {
        PolicyTable.Arrival(
            id: id, user: user, host: host, number: HostNumber(literal: host), hostname: hostname,
            name: "\(host):\(id)")
    }

    private static func isOpen(_ result: Result<PolicyTable.Grant, PolicyError>) -> Bool {
        if case .success = result { true } else { false }
    }

    @Test func withoutAVhostNobodyComesIn() throws {
        var table = try Self.table()
        let result = table.open(Self.arrival(1))
        #expect(!Self.isOpen(result))
        #expect(table.states.isEmpty)
    }

    @Test func theVhostIsFoundByNameAliasOrDefault() throws {
        var table = try Self.table(Self.rules("h", aliases: "b, c"), Self.rules("$default"))
        let names = ["h": "h", "b": "h", "c": "h", "other": "$default", "": "$default"]
        for (asked, found) in names { #expect(table.vhost(for: asked)?.hostname == found) }
        table.settings.defaultVhost = ""
        #expect(table.vhost(for: "other") == nil)
        table.settings.defaultVhost = "gone"
        #expect(table.vhost(for: "other") == nil)
    }

    @Test func theMostSpecificPatternWins() throws {
        let table = try Self.table(
            Self.rules("#.example.com"), Self.rules("*.example.com", aliases: "x.*"), Self.rules("a.example.com"),
            patterns: true)
        let names = ["a.example.com": "a.example.com", "b.example.com": "*.example.com", "x.y": "*.example.com"]
        for (asked, found) in names { #expect(table.vhost(for: asked)?.hostname == found) }
        #expect(table.vhost(for: "b.c.example.com")?.hostname == "#.example.com")
        #expect(table.vhost(for: "elsewhere.org") == nil)
    }

    @Test func patternsGoWithTheirVhost() throws {
        var table = try Self.table(
            Self.rules("*.example.com", aliases: "x.*"), Self.rules("#.org", aliases: "*"), patterns: true)
        #expect(table.vhost(for: "x.y")?.hostname == "*.example.com")
        try table.define(Self.rules("*.example.com"))
        #expect(table.vhost(for: "x.y") == nil)
        #expect(table.vhost(for: "a.example.com")?.hostname == "*.example.com")
        table.remove("*.example.com")
        #expect(table.vhost(for: "a.example.com") == nil)
        // The longest name that a host may have; one that is longer counts as none.
        let longest = String(repeating: "a.", count: 126) + "org"
        #expect(table.vhost(for: longest)?.hostname == "#.org")
        try table.define(Self.rules("#.org"))
        #expect(table.vhost(for: longest)?.hostname == "#.org")
        #expect(table.vhost(for: "a" + longest) == nil)
    }

    @Test func namesBelongToOneVhostOnly() throws {
        var table = try Self.table(Self.rules("h", aliases: "b"))
        let clashing = try [Self.rules("b"), Self.rules("k", aliases: "h"), Self.rules("k", aliases: "b")]
        for rules in clashing { #expect(throws: PolicyError.self) { try table.define(rules) } }
        try table.define(Self.rules("h", aliases: "c, k"))
        #expect(table.vhost(for: "k")?.hostname == "h")
        // What it has given up is free again, as is all of a vhost that has gone.
        try table.define(Self.rules("b"))
        table.remove("h")
        try table.define(Self.rules("k", aliases: "h"))
        #expect(table.vhost(for: "h")?.hostname == "k")
        var patterns = try Self.table(Self.rules("#.0.0"), patterns: true)
        let same = try Self.rules("#.#.0.0")
        #expect(throws: PolicyError.self) { try patterns.define(same) }
        try table.define(same)
    }

    @Test func connectionsAreCountedInAllThreeWays() throws {
        var table = try Self.table(Self.rules("h", maxConnections: 4, perUser: 2, perHost: 3))
        var results: [Bool] = []
        for (id, user, host) in [
            (1, "a", "10.0.0.1"), (2, "a", "10.0.0.2"), (3, "a", "10.0.0.3"), (4, "b", "10.0.0.1"),
            (5, "c", "10.0.0.1"), (6, "d", "10.0.0.1"), (7, "e", "10.0.0.9"), (8, "f", "10.0.0.8"),
        ] {
            let result = table.open(Self.arrival(UInt64(id), user: user, host: host))
            results.append(Self.isOpen(result))
        }
        #expect(results == [true, true, false, true, true, false, false, false])
        let state = try #require(table.states["h"])
        #expect(state.approved == 4)
        #expect(state.denied == 4)
        #expect(state.current == 4)
        #expect(state.users == ["a": ["10.0.0.1:1", "10.0.0.2:2"], "b": ["10.0.0.1:4"], "c": ["10.0.0.1:5"]])
        table.closed(1)
        table.closed(1)
        table.closed(77)
        let again = table.open(Self.arrival(9, user: "a", host: "10.0.0.9"))
        #expect(Self.isOpen(again))
        #expect(table.states["h"]?.hosts["10.0.0.1"]?.count == 2)
    }

    @Test func groupsDecide() throws {
        let groups: [String: [String: AttributeValue]] = [
            "near": ["users": "a", "remoteHosts": "127.0.0.1", "maxConnectionsPerUser": 1],
            "far": ["users": "b"], "rest": ["users": "*", "remoteHosts": "*"],
        ]
        var table = try Self.table(Self.rules("h", perUser: 5, unknown: false, groups: groups))
        var found: [String?] = []
        for (id, user, host) in [
            (1, "a", "127.0.0.1"), (2, "a", "127.0.0.1"), (3, "a", "10.0.0.1"), (4, "b", "127.0.0.1"), (5, "z", "::1"),
        ] {
            let result = table.open(Self.arrival(UInt64(id), user: user, host: host))
            found.append(try? result.get().group)
        }
        #expect(found == ["near", nil, nil, nil, "rest"])
        var closed = try Self.table(Self.rules("h", unknown: false, groups: ["near": ["users": "a"]]))
        let stranger = closed.open(Self.arrival(1, user: "q"))
        #expect(!Self.isOpen(stranger))
    }

    @Test func theNearestMessageSizeHolds() throws {
        func granted(_ vhost: Int64?, _ group: Int64?) throws -> Int {
            var settings: [String: AttributeValue] = ["remoteHosts": "*"]
            if let group { settings["maxMessageSize"] = .integer(group) }
            var table = try Self.table(Self.rules("h", groups: ["$default": settings], maxMessageSize: vhost))
            table.settings.maxMessageSize = 100
            return try table.open(Self.arrival(1)).get().maxMessageSize
        }
        #expect(try granted(nil, nil) == 100)
        #expect(try granted(200, nil) == 200)
        #expect(try granted(200, 300) == 300)
        #expect(try granted(200, 0) == 0)
    }

    @Test func aVhostThatGoesLeavesItsClients() throws {
        var table = try Self.table(Self.rules("h"))
        _ = table.open(Self.arrival(1))
        table.remove("h")
        let second = table.open(Self.arrival(2))
        #expect(!Self.isOpen(second))
        #expect(table.states["h"]?.current == 1)
        table.count(.sender, vhost: "h")
        try table.define(Self.rules("h"))
        #expect(table.states["h"]?.sendersDenied == 1)
        table.remove("h")
        table.closed(1)
        #expect(table.states.isEmpty)
        table.count(.sender, vhost: "h")
        #expect(table.states.isEmpty)
    }

    @Test func connectorsHaveAGroupOfTheirOwn() throws {
        let groups = ["$connector": ["sources": AttributeValue.string("in")]]
        let table = try Self.table(Self.rules("h", unknown: false, groups: groups), Self.rules("k"))
        #expect(table.connectorGrant(vhost: "h", user: "u")?.rules.sources.admits("in", user: "u") == true)
        #expect(table.connectorGrant(vhost: "k", user: "u") == nil)
        #expect(table.connectorGrant(vhost: "none", user: "u") == nil)
    }

    // MARK: On one connection

    private static func policy(_ change: (inout GroupRules) throws -> Void) rethrows -> ConnectionPolicy {
        var rules = GroupRules()
        try change(&rules)
        return ConnectionPolicy(
            PolicyTable.Grant(vhost: "h", group: "g", user: "bob", rules: rules, maxMessageSize: 0))
    }

    @Test func linksAreCountedAndGivenBack() throws {
        let policy = try Self.policy {
            $0.maxSenders = 1
            $0.maxReceivers = 1
            $0.sources = try AddressRules(["*"], isPattern: false)
            $0.targets = try AddressRules(["t*"], isPattern: false)
        }
        #expect(policy.attachSender(target: "other") == .forbidden)
        #expect(policy.attachSender(target: nil) == .forbidden)
        #expect(policy.attachSender(target: "t1") == nil)
        #expect(policy.attachSender(target: "t2") == .tooMany)
        policy.detachSender()
        #expect(policy.attachSender(target: "t2") == nil)
        #expect(policy.attachReceiver(source: nil, isDynamic: false) == .forbidden)
        #expect(policy.attachReceiver(source: nil, isDynamic: true) == .forbidden)
        #expect(policy.attachReceiver(source: "s", isDynamic: false) == nil)
        #expect(policy.attachReceiver(source: "s", isDynamic: false) == .tooMany)
        policy.detachReceiver()
        #expect(policy.attachReceiver(source: "s", isDynamic: false) == nil)
    }

    @Test func sessionsAreCountedAndGivenBack() {
        let policy = Self.policy { $0.maxSessions = 1 }
        #expect(policy.beginSession() == nil)
        #expect(policy.beginSession() == .tooMany)
        policy.endSession()
        #expect(policy.beginSession() == nil)
        let free = Self.policy { $0.maxSessions = 0 }
        #expect((0..<100).allSatisfy { _ in free.beginSession() == nil })
    }

    @Test func messagesOfOthersNeedLeave() throws {
        let strict = try Self.policy { $0.targets = try AddressRules(["t"], isPattern: false) }
        #expect(strict.mayCarry(user: nil))
        #expect(strict.mayCarry(user: []))
        #expect(strict.mayCarry(user: Array("bob".utf8)))
        #expect(!strict.mayCarry(user: Array("bobby".utf8)))
        #expect(strict.mayReach("t"))
        #expect(!strict.mayReach("u"))
        let lenient = Self.policy { $0.allowsUserIDProxy = true }
        #expect(lenient.mayCarry(user: Array("eve".utf8)))
    }

    @Test func socketsAreCounted() {
        let gate = PolicyGate()
        gate.configure(maxConnections: 2, isEnforced: false, settings: PolicyTable.Settings())
        #expect([gate.admitSocket(), gate.admitSocket(), gate.admitSocket()] == [true, true, false])
        gate.socketClosed()
        #expect(gate.admitSocket())
        let counts = Dictionary(uniqueKeysWithValues: gate.counts.map { ($0.name, $0.value) })
        #expect(counts["connectionsProcessed"] == 4)
        #expect(counts["connectionsDenied"] == 1)
        #expect(counts["connectionsCurrent"] == 2)
        #expect(counts["totalDenials"] == 1)
    }
}
