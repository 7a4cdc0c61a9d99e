/// Names of things to be looked at, each at most once however often it is added, and never by two workers at a time.
/// Pure: time and randomness are given.
///
/// A key added while it is worked on is worked on again afterwards. A key whose work failed comes back after a wait
/// that grows with its failures in a row.
package struct WorkQueue<Key: Hashable & Sendable>: Sendable {
    /// The most keys in the queue. At the limit new keys are not taken, and `isIncomplete` tells.
    package let capacity: Int
    private let backOff: BackOff
    private var ready: [Key] = []
    private var readyHead = 0
    private var isReady: Set<Key> = []
    private var delayed: [(due: UInt64, key: Key)] = []
    private var dueOf: [Key: UInt64] = [:]
    private var inWork: Set<Key> = []
    private var isDirty: Set<Key> = []
    private var failures: [Key: Int] = [:]

    /// True after a key was not taken since the queue was full: when there is space again, everything is to be added
    /// anew. Whoever does so sets it false.
    package var isIncomplete = false

    package init(capacity: Int = 65_536, backOff: BackOff = BackOff(first: 250, limit: 300_000)) {
        self.capacity = capacity
        self.backOff = backOff
    }

    /// Keys that wait, now or for their time; those in work do not count.
    package var count: Int { isReady.count + dueOf.count + isDirty.count }

    /// Asks for work on a key as soon as may be; a wait that it had ends.
    package mutating func add(_ key: Key) {
        if inWork.contains(key) {
            isDirty.insert(key)
            return
        }
        guard !isReady.contains(key) else { return }
        if dueOf[key] != nil {
            removeDelayed(key)
        } else if count >= capacity {
            isIncomplete = true
            return
        }
        isReady.insert(key)
        ready.append(key)
    }

    /// Asks for work on a key at a later time; the earlier of two such times counts, and work that is due anyway is not
    /// put off.
    /// - Parameter due: milliseconds of the clock that `take` gets.
    package mutating func add(_ key: Key, at due: UInt64) {
        guard !isReady.contains(key) else { return }
        if let known = dueOf[key] {
            guard due < known else { return }
            removeDelayed(key)
        } else if count >= capacity {
            isIncomplete = true
            return
        }
        dueOf[key] = due
        var low = 0
        var high = delayed.count
        while low < high {
            let middle = (low + high) / 2
            if delayed[middle].due <= due { low = middle + 1 } else { high = middle }
        }
        delayed.insert((due, key), at: low)
    }

    private mutating func removeDelayed(_ key: Key) {
        dueOf[key] = nil
        delayed.removeAll { $0.key == key }
    }

    /// Gives the next key to work on, or nil when none is due; `done` or `retry` must follow for it.
    /// - Parameter now: milliseconds of a clock that does not go back.
    package mutating func take(now: UInt64) -> Key? {
        let dueCount = delayed.prefix { $0.due <= now }.count
        if dueCount > 0 {
            let due = delayed[..<dueCount].map(\.key)
            delayed.removeFirst(dueCount)
            for key in due {
                dueOf[key] = nil
                add(key)
            }
        }
        guard readyHead < ready.count else { return nil }
        let key = ready[readyHead]
        readyHead += 1
        if readyHead >= 1024 || readyHead == ready.count {
            ready.removeFirst(readyHead)
            readyHead = 0
        }
        isReady.remove(key)
        inWork.insert(key)
        return key
    }

    /// When `take` will give something, milliseconds of its clock: 0 for now, nil when nothing waits.
    package var nextDue: UInt64? { readyHead < ready.count ? 0 : delayed.first?.due }

    /// The work on a key succeeded: its failures are forgotten.
    package mutating func done(_ key: Key) {
        failures[key] = nil
        finish(key)
    }

    /// The work on a key failed: it comes back after a wait, or at once when it was added meanwhile.
    /// - Returns: the wait, milliseconds.
    @discardableResult
    package mutating func retry(_ key: Key, now: UInt64, random: UInt64) -> Int {
        let count = (failures[key] ?? 0) + 1
        failures[key] = count
        let pause = backOff.delay(failures: count, random: random)
        let wasAdded = isDirty.contains(key)
        finish(key)
        if !wasAdded { add(key, at: now + UInt64(pause)) }
        return pause
    }

    private mutating func finish(_ key: Key) {
        inWork.remove(key)
        if isDirty.remove(key) != nil { add(key) }
    }

    /// How often in a row the work on a key failed.
    package func failures(of key: Key) -> Int { failures[key] ?? 0 }
}
