import AMQPCodec
import Testing

@testable import LinkStateRouting

@Suite struct LinkStateTests {
    @Test func advertisementWithNewerSequenceAsksAtOnce() {
        var bench = Bench()
        bench.confirm("B")
        bench.linkState("B", 1, ["A": 1])
        let effects = bench.receive(
            .advertisement(id: "B", instance: 7, linkStateSequence: 2, mobileSequence: 3), after: 100)
        #expect(effects.sent == ["LSR>B", "MAR>B"])
        let again = bench.receive(
            .advertisement(id: "B", instance: 7, linkStateSequence: 1, mobileSequence: 0), after: 100)
        #expect(again.sent.isEmpty)
    }

    @Test func unansweredRequestsAreRepeatedThreeTimes() {
        var bench = Bench()
        bench.confirm("B")
        bench.receive(.advertisement(id: "B", instance: 7, linkStateSequence: 2, mobileSequence: 3), after: 100)
        var requests: [String] = []
        for _ in 0..<8 {
            bench.hello("B", after: 500)
            requests += bench.send(.tick, after: 500).sent.filter { $0 == "LSR>B" || $0 == "MAR>B" }
        }
        #expect(requests == ["LSR>B", "MAR>B", "LSR>B", "MAR>B", "LSR>B", "MAR>B"])
    }

