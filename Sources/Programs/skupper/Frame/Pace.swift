import Glibc

/// The clock that waiting goes by, and how it lets time pass. A test brings one of its own.
struct Pace {
    /// Milliseconds on a clock that is never set back.
    let now: () -> Int64
    /// Does nothing for so many microseconds.
    let pause: (UInt32) -> Void

    static var real: Pace {
        Pace(
            now: {
                var time = timespec()
                clock_gettime(CLOCK_MONOTONIC, &time)
                return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
            }, pause: { usleep($0) })
    }
}
