import Glibc

/// A value that threads share, guarded by a pthread mutex.
///
/// Chosen over `Synchronization.Mutex`, whose futex the thread sanitizer cannot see: it then reports every guarded
/// value as a race. `@unchecked Sendable`: every access to the value holds the mutex.
package final class Locked<Value>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var value: Value

    package init(_ value: Value) {
        self.value = value
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs `body` with the value while no other thread has it. Not recursive: `body` must not ask for it again.
    package func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&value)
    }
}
