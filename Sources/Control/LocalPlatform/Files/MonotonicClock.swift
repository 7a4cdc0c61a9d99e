import Glibc

/// Milliseconds that only go forward, for deadlines.
package enum MonotonicClock {
    /// Milliseconds since an arbitrary start.
    package static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

/// The time of day, for records and log lines.
package enum WallClock {
    /// Whole seconds since 1970 (UTC).
    package static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec)
    }
}
