/// Shortest paths over the link-state database, seen from one router (§3.5).
///
/// Every router must break ties alike, or their valid origins disagree and multicast is lost or doubled: nodes of
/// equal distance are expanded in the order of their ids (octet order), and a path is replaced only by a strictly
/// cheaper one.
package struct PathComputation: Equatable, Sendable {
    /// Path to one reachable router.
    package struct Path: Equatable, Sendable {
        /// First router on the path; the destination itself if it is reached directly.
        package var firstHop: String
        /// Sum of the edge costs, not saturated.
        package var cost: Int
        /// Number of edges.
        package var hops: Int
        /// Other routers whose shortest path to the destination leads through us.
        package var validOrigins: Set<String>
    }

    /// Reachable routers by id, ourselves not included.
    package private(set) var paths: [String: Path] = [:]
    /// Largest number of hops to any router.
    package private(set) var radius = 0

    /// Computes all paths from `selfID`. `linkStates` holds the advertised peers and costs of each router, `selfID`
    /// included; costs are at least 1. A listed router without link state of its own is reachable but never transit.
    package init(selfID: String, linkStates: [String: [String: Int]]) {
        let graph = LinkStateGraph(selfID: selfID, linkStates: linkStates)
        let tree = graph.tree(from: graph.selfIndex)
        var reachable: [Int] = []
        for node in graph.ids.indices where node != graph.selfIndex && tree.cost[node] >= 0 {
            reachable.append(node)
            var firstHop = node
            var hops = 1
            while tree.previous[firstHop] >= 0, tree.previous[firstHop] != graph.selfIndex {
                firstHop = tree.previous[firstHop]
                hops += 1
            }
            paths[graph.ids[node]] = Path(
                firstHop: graph.ids[firstHop], cost: tree.cost[node], hops: hops, validOrigins: [])
            radius = max(radius, hops)
        }
        // With one link, or none, nobody's path leads through us.
        guard graph.canBeTransit else { return }
        for origin in reachable {
            for destination in graph.behindSelf(in: graph.tree(from: origin)) {
                paths[graph.ids[destination]]?.validOrigins.insert(graph.ids[origin])
            }
        }
    }
}

/// The link-state map with ids replaced by their ranks, so that rank order is id order.
private struct LinkStateGraph {
    struct Tree {
        /// -1 where there is no path.
        var cost: [Int]
        /// -1 for the root and where there is no path.
        var previous: [Int]
        /// Nodes in the order they were resolved; each comes after its predecessor.
        var order: [Int] = []
    }

    let ids: [String]
    let selfIndex: Int
    private var edges: [[(to: Int, cost: Int)]]

    init(selfID: String, linkStates: [String: [String: Int]]) {
        var named = Set(linkStates.keys)
        named.insert(selfID)
        for peers in linkStates.values { named.formUnion(peers.keys) }
        let sorted = named.sorted(by: precedesInOctetOrder)
        let rank = Dictionary(uniqueKeysWithValues: sorted.enumerated().map { ($1, $0) })
        ids = sorted
        selfIndex = rank[selfID] ?? 0
        edges = Array(repeating: [], count: sorted.count)
        for node in sorted.indices {
            for (peer, cost) in linkStates[sorted[node]] ?? [:] {
                guard let to = rank[peer], to != node else { continue }
                edges[node].append((to, max(1, cost)))
            }
            edges[node].sort { $0.to < $1.to }
        }
        // A router that is listed but has not told its links yet: one edge back to its first lister gives it a place
        // as an origin without making it a bridge between its listers.
        let silent = sorted.indices.filter { edges[$0].isEmpty && $0 != selfIndex }
        let told = edges
        for node in silent {
            if let lister = told.indices.first(where: { told[$0].contains { $0.to == node } }) {
                edges[node] = [(lister, 1)]
            }
        }
    }

    /// Somebody's path may lead through us: at least two routers are listed by us or list us.
    var canBeTransit: Bool {
        let listing = edges.indices.filter { edges[$0].contains { $0.to == selfIndex } }
        return Set(edges[selfIndex].map(\.to)).union(listing).count > 1
    }

    func tree(from root: Int) -> Tree {
        var tree = Tree(cost: Array(repeating: -1, count: ids.count), previous: Array(repeating: -1, count: ids.count))
        tree.order.reserveCapacity(ids.count)
        var resolved = Array(repeating: false, count: ids.count)
        var waiting = NearestFirst()
        tree.cost[root] = 0
        waiting.insert(cost: 0, node: root)
        while let node = waiting.removeNearest() {
            guard !resolved[node] else { continue }
            resolved[node] = true
            tree.order.append(node)
            let cost = tree.cost[node]
            for edge in edges[node] where !resolved[edge.to] {
                let (sum, overflow) = cost.addingReportingOverflow(edge.cost)
                let alternative = overflow ? Int.max : sum
                if tree.cost[edge.to] >= 0, tree.cost[edge.to] <= alternative { continue }
                tree.cost[edge.to] = alternative
                tree.previous[edge.to] = node
                waiting.insert(cost: alternative, node: edge.to)
            }
        }
        return tree
    }

    /// Destinations other than self whose path from the root of `tree` leads through self.
    func behindSelf(in tree: Tree) -> [Int] {
        var behind = Array(repeating: false, count: ids.count)
        var found: [Int] = []
        for node in tree.order {
            let before = tree.previous[node]
            guard before >= 0 else { continue }
            behind[node] = before == selfIndex || behind[before]
            if behind[node] { found.append(node) }
        }
        return found
    }
}

/// A binary heap of nodes: the smallest cost first, of equal costs the smallest node. A node that has become cheaper
/// is inserted again; whoever takes nodes out passes over those already taken.
private struct NearestFirst {
    private var items: [(cost: Int, node: Int)] = []

    private static func precedes(_ left: (cost: Int, node: Int), _ right: (cost: Int, node: Int)) -> Bool {
        left.cost != right.cost ? left.cost < right.cost : left.node < right.node
    }

    mutating func insert(cost: Int, node: Int) {
        items.append((cost, node))
        var index = items.count - 1
        while index > 0, NearestFirst.precedes(items[index], items[(index - 1) / 2]) {
            items.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    mutating func removeNearest() -> Int? {
        guard let first = items.first else { return nil }
        let last = items.removeLast()
        guard !items.isEmpty else { return first.node }
        items[0] = last
        var index = 0
        while true {
            var least = index
            for child in 2 * index + 1...2 * index + 2
            where child < items.count && NearestFirst.precedes(items[child], items[least]) { least = child }
            guard least != index else { return first.node }
            items.swapAt(index, least)
            index = least
        }
    }
}

/// The order of router ids that all routers share: octet by octet, which for UTF-8 is the order of code points.
func precedesInOctetOrder(_ left: String, _ right: String) -> Bool {
    left.utf8.lexicographicallyPrecedes(right.utf8)
}
