import RouterConfig
import Testing

@testable import Router

/// What the rules of a vhost admit, and which rules are refused.
@Suite struct PolicyRulesTests {
    // MARK: Addresses

    @Test(arguments: [
        ("*", "anything/at.all", true), ("queue", "queue", true), ("queue", "queue2", false), ("queue", "", false),
        ("work*", "work", true), ("work*", "workaholic", true), ("work*", "wor", false),
        ("addr/*", "addr/a/b", true), ("addr/*", "addr", false),
        ("tmp-${user}", "tmp-bob", true), ("tmp-${user}", "tmp-bobby", false), ("tmp-${user}", "tmp-${user}", false),
        ("${user}.in", "bob.in", true), ("a.${user}.z", "a.bob.z", true), ("a.${user}.z", "a.eve.z", false),
        ("${user}/*", "bob/x", true), ("${user}*", "bobby", true), ("*x", "x", false),
    ])
    func names(rule: String, address: String, isAdmitted: Bool) throws {
        #expect(try AddressRules([rule], isPattern: false).admits(address, user: "bob") == isAdmitted)
    }

    @Test(arguments: [
        ("addr/*/queue/*", "addr/something/queue/one", true), ("addr/*/queue/*", "addr/queue/one", false),
        ("*", "one", true), ("*", "one/two", false), ("#", "one/two", true), ("a.#.z", "a.z", true),
        ("queue.${user}", "queue.bob", true), ("queue.${user}", "queue.eve", false),
        ("queue.${user}", "queuexbob", false), ("${user}/#", "bob", true), ("${user}/#", "bob.a.b", true),
        ("${user}/#", "bobby/a", false), ("${user}", "bob", true), ("${user}", "eve", false),
        ("a.${user}", "a.eve.bob", false), ("#.${user}", "a.eve.bob", true), ("simple", "simple", true),
    ])
    func patterns(rule: String, address: String, isAdmitted: Bool) throws {
        #expect(try AddressRules([rule], isPattern: true).admits(address, user: "bob") == isAdmitted)
    }

    /// A user's name is never taken for a wildcard.
    @Test func namesOfUsersAreNoWildcards() throws {
        let rules = try AddressRules(["in.${user}"], isPattern: false)
        #expect(!rules.admits("in.secret", user: "*"))
        #expect(rules.admits("in.*", user: "*"))
        let patterns = try AddressRules(["in/${user}"], isPattern: true)
        #expect(!patterns.admits("in/secret", user: "#"))
        #expect(!AddressRules().admits("a", user: "a"))
        #expect(try !AddressRules([""], isPattern: false).admits("", user: ""))
    }

    @Test(arguments: [
        ("${user}.${user}", false), ("${user}${user}", true), ("abc-${user}.xyz", true), ("abc/${user}.xyz", true),
    ])
    func rulesThatCannotBe(rule: String, isPattern: Bool) {
        #expect(throws: PolicyError.self) { try AddressRules([rule], isPattern: isPattern) }
    }

    @Test(arguments: [
        ("#.#.a", "#.a"), ("#.*", "*.#"), ("#.*.#.*", "*.*.#"), ("a.#.#", "a.#"), ("*.*", "*.*"), ("a", "a"),
    ])
    func patternsThatAreTheSame(one: String, other: String) {
        #expect(AddressPattern(one).canonical == AddressPattern(other).canonical)
    }

    // MARK: Hosts

    @Test(arguments: [
        ("*", "10.1.2.3", true), ("10.1.2.3", "10.1.2.3", true), ("10.1.2.3", "10.1.2.4", false),
        ("10.48.0.0-10.48.255.255", "10.48.7.1", true), ("10.48.0.0 - 10.48.255.255", "10.49.0.0", false),
        ("::1", "::1", true), ("::1", "127.0.0.1", false), ("127.0.0.1", "::ffff:127.0.0.1", true),
        ("fe80::1-fe80::ff", "fe80::a", true), ("our-host", "192.0.2.1", true), ("our-host", "192.0.2.2", false),
    ])
    func hosts(range: String, host: String, isAdmitted: Bool) throws {
        let ours = [HostNumber(literal: "192.0.2.1")].compactMap { $0 }
        let range = try HostRange(range) { $0 == "our-host" ? ours : [] }
        #expect(range.contains(HostNumber(literal: host)) == isAdmitted)
        #expect(range.contains(nil) == (range == .everyone))
    }

