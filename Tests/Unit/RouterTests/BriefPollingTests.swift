import Testing

@testable import Router

/// A loop whose events come at given times, in virtual nanoseconds.
private struct Loop {
    var polling: BriefPolling
    var now: UInt64 = 1_000_000_000
    var looks = 0
    var vainLooks = 0

    init(window: UInt64 = 100_000) { polling = BriefPolling(window: window) }

    /// Works for `busy`, then has nothing to do for `gap`; a sleep ends `waking` later.
    mutating func turn(busy: UInt64 = 10_000, gap: UInt64, waking: UInt64 = 30_000, movedMuch: Bool = false) {
        now += busy
        let began = now
        guard polling.isDue, !movedMuch else {
            now += gap + waking
            return polling.waited(from: began, to: now, lookedInVain: false, movedMuch: movedMuch)
        }
        looks += 1
        let isVain = gap >= polling.window
        if isVain { vainLooks += 1 }
        now += gap + (isVain ? waking : 0)
        polling.waited(from: began, to: now, lookedInVain: isVain, movedMuch: movedMuch)
    }
}

@Suite struct BriefPollingTests {
    @Test func looksWhileEventsComeFast() {
        var loop = Loop()
        for _ in 0..<1000 { loop.turn(gap: 20_000) }
        #expect(loop.looks == 996)
        #expect(loop.vainLooks == 0)
    }

    /// With both ends asleep a gap is longer than a look: the first looks are in vain, but not given up at once.
    @Test func givesTheOtherEndTimeToStart() {
        var loop = Loop()
        for _ in 0..<50 { loop.turn(gap: 110_000) }
        #expect(loop.vainLooks == 46)
        for _ in 0..<50 { loop.turn(gap: 20_000) }
        #expect(loop.looks == 96)
        #expect(loop.vainLooks == 46)
    }

    @Test func aLoopWithLittleToDoSleeps() {
        var loop = Loop()
        for _ in 0..<1000 { loop.turn(gap: 1_000_000) }
        #expect(loop.looks == 0)
        for _ in 0..<10 { loop.turn(gap: 20_000) }
        let before = loop.vainLooks
        for _ in 0..<1000 { loop.turn(gap: 1_000_000) }
        #expect(loop.vainLooks == before + 1, "one look after events that came fast")
    }

    @Test func aLoopThatMovesMuchSleeps() {
        var loop = Loop()
        for number in 0..<1000 { loop.turn(gap: 20_000, movedMuch: number % 4 == 0) }
        #expect(loop.looks == 0)
    }

    /// The worst gaps: never short enough to be rewarded, never so long that it gives up.
    @Test(arguments: [100_000, 110_000, 120_000] as [UInt64])
    func looksInVainTakeATwentiethOfTheTimeAtMost(gap: UInt64) {
        var loop = Loop()
        let began = loop.now
        for _ in 0..<100_000 { loop.turn(gap: gap) }
        let wasted = UInt64(loop.vainLooks) * loop.polling.window
        #expect(wasted <= (loop.now - began) / 20 + 100 * loop.polling.window)
        #expect(wasted >= (loop.now - began) / 40, "the share is used")
    }

    @Test func withoutAWindowThereIsNone() {
        var loop = Loop(window: 0)
        for _ in 0..<100 { loop.turn(gap: 1000) }
        #expect(loop.looks == 0)
    }

    @Test func aClockThatStandsStillDoesNoHarm() {
        var polling = BriefPolling(window: 50_000)
        for _ in 0..<1000 { polling.waited(from: 7, to: 7, lookedInVain: true, movedMuch: false) }
        #expect(!polling.isDue)
    }
}
