import Testing

@testable import LinkStateRouting

/// All-pairs shortest distances the slow way, as the judge of the fast one.
func floydWarshall(_ states: [String: [String: Int]]) -> [String: [String: Int]] {
    var ids = Set(states.keys)
    for peers in states.values { ids.formUnion(peers.keys) }
    var distance: [String: [String: Int]] = [:]
    for id in ids {
        distance[id] = states[id] ?? [:]
        distance[id]?[id] = 0
    }
    for middle in ids {
        for from in ids {
            guard let first = distance[from]?[middle] else { continue }
            for (to, second) in distance[middle] ?? [:] where first + second < distance[from]?[to] ?? Int.max {
                distance[from]?[to] = first + second
            }
        }
    }
    return distance
}

/// A random graph; symmetric costs unless `asymmetric`.
func randomGraph(_ random: inout SeededGenerator, count: Int, asymmetric: Bool) -> [String: [String: Int]] {
    let ids = (0..<count).map { "r\(String($0, radix: 36))\(random.below(10))" }
    var states = Dictionary(uniqueKeysWithValues: ids.map { ($0, [String: Int]()) })
    let percent = 10 + random.below(60)
    let highest = random.chance(50) ? 3 : 20
    for left in ids {
        for right in ids where left < right && random.chance(percent) {
            let cost = 1 + random.below(highest)
            states[left]?[right] = cost
            states[right]?[left] = asymmetric ? 1 + random.below(highest) : cost
        }
    }
    return states
}

@Suite struct PathComputationTests {
    struct Topology {
        var states: [String: [String: Int]] = [:]
        /// "A: B via C cost 2 origins X,Y"
        var expectations: [String] = []
    }

    static let catalogue = [
        "pair.txt", "line.txt", "ring.txt", "star.txt", "diamond.txt", "shortcut.txt", "asymmetric.txt",
        "partition.txt", "silent.txt", "huge-cost.txt",
    ]

    func parse(_ name: String) throws -> Topology {
        var topology = Topology()
        for line in try catalogueLines(name) {
            if line.hasPrefix("edges:") {
                for word in line.split(separator: " ").dropFirst() {
                    let isDirected = word.contains(">")
                    let parts = word.split { $0 == "-" || $0 == ">" || $0 == ":" }.map(String.init)
                    let cost = try #require(Int(parts[2]))
                    topology.states[parts[0], default: [:]][parts[1]] = cost
                    if !isDirected { topology.states[parts[1], default: [:]][parts[0]] = cost }
                }
            } else {
                topology.expectations.append(line)
            }
        }
        return topology
    }

    @Test(arguments: catalogue) func catalogueTopology(_ name: String) throws {
        let topology = try parse(name)
        #expect(!topology.expectations.isEmpty)
        for expectation in topology.expectations {
            let words = expectation.split(separator: " ").map(String.init)
            let root = String(words[0].dropLast())
            let computation = PathComputation(selfID: root, linkStates: topology.states)
            if words[1] == "radius" {
                #expect(computation.radius == Int(words[2]), "\(name): \(expectation)")
                continue
            }
            let path = computation.paths[words[1]]
            if words[2] == "unreachable" {
                #expect(path == nil, "\(name): \(expectation)")
                continue
            }
            #expect(path?.firstHop == words[3], "\(name): \(expectation)")
            #expect(path?.cost == Int(words[5]), "\(name): \(expectation)")
            if words.count > 7 {
                let origins = words[7] == "none" ? [] : Set(words[7].split(separator: ",").map(String.init))
                #expect(path?.validOrigins == origins, "\(name): \(expectation)")
            }
        }
    }

    @Test(arguments: 1...40) func agreesWithFloydWarshall(_ seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let states = randomGraph(&random, count: 2 + random.below(18), asymmetric: seed % 2 == 0)
        let distance = floydWarshall(states)
        for root in states.keys {
            let computation = PathComputation(selfID: root, linkStates: states)
            let costs = computation.paths.mapValues(\.cost)
            var expected = distance[root] ?? [:]
            expected[root] = nil
            #expect(costs == expected, "seed \(seed), root \(root)")
            for (destination, path) in computation.paths {
                let rest = path.firstHop == destination ? 0 : distance[path.firstHop]?[destination]
                #expect(
                    (states[root]?[path.firstHop] ?? -1) + (rest ?? -1) == path.cost,
                    "seed \(seed): \(root) to \(destination) via \(path.firstHop)")
            }
        }
    }

    /// Multicast as forwarders do it: every router must get exactly one copy, whoever sends.
    @Test(arguments: 1...40) func validOriginsDeliverOnce(_ seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed) &* 7919)
        let states = randomGraph(&random, count: 2 + random.below(14), asymmetric: seed % 3 == 0)
        let tables = Dictionary(
            uniqueKeysWithValues: states.keys.map { ($0, PathComputation(selfID: $0, linkStates: states)) })
        for origin in states.keys {
            var copies: [String: Int] = [:]
            var waiting = [origin]
            var steps = 0
            while let router = waiting.popLast(), steps < 1000 {
                steps += 1
                let paths = tables[router]?.paths ?? [:]
                let chosen = paths.filter { router == origin || $0.value.validOrigins.contains(origin) }
                for next in Set(chosen.values.map(\.firstHop)) {
                    copies[next, default: 0] += 1
                    waiting.append(next)
                }
            }
            let reachable = tables[origin]?.paths.keys.reduce(into: [:]) { $0[$1] = 1 } ?? [:]
            #expect(copies == reachable, "seed \(seed), origin \(origin)")
        }
    }
}
