import Testing

@testable import LinkStateRouting

/// Networks of up to twenty routers in virtual time. A failing case prints its shape and seed.
@Suite struct SimulationTests {
    enum Shape: String, CaseIterable, Sendable {
        case line, ring, star, mesh, random
    }

    static func edges(_ shape: Shape, _ count: Int, _ random: inout SeededGenerator) -> [(Int, Int, Int)] {
        var edges: [(Int, Int, Int)] = []
        switch shape {
        case .line: edges = (1..<count).map { ($0 - 1, $0, 1) }
        case .ring:
            edges = (1..<count).map { ($0 - 1, $0, 1) }
            if count > 2 { edges.append((count - 1, 0, 1)) }
        case .star: edges = (1..<count).map { (0, $0, 1) }
        case .mesh:
            for left in 0..<count { for right in (left + 1)..<max(count, left + 1) { edges.append((left, right, 1)) } }
        case .random:
            for node in 1..<count { edges.append((random.below(node), node, 1 + random.below(4))) }
            for _ in 0..<count {
                let (left, right) = (random.below(count), random.below(count))
                let isNew = !edges.contains { ($0.0, $0.1) == (left, right) || ($0.1, $0.0) == (left, right) }
                if left != right && isNew { edges.append((left, right, 1 + random.below(4))) }
            }
        }
        return edges
    }

    static func world(_ shape: Shape, _ count: Int, seed: UInt64, delay: ClosedRange<Int64> = 1...10) -> World {
        var random = SeededGenerator(seed: seed ^ 0x5EED)
        var world = World(seed: seed, routerCount: count, edges: edges(shape, count, &random), delay: delay)
        for router in 0..<count { world.offer(router, "Ms\(router)") }
        return world
    }

    @Test func twoRoutersKnowEachOthersServicesWithinThreeRoundTrips() {
        for seed in 1...50 as ClosedRange<UInt64> {
            var world = Self.world(.line, 2, seed: seed, delay: 10...10)
            world.run(for: 1500)
            world.raise(0)
            // Up to 5 ms until both have attached, 20 ms a round trip: HELLO both ways, RA, MAR, MAU.
            let time = world.runUntilConverged(limit: 5000)
            #expect(time ?? 5000 <= 80, "seed \(seed): \(String(describing: time)) \(world.disagreement() ?? "")")
            #expect(world.faults.isEmpty, "seed \(seed): \(world.faults.prefix(3))")
        }
    }

    @Test(arguments: Shape.allCases, [2, 3, 5, 9, 14, 20]) func coldStartConverges(_ shape: Shape, _ count: Int) {
        let seed = UInt64(count * 31)
        // A full mesh of more than nine floods too many copies to be worth the time.
        let size = shape == .mesh ? min(count, 9) : count
        var world = Self.world(shape, size, seed: seed)
        world.heal()
        let time = world.runUntilConverged(limit: 20_000)
        #expect(time ?? 20_000 <= 6000, "\(shape) \(size) seed \(seed): \(world.disagreement() ?? "late")")
        #expect(world.faults.isEmpty, "\(shape) \(size) seed \(seed): \(world.faults.prefix(3))")
    }

