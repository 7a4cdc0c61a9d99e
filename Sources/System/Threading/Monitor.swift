import Glibc

/// A mutex with a condition that threads wait for, on the clock that nobody sets: a wall clock that is set would end
/// waits at once or hours late.
///
/// `@unchecked Sendable`: the two primitives are made for several threads. What they guard is the owner's affair.
package final class Monitor: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    package init() {
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        condition = .allocate(capacity: 1)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        condition.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs `body` while no other thread is inside. Not recursive.
    package func inside<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    /// Wakes all that wait.
    package func wakeAll() { pthread_cond_broadcast(condition) }

    /// Leaves until woken, and is inside again on return. It may return for no reason. Only inside.
    package func wait() { pthread_cond_wait(condition, mutex) }

    /// As ``wait()``, but no longer than until a moment of the monotonic clock, in milliseconds.
    /// - Returns: false when that moment has come.
    @discardableResult
    package func wait(until milliseconds: UInt64) -> Bool {
        var until = timespec(tv_sec: Int(milliseconds / 1000), tv_nsec: Int(milliseconds % 1000) * 1_000_000)
        return pthread_cond_timedwait(condition, mutex, &until) != ETIMEDOUT
    }
}
