import AMQPCodec
import Glibc
import RouterConfig
import Testing
import Threading

@testable import Router

/// What a delivery end was told, in words.
private typealias Journal = Locked<[String]>

/// One side of a delivery that writes down what it is told.
private final class Witness: DeliveryEnd {
    private let name: String
    private let journal: Journal

    init(_ name: String, _ journal: Journal) {
        self.name = name
        self.journal = journal
    }

    private func note(_ text: String) { journal.withLock { $0.append("\(name) \(text)") } }
    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) { note("deliver \(count)") }
    override func finish(settled: Bool) { note("finish \(settled)") }
    override func abort() { note("abort") }
    override func settledByProducer(_ state: DeliveryState) { note("settled by producer") }
    override func update(_ state: DeliveryState?, settled: Bool) { note("update \(settled)") }
    override func consumerReady() { note("ready") }
}

/// Both ends of a bridge leave their loop's table when the delivery is over, however it ends, and not before.
@Suite(.serialized) struct BridgeTests {
    private let core: Core
    private let workers: [Worker]
    private let journal = Journal([])

    init() throws {
        core = Core(router: try RouterConfiguration.parse(json: #"[["router", {"id": "r"}]]"#).router, instance: 1)
        let core = core
        let empty = Core.emptySnapshot(routerID: "r")
        workers = (0..<2).map { Worker(index: $0, routerID: "r", core: core, snapshot: empty) }
        core.join(workers)
        for worker in workers {
            worker.join(workers)
            worker.start(tickMilliseconds: 1000)
        }
    }

    /// Runs `body` on a loop and waits for it, and for what it posted to the other loop and back.
    private func run<Value: Sendable>(on index: Int, _ body: @escaping @Sendable (Worker) -> Value) -> Value {
        let result = Locked<Value?>(nil)
        for round in 0..<4 {
            let worker = workers[(index + round) % 2]
            let done = Locked(false)
            worker.post {
                if round == 0 { result.withLock { $0 = body(worker) } }
                done.withLock { $0 = true }
            }
            while !done.withLock({ $0 }) { usleep(100) }
        }
        return result.withLock { $0! }
    }

    /// A bridge from loop 0 to loop 1; `work` gets its entry.
    private func withBridge(_ work: @escaping @Sendable (BridgeEntry) -> Void) {
        let journal = journal
        let other = workers[1]
        run(on: 0) { worker in
            work(worker.bridge(Witness("producer", journal), to: other) { _, _ in Witness("consumer", journal) })
        }
    }

    private func open() -> [Int] { [0, 1].map { run(on: $0) { $0.bridges.count } } }

    private func stop() { for worker in workers { worker.stop() } }

    private static func send(_ entry: BridgeEntry, _ count: Int) {
        var bytes = [UInt8](repeating: 7, count: count)
        bytes.withUnsafeMutableBytes { entry.deliver($0.baseAddress!, count, headroom: false) }
    }

    @Test func settledMessageLeavesNothingBehind() {
        defer { stop() }
        withBridge {
            Self.send($0, 10)
            $0.finish(settled: true)
        }
        #expect(journal.withLock { $0 } == ["consumer deliver 10", "consumer finish true"])
        #expect(open() == [0, 0])
    }

    @Test func settlementBeforeTheEndDoesNotCutTheMessageShort() {
        defer { stop() }
        withBridge {
            Self.send($0, 10)
            $0.settledByProducer(.accepted)
            Self.send($0, 20)
            $0.finish(settled: true)
        }
        #expect(
            journal.withLock { $0 } == [
                "consumer deliver 10", "consumer settled by producer", "consumer deliver 20", "consumer finish true",
            ])
        #expect(open() == [0, 0])
    }

    @Test func settlementAfterTheEndEndsBoth() {
        defer { stop() }
        withBridge {
            $0.finish(settled: false)
            $0.settledByProducer(.accepted)
        }
        #expect(journal.withLock { $0 } == ["consumer finish false", "consumer settled by producer"])
        #expect(open() == [0, 0])
    }

    @Test func abortEndsBoth() {
        defer { stop() }
        withBridge {
            Self.send($0, 1)
            $0.abort()
        }
        #expect(open() == [0, 0])
    }

    @Test func unsettledMessageStaysUntilItsOutcome() {
        defer { stop() }
        withBridge { $0.finish(settled: false) }
        #expect(open() == [1, 1])
        run(on: 1) { worker in
            for case let exit as BridgeExit in worker.bridges.values { exit.update(.accepted, settled: true) }
        }
        #expect(open() == [0, 0])
        #expect(journal.withLock { $0.last } == "producer update true")
    }

    @Test func smallPiecesOfOneTurnTravelTogetherAndInOrder() {
        defer { stop() }
        withBridge {
            Self.send($0, 10)
            Self.send($0, 20)
            Self.send($0, 64 * 1024)
            Self.send($0, 30)
        }
        #expect(journal.withLock { $0 } == ["consumer deliver 30", "consumer deliver 65536", "consumer deliver 30"])
    }

    @Test func producerPausesUntilTheConsumerHasTakenEnough() {
        defer { stop() }
        let readiness = Locked<[Bool]>([])
        withBridge { entry in
            for _ in 0..<10 {
                Self.send(entry, 64 * 1024)
                readiness.withLock { $0.append(entry.isReady) }
            }
        }
        #expect(readiness.withLock { $0 } == [Bool](repeating: true, count: 8) + [false, false])
        #expect(journal.withLock { $0.count { $0 == "producer ready" } } == 1)
    }
}

@Suite struct FifoTests {
    @Test func keepsOrderOverManyRounds() {
        var queue = Fifo<Int>()
        var put = 0
        var got = 0
        for round in 0..<2000 {
            for _ in 0..<(round % 7) {
                queue.append(put)
                put += 1
            }
            for _ in 0..<(round % 5) {
                guard let next = queue.popFirst() else { break }
                #expect(next == got)
                got += 1
            }
            #expect(queue.count == put - got)
            #expect(queue.first == (put > got ? got : nil))
        }
        #expect(queue.removeAll() == Array(got..<put))
        #expect(queue.isEmpty)
        #expect(queue.popFirst() == nil)
    }
}
