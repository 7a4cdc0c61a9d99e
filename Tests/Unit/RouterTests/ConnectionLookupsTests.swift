import Testing

@testable import Router

@Suite struct ConnectionLookupsTests {
    private static let rowMaximum = ConnectionLookups.rowMaximum

    @Test func allWhenNothingIsSaid() {
        let page = ConnectionLookups.page(amqp: 3, streams: 10, offset: 0, count: -1)
        #expect(page.amqp == 0..<3)
        #expect(page.streams == 0..<10)
        #expect(page.leftOut == 0)
    }

    @Test func pagesFollowEachOtherWithoutGapOrDouble() {
        var amqp: [Int] = []
        var streams: [Int] = []
        for offset in stride(from: 0, to: 40, by: 4) {
            let page = ConnectionLookups.page(amqp: 6, streams: 13, offset: offset, count: 4)
            #expect(page.amqp.count + page.streams.count == min(4, max(0, 19 - offset)))
            amqp += page.amqp
            streams += page.streams
        }
        #expect(amqp == Array(0..<6))
        #expect(streams == Array(0..<13))
    }

    @Test func aCrowdOfClientsNeitherHidesALinkNorFillsAReply() {
        let crowd = 3 * Self.rowMaximum
        let all = ConnectionLookups.page(amqp: 2, streams: crowd, offset: 0, count: -1)
        #expect(all.amqp == 0..<2)
        #expect(all.streams == 0..<Self.rowMaximum)
        #expect(all.leftOut == crowd - Self.rowMaximum)
        let last = ConnectionLookups.page(amqp: 2, streams: crowd, offset: crowd, count: 500)
        #expect(last.streams == (crowd - 2)..<crowd)
        #expect(last.leftOut == 0)
    }

    @Test(arguments: [(Int.max, Int.max), (0, Int.max), (Int.max, -1), (5, 0)])
    func numbersBeyondTheListAreNoHarm(_ offset: Int, _ count: Int) {
        let page = ConnectionLookups.page(amqp: 2, streams: 3, offset: offset, count: count)
        #expect(page.amqp.count + page.streams.count == (offset == 0 ? 5 : 0))
    }

    @Test func octetsOfEachLoopAreItsOwn() {
        let octets = ServiceOctets(loops: 2)
        octets.add(loop: 0, octetsIn: 5, octetsOut: 7)
        octets.add(loop: 0, octetsIn: 1, octetsOut: 0)
        octets.add(loop: 1, octetsIn: 2, octetsOut: 3)
        #expect(octets.closed(loop: 0) == OctetPair(octetsIn: 6, octetsOut: 7))
        #expect(octets.closed(loop: 0) + octets.closed(loop: 1) == OctetPair(octetsIn: 8, octetsOut: 10))
    }
}
