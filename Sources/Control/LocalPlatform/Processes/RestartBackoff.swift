/// How long to wait before a process that ended is started again. Pure: times are milliseconds given by the caller.
package struct RestartBackoff: Hashable, Sendable {
    /// Wait after the first end, milliseconds.
    package static let first: Int64 = 100
    /// Longest wait, milliseconds.
    package static let longest: Int64 = 5_000
    /// A process that ran this long, in milliseconds, has shown that it can run: the waits begin anew.
    package static let provenAfter: Int64 = 10_000

    private var next = first

    package init() {}

    /// The wait before the next start of a process that ran for `lifetime` milliseconds.
    package mutating func wait(afterRunning lifetime: Int64) -> Int64 {
        if lifetime >= RestartBackoff.provenAfter { next = RestartBackoff.first }
        defer { next = min(next * 2, RestartBackoff.longest) }
        return next
    }
}
