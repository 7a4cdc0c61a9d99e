import AMQPCodec
import Testing

@testable import LinkStateRouting

/// What a faulty or hostile router can send, and that it costs little.
@Suite struct HostilePeerTests {
    func linkStateBody(_ id: String, _ sequence: AMQPValue, _ peers: AMQPValue, innerID: String? = nil)
        -> [(String, AMQPValue)]
    {
        [
            ("id", .string(id)), ("pv", .int(1)), ("area", .string("0")), ("instance", .int(7)), ("ls_seq", .int(1)),
            (
                "ls",
                mapBody([
                    ("id", .string(innerID ?? id)), ("area", .string("0")), ("ls_seq", sequence), ("peers", peers),
                ])
            ),
        ]
    }

    @Test func impossibleCostsLoseTheirEdgeHugeOnesAreCapped() {
        var bench = Bench()
        bench.confirm("B", cost: Int(Int32.max))
        let peers = mapBody([
            ("C", .int(0)), ("D", .int(-1)), ("E", .string("1")), ("F", .long(1 << 40)), ("G", .ulong(UInt64.max)),
            ("B", .int(1)), ("bad id", .int(1)), ("", .int(1)), ("A", .int(3)),
        ])
        bench.receive("LSU", linkStateBody("B", .int(1), peers), after: 100)
        #expect(bench.machine.routes.map(\.id) == ["B", "F"])
        #expect(bench.machine.route(to: "B")?.peers == ["A": 3, "F": Int(Int32.max)])
        #expect(bench.machine.route(to: "F")?.cost == Int(Int32.max))
        #expect(bench.machine.rejections == ["invalidField": 1])
    }

    @Test func tenThousandPeersAreRefusedWhole() {
        var bench = Bench()
        bench.confirm("B")
        let peers = mapBody((0..<10_000).map { ("r\($0)", .int(1)) })
        let effects = bench.receive("LSU", linkStateBody("B", .int(1), peers), after: 100)
        #expect(effects.logs.count == 1 && effects.logs[0].contains("10000 peers"))
        #expect(bench.machine.nodes.count == 1)
        #expect(bench.receive("LSU", linkStateBody("B", .int(1), peers), after: 100).logs.isEmpty)
    }

    @Test func routerTableStopsAtItsLimitAndANeighbourFindsRoom() {
        var limits = RoutingLimits()
        limits.remoteRouters = 127
        var bench = Bench(limits: limits)
        bench.confirm("B")
        for group in 0..<4 {
            let peers = Dictionary(uniqueKeysWithValues: (0..<100).map { ("x\(group)-\($0)", 1) })
            bench.linkState("B", Int64(group + 1), peers)
            bench.linkState("x\(group)-0", 1, ["B": 1])
        }
        #expect(bench.machine.nodes.count == 127)
        #expect(Set(bench.machine.nodes.map(\.maskBit)) == Set(1...127))
        #expect(bench.machine.rejections["routerTableFull"] ?? 0 > 0)
        // A router at the other end of a connection replaces one that is only a name.
        bench.send(.neighbourConnected(slot: 2, cost: 1), after: 100)
        bench.hello("Z", slot: 2)
        #expect(bench.machine.nodes.count == 127)
        #expect(bench.machine.route(to: "Z")?.isNeighbour == true)
    }

    @Test func linkStatesTogetherAreBounded() {
        var limits = RoutingLimits()
        limits.linkStateEdges = 200
        var bench = Bench(limits: limits)
        bench.confirm("B")
        // Every router of a network that is larger than any claims to be next to all of them.
        let peers = Dictionary(uniqueKeysWithValues: (0..<40).map { ("x\($0)", 1) })
        bench.linkState("B", 1, peers.merging(["A": 1]) { $1 })
        for number in 0..<40 { bench.linkState("x\(number)", 1, peers, after: 30) }
        #expect(bench.machine.nodes.reduce(0) { $0 + $1.peers.count } <= 200)
        #expect(bench.machine.rejections["linkStateStoreFull"] ?? 0 > 30)
        #expect(bench.machine.route(to: "B") != nil)
    }

