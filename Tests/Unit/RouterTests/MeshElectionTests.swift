import TestKit
import Testing

@testable import Router

/// Edge routers that are all neighbours of each other, in memory.
private struct World {
    var routers: [String: MeshElection] = [:]
    /// Bids under way, as (to, from, bid); they arrive in any order between different pairs, in order within one.
    var underWay: [(to: String, from: String, bid: MeshElection.Bid)] = []
    var random: SplitMix64
    private var isCut: Set<Set<String>> = []
    private var names = 0

    init(seed: UInt64) { random = SplitMix64(seed: seed) }

    mutating func freshID() -> String {
        names += 1
        return "mesh-\(names)"
    }

    mutating func start(_ name: String, ordinal: Int64) {
        routers[name] = MeshElection(own: MeshElection.Bid(ordinal: ordinal, id: freshID()))
        for other in routers.keys where other != name {
            tell(other, of: name)
            tell(name, of: other)
        }
    }

    private mutating func tell(_ to: String, of from: String) {
        guard let bid = routers[from]?.own, !isCut.contains([from, to]) else { return }
        underWay.append((to, from, bid))
    }

    private mutating func tellAll(of name: String) {
        for other in routers.keys where other != name { tell(other, of: name) }
    }

    /// The connection between the two is gone, with what was under way on it.
    mutating func cut(_ one: String, _ two: String) {
        underWay.removeAll { ($0.to, $0.from) == (one, two) || ($0.to, $0.from) == (two, one) }
        isCut.insert([one, two])
        for (name, peer) in [(one, two), (two, one)] {
            let id = freshID()
            if routers[name]?.lost(peer, freshID: id) == true { tellAll(of: name) }
        }
    }

    mutating func stop(_ name: String) {
        for other in routers.keys.sorted() where other != name { cut(other, name) }
        routers[name] = nil
        isCut = isCut.filter { !$0.contains(name) }
    }

    /// Until no bid is under way. - Returns: false if that has no end.
    mutating func settle() -> Bool {
        for _ in 0..<10_000 {
            guard !underWay.isEmpty else { return true }
            let chosen = underWay[Int(random.next() % UInt64(underWay.count))]
            guard let first = underWay.firstIndex(where: { $0.to == chosen.to && $0.from == chosen.from }) else {
                return false
            }
            let message = underWay.remove(at: first)
            let fresh = MeshElection.Bid(ordinal: Int64(random.next() % 1000), id: freshID())
            let isNew = routers[message.to]?.heard(message.bid, from: message.from, fresh: fresh)
            if isNew == true { tellAll(of: message.to) }
        }
        return false
    }

    var meshes: Set<String> { Set(routers.values.map(\.meshID)) }
}

struct MeshElectionTests {
    private func election(_ ordinal: Int64, _ id: String) -> MeshElection {
        MeshElection(own: MeshElection.Bid(ordinal: ordinal, id: id))
    }

    private func bid(_ ordinal: Int64, _ id: String) -> MeshElection.Bid { MeshElection.Bid(ordinal: ordinal, id: id) }

    @Test func aloneItHasItsOwnName() {
        #expect(election(5, "own").meshID == "own")
    }

    @Test func theLowestOrdinalWins() {
        var machine = election(5, "own")
        let later = machine.heard(bid(9, "later"), from: "B", fresh: bid(0, "unused"))
        #expect(!later && machine.meshID == "own")
        let older = machine.heard(bid(2, "older"), from: "C", fresh: bid(0, "unused"))
        #expect(!older && machine.meshID == "older")
        #expect(machine.own == bid(5, "own"))
    }

    @Test func aSecondBidReplacesTheFirst() {
        var machine = election(5, "own")
        _ = machine.heard(bid(2, "first"), from: "B", fresh: bid(0, "unused"))
        _ = machine.heard(bid(7, "second"), from: "B", fresh: bid(0, "unused"))
        #expect(machine.meshID == "own")
    }

    @Test func withTheSameOrdinalItBidsAfresh() {
        var machine = election(5, "own")
        let isNew = machine.heard(bid(5, "other"), from: "B", fresh: bid(4, "fresh"))
        #expect(isNew && machine.own == bid(4, "fresh") && machine.meshID == "fresh")
    }

    @Test func theLoserGoesBackToItsOwnName() {
        var machine = election(5, "own")
        _ = machine.heard(bid(2, "older"), from: "B", fresh: bid(0, "unused"))
        let isNew = machine.lost("B", freshID: "unused")
        #expect(!isNew && machine.meshID == "own" && machine.own == bid(5, "own"))
    }

    @Test func theWinnerTakesANewNameWithALowerOrdinal() {
        var machine = election(5, "own")
        _ = machine.heard(bid(9, "later"), from: "B", fresh: bid(0, "unused"))
        let isNew = machine.lost("B", freshID: "new")
        #expect(isNew && machine.own == bid(4, "new") && machine.meshID == "new")
    }

    @Test(arguments: 1...200 as ClosedRange<UInt64>)
    func allComeToOneName(seed: UInt64) {
        var world = World(seed: seed)
        let names = ["A", "B", "C", "D", "E"]
        // Few ordinals, so that some are the same.
        for name in names { world.start(name, ordinal: Int64(world.random.next() % 4)) }
        let started = world.settle()
        #expect(started && world.meshes.count == 1)
        let before = world.meshes
        let leaving = names[Int(seed % 5)]
        world.stop(leaving)
        let left = world.settle()
        #expect(left && world.meshes.count == 1 && world.routers.count == 4)
        world.start(leaving, ordinal: 5000)
        let back = world.settle()
        #expect(back && world.meshes.count == 1)
        #expect(before.count == 1)
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func whoLivesOnAloneHasAnotherName(seed: UInt64) {
        var world = World(seed: seed)
        for name in ["A", "B", "C"] { world.start(name, ordinal: Int64(world.random.next() % 100)) }
        let started = world.settle()
        world.cut("A", "B")
        world.cut("A", "C")
        let cut = world.settle()
        #expect(started && cut && world.routers["B"]?.meshID == world.routers["C"]?.meshID)
        #expect(world.routers["A"]?.meshID != world.routers["B"]?.meshID)
    }
}