    /// A name server that does not answer must not hold up who has only numbers.
    @Test func numbersAreNotLookedUp() throws {
        func resolve(_ name: String) -> [HostNumber] {
            Issue.record("asked for \(name)")
            return []
        }
        for text in ["10.0.0.7", "10.0.0.0-10.0.0.9", "10.0.0.0 - 10.0.0.9"] {
            #expect(try HostRange(text, resolve: resolve).contains(HostNumber(literal: "10.0.0.7")))
        }
        #expect(try HostRange("fe80::1-fe80::ff", resolve: resolve).contains(HostNumber(literal: "fe80::a")))
        for text in ["10.0.0.9-10.0.0.1", "10.0.0.1-::1"] {
            #expect(throws: PolicyError.self) { try HostRange(text, resolve: resolve) }
        }
    }

    @Test(arguments: [
        "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "nowhere", "1-2-3", "10.0.0.1-", "-", "two-faced",
    ])
    func hostsThatCannotBe(text: String) {
        let two = [HostNumber(literal: "192.0.2.1"), HostNumber(literal: "192.0.2.2")].compactMap { $0 }
        #expect(throws: PolicyError.self) { try HostRange(text) { $0 == "two-faced" ? two : [] } }
    }

    @Test(arguments: [("127.0.0.1:80", "127.0.0.1"), ("[::1]:80", "::1"), ("name", "name")])
    func hostOfAPeer(text: String, host: String) {
        #expect(AMQPConnection.host(in: text) == host)
    }

    // MARK: Vhosts

    private static func vhost(_ attributes: [String: AttributeValue]) throws -> VhostRules {
        let entity = try Schema.validate(
            type: "vhost", attributes: attributes.merging(["hostname": "h"]) { own, _ in own }, for: .file)
        return try VhostRules(entity) { _ in [] }
    }

    private static func group(_ settings: [String: AttributeValue]) throws -> VhostRules {
        try vhost(["groups": .map(["g": .map(settings)])])
    }

    @Test func aGroupHasWhatItIsGiven() throws {
        let rules = try Self.group([
            "users": "a, b", "remoteHosts": .list(["127.0.0.1", "::1"]), "maxSenders": "7", "maxMessageSize": 0,
            "allowDynamicSource": "true", "allowAdminStatusUpdate": false, "sources": .list(["x", "y"]),
            "targetPattern": "t.#", "maxFrameSize": 2048, "maxConnectionsPerUser": 3, "novelty": 1,
        ])
        let group = try #require(rules.groups["g"])
        #expect(rules.groupOfUser == ["a": "g", "b": "g"])
        #expect(group.remoteHosts.count == 2)
        #expect(group.maxSenders == 7)
        #expect(group.maxReceivers == 2_147_483_647)
        #expect(group.maxMessageSize == 0)
        #expect(group.allowsDynamicSource)
        #expect(!group.allowsAdminStatusUpdate)
        #expect(!group.allowsAnonymousSender)
        #expect(group.sources.admits("y", user: ""))
        #expect(group.targets.admits("t.a", user: ""))
        #expect(group.maxFrameSize == 2048)
        #expect(rules.warnings.count == 1)
    }

    private static let wrongGroups: [[String: AttributeValue]] = [
        ["maxSenders": -1], ["maxSenders": "many"], ["maxConnectionsPerUser": 70_000], ["allowDynamicSource": "maybe"],
        ["sources": "a", "sourcePattern": "a"], ["targets": "a", "targetPattern": "a"], ["remoteHosts": "9-1"],
        ["sources": "${user}${user}"], ["maxFrameSize": .list([1])],
    ]

    @Test(arguments: 0..<9) func groupsThatCannotBe(index: Int) {
        #expect(throws: PolicyError.self) { try Self.group(Self.wrongGroups[index]) }
    }

    @Test func vhostsThatCannotBe() {
        #expect(throws: PolicyError.self) { try Self.vhost(["allowUnknownUser": true]) }
        #expect(throws: PolicyError.self) { try Self.vhost(["groups": .map(["g": "text"])]) }
        #expect(throws: PolicyError.self) { try Self.vhost(["aliases": "h"]) }
        #expect(throws: PolicyError.self) { try Self.vhost(["aliases": "a, a"]) }
        let twice: AttributeValue = .map(["g": .map(["users": "u"]), "k": .map(["users": "v,u"])])
        #expect(throws: PolicyError.self) { try Self.vhost(["groups": twice]) }
    }
}
