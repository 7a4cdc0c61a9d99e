import TestKit
import Testing

@testable import AMQPEndpoints

/// Link credit (part 2, section 2.6.7): serial numbers modulo 2^32.
@Suite struct LinkCreditTests {
    static let counts: [UInt32] = [0, 1, 0x7FFF_FFFF, 0x8000_0000, .max - 1, .max]

    /// The sender's credit is what the receiver gave less what the receiver has not seen yet.
    @Test func flowSetsTheSendersCredit() throws {
        try withEvery(Self.counts, [UInt32(0), 1, 10], [UInt32(0), 1, 10, 11, 250, .max]) { count, unseen, credit in
            var link = LinkMachine(role: .sender)
            link.set(count: count, credit: 0)
            link.flowReceived(deliveryCount: count &- unseen, linkCredit: credit, drain: false)
            #expect(link.credit == (credit > unseen ? credit - unseen : 0))
            #expect(link.deliveryCount == count && !link.drain)
        }
    }

    /// A receiver that has not seen our attach counts from its initial count, which is 0.
    @Test func flowWithoutACountCountsFromTheStart() {
        var link = LinkMachine(role: .sender)
        link.set(count: 4, credit: 0)
        link.flowReceived(deliveryCount: nil, linkCredit: 10, drain: false)
        #expect(link.credit == 6)
    }

    /// A count ahead of ours is a lie; it must not become more credit than was named.
    @Test func flowAheadOfOurCountGivesNoMoreThanItSays() throws {
        try withEvery(Self.counts, [UInt32(1), 1000, 1 << 30]) { count, ahead in
            var link = LinkMachine(role: .sender)
            link.set(count: count, credit: 0)
            link.flowReceived(deliveryCount: count &+ ahead, linkCredit: 10, drain: false)
            #expect(link.credit == 10)
        }
    }

    @Test func deliveriesUseCredit() {
        var link = LinkMachine(role: .sender)
        link.set(count: .max, credit: 0)
        link.flowReceived(deliveryCount: .max, linkCredit: 2, drain: false)
        link.deliveryStarted()
        #expect(link.credit == 1 && link.deliveryCount == 0)
        link.deliveryStarted()
        #expect(link.credit == 0 && link.deliveryCount == 1)
    }

    @Test func drainGivesTheRestBack() {
        for count in Self.counts {
            var link = LinkMachine(role: .sender)
            link.set(count: count, credit: 0)
            link.flowReceived(deliveryCount: count, linkCredit: 100, drain: true)
            #expect(link.drain && link.credit == 100)
            link.drained()
            #expect(!link.drain && link.credit == 0 && link.deliveryCount == count &+ 100)
        }
    }

    @Test func receiverRefusesDeliveriesBeyondItsCredit() throws {
        for count in Self.counts {
            var link = LinkMachine(role: .receiver)
            link.remoteAttached(initialDeliveryCount: count)
            let early = #expect(throws: EndpointError.self) { try link.deliveryReceived() }
            #expect(early?.scope == .link && early?.condition == "amqp:link:transfer-limit-exceeded")
            link.grant(2)
            try link.deliveryReceived()
            try link.deliveryReceived()
            #expect(link.credit == 0 && link.deliveryCount == count &+ 2)
            #expect(throws: EndpointError.self) { try link.deliveryReceived() }
            #expect(link.deliveryCount == count &+ 2)
            link.grant(250)
            #expect(link.credit == 250)
        }
    }

    @Test func sendersKeepTheirOwnCount() {
        var link = LinkMachine(role: .sender)
        link.remoteAttached(initialDeliveryCount: 99)
        #expect(link.deliveryCount == 0)
    }
}
