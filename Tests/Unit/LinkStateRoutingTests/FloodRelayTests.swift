import Testing

@testable import LinkStateRouting

/// Which neighbours get a message that goes to every router, when copies of it arrive over several links.
@Suite struct FloodRelayTests {
    /// "A" in the middle of B, C and D on slots 1 to 3.
    static func bench() -> Bench {
        var bench = Bench()
        for (slot, id) in zip(1..., ["B", "C", "D"]) { bench.confirm(id, slot: slot) }
        return bench
    }

    @Test func firstCopyGoesToEveryNeighbourThatIsNotInItsTrace() {
        var bench = Self.bench()
        #expect(bench.machine.relaySlots(content: [1], from: 1, trace: ["X", "B"], now: bench.now) == [2, 3])
        // X is reached through C as far as A knows; that C has had the message does not follow.
        bench.linkState("C", 1, ["A": 1, "X": 1], slot: 2)
        #expect(bench.machine.relaySlots(content: [2], from: 1, trace: ["X", "B"], now: bench.now) == [2, 3])
        #expect(bench.machine.relaySlots(content: [3], from: 1, trace: ["C", "B"], now: bench.now) == [3])
    }

    @Test func laterCopiesGoOnlyWhereNoneHasGone() {
        var bench = Self.bench()
        #expect(bench.machine.relaySlots(content: [1], from: 1, trace: ["C", "B"], now: bench.now) == [3])
        #expect(bench.machine.relaySlots(content: [1], from: 3, trace: ["B", "D"], now: bench.now) == [2])
        #expect(bench.machine.relaySlots(content: [1], from: 2, trace: ["B", "C"], now: bench.now) == [])
        bench.confirm("E", slot: 4)
        #expect(bench.machine.relaySlots(content: [1], from: 2, trace: ["B", "C"], now: bench.now) == [4])
        #expect(bench.machine.relaySlots(content: [1, 2], from: 1, trace: ["B"], now: bench.now) == [2, 3, 4])
    }

    @Test func shorterCopyGoesToAllOnceMore() {
        var bench = Self.bench()
        #expect(bench.machine.relaySlots(content: [1], from: 1, trace: ["X", "Y", "B"], now: bench.now) == [2, 3])
        #expect(bench.machine.relaySlots(content: [1], from: 2, trace: ["X", "C"], now: bench.now) == [1, 3])
        #expect(bench.machine.relaySlots(content: [1], from: 3, trace: ["X", "D"], now: bench.now) == [])
    }

    @Test func sameWordsAfterTheTimeOfMemoryAreAMessageOfTheirOwn() {
        var bench = Self.bench()
        #expect(bench.machine.relaySlots(content: [1], from: 1, trace: ["B"], now: bench.now) == [2, 3])
        bench.now += FloodRelay.memoryMilliseconds - 1
        #expect(bench.machine.relaySlots(content: [1], from: 1, trace: ["B"], now: bench.now) == [])
        bench.now += 1
        #expect(bench.machine.relaySlots(content: [1], from: 1, trace: ["B"], now: bench.now) == [2, 3])
    }

    @Test func ownFloodsAndThoseThatHaveComeTooFarEnd() {
        var bench = Self.bench()
        #expect(bench.machine.relaySlots(content: [1], from: 1, trace: ["B", "A", "C"], now: bench.now) == [])
        let long = (0..<70).map { "R\($0)" }
        #expect(bench.machine.relaySlots(content: [2], from: 1, trace: long, now: bench.now) == [])
    }

    @Test func memoryIsBounded() {
        var relay = FloodRelay()
        let size = 100_000
        for number in 0..<30 {
            var content = Array(repeating: UInt8(7), count: size)
            content[0] = UInt8(number)
            let isKept = (number + 1) * size <= FloodRelay.octetLimit
            let again = isKept ? [] : [1, 2]
            let first = relay.slots(of: [1, 2], for: content, length: 1, now: 0)
            let second = relay.slots(of: [1, 2], for: content, length: 1, now: 0)
            #expect(first == [1, 2])
            #expect(second == again)
        }
        let later = relay.slots(of: [1], for: Array(repeating: 8, count: FloodRelay.octetLimit), length: 1, now: 1000)
        let copy = relay.slots(of: [1], for: Array(repeating: 8, count: FloodRelay.octetLimit), length: 1, now: 1000)
        #expect(later == [1])
        #expect(copy == [])
    }
}
