/// Messages that were passed on a moment ago, so that copies of them that come over other links go no further.
///
/// A copy that is passed on wherever its trace allows multiplies with the loops of a network: 200 routers with 297
/// links would carry each advertisement some 5,800 times. skupper-router leaves out the neighbours that its own paths
/// to the routers of the trace lead through; right after a link is lost those paths are wrong, and what nobody passes
/// on is missing until the next advertisement.
struct FloodRelay {
    private struct Passed {
        var slots: Set<Int>
        /// Routers in the trace of the shortest copy.
        var length: Int
    }

    /// Advertisements are never closer than a tick unless they say something new.
    static let memoryMilliseconds: Int64 = 1000
    /// Octets that are remembered; beyond them, copies are taken for messages of their own.
    static let octetLimit = 1 << 20

    private var passed: [[UInt8]: Passed] = [:]
    /// In the order of time. What is before `first` is forgotten.
    private var order: [(time: Int64, content: [UInt8])] = []
    private var first = 0
    private var octets = 0

    /// Those of `slots` that have not had this message. A copy that has come by fewer routers goes to all once more:
    /// a receiver may refuse one that has come too far.
    mutating func slots(of candidates: [Int], for content: [UInt8], length: Int, now: Int64) -> [Int] {
        forget(before: now - Self.memoryMilliseconds)
        guard let before = passed[content] else {
            guard octets + content.count <= Self.octetLimit else { return candidates }
            passed[content] = Passed(slots: Set(candidates), length: length)
            order.append((now, content))
            octets += content.count
            return candidates
        }
        if length < before.length {
            passed[content] = Passed(slots: before.slots.union(candidates), length: length)
            return candidates
        }
        let missing = candidates.filter { !before.slots.contains($0) }
        if !missing.isEmpty { passed[content]?.slots.formUnion(missing) }
        return missing
    }

    private mutating func forget(before time: Int64) {
        while first < order.count, order[first].time <= time {
            passed[order[first].content] = nil
            octets -= order[first].content.count
            first += 1
        }
        guard first > order.count / 2 else { return }
        order.removeFirst(first)
        first = 0
    }
}

extension RoutingMachine {
    /// Slots that a flooded message is to be passed on to: every neighbour that is not in its trace, once.
    /// - Parameters:
    ///   - content: the message without what changes from router to router.
    ///   - trace: ids of the routers it has come through.
    package mutating func relaySlots(content: [UInt8], from slot: Int, trace: [String], now: Int64) -> [Int] {
        // Far more than a flood needs, and an end for one that goes in a circle among others' routers.
        guard trace.count <= max(radius + 1, 64), !trace.contains(id) else { return [] }
        let candidates = sortedRemotes.compactMap { neighbour -> Int? in
            guard let other = remotes[neighbour]?.slot, other != slot, !trace.contains(neighbour) else { return nil }
            return other
        }
        return floods.slots(of: candidates, for: content, length: trace.count, now: now)
    }
}
