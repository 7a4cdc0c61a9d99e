/// Tells when a loop's traffic has ended, so that memory is given back once and not again and again.
struct QuietTime {
    enum State {
        /// Traffic flows, or ended just now.
        case busy
        /// What is pooled beyond need should go now, a little in each tick.
        case trimming
        /// Nothing pooled is left: time to give memory back.
        case release
        /// That was done; nothing happened since.
        case released
    }

    /// Milliseconds without traffic that count as its end.
    private static let patience: Int64 = 4000
    /// Octets, and streams that open or end, within that time that do not count as traffic.
    private static let octets = 256 << 10
    private static let streams = 16

    private var movedBefore = 0
    private var changesBefore = 0
    private var busyUntil: Int64 = 0
    private var isTrimming = false
    private var isReleased = false

    /// - Parameters:
    ///   - moved: octets moved since start.
    ///   - changes: streams opened and streams closed since start.
    ///   - now: milliseconds.
    mutating func notice(moved: Int, changes: Int, now: Int64) -> State {
        if busyUntil == 0 { busyUntil = now + QuietTime.patience }
        if moved - movedBefore > QuietTime.octets || changes - changesBefore > QuietTime.streams {
            movedBefore = moved
            changesBefore = changes
            busyUntil = now + QuietTime.patience
            isTrimming = false
            isReleased = false
            return .busy
        }
        if now < busyUntil { return .busy }
        movedBefore = moved
        changesBefore = changes
        if isReleased { return .released }
        if !isTrimming {
            isTrimming = true
            return .trimming
        }
        isTrimming = false
        isReleased = true
        return .release
    }

    /// Trimming found something: it is asked for again before memory is given back.
    mutating func goOn(now: Int64) { isTrimming = false }
}
