import Glibc
import Threading

/// A `WorkQueue` for several threads, with workers that sleep until something is due.
///
/// `@unchecked Sendable`: every access to the queue is inside the monitor.
package final class SharedWorkQueue<Key: Hashable & Sendable>: @unchecked Sendable {
    private let monitor = Monitor()
    private var queue: WorkQueue<Key>
    private var isStopped = false

    package init(_ queue: WorkQueue<Key> = WorkQueue()) {
        self.queue = queue
    }

    /// Asks for work on a key as soon as may be. Never blocks for long.
    package func add(_ key: Key) {
        locked { $0.add(key) }
    }

    /// Asks for work on a key after a time, milliseconds.
    package func add(_ key: Key, afterMilliseconds pause: Int) {
        locked { $0.add(key, at: MonotonicTime.milliseconds() + UInt64(max(0, pause))) }
    }

    /// Waits for work; nil when the queue is stopped. `done` or `retry` must follow for the key given.
    package func take() -> Key? {
        monitor.inside {
            while !isStopped {
                if let key = queue.take(now: MonotonicTime.milliseconds()) { return key }
                if let due = queue.nextDue { monitor.wait(until: due) } else { monitor.wait() }
            }
            return nil
        }
    }

    /// The work on a key succeeded.
    package func done(_ key: Key) {
        locked { $0.done(key) }
    }

    /// The work on a key failed; gives the wait until it comes back, milliseconds.
    @discardableResult
    package func retry(_ key: Key) -> Int {
        locked { $0.retry(key, now: MonotonicTime.milliseconds(), random: .random(in: .min ... .max)) }
    }

    /// True once after keys were not taken since the queue was full: everything is to be added anew.
    package func takeIncomplete() -> Bool {
        locked { queue in
            defer { queue.isIncomplete = false }
            return queue.isIncomplete
        }
    }

    /// Ends all waits for work, now and later. Work that goes on is not touched.
    package func stop() {
        monitor.inside {
            isStopped = true
            monitor.wakeAll()
        }
    }

    private func locked<Result>(_ body: (inout WorkQueue<Key>) -> Result) -> Result {
        monitor.inside {
            let result = body(&queue)
            monitor.wakeAll()
            return result
        }
    }
}

/// A clock that does not go back.
enum MonotonicTime {
    /// Milliseconds since some moment before this process.
    static func milliseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
    }
}
