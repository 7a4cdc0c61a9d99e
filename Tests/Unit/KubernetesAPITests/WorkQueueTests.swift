import TestKit
import Testing

@testable import KubernetesAPI

@Suite("Work queue") struct WorkQueueTests {
    private func queue(capacity: Int = 100) -> WorkQueue<String> {
        WorkQueue(capacity: capacity, backOff: BackOff(first: 100, limit: 1000))
    }

    @Test("a key is given once however often it is added, in the order of the first time")
    func once() {
        var queue = queue()
        for key in ["a", "b", "a", "c", "b"] { queue.add(key) }
        #expect(queue.count == 3)
        let taken = (0..<4).map { _ in queue.take(now: 0) }
        #expect(taken == ["a", "b", "c", nil])
    }

    @Test("a key added while it is worked on comes again afterwards, never at the same time")
    func addedInWork() {
        var queue = queue()
        queue.add("a")
        #expect(queue.take(now: 0) == "a")
        queue.add("a")
        queue.add("a")
        #expect(queue.take(now: 0) == nil)
        #expect(queue.nextDue == nil)
        queue.done("a")
        #expect(queue.take(now: 0) == "a")
        queue.done("a")
        #expect(queue.take(now: 0) == nil)
        #expect(queue.count == 0)
    }

    @Test("a failed key waits longer each time, and not at all when it was added meanwhile")
    func backOff() {
        var queue = queue()
        var now: UInt64 = 0
        queue.add("a")
        var waits: [Int] = []
        for _ in 0..<6 {
            #expect(queue.take(now: now) == "a")
            waits.append(queue.retry("a", now: now, random: 0))
            #expect(queue.take(now: now) == nil)
            now = queue.nextDue ?? 0
        }
        #expect(waits == [50, 100, 200, 400, 500, 500])
        #expect(queue.failures(of: "a") == 6)
        #expect(queue.take(now: now) == "a")
        queue.add("a")
        queue.retry("a", now: now, random: 0)
        #expect(queue.take(now: now) == "a")
        queue.done("a")
        #expect(queue.failures(of: "a") == 0)
    }

    @Test("adding a key that waits for its time ends the wait")
    func addedWhileWaiting() {
        var queue = queue()
        queue.add("a", at: 500)
        queue.add("b", at: 300)
        queue.add("b", at: 900)
        #expect(queue.nextDue == 300)
        #expect(queue.take(now: 299) == nil)
        queue.add("a")
        #expect(queue.take(now: 299) == "a")
        #expect(queue.take(now: 300) == "b")
        #expect(queue.nextDue == nil)
    }

    @Test("at its limit it takes no new key, and tells")
    func limit() {
        var queue = queue(capacity: 2)
        queue.add("a")
        queue.add("b", at: 10)
        #expect(!queue.isIncomplete)
        queue.add("a")
        queue.add("c")
        queue.add("d", at: 20)
        #expect(queue.isIncomplete)
        #expect(queue.count == 2)
        #expect(queue.take(now: 0) == "a")
        queue.add("c")
        #expect(queue.take(now: 0) == "c")
    }

    @Test(
        "any sequence of calls gives each key to one worker at a time and loses none",
        arguments: 1...5 as ClosedRange<UInt64>)
    func randomCalls(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var queue = queue(capacity: 1000)
        var now: UInt64 = 0
        var wanted: Set<String> = []
        var inWork: Set<String> = []
        for _ in 0..<20_000 {
            let key = "k\(random.next() % 20)"
            switch random.next() % 6 {
            case 0, 1:
                queue.add(key)
                wanted.insert(key)
            case 2:
                queue.add(key, at: now + random.next() % 50)
                wanted.insert(key)
            case 3:
                now += random.next() % 30
            case 4:
                if let taken = queue.take(now: now) {
                    #expect(inWork.insert(taken).inserted, "\(taken) was given twice")
                    wanted.remove(taken)
                }
            default:
                guard let ended = inWork.sorted().first else { continue }
                inWork.remove(ended)
                if random.next() % 3 == 0 {
                    queue.retry(ended, now: now, random: random.next())
                    wanted.insert(ended)
                } else {
                    queue.done(ended)
                }
            }
        }
        for key in inWork { queue.done(key) }
        var given: Set<String> = []
        while let due = queue.nextDue {
            now = max(now, due)
            guard let key = queue.take(now: now) else { break }
            given.insert(key)
            queue.done(key)
        }
        #expect(wanted.subtracting(given).isEmpty)
        #expect(queue.count == 0)
    }

    @Test("a wait is between half of the full one and all of it, for any numbers")
    func delays() {
        let backOff = BackOff(first: 250, limit: 300_000)
        #expect(backOff.delay(failures: 1, random: 0) == 125)
        #expect(backOff.delay(failures: 1, random: 125) == 250)
        #expect(backOff.delay(failures: Int.max, random: .max) <= 300_000)
        #expect(backOff.delay(failures: Int.min, random: .max) <= 250)
        #expect(BackOff(first: Int.max, limit: 0).delay(failures: 70, random: .max) > 0)
        #expect(BackOff(first: 1, limit: Int.max).delay(failures: 70, random: 5) >= Int.max / 2)
    }
}
