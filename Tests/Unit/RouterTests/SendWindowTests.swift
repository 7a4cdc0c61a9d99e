import Testing

@testable import Router

@Suite struct SendWindowTests {
    /// Sends as much as the window allows, and has all of it acknowledged one round trip later.
    private func roundTrips(_ count: Int, of milliseconds: Int64, in window: inout SendWindow, from start: Int64 = 1) {
        var now = start
        for _ in 0..<count {
            while window.room > 0 { window.send(min(window.room, 131_072), now: now) }
            now += milliseconds
            let isValid = window.acknowledge(window.sent, now: now)
            #expect(isValid)
        }
    }

    @Test func towardsAnotherProductTheWindowStays() {
        var window = SendWindow()
        roundTrips(20, of: 50, in: &window)
        #expect(window.size == 1_042_432)
    }

    @Test func onALongPathTheWindowDoublesInEachRoundTripUpToItsMaximum() {
        var window = SendWindow()
        window.farEndTakes(WindowOffer(most: SendWindow.largest))
        roundTrips(1, of: 50, in: &window)
        #expect(window.size == 2 * 1_042_432)
        roundTrips(1, of: 50, in: &window, from: 100)
        #expect(window.size == 4 * 1_042_432)
        roundTrips(20, of: 50, in: &window, from: 1000)
        #expect(window.size == SendWindow.largest)
    }

    @Test func onAShortPathTheWindowStays() {
        var window = SendWindow()
        window.farEndTakes(WindowOffer(most: SendWindow.largest))
        roundTrips(20, of: 1, in: &window)
        #expect(window.size == 1_042_432)
    }

    @Test func aSlowReaderDoesNotMakeItGrow() {
        var window = SendWindow()
        window.farEndTakes(WindowOffer(most: SendWindow.largest))
        // A first octet that finds nothing in its way shows how long the path is.
        window.send(1, now: 1)
        let isFirstValid = window.acknowledge(1, now: 11)
        #expect(isFirstValid)
        // From then on the reader takes a second for each window.
        roundTrips(10, of: 1000, in: &window, from: 20)
        #expect(window.size == 1_042_432)
    }

    /// A path that carries `rate` octets a millisecond and tells `trip` milliseconds later of every 256 KiB written at
    /// its far end. Returns the octets acknowledged in so many milliseconds, and the window's size at the end.
    private func path(rate: UInt64, trip: Int64, milliseconds: Int64, _ window: inout SendWindow) -> UInt64 {
        var arriving: [(time: Int64, offset: UInt64)] = []
        var carried: UInt64 = 0
        var reported: UInt64 = 0
        for now in 1...milliseconds {
            while let first = arriving.first, first.time <= now {
                arriving.removeFirst()
                _ = window.acknowledge(first.offset, now: now)
            }
            while window.room > 0 { window.send(min(window.room, 131_072), now: now) }
            carried = min(window.sent, carried + rate)
            if carried - reported >= 262_144 {
                reported = carried
                arriving.append((now + trip, carried))
            }
        }
        return window.acknowledged
    }

    @Test func aLongPathIsFilledWithinAFewRoundTrips() {
        var window = SendWindow()
        window.farEndTakes(WindowOffer(most: SendWindow.largest))
        // 1 Gbit/s at 50 ms carries 250 MB in two seconds less what cannot have been acknowledged yet.
        let carried = path(rate: 125_000, trip: 50, milliseconds: 2000, &window)
        #expect(carried > 228_000_000)
        // Twice what the path holds, and what one report covers.
        #expect((2 * 6_250_000...2 * 6_900_000).contains(window.size))
    }

    @Test func aBusyShortPathMayLookLongAndDoesNotMakeItGrowFar() {
        var window = SendWindow()
        window.farEndTakes(WindowOffer(most: SendWindow.largest))
        _ = path(rate: 500_000, trip: 3, milliseconds: 500, &window)
        #expect(window.size <= 4 * SendWindow.usual)
        // One short trip tells the truth, and the window goes back.
        _ = window.acknowledge(window.sent, now: 501)
        window.send(window.room, now: 502)
        _ = window.acknowledge(window.sent, now: 503)
        #expect(window.size == SendWindow.usual)
    }

    @Test func aFarEndThatTakesLittleGetsLittle() {
        var window = SendWindow()
        window.farEndTakes(WindowOffer(most: 16_384))
        #expect(window.room == 16_384)
        window.send(16_384, now: 1)
        #expect(window.room == 0)
        let isValid = window.acknowledge(10_000, now: 2)
        #expect(isValid)
        #expect(window.room == 10_000)
    }

