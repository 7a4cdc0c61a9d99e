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
        for node in graph.ids.indices where node != graph.selfIndex && tree.cost[node] != nil {
            reachable.append(node)
            var firstHop = node
            var hops = 1
            while let before = tree.previous[firstHop], before != graph.selfIndex {
                firstHop = before
                hops += 1
            }
            paths[graph.ids[node]] = Path(
                firstHop: graph.ids[firstHop], cost: tree.cost[node] ?? 0, hops: hops, validOrigins: [])
            radius = max(radius, hops)
        }
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
        var cost: [Int?]
        var previous: [Int?]
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

    func tree(from root: Int) -> Tree {
        var tree = Tree(
            cost: Array(repeating: nil, count: ids.count), previous: Array(repeating: nil, count: ids.count))
        var resolved = Array(repeating: false, count: ids.count)
        tree.cost[root] = 0
        while let (node, cost) = nearestUnresolved(tree.cost, resolved) {
            resolved[node] = true
            tree.order.append(node)
            for edge in edges[node] where !resolved[edge.to] {
                let (sum, overflow) = cost.addingReportingOverflow(edge.cost)
                let alternative = overflow ? Int.max : sum
                if let known = tree.cost[edge.to], known <= alternative { continue }
                tree.cost[edge.to] = alternative
                tree.previous[edge.to] = node
            }
        }
        return tree
    }

    /// Destinations other than self whose path from the root of `tree` leads through self.
    func behindSelf(in tree: Tree) -> [Int] {
        var behind = Array(repeating: false, count: ids.count)
        var found: [Int] = []
        for node in tree.order {
            guard let before = tree.previous[node] else { continue }
            behind[node] = before == selfIndex || behind[before]
            if behind[node] { found.append(node) }
        }
        return found
    }

    private func nearestUnresolved(_ costs: [Int?], _ resolved: [Bool]) -> (Int, Int)? {
        var nearest: (Int, Int)?
        for node in costs.indices where !resolved[node] {
            guard let cost = costs[node] else { continue }
            if nearest == nil || cost < nearest?.1 ?? Int.max { nearest = (node, cost) }
        }
        return nearest
    }
}

/// The order of router ids that all routers share: octet by octet, which for UTF-8 is the order of code points.
func precedesInOctetOrder(_ left: String, _ right: String) -> Bool {
    left.utf8.lexicographicallyPrecedes(right.utf8)
}
