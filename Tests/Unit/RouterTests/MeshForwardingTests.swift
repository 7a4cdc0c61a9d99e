import Testing

@testable import Router

/// What a mesh of edge routers bars: see ``Arrival``.
struct MeshForwardingTests {
    private let here = ConnectionRef(worker: 0, id: 1)
    private let there = ConnectionRef(worker: 0, id: 2)

    private func consumer(_ peer: ConsumerPeer, mesh: String? = nil) -> LocalConsumer {
        LocalConsumer(connection: there, link: 7, load: LoadCounter(), peer: peer, meshID: mesh)
    }

    private func entry(_ consumers: [LocalConsumer], remoteMeshes: [String?] = []) -> AddressEntry {
        let remotes = remoteMeshes.enumerated().map { slot, mesh in
            RemoteConsumer(
                route: RemoteRoute(id: "R\(slot)", slot: slot, cost: 1, validOrigins: []), load: LoadCounter(),
                meshID: mesh)
        }
        return AddressEntry(
            key: "Mx", treatment: .balanced, inProcess: false, connectors: [], consumers: consumers, remotes: remotes,
            traffic: AddressTraffic())
    }

    private func isRefused(_ choice: Choice) -> Bool { if case .nowhere = choice { true } else { false } }

    @Test func whatCameFromARouterStaysInTheEdgeRouter() {
        let arrival = Arrival(connection: here, viaEdge: true, meshID: nil)
        #expect(arrival.bars(consumer(.interior)))
        #expect(arrival.bars(consumer(.meshPeer)))
        #expect(!arrival.bars(consumer(.client)))
        let own = Arrival(connection: here, viaEdge: false, meshID: nil)
        #expect(!own.bars(consumer(.interior)) && !own.bars(consumer(.meshPeer)))
    }

    @Test func interiorSendsNothingBackIntoTheMesh() {
        let arrival = Arrival(connection: here, viaEdge: true, meshID: "one")
        #expect(arrival.bars(consumer(.edge, mesh: "one")))
        #expect(!arrival.bars(consumer(.edge, mesh: "two")))
        #expect(!arrival.bars(consumer(.edge)))
    }

    @Test func remoteRouterWithNoOtherConsumersIsNotChosen() {
        let arrival = Arrival(connection: here, viaEdge: true, meshID: "one")
        let barred = ConsumerChoice.pick(entry([], remoteMeshes: ["one"]), origin: nil, arrival: arrival, turn: 0)
        #expect(isRefused(barred))
        for mesh in [nil, "two"] as [String?] {
            for turn in 0..<4 {
                let entry = entry([consumer(.edge, mesh: "one")], remoteMeshes: ["one", mesh])
                guard case .remote(let route, _) = ConsumerChoice.pick(
                    entry, origin: nil, arrival: arrival, turn: turn)
                else {
                    Issue.record("nothing was chosen")
                    continue
                }
                #expect(route.slot == 1)
            }
        }
    }

    @Test func neighbourComesBeforeTheInteriorUnlessItIsBusier() {
        let neighbour = consumer(.meshPeer)
        let interior = consumer(.interior)
        for consumers in [[neighbour, interior], [interior, neighbour]] {
            for turn in 0..<4 {
                guard case .consumer(let chosen) = ConsumerChoice.pick(entry(consumers), origin: nil, turn: turn) else {
                    Issue.record("nothing was chosen")
                    continue
                }
                #expect(chosen.peer == .meshPeer)
            }
        }
        neighbour.load.increment()
        let busy = entry([neighbour, interior])
        guard case .consumer(let chosen) = ConsumerChoice.pick(busy, origin: nil, turn: 0) else {
            Issue.record("nothing was chosen")
            return
        }
        #expect(chosen.peer == .interior)
    }

    @Test func interiorThatIsUnsureComesAfterEveryNeighbour() {
        var interior = consumer(.interior)
        interior.isUnsureOfMeshes = true
        let neighbour = consumer(.meshPeer)
        neighbour.load.increment()
        guard case .consumer(let chosen) = ConsumerChoice.pick(entry([interior, neighbour]), origin: nil, turn: 0),
            case .consumer(let alone) = ConsumerChoice.pick(entry([interior]), origin: nil, turn: 0)
        else {
            Issue.record("nothing was chosen")
            return
        }
        #expect(chosen.peer == .meshPeer && alone.peer == .interior)
    }

    @Test func soleMeshOfAnAddress() {
        var record = AddressRecord(key: "Mx", treatment: .balanced)
        #expect(record.soleMesh == nil)
        record.consumers = [consumer(.edge, mesh: "one"), consumer(.edge, mesh: "one")]
        #expect(record.soleMesh == "one")
        record.consumers.append(consumer(.client))
        #expect(record.soleMesh == nil)
        record.consumers = [consumer(.edge, mesh: "one"), consumer(.edge, mesh: "two")]
        #expect(record.soleMesh == nil)
    }
}