    @Test func aFarEndThatHoldsMuchAsksForCaution() {
        var window = SendWindow()
        window.farEndTakes(WindowOffer(most: SendWindow.largest, first: WindowOffer.little))
        // As much as the kernels take in for a reader that reads nothing.
        while window.sent < WindowOffer.provenAfter {
            window.send(min(window.room, 8192), now: 1)
            let isValid = window.acknowledge(window.sent, now: 1)
            #expect(isValid)
        }
        window.send(window.room, now: 1)
        #expect(window.sent - window.acknowledged == WindowOffer.little)
    }

    @Test func aReaderThatReadsHasTheUsualWindowAfterAFewRoundTrips() {
        var window = SendWindow()
        window.farEndTakes(WindowOffer(most: SendWindow.largest, first: WindowOffer.little))
        roundTrips(9, of: 50, in: &window)
        #expect(window.size == 2 * WindowOffer.little)
        roundTrips(4, of: 50, in: &window, from: 1000)
        #expect(window.size == SendWindow.usual)
        roundTrips(20, of: 50, in: &window, from: 2000)
        #expect(window.size == SendWindow.largest)
    }

    @Test func reportsComeBeforeACautiousWindowIsFull() {
        var window = SendWindow()
        window.farEndTakes(WindowOffer(most: SendWindow.largest, first: WindowOffer.little))
        var reported: UInt64 = 0
        while window.size < SendWindow.usual, window.sent < 64 << 20 {
            window.send(min(window.room, 4096), now: 1)
            // All that was sent is written; what is not reported yet is told when enough has gathered.
            let every = WindowOffer.reportEvery(window.sent, usual: TCPStream.reportEvery)
            #expect(2 * every <= window.size)
            if window.sent - reported >= every {
                reported = window.sent
                _ = window.acknowledge(reported, now: 1)
            }
            if window.room == 0 { break }
        }
        #expect(window.size == SendWindow.usual)
    }

    @Test func whatWasNotSentCannotBeAcknowledged() {
        var window = SendWindow()
        window.send(100, now: 1)
        let isTooMuchValid = window.acknowledge(101, now: 2)
        #expect(!isTooMuchValid)
        let isAllValid = window.acknowledge(100, now: 2)
        #expect(isAllValid)
        let isRepeatValid = window.acknowledge(100, now: 3)
        #expect(!isRepeatValid)
    }
}

@Suite struct QuietTimeTests {
    @Test func memoryIsGivenBackOnceAfterTrafficEnded() {
        var quiet = QuietTime()
        #expect(quiet.notice(moved: 0, changes: 0, now: 10) == .busy)
        #expect(quiet.notice(moved: 10 << 20, changes: 5, now: 1000) == .busy)
        #expect(quiet.notice(moved: 10 << 20, changes: 5, now: 4999) == .busy)
        #expect(quiet.notice(moved: 10 << 20, changes: 5, now: 5000) == .trimming)
        quiet.goOn(now: 5000)
        #expect(quiet.notice(moved: 10 << 20, changes: 5, now: 5250) == .trimming)
        #expect(quiet.notice(moved: 10 << 20, changes: 5, now: 5500) == .release)
        #expect(quiet.notice(moved: 10 << 20, changes: 5, now: 5750) == .released)
        // Heartbeats are no traffic, a download is.
        #expect(quiet.notice(moved: (10 << 20) + 4096, changes: 5, now: 60_000) == .released)
        #expect(quiet.notice(moved: 20 << 20, changes: 6, now: 60_250) == .busy)
    }

    @Test func streamsThatEndWithoutAWordAreGivenBackToo() {
        var quiet = QuietTime()
        #expect(quiet.notice(moved: 10 << 20, changes: 1000, now: 10) == .busy)
        // They are open and stand still.
        #expect(quiet.notice(moved: 10 << 20, changes: 1000, now: 5000) == .trimming)
        #expect(quiet.notice(moved: 10 << 20, changes: 1000, now: 5250) == .release)
        #expect(quiet.notice(moved: 10 << 20, changes: 2000, now: 60_000) == .busy)
        #expect(quiet.notice(moved: 10 << 20, changes: 2000, now: 64_000) == .trimming)
        #expect(quiet.notice(moved: 10 << 20, changes: 2000, now: 64_250) == .release)
    }
}

@Suite struct MemoryLimitTests {
    @Test func withoutALimitEverythingIsAdmitted() {
        let memory = MemoryLimit(octets: 0)
        #expect(memory.admit(1 << 50))
        #expect(memory.offeredWindow == SendWindow.largest)
    }

    @Test func whatIsGivenBackCanBeHadAgain() {
        let memory = MemoryLimit(octets: 64 << 20)
        let share = memory.share(farEndIsOurs: true)
        var admitted = 0
        while memory.admit(share) { admitted += 1 }
        // 44 MiB beside the router itself, at about 74 KiB each.
        #expect((500...700).contains(admitted))
        #expect(!memory.admit(share))
        memory.giveBack(share)
        #expect(memory.admit(share))
        #expect(memory.share(farEndIsOurs: false) > Int(SendWindow.usual))
    }
}
