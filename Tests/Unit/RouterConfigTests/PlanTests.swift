import Testing

@testable import RouterConfig

/// A router's management as far as a plan needs it: refuses what a real one refuses.
private struct ModelRouter {
    struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    private(set) var entities: [Entity]

    init(_ configuration: RouterConfiguration) {
        entities = configuration.entities
    }

    mutating func apply(_ step: ConfigurationPlan.Step) throws {
        func refuse(_ why: String) -> Refusal { Refusal(description: "\(step): \(why)") }
        switch step {
        case .create(let entity):
            guard entity.entityType.operations.contains(.create) else { throw refuse("no CREATE") }
            guard index(of: entity) == nil else { throw refuse("exists") }
            try Schema.checkReferences(of: entity) { type, name in
                entities.contains { $0.type == type && $0.name == name }
            }
            entities.append(entity)
        case .update(let entity, let changes):
            guard entity.entityType.operations.contains(.update) else { throw refuse("no UPDATE") }
            let validated = try Schema.validate(type: entity.type, attributes: changes, for: .update)
            if let index = index(of: entity) {
                entities[index] = try entities[index].updated(with: validated.attributes)
            } else {
                // Log entities are always there.
                guard entity.type == "log" || entity.type == "network" else { throw refuse("absent") }
                entities.append(try entity.updated(with: validated.attributes))
            }
        case .delete(let entity):
            guard entity.entityType.operations.contains(.delete) else { throw refuse("no DELETE") }
            guard let index = index(of: entity) else { throw refuse("absent") }
            for other in entities {
                for reference in Schema.references(of: other.type)
                where reference.type == entity.type && other[string: reference.attribute] == entity.name {
                    throw refuse("\(other.type) \(other.name) uses it")
                }
            }
            entities.remove(at: index)
        }
    }

    private func index(of entity: Entity) -> Int? {
        entities.firstIndex { $0.type == entity.type && $0.name == entity.name }
    }

    /// What counts of a configuration: effective attributes by type and name. Permanent entities that say nothing
    /// are the same as none.
    private static let bareLog = Entity(
        type: "log", attributes: ["name": "log/DEFAULT", "module": "DEFAULT"])

    static func essence(_ entities: [Entity]) -> [String: [String: AttributeValue]] {
        var result: [String: [String: AttributeValue]] = [:]
        for entity in entities {
            let isPermanent = entity.type == "log" || entity.type == "network"
            if isPermanent, !entity.attributes.keys.contains(where: { $0 == "enable" || $0 == "networkId" }) {
                continue
            }
            // A module that is given what DEFAULT has anyway is as one that is given nothing.
            if entity.type == "log", entity.effectiveAttributes == bareLog.effectiveAttributes { continue }
            result["\(entity.type) \(entity.name)"] = entity.effectiveAttributes
        }
        return result
    }
}

@Suite struct PlanTests {
    private static func configuration(_ pairs: String) throws -> RouterConfiguration {
        try .parse(json: "[[\"router\", {\"id\": \"r\", \"mode\": \"interior\"}]\(pairs.isEmpty ? "" : ",")\(pairs)]")
    }

    private static func steps(
        _ from: String, _ to: String, protecting: ProtectedNames = .standard
    ) throws -> [String] {
        plan(from: try configuration(from), to: try configuration(to), protecting: protecting).steps.map(\.description)
    }

    @Test func equalConfigurationsNeedNothing() throws {
        let spelledOut = #"["connector", {"name": "c", "host": "127.0.0.1", "cost": "1", "port": "amqp"}]"#
        #expect(try Self.steps(#"["connector", {"name": "c"}]"#, spelledOut) == [])
        #expect(try Self.steps("", "") == [])
    }

    @Test func changesTakeTheLeastThatDoes() throws {
        let profile = #"["sslProfile", {"name": "s"}],"#
        #expect(
            try Self.steps(
                profile + #"["connector", {"name": "c", "cost": 1, "sslProfile": "s"}]"#,
                profile + #"["connector", {"name": "c", "cost": 9, "sslProfile": "s"}]"#)
                == ["update connector \"c\" (cost)"])
        #expect(
            try Self.steps(
                #"["connector", {"name": "c", "cost": 1}]"#, #"["connector", {"name": "c", "cost": 9, "host": "h"}]"#)
                == ["delete connector \"c\"", "create connector \"c\""])
        #expect(
            try Self.steps(#"["sslProfile", {"name": "s", "ordinal": 3}]"#, #"["sslProfile", {"name": "s"}]"#)
                == ["update sslProfile \"s\" (ordinal)"])
        #expect(
            try Self.steps(
                #"["tcpListener", {"name": "t", "port": "1", "address": "a"}]"#,
                #"["tcpListener", {"name": "t", "port": "1", "address": "a", "observer": "http1"}]"#)
                == ["update tcpListener \"t\" (observer)"])
        #expect(
            try Self.steps(#"["log", {"module": "DEFAULT", "enable": "debug+"}]"#, "")
                == ["update log \"log/DEFAULT\" (enable)"])
    }

