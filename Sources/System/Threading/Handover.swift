import Glibc

/// A value that one thread gives and another waits for.
///
/// `@unchecked Sendable`: the value is touched inside the monitor only.
package final class Handover<Value: Sendable>: @unchecked Sendable {
    private let monitor = Monitor()
    private var value: Value?

    package init() {}

    /// Gives the value; the first one counts.
    package func give(_ value: Value) {
        monitor.inside {
            if self.value == nil { self.value = value }
            monitor.wakeAll()
        }
    }

    /// Waits for the value without limit: only where the giver cannot fail to give.
    package func wait() -> Value {
        monitor.inside {
            while true {
                if let value { return value }
                monitor.wait()
            }
        }
    }

    /// Waits for the value, so many milliseconds at most; nil when it was not given by then.
    package func wait(milliseconds: UInt64) -> Value? {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let end = UInt64(now.tv_sec) * 1000 + UInt64(now.tv_nsec) / 1_000_000 + milliseconds
        return monitor.inside {
            while value == nil, monitor.wait(until: end) {}
            return value
        }
    }
}
