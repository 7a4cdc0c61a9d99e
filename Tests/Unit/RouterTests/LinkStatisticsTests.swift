import Testing

@testable import Router

struct LinkStatisticsTests {
    @Test func aLinkIsWithoutCreditFromTheFirstScanThatFindsItSo() {
        var statistics = LinkStatistics()
        statistics.scan(hasCredit: true, now: 5000, intervalMilliseconds: 5000)
        #expect(statistics.withoutCreditSince == 0)
        for now in [Int64(10_000), 15_000, 20_000] {
            statistics.scan(hasCredit: false, now: now, intervalMilliseconds: 5000)
            #expect(statistics.withoutCreditSince == 10_000)
        }
        statistics.scan(hasCredit: true, now: 25_000, intervalMilliseconds: 5000)
        #expect(statistics.withoutCreditSince == 0)
    }

    /// A client that gives credit for one message at a time has none whenever one looks.
    @Test func aLinkThatMovesIsNotWithoutCredit() {
        var statistics = LinkStatistics()
        for now in [Int64(5000), 10_000, 15_000, 20_000] {
            statistics.deliveries += 1
            statistics.scan(hasCredit: false, now: now, intervalMilliseconds: 5000)
            #expect(statistics.withoutCreditSince == now)
        }
    }
}