    /// control-plane.md §4.8
    @Test func orderOfTheSteps() throws {
        let old = #"""
            ["sslProfile", {"name": "old"}], ["proxyProfile", {"name": "oldProxy"}],
            ["tcpListener", {"name": "tl", "port": "1", "multiAddressStrategy": "priority"}],
            ["listenerAddress", {"name": "la", "address": "a", "listener": "tl", "value": 1}],
            ["tcpConnector", {"name": "tc", "port": "1", "address": "a", "sslProfile": "old"}],
            ["connector", {"name": "c", "sslProfile": "old", "proxyProfile": "oldProxy"}],
            ["listener", {"name": "l", "port": 1, "sslProfile": "old"}]
            """#
        let new = #"""
            ["listener", {"name": "l", "port": 2, "sslProfile": "new"}],
            ["connector", {"name": "c", "sslProfile": "new"}],
            ["tcpConnector", {"name": "tc", "port": "2", "address": "a"}],
            ["listenerAddress", {"name": "la", "address": "a", "listener": "tl", "value": 1}],
            ["tcpListener", {"name": "tl", "port": "2", "multiAddressStrategy": "priority"}],
            ["sslProfile", {"name": "new"}]
            """#
        #expect(
            try Self.steps(old, new) == [
                "create sslProfile \"new\"", "delete listenerAddress \"la\"", "delete tcpConnector \"tc\"",
                "delete tcpListener \"tl\"", "create tcpConnector \"tc\"", "create tcpListener \"tl\"",
                "create listenerAddress \"la\"", "delete connector \"c\"", "create connector \"c\"",
                "delete listener \"l\"", "create listener \"l\"", "delete proxyProfile \"oldProxy\"",
                "delete sslProfile \"old\"",
            ])
    }

    @Test func aProfileMadeAnewTakesItsUsersWithIt() throws {
        func pairs(_ format: String) -> String {
            #"""
            ["sslProfile", {"name": "s", "uidFormat": "\#(format)"}],
            ["connector", {"name": "c", "sslProfile": "s"}],
            ["tcpListener", {"name": "t", "port": "1", "multiAddressStrategy": "weighted", "sslProfile": "s"}],
            ["listenerAddress", {"name": "la", "address": "a", "listener": "t", "value": 1}],
            ["listener", {"name": "other"}]
            """#
        }
        #expect(
            try Self.steps(pairs("1"), pairs("2")) == [
                "delete listenerAddress \"la\"", "delete tcpListener \"t\"", "delete connector \"c\"",
                "delete sslProfile \"s\"", "create sslProfile \"s\"", "create tcpListener \"t\"",
                "create listenerAddress \"la\"", "create connector \"c\"",
            ])
    }

    @Test func protectedNamesAreLeftAlone() throws {
        let old = #"""
            ["sslProfile", {"name": "s", "uidFormat": "1"}], ["listener", {"name": "amqps", "sslProfile": "s"}],
            ["listener", {"name": "amqp"}], ["connector", {"name": "auto-mesh-1"}]
            """#
        #expect(try Self.steps(old, "") == [])
        #expect(try Self.steps("", old) == ["create sslProfile \"s\""])
        #expect(try Self.steps(old, "", protecting: .none).count == 4)
        let result = plan(
            from: try Self.configuration(old), to: try Self.configuration(#"["sslProfile", {"name": "s"}]"#))
        #expect(result.steps == [])
        #expect(result.needsRestart == ["sslProfile s"])
        // Protection is for AMQP sockets, not for services that happen to have the name.
        #expect(try Self.steps(#"["tcpListener", {"name": "amqp", "port": 1, "address": "a"}]"#, "").count == 1)
    }

    @Test func whatOnlyAStartCanChangeIsReported() throws {
        let from = try RouterConfiguration.parse(json: #"[["router", {"id": "r", "mode": "interior"}]]"#)
        let to = try RouterConfiguration.parse(
            json: #"[["router", {"id": "s", "mode": "edge"}], ["site", {"name": "x", "platform": "linux"}]]"#)
        let result = plan(from: from, to: to)
        #expect(result.needsRestart == ["router.id", "router.mode", "site.platform"])
        #expect(result.steps == [])
        #expect(!result.isEmpty)
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>) func aPlanLeadsToItsGoalAndTheNextIsEmpty(seed: UInt64) throws {
        var random = SplitMix(seed)
        for round in 0..<60 {
            let from = try Self.randomConfiguration(&random)
            let to = try Self.randomConfiguration(&random)
            let trail: Comment = "seed \(seed) round \(round)\nfrom \(from.renderJSON())to \(to.renderJSON())"
            let result = plan(from: from, to: to, protecting: .none)
            #expect(result.needsRestart == [], trail)
            var router = ModelRouter(from)
            do {
                for step in result.steps { try router.apply(step) }
            } catch {
                Issue.record(error, trail)
                return
            }
            #expect(ModelRouter.essence(router.entities) == ModelRouter.essence(to.entities), trail)
            let reached = try RouterConfiguration(entities: router.entities)
            #expect(plan(from: reached, to: to, protecting: .none).isEmpty, trail)
            #expect(plan(from: to, to: to).isEmpty, trail)

            let careful = plan(from: from, to: to)
            for step in careful.steps { #expect(!ProtectedNames.standard.covers(step.entity), trail) }
            var other = ModelRouter(from)
            #expect(throws: Never.self, trail) { for step in careful.steps { try other.apply(step) } }
        }
    }

    /// A valid configuration over few names, so that two of them have much in common.
    private static func randomConfiguration(_ random: inout SplitMix) throws -> RouterConfiguration {
        var entities = [
            try Schema.validate(type: "router", attributes: ["id": "r", "mode": "interior"], for: .file)
        ]
        func pick(_ values: [AttributeValue]) -> AttributeValue {
            values.randomElement(using: &random) ?? .null
        }
        func add(_ type: String, _ names: [String], _ attributes: [String: [AttributeValue]]) throws -> [String] {
            var made: [String] = []
            for name in names where Int.random(in: 0..<3, using: &random) > 0 {
                var chosen: [String: AttributeValue] = ["name": .string(name)]
                for (key, values) in attributes.sorted(by: { $0.key < $1.key }) { chosen[key] = pick(values) }
                entities.append(try Schema.validate(type: type, attributes: chosen, for: .file))
                made.append(name)
            }
            return made
        }
        let profiles = try add(
            "sslProfile", ["p1", "p2", "p3"],
            ["ordinal": [.null, 1, 2], "caCertFile": [.null, "/a", "/b"], "uidFormat": [.null, .null, .null, "1"]])
        let proxies = try add("proxyProfile", ["x1", "x2"], ["host": ["h1", "h2"], "port": [.null, "1"]])
        let someProfile = [.null] + profiles.map { AttributeValue.string($0) }
        let someProxy = [.null] + proxies.map { AttributeValue.string($0) }
        _ = try add("address", ["d1", "d2"], ["prefix": ["a", "b"], "distribution": ["multicast", "closest"]])
        _ = try add("autoLink", ["k1"], ["address": ["a"], "direction": ["in", "out"]])
        _ = try add("vhost", ["v1"], ["hostname": ["a"], "maxConnections": [.null, 1, 2]])
        _ = try add("log", ["log/DEFAULT"], ["module": ["DEFAULT"], "enable": [.null, "info+", "debug+"]])
        let listeners = try add(
            "tcpListener", ["t1", "t2", "t3"],
            [
                "port": [1, 2], "multiAddressStrategy": ["priority"], "observer": [.null, "none", "auto"],
                "sslProfile": someProfile,
            ])
        _ = try add(
            "tcpConnector", ["c1", "c2", "c3"],
            [
                "port": [1, 2], "address": ["a", "b"], "verifyHostname": [.null, true, false],
                "sslProfile": someProfile,
            ])
        if !listeners.isEmpty {
            _ = try add(
                "listenerAddress", ["la1", "la2", "la3"],
                ["address": ["a"], "value": [1, 2], "listener": listeners.map { .string($0) }])
        }
        _ = try add(
            "connector", ["n1", "n2", "auto-mesh-1"],
            ["cost": [.null, 1, 2], "host": [.null, "h"], "sslProfile": someProfile, "proxyProfile": someProxy])
        _ = try add(
            "listener", ["l1", "l2", "amqps"], ["cost": [.null, 3], "port": [1, 2], "sslProfile": someProfile])
        return try RouterConfiguration(entities: entities)
    }
}
