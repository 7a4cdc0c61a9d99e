import AMQPCodec
import Testing

@testable import LinkStateRouting

@Suite struct AddressSynchronisationTests {
    func info(_ treatment: Int = 3, _ producers: Int = 0) -> AddressInfo {
        AddressInfo(treatment: treatment, producers: producers)
    }

    @Test func firstChangeGoesAtOnceUpdateBeforeAdvertisement() {
        var bench = Bench()
        bench.confirm("B")
        let effects = bench.send(.localAddressAdded(key: "Mecho", treatment: 3, producers: 0), after: 100)
        #expect(
            effects == [
                .flood(.differentialUpdate(id: "A", sequence: 1, added: [("Mecho", info())], removed: [])),
                .flood(.advertisement(id: "A", instance: 100, linkStateSequence: 1, mobileSequence: 1)),
            ])
    }

    @Test func burstIsCoalesced() {
        var bench = Bench()
        bench.confirm("B")
        bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 0), after: 100)
        let second = bench.send(.localAddressAdded(key: "M2", treatment: 3, producers: 0), after: 1)
        #expect(second == [.wakeAfter(milliseconds: 19)])
        #expect(bench.send(.localAddressAdded(key: "M1", treatment: 2, producers: 1), after: 1).isEmpty)
        #expect(bench.send(.localAddressAdded(key: "M9", treatment: 2, producers: 1), after: 1).isEmpty)
        #expect(bench.send(.localAddressRemoved(key: "M9"), after: 1).isEmpty)
        #expect(bench.send(.localAddressRemoved(key: "M0"), after: 1).isEmpty)
        let woken = bench.send(.wake, after: 15)
        #expect(
            woken.first
                == .flood(
                    .differentialUpdate(
                        id: "A", sequence: 2, added: [("M1", info(2, 1)), ("M2", info())], removed: ["M0"])))
        #expect(bench.machine.ownMobileSequence == 2)
    }

    @Test func producerCountsWaitForTheTick() {
        var bench = Bench()
        bench.confirm("B")
        bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 0), after: 100)
        #expect(bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 1), after: 100).isEmpty)
        #expect(bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 2), after: 100).isEmpty)
        let effects = bench.send(.tick, after: 800)
        #expect(
            effects.messages("MAU")
                == [.differentialUpdate(id: "A", sequence: 2, added: [("M0", info(3, 2))], removed: [])])
    }

    /// Who is in the mesh would be sent its own messages until the others know.
    @Test func anotherMeshIsToldAtOnce() {
        var bench = Bench()
        bench.confirm("B")
        bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 0), after: 100)
        let mesh = "XG9Xt0c22vIauTR"
        let told = bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 0, meshID: mesh), after: 100)
        let meshed = AddressInfo(treatment: 3, producers: 0, meshID: mesh)
        #expect(
            told.messages("MAU") == [.differentialUpdate(id: "A", sequence: 2, added: [("M0", meshed)], removed: [])])
        let back = bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 0), after: 100)
        #expect(
            back.messages("MAU") == [.differentialUpdate(id: "A", sequence: 3, added: [("M0", info())], removed: [])])
    }

    @Test func changesThatCancelAreNotSent() {
        var bench = Bench()
        bench.confirm("B")
        bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 0), after: 100)
        bench.send(.localAddressAdded(key: "M1", treatment: 3, producers: 0), after: 1)
        bench.send(.localAddressRemoved(key: "M1"), after: 1)
        #expect(bench.send(.wake, after: 18).isEmpty)
        #expect(bench.machine.ownMobileSequence == 1)
    }

    @Test func onlySynchronisedClassesAreAnnounced() {
        var bench = Bench()
        bench.confirm("B")
        for key in ["Lx", "Tx", "RB", "Gx", "Ax", "M", ""] {
            #expect(bench.send(.localAddressAdded(key: key, treatment: 3, producers: 0), after: 50).isEmpty)
        }
        #expect(bench.send(.localAddressRemoved(key: "Mnever"), after: 50).isEmpty)
        for key in ["Mx", "Nx", "Hx"] {
            #expect(
                !bench.send(.localAddressAdded(key: key, treatment: 3, producers: 0), after: 50).messages("MAU").isEmpty
            )
        }
    }

    @Test func requestIsAnsweredOnlyIfBehindAndListsWhatWasAnnounced() {
        var bench = Bench()
        bench.confirm("B")
        bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 0), after: 100)
        bench.send(.localAddressAdded(key: "M1", treatment: 3, producers: 0), after: 1)
        let effects = bench.receive(.mobileRequest(id: "B", to: "A", haveSequence: 0), after: 1)
        #expect(
            effects.messages("MAU") == [.absoluteUpdate(id: "A", to: "B", sequence: 1, addresses: [("M0", info())])])
        #expect(bench.receive(.mobileRequest(id: "B", to: "A", haveSequence: 2), after: 200).messages("MAU").count == 1)
        #expect(bench.receive(.mobileRequest(id: "B", to: "A", haveSequence: 2), after: 200).isEmpty)
    }

    @Test func requestsInABurstGetFewAnswers() {
        var bench = Bench()
        bench.confirm("B")
        bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 0), after: 100)
        let answers = (0..<1000).map { _ in
            bench.receive(.mobileRequest(id: "B", to: "A", haveSequence: 0), after: 1).messages("MAU").count
        }.reduce(0, +)
        #expect((9...11).contains(answers))
    }

    @Test func differentialAppliesInSequenceOnly() {
        var bench = Bench()
        bench.confirm("B")
        let first = bench.receive(
            .differentialUpdate(id: "B", sequence: 1, added: [("Ma", info()), ("Mb", info(1, 2))], removed: []),
            after: 100)
        #expect(first == [.routesChanged])
        #expect(bench.machine.route(to: "B")?.addresses == ["Ma": info(), "Mb": info(1, 2)])
        bench.receive(.differentialUpdate(id: "B", sequence: 2, added: [("Mc", info())], removed: ["Ma"]), after: 100)
        #expect(bench.machine.route(to: "B")?.addresses == ["Mc": info(), "Mb": info(1, 2)])
        // Sequence 4 skips one: its content is ignored, the lot is asked for.
        let skipped = bench.receive(
            .differentialUpdate(id: "B", sequence: 4, added: [("Mz", info())], removed: []), after: 100)
        #expect(skipped == [.sendToRouter(id: "B", .mobileRequest(id: "A", to: "B", haveSequence: 2))])
        #expect(bench.machine.route(to: "B")?.addresses["Mz"] == nil)
        // The same again does nothing.
        #expect(
            bench.receive(.differentialUpdate(id: "B", sequence: 2, added: [("Mq", info())], removed: []), after: 5)
                .isEmpty)
        let absolute = bench.receive(
            .absoluteUpdate(id: "B", to: "A", sequence: 4, addresses: [("Mb", info()), ("Mz", info())]), after: 5)
        #expect(absolute == [.routesChanged])
        #expect(bench.machine.route(to: "B")?.addresses == ["Mb": info(), "Mz": info()])
        #expect(bench.machine.route(to: "B")?.mobileSequence == 4)
        #expect(bench.machine.remoteAddressCount == 2)
    }

    @Test func advertisementOneStepAheadWaitsForTheUpdate() {
        var bench = Bench()
        bench.confirm("B")
        bench.receive(.absoluteUpdate(id: "B", to: "A", sequence: 4, addresses: []), after: 100)
        let early = bench.receive(
            .advertisement(id: "B", instance: 7, linkStateSequence: 0, mobileSequence: 5), after: 100)
        #expect(early == [.wakeAfter(milliseconds: 40)])
        bench.receive(.differentialUpdate(id: "B", sequence: 5, added: [], removed: []), after: 10)
        #expect(bench.send(.wake, after: 30).isEmpty)
        bench.receive(.advertisement(id: "B", instance: 7, linkStateSequence: 0, mobileSequence: 6), after: 100)
        #expect(
            bench.send(.wake, after: 40)
                == [.sendToRouter(id: "B", .mobileRequest(id: "A", to: "B", haveSequence: 5))])
    }

    @Test func updatesOfUnknownRoutersAreIgnored() {
        var bench = Bench()
        bench.confirm("B")
        bench.receive(.differentialUpdate(id: "Q", sequence: 1, added: [("Ma", info())], removed: []))
        bench.receive(.absoluteUpdate(id: "Q", to: "A", sequence: 1, addresses: [("Ma", info())]))
        #expect(bench.machine.rejections == ["unknownRouter": 2])
        #expect(bench.machine.nodes.map(\.id) == ["B"])
    }

    @Test func meshIDIsKept() {
        var bench = Bench()
        bench.confirm("B")
        let meshed = AddressInfo(treatment: 3, producers: 0, meshID: "XG9Xt0c22vIauTR")
        bench.receive(.differentialUpdate(id: "B", sequence: 1, added: [("HE", meshed)], removed: []))
        #expect(bench.machine.route(to: "B")?.addresses == ["HE": meshed])
    }

    @Test func oddDescriptorsAreLeftOut() {
        var bench = Bench()
        bench.confirm("B")
        let exist = AMQPValue.list([
            .string("Mbare"), .list([]), .list([.int(3)]), .list([.string("Lx"), .int(3), .int(0)]),
            .list([.string("Mnine"), .int(9), .int(0)]), .list([.string("Mshort"), .int(3)]),
            .list([.string("M" + String(repeating: "x", count: 4096)), .int(3), .int(0)]),
            .list([.string("Mgood"), .uint(2), .long(-4)]), .list([.symbol("Nnet"), .ubyte(1), .int(1), .null, .null]),
        ])
        bench.receive("MAU", [("id", .string("B")), ("mobile_seq", .int(3)), ("exist", exist)])
        #expect(bench.machine.route(to: "B")?.addresses == ["Mgood": info(2, 0), "Nnet": info(1, 1)])
        #expect(bench.machine.rejections == ["invalidField": 1])
    }

    @Test func localAddressesSurviveWithoutNeighbours() {
        var bench = Bench()
        #expect(bench.send(.localAddressAdded(key: "M0", treatment: 3, producers: 0)).isEmpty)
        #expect(bench.machine.ownMobileSequence == 1)
        bench.send(.neighbourConnected(slot: 1, cost: 1), after: 100)
        let effects = bench.hello("B")
        #expect(
            effects.messages("RA").first
                == .advertisement(
                    id: "A", instance: 100, linkStateSequence: 1, mobileSequence: 1))
    }
}