    @Test func requestIsAnsweredEvenWithSequenceZero() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        // Not reachable yet: the answer waits for the path.
        #expect(bench.receive(.linkStateRequest(id: "B", to: "A")).sent.isEmpty)
        let effects = bench.hello("B", after: 100)
        #expect(
            effects.contains(
                .sendToRouter(
                    id: "B", .linkStateUpdate(id: "A", to: "B", instance: 100, sequence: 1, peers: ["B": 1]))))
    }

    @Test func onlyNewerLinkStateIsAdopted() {
        var bench = Bench()
        bench.confirm("B")
        #expect(bench.linkState("B", 0, ["C": 1]).contains(.routesChanged) == false)
        #expect(bench.machine.route(to: "C") == nil)
        #expect(bench.linkState("B", 3, ["A": 1, "C": 2]).first == .routesChanged)
        #expect(bench.machine.route(to: "C")?.cost == 3)
        bench.linkState("B", 3, ["A": 1])
        bench.linkState("B", 2, ["A": 1])
        #expect(bench.machine.route(to: "C")?.cost == 3)
        bench.linkState("B", 4, ["A": 1])
        #expect(bench.machine.route(to: "C") == nil)
        // No path changes, but what management shows does.
        #expect(bench.linkState("B", 5, ["A": 2]).first == .routesChanged)
    }

    @Test func routerLearntFromLinkStateIsAskedAtOnce() {
        var bench = Bench()
        bench.confirm("B")
        let effects = bench.linkState("B", 1, ["A": 1, "C": 2])
        #expect(effects.sent == ["LSR>C", "MAR>C"])
        let route = bench.machine.route(to: "C")
        #expect(route?.slot == 1 && route?.nextHopID == "B" && route?.hops == 2 && route?.isNeighbour == false)
        #expect(bench.machine.radius == 2)
    }

    @Test func burstOfLinkStatesIsComputedOnce() {
        var bench = Bench()
        bench.confirm("B")
        bench.linkState("B", 1, ["A": 1, "C": 1])
        let second = bench.linkState("B", 2, ["A": 1, "D": 1], after: 1)
        #expect(second.wake == 19 && !second.contains(.routesChanged))
        bench.linkState("B", 3, ["A": 1, "E": 1], after: 1)
        let woken = bench.send(.wake, after: 18)
        #expect(woken.first == .routesChanged)
        #expect(bench.machine.routes.map(\.id) == ["B", "E"])
    }

    @Test func neighbourReachedMoreCheaplyThroughAnother() {
        var bench = Bench()
        bench.confirm("B", slot: 1, cost: 10)
        bench.confirm("C", slot: 2, cost: 1)
        bench.linkState("C", 1, ["A": 1, "B": 2], slot: 2)
        let route = bench.machine.route(to: "B")
        #expect(route?.slot == 2 && route?.nextHopID == "C" && route?.cost == 3)
        #expect(route?.isNeighbour == true && route?.neighbourSlot == 1)
    }

    @Test func unrefreshedLinkStateAges() {
        var bench = Bench()
        bench.confirm("B")
        bench.linkState("B", 1, ["A": 1, "C": 1])
        for _ in 0..<59 {
            bench.hello("B", after: 900)
            bench.send(.tick, after: 100)
        }
        #expect(bench.machine.route(to: "C") != nil)
        for _ in 0..<2 {
            bench.hello("B", after: 900)
            bench.send(.tick, after: 100)
        }
        #expect(bench.machine.route(to: "C") == nil)
        #expect(bench.machine.route(to: "B")?.peers == [:])
        // Three ticks later nothing is left of C, and its mask bit is free.
        for _ in 0..<3 { bench.send(.tick, after: 100) }
        #expect(bench.machine.nodes.map(\.id) == ["B"])
    }

    @Test func addressesOfAnUnreachableRouterGoAfterTheHoldoff() {
        var bench = Bench()
        bench.confirm("B")
        bench.linkState("B", 1, ["A": 1])
        bench.receive(
            .absoluteUpdate(id: "B", to: "A", sequence: 4, addresses: [("Mx", AddressInfo(treatment: 3, producers: 2))])
        )
        bench.send(.neighbourDisconnected(slot: 1), after: 10)
        #expect(bench.machine.remoteAddressCount == 1)
        bench.send(.tick, after: 400)
        #expect(bench.machine.remoteAddressCount == 0)
        bench.confirm("B", slot: 2)
        #expect(bench.machine.route(to: "B")?.mobileSequence == 0)
    }

    @Test func restartLearntFromAFloodedAdvertisement() {
        var bench = Bench()
        bench.confirm("B")
        bench.linkState("B", 1, ["A": 1, "C": 1])
        bench.linkState("C", 8, ["B": 1, "D": 1], instance: 50)
        #expect(bench.machine.route(to: "D") != nil)
        bench.receive(.advertisement(id: "C", instance: 51, linkStateSequence: 1, mobileSequence: 0), after: 100)
        #expect(bench.machine.route(to: "D") == nil)
        // A late message of the earlier run does not undo that.
        bench.linkState("C", 9, ["B": 1, "D": 1], instance: 50)
        #expect(bench.machine.route(to: "D") == nil)
        #expect(bench.machine.route(to: "C")?.instance == 51)
        // But a router whose clock went back is believed after a while.
        bench.linkState("C", 1, ["B": 1, "D": 1], instance: 40, after: 9000)
        #expect(bench.machine.route(to: "D") != nil)
    }

    @Test func advertisementIntervals() {
        var bench = Bench()
        bench.confirm("B")
        var times: [Int64] = []
        for second in 1...100 {
            bench.hello("B", after: 500)
            if bench.send(.tick, after: 500).sent.contains("RA*") { times.append(Int64(second)) }
        }
        #expect(times == [4, 34, 64, 94])
    }

    @Test func unknownOpcodesAndOddBodiesAreCounted() {
        var bench = Bench()
        bench.confirm("B")
        bench.receive("XYZ", [("id", .string("B"))])
        bench.send(.messageReceived(slot: 1, opcode: "RA", body: .list([]), ingress: nil))
        bench.receive("RA", [("id", .string("B"))])
        bench.receive("RA", [("id", .int(4))])
        bench.receive("RA", [("id", .string("B")), ("pv", .int(2))])
        bench.receive("MAR", [("id", .string("B")), ("pv", .long(2)), ("have_seq", .string("1"))])
        #expect(
            bench.machine.rejections == [
                "unknownOpcode": 1, "notAMap": 1, "missingField": 1, "invalidField": 2, "newerVersion": 1,
            ])
    }

    @Test func anyIntegerWidthAndSymbolKeysAreUnderstood() {
        var bench = Bench()
        bench.confirm("B")
        let body = AMQPValue.map([
            MapEntry(key: .symbol("ls_seq"), value: .ulong(6)), MapEntry(key: .symbol("id"), value: .symbol("B")),
            MapEntry(
                key: .string("ls"),
                value: .map([
                    MapEntry(key: .string("peers"), value: .map([MapEntry(key: .symbol("C"), value: .ubyte(3))])),
                    MapEntry(key: .string("ls_seq"), value: .ushort(6)),
                    MapEntry(key: .string("id"), value: .string("B")),
                ])),
        ])
        bench.send(.messageReceived(slot: 1, opcode: "LSU", body: body, ingress: nil), after: 100)
        #expect(bench.machine.route(to: "C")?.cost == 4)
    }
}
