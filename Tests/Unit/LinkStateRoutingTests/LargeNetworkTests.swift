import Glibc
import Testing

@testable import LinkStateRouting

/// Networks of a size that people run, against an independent computation of shortest paths.
///
/// `SKUPPER_TEST_SEEDS` sets how many networks of 24 routers are tried, `SKUPPER_TEST_LARGE=1` runs the 200 sites.
@Suite struct LargeNetworkTests {
    static func setting(_ name: String) -> Int? { getenv(name).flatMap { Int(String(cString: $0)) } }

    static let seeds = setting("SKUPPER_TEST_SEEDS") ?? 5
    /// Seeds of one test case: small enough that cases share the cores.
    static let batch = 5
    static let batches = Array(stride(from: 1, through: seeds, by: batch))
    /// Sites in the network of sites.
    static let sites = setting("SKUPPER_TEST_LARGE") == 1 ? 200 : 10

    /// A connected graph with some links more than a tree needs, costs from 1 to 20.
    static func randomEdges(
        _ count: Int, extra: Int, highest: Int, _ random: inout SeededGenerator
    ) -> [(Int, Int, Int)] {
        var edges: [(Int, Int, Int)] = []
        for node in 1..<count { edges.append((random.below(node), node, 1 + random.below(highest))) }
        var taken = Set(edges.map { $0.0 * count + $0.1 })
        for _ in 0..<extra {
            let (one, two) = (random.below(count), random.below(count))
            guard one != two, taken.insert(min(one, two) * count + max(one, two)).inserted else { continue }
            edges.append((min(one, two), max(one, two), 1 + random.below(highest)))
        }
        return edges
    }

    /// What one network of 24 came to: nil if it held.
    static func failure(seed: UInt64) -> String? {
        var random = SeededGenerator(seed: seed &* 0x9E37_79B9_7F4A_7C15)
        let edges = randomEdges(24, extra: 4 + random.below(30), highest: 20, &random)
        var world = World(seed: seed, routerCount: 24, edges: edges, delay: 1...30, watchesAnnouncements: false)
        for router in stride(from: 0, to: 24, by: 3) { world.offer(router, "Ms\(router)") }
        world.heal()
        world.run(for: Int64(500 + random.below(4000)))
        for _ in 0..<(4 + random.below(12)) {
            let link = random.below(world.links.count)
            switch random.below(8) {
            case 0, 1, 2: world.cut(link)
            case 3, 4: world.raise(link)
            case 5: world.restart(random.below(24))
            case 6: world.setCost(link, 1 + random.below(20))
            default:
                // A flap: down and up again before anybody has heard of it.
                world.cut(link)
                world.run(for: Int64(1 + random.below(40)))
                world.raise(link)
            }
            world.run(for: Int64(1 + random.below(700)))
        }
        // Nothing is mended: what is cut off must be unreachable, in every part.
        guard world.runUntilConverged(limit: 15_000, every: 100) != nil else {
            return "seed \(seed): \(world.disagreement() ?? "late")"
        }
        world.run(for: 3000)
        if let later = world.disagreement() { return "seed \(seed), three seconds later: \(later)" }
        return world.faults.isEmpty ? nil : "seed \(seed): \(world.faults.prefix(3))"
    }

    @Test(arguments: batches) func twentyFourRoutersAgreeWithTheShortestPaths(_ first: Int) {
        for seed in first..<min(first + Self.batch, Self.seeds + 1) {
            let failure = Self.failure(seed: UInt64(seed))
            #expect(failure == nil)
        }
    }

    /// Every site reaches two others or more, as in a network somebody runs, and offers fifty services.
    @Test func manySitesWithFiftyServicesEachConvergeAfterAFlap() throws {
        let count = Self.sites
        var random = SeededGenerator(seed: 77)
        let edges = Self.randomEdges(count, extra: count / 2, highest: 4, &random)
        var world = World(
            seed: 77, routerCount: count, edges: edges, delay: 1...30, watchesAnnouncements: false)
        for router in 0..<count { for number in 0..<50 { world.offer(router, "Ms\(router)-\(number)") } }
        world.heal()
        let cold = world.runUntilConverged(limit: 30_000, every: 250)
        let coldTime = try #require(cold, "\(world.disagreement() ?? "")")
        report("\(count) sites with 50 services each, \(edges.count) links: cold start", coldTime, world)
        world.run(for: 40_000)
        // A minute in which nothing happens.
        world.resetTraffic()
        world.run(for: 60_000)
        report("quiet for a minute", 60_000, world)
        // A link in the middle of the network: the one that most shortest paths from one corner use.
        for link in [0, count / 2, edges.count - 1] {
            for isCut in [true, false] {
                world.resetTraffic()
                if isCut { world.cut(link) } else { world.raise(link) }
                let time = world.runUntilConverged(limit: 10_000)
                #expect(time ?? 10_000 <= 5000, "link \(link): \(world.disagreement() ?? "")")
                report("link \(link) \(isCut ? "cut" : "raised")", time ?? -1, world)
                world.run(for: 20_000)
            }
        }
        #expect(world.faults.isEmpty, "\(world.faults.prefix(3))")
    }

    private func report(_ what: String, _ milliseconds: Int64, _ world: World) {
        let total = world.traffic.values.reduce((0, 0)) { ($0.0 + $1.messages, $0.1 + $1.octets) }
        let parts = world.traffic.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.messages)" }
        print("\(what): \(milliseconds) ms, \(total.0) messages, \(total.1) octets (\(parts.joined(separator: ", ")))")
    }
}