    @Test(arguments: Shape.allCases, 1...6 as ClosedRange<UInt64>)
    func chaosThenHealConverges(_ shape: Shape, _ seed: UInt64) {
        var random = SeededGenerator(seed: seed &* 0xABCD_EF01)
        let count = 2 + random.below(shape == .mesh ? 5 : 9)
        var world = Self.world(shape, count, seed: seed, delay: 1...60)
        world.heal()
        Self.disturb(&world, steps: 80, &random)
        world.heal()
        let time = world.runUntilConverged(limit: 40_000)
        #expect(
            time ?? 40_000 <= 15_000,
            "\(shape) \(count) seed \(seed): \(String(describing: time)) \(world.disagreement() ?? "late")")
        #expect(world.faults.isEmpty, "\(shape) \(count) seed \(seed): \(world.faults.prefix(3))")
        // And it stays so, with nothing sent but HELLO and RA.
        world.run(for: seed <= 2 ? 70_000 : 5000)
        #expect(world.disagreement() == nil, "\(shape) \(count) seed \(seed), some time later")
    }

    static func disturb(_ world: inout World, steps: Int, _ random: inout SeededGenerator) {
        for step in 0..<steps {
            let link = random.below(world.links.count)
            let router = random.below(world.routers.count)
            switch random.below(10) {
            case 0, 1: world.cut(link)
            case 2, 3: world.raise(link)
            case 4: world.clog(link, direction: random.below(2))
            case 5: world.unclog(link)
            case 6: world.restart(router)
            case 7: world.offer(router, "Mx\(step % 7)")
            case 8: world.withdraw(router, "Mx\(random.below(7))")
            default: world.setCost(link, 1 + random.below(9))
            }
            world.run(for: Int64(1 + random.below(1200)))
        }
    }

    @Test func oneWayClogIsALossAndHeals() {
        var world = Self.world(.ring, 4, seed: 5)
        world.heal()
        #expect(world.runUntilConverged(limit: 10_000) != nil)
        world.clog(0, direction: 0)
        world.run(for: 9000)
        let ends = world.links[0].ends.map { world.routers[$0] }
        #expect(ends[1].machine.ownPeers[ends[0].id] == nil, "the deaf side must notice")
        #expect(ends[0].machine.ownPeers[ends[1].id] == nil, "the mute side must notice that it is not seen")
        #expect(ends[0].machine.route(to: ends[1].id)?.cost == 3)
        world.unclog(0)
        #expect(world.runUntilConverged(limit: 10_000) != nil, "\(world.disagreement() ?? "")")
    }

    @Test func silentPeerIsLostInTime() {
        var world = Self.world(.line, 2, seed: 11)
        world.heal()
        #expect(world.runUntilConverged(limit: 5000) != nil)
        world.clog(0, direction: 0)
        world.clog(0, direction: 1)
        let start = world.now
        while world.now - start < 6000, world.routers.contains(where: { !$0.machine.ownPeers.isEmpty }) {
            world.run(for: 10)
        }
        #expect((2000...4100).contains(world.now - start))
    }

    @Test func restartIsNoticedAtOnce() {
        var world = Self.world(.line, 3, seed: 3)
        world.heal()
        #expect(world.runUntilConverged(limit: 10_000) != nil)
        world.run(for: 10_000)
        world.restart(2)
        let time = world.runUntilConverged(limit: 10_000)
        #expect(time ?? 10_000 <= 2000, "\(String(describing: time)) \(world.disagreement() ?? "")")
    }

    @Test func costChangeReachesEveryoneAtOnce() {
        var world = Self.world(.line, 5, seed: 8)
        world.heal()
        #expect(world.runUntilConverged(limit: 10_000) != nil)
        world.run(for: 20_000)
        world.setCost(0, 8)
        let time = world.runUntilConverged(limit: 10_000)
        #expect(time ?? 10_000 <= 300, "\(String(describing: time)) \(world.disagreement() ?? "")")
    }

    @Test func newServiceReachesEveryoneAtOnce() {
        var world = Self.world(.ring, 8, seed: 21)
        world.heal()
        #expect(world.runUntilConverged(limit: 10_000) != nil)
        world.run(for: 20_000)
        world.offer(3, "Mnew")
        let time = world.runUntilConverged(limit: 10_000)
        #expect(time ?? 10_000 <= 60, "\(String(describing: time)) \(world.disagreement() ?? "")")
    }

    @Test func quietNetworkSendsLittle() {
        var world = Self.world(.line, 2, seed: 2)
        world.heal()
        world.run(for: 30_000)
        let before = world.messagesCarried
        world.run(for: 60_000)
        // 60 HELLO and 2 RA from each side.
        #expect((120...126).contains(world.messagesCarried - before), "\(world.messagesCarried - before)")
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func sameSeedSameTrace(_ seed: UInt64) {
        func trace() -> (UInt64, Int) {
            var random = SeededGenerator(seed: seed)
            var world = Self.world(.random, 7, seed: seed)
            world.heal()
            Self.disturb(&world, steps: 40, &random)
            return (world.traceHash, world.messagesCarried)
        }
        let (first, second) = (trace(), trace())
        #expect(first == second, "seed \(seed)")
        #expect(first.1 > 100)
    }
}
