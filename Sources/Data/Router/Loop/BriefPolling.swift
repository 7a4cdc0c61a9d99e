/// Whether a loop, before it sleeps, looks for events a little longer.
///
/// Putting a processor to sleep and waking it costs 20 to 40 µs on many machines, virtual ones above all, and comes
/// six times in a request through two routers. While small events follow each other fast the loop looks again and again
/// instead, and gives the processor to whoever wants it in between. A look in vain costs processor time for nothing, so
/// vain looks have a budget: a twentieth of the time that passes. A loop that moves much has work for the
/// processor, and so have its neighbours: it never looks.
///
/// What counts is whether looking is rewarded, not whether gaps are shorter than a look: where both ends of a link
/// sleep, the gaps are long because of that.
struct BriefPolling {
    /// Nanoseconds to look for; 0 = never.
    let window: UInt64
    /// So many gaps in a row are no longer than a look and a half, or the loop has little to do and had better sleep.
    private static let gapsInARow = 4
    /// Windows that may be saved up.
    private static let mostSaved: UInt64 = 100
    private static let shareInVain: UInt64 = 20
    /// Nanoseconds left for looking in vain.
    private var budget: UInt64
    private var shortGaps = 0
    private var countedUntil: UInt64 = 0

    init(window: UInt64) {
        self.window = window
        budget = window * BriefPolling.mostSaved
    }

    /// Look before you sleep.
    var isDue: Bool { window > 0 && shortGaps >= BriefPolling.gapsInARow && budget >= window }

    /// The loop had nothing to do.
    /// - Parameters:
    ///   - began: since when, in nanoseconds on a clock that never goes back.
    ///   - now: till when.
    ///   - lookedInVain: it looked for ``window``, and slept after that.
    ///   - movedMuch: what it did before was more than a few small messages.
    mutating func waited(from began: UInt64, to now: UInt64, lookedInVain: Bool, movedMuch: Bool) {
        let isShort = !movedMuch && now - began <= window + window / 2
        shortGaps = isShort ? min(BriefPolling.gapsInARow, shortGaps + 1) : 0
        let passed = now - min(now, countedUntil)
        countedUntil = now
        budget = min(window * BriefPolling.mostSaved, budget + passed / BriefPolling.shareInVain)
        if lookedInVain { budget -= min(budget, window) }
    }
}