    @Test func sequenceJumpsDoNotLockARouterOut() {
        var bench = Bench()
        bench.confirm("B")
        bench.linkState("B", Int64.max, ["A": 1, "C": 1])
        #expect(bench.machine.route(to: "C") != nil)
        // Nothing is above the largest number. A restart begins anew, and so does the age of a link state.
        bench.linkState("B", 1, ["A": 1, "D": 1])
        #expect(bench.machine.route(to: "D") == nil)
        bench.hello("B", instance: 8, after: 100)
        bench.linkState("B", 1, ["A": 1, "D": 1], instance: 8)
        #expect(bench.machine.route(to: "D") != nil)
        #expect(bench.receive(
            .differentialUpdate(id: "B", sequence: Int64.max, added: [], removed: []), after: 100).sent.count <= 1)
        #expect(bench.receive(
            .advertisement(id: "B", instance: 8, linkStateSequence: Int64.max, mobileSequence: Int64.max), after: 100
        ).sent.count <= 2)
    }

    @Test func helloFloodOfManyIDsIsBounded() {
        var limits = RoutingLimits()
        limits.remoteRouters = 127
        var bench = Bench(limits: limits)
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        var logs = 0
        for number in 0..<5000 { logs += bench.hello("n\(number)", slot: number + 2, seen: []).logs.count }
        #expect(bench.machine.hellos.count == 127)
        // One line per connection, then silence.
        #expect(logs <= RoutingLimits().logSubjects + 1)
        #expect(bench.machine.loggedSubjects.count <= RoutingLimits().logSubjects)
        bench.send(.tick, after: 600_001)
        #expect(bench.machine.loggedSubjects.isEmpty && bench.machine.hellos.isEmpty)
    }

    @Test func oneRouterCannotFillTheAddressStore() {
        var bench = Bench()
        bench.confirm("B", slot: 1)
        bench.confirm("C", slot: 2)
        let many = (0..<100_000).map { (key: "M\($0)", info: AddressInfo(treatment: 3, producers: 0)) }
        bench.receive(.absoluteUpdate(id: "B", to: "A", sequence: 1, addresses: many), after: 100)
        #expect(bench.machine.route(to: "B")?.addresses.count == 10_000)
        bench.receive(
            .differentialUpdate(
                id: "C", sequence: 1, added: [("Mmine", AddressInfo(treatment: 3, producers: 0))], removed: []),
            slot: 2)
        #expect(bench.machine.route(to: "C")?.addresses.count == 1)
    }

    @Test func addressStoreIsCappedAndLogsOnce() {
        var limits = RoutingLimits()
        limits.addressesOfOneRouter = limits.remoteAddresses
        var bench = Bench(limits: limits)
        bench.confirm("B", slot: 1)
        bench.confirm("C", slot: 2)
        let many = (0..<100_000).map { (key: "M\($0)", info: AddressInfo(treatment: 3, producers: 0)) }
        let effects = bench.receive(.absoluteUpdate(id: "B", to: "A", sequence: 1, addresses: many), after: 100)
        #expect(effects.logs.count == 1)
        #expect(bench.machine.remoteAddressCount == 50_000)
        #expect(bench.machine.route(to: "B")?.addresses.count == 50_000)
        let other = bench.receive(
            .differentialUpdate(
                id: "C", sequence: 1, added: [("Mmine", AddressInfo(treatment: 3, producers: 0))], removed: []),
            slot: 2)
        #expect(other.logs.count == 1 && other.logs[0].contains("full"))
        #expect(bench.machine.remoteAddressCount == 50_000)
        // When the store is free again the one that was cut short is asked once more.
        bench.send(.neighbourDisconnected(slot: 1), after: 10)
        bench.hello("C", slot: 2, after: 900)
        bench.send(.tick, after: 100)
        let asked = bench.send(.tick, after: 10).sent + bench.send(.tick, after: 1000).sent
        #expect(asked.contains("MAR>C"))
        #expect(bench.machine.remoteAddressCount == 0)
    }

    @Test func largestNumbersDoNotTrap() {
        var bench = Bench()
        bench.confirm("B")
        let top = Int64.max
        bench.receive(.absoluteUpdate(id: "B", to: "A", sequence: top, addresses: []), after: 100)
        bench.receive(.differentialUpdate(id: "B", sequence: 0, added: [], removed: []), after: 100)
        bench.receive(.differentialUpdate(id: "B", sequence: top, added: [], removed: []), after: 100)
        bench.receive(.advertisement(id: "B", instance: .min, linkStateSequence: top, mobileSequence: top), after: 100)
        bench.receive(.advertisement(id: "B", instance: top, linkStateSequence: top, mobileSequence: top), after: 100)
        bench.receive(.mobileRequest(id: "B", to: "A", haveSequence: top), after: 100)
        bench.linkState("B", top, ["A": Int(Int32.max), "C": Int(Int32.max)], instance: top)
        bench.linkState("C", top, ["B": Int(Int32.max), "D": Int(Int32.max)], instance: top)
        #expect(bench.machine.route(to: "D")?.cost == Int(Int32.max))
        #expect(bench.machine.route(to: "D")?.hops == 3)
        for field in ["ls_seq", "mobile_seq"] {
            bench.receive(
                "RA", [("id", .string("B")), ("ls_seq", .int(1)), ("mobile_seq", .int(1)), (field, .int(-1))])
        }
        bench.receive("RA", [("id", .string("B")), ("ls_seq", .int(-1)), ("mobile_seq", .int(1))])
        bench.receive("MAR", [("id", .string("B")), ("have_seq", .ulong(.max))])
        #expect(bench.machine.rejections["invalidField"] == 2)
    }

    @Test func ownIDInForeignMessagesIsRefused() {
        var bench = Bench()
        bench.confirm("B")
        bench.linkState("A", 9, ["B": 1])
        bench.receive(.advertisement(id: "A", instance: 999, linkStateSequence: 9, mobileSequence: 9))
        #expect(bench.machine.rejections == ["ownID": 1, "duplicateRouterID": 1])
        #expect(bench.machine.ownLinkStateSequence == 1)
        // A link state about somebody else than its sender.
        bench.receive("LSU", linkStateBody("B", .int(1), mapBody([("A", .int(1))]), innerID: "C"), after: 100)
        #expect(bench.machine.rejections["invalidField"] == 1)
    }

    @Test func invalidRouterIDs() {
        var bench = Bench()
        bench.confirm("B")
        for id in ["", "a b", "a/b", "a|b", "$x", "x\n", String(repeating: "n", count: 300)] {
            bench.receive("LSR", [("id", .string(id)), ("pv", .int(1))])
        }
        #expect(bench.machine.rejections == ["invalidRouterID": 7])
        #expect(bench.machine.nodes.map(\.id) == ["B"])
    }

    @Test func advertisementFloodIsAnsweredAtALimitedRate() {
        var bench = Bench()
        bench.confirm("B")
        var requests = 0
        var sequence: Int64 = 1
        for _ in 0..<1000 {
            sequence += 10
            requests +=
                bench.receive(
                    .advertisement(id: "B", instance: 7, linkStateSequence: sequence, mobileSequence: sequence),
                    after: 1
                ).sent.count
        }
        #expect(requests <= 2 * 1000 / 20 + 2)
    }

    @Test func everyFieldOfEveryTypeIsSurvived() {
        let values: [AMQPValue] = [
            .null, .bool(true), .ubyte(255), .uint(.max), .ulong(.max), .byte(-1), .int(.min), .int(1), .long(.min),
            .long(.max), .string(""), .string("B"), .symbol("C"), .list([]), .map([]), .list([.list([.null])]),
            .map([MapEntry(key: .null, value: .null)]),
        ]
        let names = [
            "id", "pv", "area", "instance", "seen", "ls_seq", "ls", "mobile_seq", "have_seq", "add", "del", "exist",
            "peers",
        ]
        for seed in 1...20 {
            var random = SeededGenerator(seed: UInt64(seed))
            var bench = Bench()
            bench.confirm("B")
            for _ in 0..<500 {
                var fields = names.map { ($0, values[random.below(values.count)]) }
                if random.chance(70) { fields[0].1 = .string(["B", "C", "D", "A"][random.below(4)]) }
                if random.chance(70) { fields[1].1 = .int(1) }
                if random.chance(50) { fields[6].1 = mapBody(names.map { ($0, values[random.below(values.count)]) }) }
                fields.removeAll { _ in random.chance(5) }
                bench.receive(
                    ["HELLO", "RA", "LSR", "LSU", "MAR", "MAU", "?"][random.below(7)], fields, slot: random.below(3),
                    after: Int64(random.below(300)))
                if random.chance(10) { bench.send(.tick) }
            }
            #expect(bench.machine.nodes.count <= 127, "seed \(seed)")
            #expect(
                bench.machine.remoteAddressCount == bench.machine.nodes.map(\.addresses.count).reduce(0, +),
                "seed \(seed)")
        }
    }
}
