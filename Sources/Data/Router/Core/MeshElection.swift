/// Finds the name of a mesh of edge routers together with the others in it (router-protocol sheet, section 7.4).
///
/// Every edge router bids an ordinal and a name, and the name with the lowest ordinal is the mesh's: where all are
/// neighbours of each other, all come to the same without another word. Pure: names and ordinals are made outside.
struct MeshElection {
    /// What one edge router proposes.
    struct Bid: Equatable, Sendable {
        /// Microseconds since 1970 at its start, and some by chance: the router that has been there longest wins.
        var ordinal: Int64
        /// 15 octets.
        var id: String

        fileprivate func precedes(_ other: Bid) -> Bool {
            (ordinal, id) < (other.ordinal, other.id)
        }
    }

    /// What this router proposes.
    private(set) var own: Bid
    private var bids: [String: Bid] = [:]

    init(own: Bid) { self.own = own }

    /// The name of the mesh, as far as this router knows.
    var meshID: String { bids.values.reduce(own) { $1.precedes($0) ? $1 : $0 }.id }

    /// A neighbour's bid, which takes the place of its last one.
    /// - Parameter fresh: used if both have the same ordinal, which neither can win with.
    /// - Returns: whether ``own`` is another one now, which every neighbour has to be told.
    mutating func heard(_ bid: Bid, from peer: String, fresh: Bid) -> Bool {
        bids[peer] = bid
        guard bid.ordinal == own.ordinal else { return false }
        own = fresh
        return true
    }

    /// There is no connection to the neighbour any more.
    ///
    /// It may live on, and be reached through the interior only if it is in a mesh of another name. A router that had
    /// its name from us keeps it, so we take a new one; the ordinal goes down because skupper-router takes no second
    /// bid with the ordinal of the first.
    /// - Returns: as ``heard(_:from:fresh:)``.
    mutating func lost(_ peer: String, freshID: String) -> Bool {
        let wasOurs = meshID == own.id
        bids[peer] = nil
        guard wasOurs else { return false }
        own = Bid(ordinal: own.ordinal - 1, id: freshID)
        return true
    }
}
