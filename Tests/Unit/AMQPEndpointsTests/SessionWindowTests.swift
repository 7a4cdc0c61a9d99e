import TestKit
import Testing

@testable import AMQPEndpoints

/// Transfer windows (part 2, section 2.5.6): serial numbers modulo 2^32.
@Suite struct SessionWindowTests {
    /// Transfer ids just before and after the wrap, and elsewhere.
    static let ids: [UInt32] = [0, 1, 100, 0x7FFF_FFFF, 0x8000_0000, .max - 1, .max]

    static func session(_ window: UInt32 = 10) -> SessionMachine { SessionMachine(incomingWindow: window) }

    @Test func windowIsAtLeastTwo() {
        for (asked, given) in [(UInt32(0), UInt32(2)), (1, 2), (2, 2), (2048, 2048)] {
            #expect(Self.session(asked).incomingWindow == given)
        }
    }

    @Test func incomingTransfersUseTheWindowAndThenViolateIt() throws {
        for start in Self.ids {
            var session = Self.session()
            session.remoteBegan(nextOutgoingID: start, incomingWindow: 0)
            for count in UInt32(1)...10 {
                let mustRefresh = try session.transferReceived()
                #expect(session.nextIncomingID == start &+ count && session.incomingWindow == 10 - count)
                #expect(mustRefresh == (10 - count < 5), "after \(count)")
            }
            let error = #expect(throws: EndpointError.self) { try session.transferReceived() }
            #expect(error?.scope == .session && error?.condition == "amqp:session:window-violation")
            #expect(session.incomingWindow == 0 && session.nextIncomingID == start &+ 10)
            session.refreshIncomingWindow()
            #expect(session.incomingWindow == 10 && session.nextIncomingID == start &+ 10)
        }
    }

    @Test func outgoingTransfersUseThePeersWindow() {
        var session = Self.session()
        #expect(!session.maySend)
        session.remoteBegan(nextOutgoingID: 7, incomingWindow: 2)
        #expect(session.maySend && session.nextIncomingID == 7)
        session.transferSent()
        #expect(session.maySend && session.nextOutgoingID == 1)
        session.transferSent()
        #expect(!session.maySend && session.nextOutgoingID == 2 && session.remoteIncomingWindow == 0)
    }

    /// What the peer has not seen when it sends its flow is taken off the window it gives.
    @Test func flowCountsWhatIsInFlight() throws {
        try withEvery(Self.ids, [UInt32(0), 1, 5, 100], [UInt32(0), 1, 5, 6, 1000, .max]) { next, inFlight, window in
            var session = Self.session()
            session.setOutgoing(window: 0, id: next)
            try session.flowReceived(nextIncomingID: next &- inFlight, incomingWindow: window)
            #expect(session.remoteIncomingWindow == (window > inFlight ? window - inFlight : 0))
            #expect(session.nextOutgoingID == next)
        }
    }

    @Test func flowBeforeThePeerSawOurBegin() throws {
        var session = Self.session()
        session.setOutgoing(window: 0, id: 3)
        try session.flowReceived(nextIncomingID: nil, incomingWindow: 8)
        #expect(session.remoteIncomingWindow == 5)
    }

    @Test func flowForTransfersNeverSentIsRefused() throws {
        try withEvery(Self.ids, [UInt32(1), 2, 1 << 30]) { next, ahead in
            var session = Self.session()
            session.setOutgoing(window: 4, id: next)
            let before = session
            let error = #expect(throws: EndpointError.self) {
                try session.flowReceived(nextIncomingID: next &+ ahead, incomingWindow: 100)
            }
            #expect(error?.scope == .session)
            #expect(session == before)
        }
    }

    /// A million transfers across the wrap with flows now and then: never more sent than the peer can take.
    @Test(arguments: [UInt64(11), 12]) func randomTraffic(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var sender = Self.session()
        var receiver = Self.session(64)
        let start = UInt32.max - 5000
        sender.remoteBegan(nextOutgoingID: 0, incomingWindow: 64)
        sender.setOutgoing(window: 64, id: start)
        receiver.remoteBegan(nextOutgoingID: start, incomingWindow: 0)
        var wire = 0
        var flows: [(id: UInt32, window: UInt32)] = []
        var received = 0
        for _ in 0..<100_000 {
            switch random.below(4) {
            case 0, 1:
                guard sender.maySend else { continue }
                sender.transferSent()
                wire += 1
            case 2:
                guard wire > 0 else { continue }
                wire -= 1
                received += 1
                if try receiver.transferReceived() {
                    receiver.refreshIncomingWindow()
                    flows.append((receiver.nextIncomingID, receiver.incomingWindow))
                }
            default:
                guard !flows.isEmpty else { continue }
                let flow = flows.removeFirst()
                try sender.flowReceived(nextIncomingID: flow.id, incomingWindow: flow.window)
            }
            try #require(sender.remoteIncomingWindow <= 64 && wire <= 64, "seed \(seed)")
        }
        #expect(received > 10_000 && receiver.nextIncomingID == start &+ UInt32(received), "seed \(seed)")
    }
}
