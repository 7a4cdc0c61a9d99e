import Glibc

/// A `WorkQueue` for several threads, with workers that sleep until something is due.
///
/// `@unchecked Sendable`: every access to the queue holds the mutex.
package final class SharedWorkQueue<Key: Hashable & Sendable>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>
    private var queue: WorkQueue<Key>
    private var isStopped = false

    package init(_ queue: WorkQueue<Key> = WorkQueue()) {
        self.queue = queue
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        changed = .allocate(capacity: 1)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // A wall clock that is set would end waits at once or hours late.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        changed.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
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
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while !isStopped {
            if let key = queue.take(now: MonotonicTime.milliseconds()) { return key }
            if let due = queue.nextDue {
                var until = timespec(tv_sec: Int(due / 1000), tv_nsec: Int(due % 1000) * 1_000_000)
                pthread_cond_timedwait(changed, mutex, &until)
            } else {
                pthread_cond_wait(changed, mutex)
            }
        }
        return nil
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
        pthread_mutex_lock(mutex)
        isStopped = true
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    private func locked<Result>(_ body: (inout WorkQueue<Key>) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        let result = body(&queue)
        pthread_cond_broadcast(changed)
        return result
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
