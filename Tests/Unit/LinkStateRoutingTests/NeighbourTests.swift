import AMQPCodec
import Testing

@testable import LinkStateRouting

/// States of a neighbour: absent, connected (nothing heard), heard (HELLO without us), confirmed, silent. Each event
/// in each state.
@Suite struct NeighbourTests {
    // MARK: connected

    @Test func connectingGreetsAtOnce() {
        var bench = Bench()
        let effects = bench.send(.neighbourConnected(slot: 1, cost: 1))
        #expect(effects.first == .sendToNeighbour(slot: 1, .hello(id: "A", instance: 100, seen: [])))
        #expect(bench.machine.routes.isEmpty && bench.machine.ownPeers.isEmpty)
    }

    @Test func connectedTickGreetsAgain() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        #expect(bench.send(.tick, after: 1000).sent.first == "HELLO@1")
    }

    @Test func connectedHelloWithoutUsIsAnsweredAtOnce() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        let effects = bench.hello("B", seen: [])
        #expect(effects == [.sendToNeighbour(slot: 1, .hello(id: "A", instance: 100, seen: ["B"]))])
        #expect(bench.machine.ownPeers.isEmpty)
    }

    @Test func connectedHelloWithUsConfirmsAnswersAndAdvertises() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 4))
        let effects = bench.hello("B")
        #expect(effects.first == .routesChanged)
        #expect(effects.contains(.neighbourUp(id: "B", slot: 1, cost: 4)))
        #expect(effects.sent == ["HELLO@1", "LSR>B", "MAR>B", "RA*"])
        #expect(bench.machine.ownPeers == ["B": 4])
        #expect(bench.machine.ownLinkStateSequence == 1)
        #expect(bench.machine.route(to: "B")?.cost == 4)
    }

    @Test func connectedDisconnectLeavesNothing() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        #expect(bench.send(.neighbourDisconnected(slot: 1)).isEmpty)
        #expect(bench.send(.tick, after: 1000).messages("HELLO").isEmpty)
    }

    @Test func connectedCostChangeIsUsedAtConfirmation() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        #expect(bench.send(.costChanged(slot: 1, cost: 9)).isEmpty)
        bench.hello("B")
        #expect(bench.machine.ownPeers == ["B": 9])
    }

    // MARK: absent

    @Test func absentEventsAreHarmless() {
        var bench = Bench()
        #expect(bench.send(.neighbourDisconnected(slot: 5)).isEmpty)
        #expect(bench.send(.costChanged(slot: 5, cost: 3)).isEmpty)
        #expect(bench.send(.wake).isEmpty)
        #expect(bench.send(.tick, after: 1000).isEmpty)
    }

    @Test func helloBeforeConnectionIsRememberedInSeen() {
        var bench = Bench()
        #expect(bench.hello("B", seen: []).isEmpty)
        let effects = bench.send(.neighbourConnected(slot: 1, cost: 1))
        #expect(effects == [.sendToNeighbour(slot: 1, .hello(id: "A", instance: 100, seen: ["B"]))])
    }

    // MARK: heard

    @Test func heardHelloWithUsConfirmsWithoutAnswer() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        bench.hello("B", seen: [])
        let effects = bench.hello("B", after: 5)
        #expect(effects.sent == ["LSR>B", "MAR>B", "RA*"])
    }

    @Test func heardHelloWithoutUsIsAnsweredALimitedNumberOfTimes() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        let answers = (0..<50).map { _ in bench.hello("B", seen: ["X"], after: 1).sent.count }.reduce(0, +)
        #expect(answers == RoutingLimits().answeringHellosPerTick)
        bench.send(.tick, after: 1000)
        #expect(bench.hello("B", seen: []).sent == ["HELLO@1"])
    }

    @Test func heardPeerIsForgottenInSeenAfterMaxAge() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        bench.hello("B", seen: [])
        let at3s = bench.send(.tick, after: 3000)
        #expect(at3s.first == .sendToNeighbour(slot: 1, .hello(id: "A", instance: 100, seen: ["B"])))
        let later = bench.send(.tick, after: 1)
        #expect(later.first == .sendToNeighbour(slot: 1, .hello(id: "A", instance: 100, seen: [])))
    }

    @Test func heardDisconnectForgetsTheHello() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        bench.hello("B", seen: [])
        bench.send(.neighbourDisconnected(slot: 1))
        #expect(
            bench.send(.neighbourConnected(slot: 2, cost: 1))
                == [.sendToNeighbour(slot: 2, .hello(id: "A", instance: 100, seen: []))])
    }

    // MARK: confirmed

    @Test func confirmedHelloKeepsItQuietly() {
        var bench = Bench()
        bench.confirm("B")
        bench.receive(
            .advertisement(id: "B", instance: 7, linkStateSequence: 0, mobileSequence: 0), after: 100)
        for _ in 0..<10 {
            #expect(bench.hello("B", after: 900).isEmpty)
            #expect(!bench.send(.tick, after: 100).contains(.routesChanged))
        }
        #expect(bench.machine.ownLinkStateSequence == 1)
    }

    @Test func confirmedHelloWithoutUsIsAnsweredButNotALoss() {
        var bench = Bench()
        bench.confirm("B")
        #expect(bench.hello("B", seen: [], after: 500).sent == ["HELLO@1"])
        #expect(bench.machine.ownPeers == ["B": 1])
    }

    @Test func confirmedDisconnectIsALossAtOnce() {
        var bench = Bench()
        bench.confirm("B")
        bench.send(.neighbourConnected(slot: 9, cost: 1))
        let effects = bench.send(.neighbourDisconnected(slot: 1), after: 5)
        #expect(effects.first == .routesChanged)
        #expect(effects.contains(.neighbourLost(id: "B", slot: 1, reason: "the connection to it was lost")))
        #expect(effects.sent == ["RA*"])
        #expect(bench.machine.ownPeers.isEmpty && bench.machine.routes.isEmpty)
        #expect(bench.machine.ownLinkStateSequence == 2)
    }

    @Test func confirmedSilenceIsALoss() {
        var bench = Bench()
        bench.confirm("B")
        #expect(
            bench.send(.tick, after: 3000).contains { if case .neighbourLost = $0 { true } else { false } } == false)
        let effects = bench.send(.tick, after: 1)
        #expect(
            effects.contains(.neighbourLost(id: "B", slot: 1, reason: "no HELLO that lists us for 3001 ms")))
        #expect(bench.machine.route(to: "B") == nil)
    }

    @Test func silenceLimitIsSetApartFromHelloMaxAge() {
        var timers = RoutingTimers()
        timers.silentNeighbourMilliseconds = 1200
        var bench = Bench(timers: timers)
        bench.confirm("B")
        bench.send(.tick, after: 1201)
        #expect(bench.machine.ownPeers.isEmpty)
    }

    @Test func unconfirmingHellosDoNotKeepANeighbour() {
        var bench = Bench()
        bench.confirm("B")
        for _ in 0..<4 {
            bench.hello("B", seen: [], after: 999)
            bench.send(.tick, after: 1)
        }
        #expect(bench.machine.ownPeers.isEmpty)
    }

    @Test func confirmedCostChangeIsAdvertisedAtOnce() {
        var bench = Bench()
        bench.confirm("B")
        let effects = bench.send(.costChanged(slot: 1, cost: 7), after: 5)
        #expect(effects.first == .routesChanged && effects.sent.contains("RA*"))
        #expect(bench.machine.ownPeers == ["B": 7] && bench.machine.route(to: "B")?.cost == 7)
        #expect(bench.machine.ownLinkStateSequence == 2)
        #expect(bench.send(.costChanged(slot: 1, cost: 7), after: 5).isEmpty)
    }

    @Test func confirmedRestartIsDetected() {
        var bench = Bench()
        bench.confirm("B")
        bench.linkState("B", 5, ["A": 1, "C": 1])
        bench.receive(
            .absoluteUpdate(id: "B", to: "A", sequence: 9, addresses: [("Mx", AddressInfo(treatment: 3, producers: 0))])
        )
        #expect(bench.machine.route(to: "C") != nil && bench.machine.remoteAddressCount == 1)
        let effects = bench.hello("B", instance: 8, after: 100)
        #expect(effects.sent == ["LSR>B", "MAR>B"])
        #expect(effects.first == .routesChanged)
        #expect(bench.machine.remoteAddressCount == 0 && bench.machine.route(to: "C") == nil)
        bench.linkState("B", 1, ["A": 1], instance: 8)
        #expect(bench.machine.route(to: "B")?.linkStateSequence == 1)
    }

    @Test func reconnectOnTheSameSlotStartsAnew() {
        var bench = Bench()
        bench.confirm("B")
        let effects = bench.send(.neighbourConnected(slot: 1, cost: 2), after: 5)
        #expect(effects.contains { if case .neighbourLost(id: "B", slot: 1, _) = $0 { true } else { false } })
        #expect(bench.machine.ownPeers.isEmpty)
        bench.hello("B")
        #expect(bench.machine.ownPeers == ["B": 2])
    }

    // MARK: silent, then back

    @Test func silentNeighbourComesBack() {
        var bench = Bench()
        bench.confirm("B")
        bench.send(.tick, after: 3001)
        let effects = bench.hello("B", after: 10)
        #expect(effects.sent.first == "HELLO@1")
        #expect(bench.machine.ownPeers == ["B": 1] && bench.machine.ownLinkStateSequence == 3)
    }

    // MARK: two connections to one router

    @Test func newerConnectionCarriesAndOlderTakesOver() {
        var bench = Bench()
        bench.confirm("B", slot: 1)
        bench.confirm("B", slot: 2)
        #expect(bench.machine.route(to: "B")?.slot == 2)
        bench.hello("B", slot: 1, after: 500)
        #expect(bench.machine.route(to: "B")?.slot == 2)
        #expect(bench.machine.ownLinkStateSequence == 1)
        let effects = bench.send(.neighbourDisconnected(slot: 2), after: 10)
        #expect(effects.contains(.neighbourUp(id: "B", slot: 1, cost: 1)))
        #expect(bench.machine.route(to: "B")?.slot == 1)
        #expect(bench.machine.ownLinkStateSequence == 1)
    }

    @Test func olderConnectionTakesOverWhenTheNewerFallsSilent() {
        var bench = Bench()
        bench.confirm("B", slot: 1)
        bench.confirm("B", slot: 2)
        bench.hello("B", slot: 1, after: 1000)
        bench.hello("B", slot: 1, after: 1000)
        #expect(bench.machine.route(to: "B")?.slot == 1)
    }

    // MARK: identity

    @Test func ownIDWithAnotherInstanceIsADuplicateRouter() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        let effects = bench.hello("A", instance: 55, seen: ["A"])
        #expect(bench.machine.duplicateRouterSeenAt == bench.now)
        #expect(effects.logs.count == 1 && effects.logs[0].contains("another router uses our id"))
        #expect(bench.hello("A", instance: 55, seen: ["A"]).isEmpty)
        #expect(bench.machine.nodes.isEmpty)
    }

    @Test func ownHelloComingBackIsNoDuplicate() {
        var bench = Bench()
        bench.send(.neighbourConnected(slot: 1, cost: 1))
        bench.hello("A", instance: 100, seen: ["A"])
        #expect(bench.machine.duplicateRouterSeenAt == nil)
    }

    @Test func ownIDInAnAdvertisementFromAfarIsADuplicateRouterIfItStartedLater() {
        var bench = Bench()
        bench.confirm("B")
        let old = bench.receive(
            .advertisement(id: "A", instance: 99, linkStateSequence: 1, mobileSequence: 1), after: 100)
        #expect(bench.machine.duplicateRouterSeenAt == nil, "an earlier run of our own")
        #expect(old.logs.count == 1)
        let new = bench.receive(
            .advertisement(id: "A", instance: 101, linkStateSequence: 1, mobileSequence: 1), after: 100)
        #expect(bench.machine.duplicateRouterSeenAt == bench.now)
        #expect(new.logs.count == 1 && new.logs[0].contains("another router uses our id"))
    }

    @Test func ofTwoNeighboursWithOneIDTheFirstIsUsedAndTheOtherLeftOut() {
        var bench = Bench()
        bench.confirm("B", slot: 1)
        bench.send(.neighbourConnected(slot: 2, cost: 1), after: 500)
        #expect(bench.hello("B", slot: 2, instance: 8).logs == [], "it may be a restart")
        for second in 1...5 {
            bench.hello("B", slot: 1, instance: 7, after: 500)
            let twin = bench.hello("B", slot: 2, instance: 8, after: 400)
            #expect(twin.logs.contains { $0.contains("two routers use the id B") } == (second == 1))
            #expect(twin.sent == [])
            bench.receive(
                .advertisement(id: "B", instance: 8, linkStateSequence: 9, mobileSequence: 9), slot: 2, after: 100)
            #expect(bench.machine.route(to: "B")?.slot == 1)
            #expect(bench.machine.route(to: "B")?.instance == 7)
            #expect(bench.machine.twins == ["B"])
        }
        // The other one's turn comes when this one is gone.
        bench.send(.neighbourDisconnected(slot: 1))
        #expect(bench.machine.route(to: "B") == nil)
        bench.hello("B", slot: 2, instance: 8, after: 500)
        #expect(bench.machine.route(to: "B")?.slot == 2)
    }

    @Test func restartBehindSomethingThatKeepsTheOldConnectionTakesASecondAndAHalf() {
        var bench = Bench()
        bench.confirm("B", slot: 1)
        bench.send(.neighbourConnected(slot: 2, cost: 1), after: 500)
        bench.hello("B", slot: 2, instance: 8)
        bench.hello("B", slot: 2, instance: 8, after: 800)
        #expect(bench.machine.route(to: "B")?.slot == 1)
        #expect(bench.hello("B", slot: 2, instance: 8, after: 800).logs.contains { $0.contains("restarted") })
        #expect(bench.machine.route(to: "B")?.slot == 2)
    }

    // MARK: silence

    @Test func silentConnectionIsLeftAtOnceAndTakenAgainWithTheNextHello() {
        var bench = Bench()
        bench.confirm("B", slot: 1)
        bench.confirm("C", slot: 2)
        bench.linkState("B", 1, ["A": 1, "C": 1])
        bench.linkState("C", 1, ["A": 1, "B": 1], slot: 2)
        let effects = bench.send(.neighbourSilent(slot: 1), after: 100)
        #expect(effects.first == .routesChanged && effects.sent.contains("RA*"))
        #expect(bench.machine.route(to: "B")?.nextHopID == "C")
        #expect(bench.send(.neighbourSilent(slot: 1)).sent == [])
        bench.hello("B", slot: 1, after: 100)
        #expect(bench.machine.route(to: "B")?.slot == 1)
        #expect(bench.machine.route(to: "B")?.nextHopID == nil)
        // A connection that is not there, or has no peer yet, can be silent too.
        bench.send(.neighbourConnected(slot: 3, cost: 1))
        #expect(bench.send(.neighbourSilent(slot: 3)).sent == [] && bench.send(.neighbourSilent(slot: 9)).sent == [])
    }

    @Test func theOnlyNeighbourIsKeptUntilItsHelloAreOverdue() {
        var bench = Bench()
        bench.confirm("B")
        #expect(bench.send(.neighbourSilent(slot: 1), after: 1000).isEmpty)
        #expect(bench.machine.route(to: "B") != nil)
        bench.send(.tick, after: 2001)
        #expect(bench.machine.route(to: "B") == nil)
    }

    @Test func silentConnectionGivesWayToASecondOneOfTheSameNeighbour() {
        var bench = Bench()
        bench.confirm("B", slot: 1)
        bench.confirm("B", slot: 2, cost: 4)
        bench.send(.neighbourSilent(slot: 2), after: 100)
        #expect(bench.machine.route(to: "B")?.slot == 1 && bench.machine.ownPeers == ["B": 1])
    }

    @Test func connectionStaysBoundToOneRouter() {
        var bench = Bench()
        bench.confirm("B")
        bench.hello("C", slot: 1)
        #expect(bench.machine.ownPeers == ["B": 1])
        #expect(bench.machine.rejections == ["neighbourIDChanged": 1])
    }

    @Test func costsAreBroughtIntoRange() {
        var bench = Bench()
        bench.confirm("B", slot: 1, cost: -5)
        bench.confirm("C", slot: 2, cost: Int.max)
        #expect(bench.machine.ownPeers == ["B": 1, "C": Int(Int32.max)])
    }
}
