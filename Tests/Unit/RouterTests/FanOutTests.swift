import AMQPCodec
import Testing

@testable import Router

/// Writes down what it is told and can be told not to be ready.
private final class Side: DeliveryEnd {
    var events: [String] = []
    var isBusy = false
    /// What the fan-out gave it as producer.
    var producer: DeliveryEnd?

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        events.append("deliver \(count)")
    }
    override func finish(settled: Bool) { events.append("finish \(settled)") }
    override func abort() { events.append("abort") }
    override func settledByProducer(_ state: DeliveryState) { events.append("settled") }
    override var isReady: Bool { !isBusy }
    override func update(_ state: DeliveryState?, settled: Bool) { events.append("\(state!.word) \(settled)") }
    override func consumerReady() { events.append("ready") }
    override var senderState: DeliveryState? { .other(.described(.ulong(999), .list([]))) }
}

extension DeliveryState {
    fileprivate var word: String {
        switch self {
        case .accepted: "accepted"
        case .rejected: "rejected"
        case .released: "released"
        case .modified: "modified"
        default: "other"
        }
    }
}

/// Several consumers of one delivery.
@Suite struct FanOutTests {
    private let producer = Side()

    @Test func eachCopyCarriesTheStateOfTheSender() {
        let (_, sides) = fan(2)
        #expect(sides.allSatisfy { $0.producer?.senderState == producer.senderState })
    }

    private func fan(_ count: Int) -> (FanOut, [Side]) {
        let fan = FanOut(producer: producer)
        let sides = (0..<count).map { _ in Side() }
        for side in sides {
            fan.add { branch in
                side.producer = branch
                return side
            }
        }
        return (fan, sides)
    }

    private func send(_ fan: FanOut, _ count: Int) {
        var bytes = [UInt8](repeating: 7, count: count)
        bytes.withUnsafeMutableBytes { fan.deliver($0.baseAddress!, count, headroom: true) }
    }

    @Test(arguments: [
        ([DeliveryState.accepted, .accepted], "accepted"), ([.released, .accepted], "accepted"),
        ([.released, .modified(failed: true, undeliverableHere: false)], "modified"),
        ([.accepted, .rejected(nil), .released], "rejected"), ([.released, .released], "released"),
    ])
    func oneOutcomeWhenAllHaveOne(states: [DeliveryState], word: String) {
        let (fan, sides) = fan(states.count)
        send(fan, 3)
        fan.finish(settled: false)
        for (index, (side, state)) in zip(sides, states).enumerated() {
            #expect(side.events == ["deliver 3", "finish false"])
            #expect(producer.events.isEmpty, "told before copy \(index) had its outcome")
            side.producer?.update(state, settled: true)
        }
        #expect(producer.events == ["\(word) true"])
        sides[0].producer?.update(.accepted, settled: true)
        #expect(producer.events.count == 1)
    }

    @Test func consumersThatWaitForTheProducerAreSettledByIt() {
        let (fan, sides) = fan(2)
        fan.finish(settled: false)
        sides[0].producer?.update(.accepted, settled: false)
        sides[1].producer?.update(.accepted, settled: true)
        #expect(producer.events == ["accepted false"])
        fan.settledByProducer(.accepted)
        #expect(sides[0].events == ["finish false", "settled"])
        #expect(sides[1].events == ["finish false"])
    }

    @Test func aConsumerThatGoesFirstDoesNotStopTheOthers() {
        let (fan, sides) = fan(2)
        send(fan, 1)
        sides[0].producer?.update(.released, settled: true)
        send(fan, 2)
        fan.finish(settled: false)
        #expect(sides[0].events == ["deliver 1"])
        #expect(sides[1].events == ["deliver 1", "deliver 2", "finish false"])
        sides[1].producer?.update(.accepted, settled: true)
        #expect(producer.events == ["accepted true"])
    }

    @Test func theSlowestSetsThePace() {
        let (fan, sides) = fan(2)
        var isReady = fan.isReady
        #expect(isReady)
        sides[1].isBusy = true
        isReady = fan.isReady
        #expect(!isReady)
        sides[0].producer?.consumerReady()
        #expect(producer.events.isEmpty)
        sides[1].isBusy = false
        sides[1].producer?.consumerReady()
        #expect(producer.events == ["ready"])
    }

    @Test func consumersThatRefuseAtOnceDoNotCount() {
        let fan = FanOut(producer: producer)
        fan.add { _ in nil }
        fan.add { branch in
            branch.update(.released, settled: true)
            return Side()
        }
        let isEmpty = fan.isEmpty
        #expect(isEmpty)
        #expect(producer.events.isEmpty)
    }

    @Test func abortAndSettledMessagesNeedNoOutcome() {
        let (aborted, one) = fan(2)
        aborted.abort()
        #expect(one.map(\.events) == [["abort"], ["abort"]])
        let (settled, two) = fan(2)
        settled.finish(settled: true)
        two[0].producer?.update(.accepted, settled: true)
        #expect(two.map(\.events) == [["finish true"], ["finish true"]])
        #expect(producer.events.isEmpty)
    }
}
