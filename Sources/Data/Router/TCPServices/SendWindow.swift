/// What the writer of a stream's head takes of one stream.
struct WindowOffer: Sendable, Equatable {
    /// Octets under way at most.
    var most: UInt64
    /// Octets under way until the reader has shown that it reads; nil = no such caution.
    var first: UInt64?

    /// ``first`` where streams hold much already.
    static let little: UInt64 = 32 << 10
    /// Octets after which a reader counts as one that reads. Those that the kernels on the way to it may take in while
    /// it reads nothing are fewer.
    static let provenAfter: UInt64 = 256 << 10

    /// Octets a stream with this offer writes before its sender is told, when it has written `written`: never more
    /// than half of the sender's window.
    ///
    /// - Parameter usual: the same for a stream of which nothing is to be shown.
    static func reportEvery(_ written: UInt64, usual: UInt64) -> UInt64 {
        min(usual, max(little / 4, written > provenAfter ? (written - provenAfter) / 4 : 0))
    }
}

/// How many octets of one stream may be on their way, read from its socket and not yet written at the far end.
///
/// Towards skupper-router it is what that allows. A far end that is this router says in the stream's head how much it
/// takes at most; the window then follows rate × shortest round trip. At first every acknowledged octet makes it an
/// octet larger, so it doubles in each round trip, until the rate no longer grows with it; from then on it is twice
/// what the path holds at the rate of the latest round trip. A slow reader does not make it grow: its rate is low, and
/// its round trips are long because of what waits, not because of the path.
struct SendWindow {
    /// What skupper-router allows, octets: 2 × 521,216.
    static let usual: UInt64 = 1_042_432
    /// What this router takes at most of one stream, octets: 2.7 Gbit/s at 100 ms.
    static let largest = UInt64(ConnectionSettings.windowMaximum)
    /// Round trips below this many milliseconds never need more than the usual window.
    private static let longPath: Int64 = 3

    /// Octets that may be under way.
    private(set) var size = SendWindow.usual
    private var maximum = SendWindow.usual
    private(set) var sent: UInt64 = 0
    private(set) var acknowledged: UInt64 = 0
    /// The octet whose acknowledgement ends the round trip being timed; 0 = none.
    private var probe: UInt64 = 0
    private var probeSentAt: Int64 = 0
    private var acknowledgedAtProbe: UInt64 = 0
    /// The window was what held the stream back, in the round trip being timed and in the one before.
    private var wasFull = false
    private var wasFullBefore = false
    private var shortestTrip: Int64 = .max
    private var lastTrip: Int64 = 0
    private var isStarting = true
    /// What the path held at the best rate so far, and the size that this round trip may lead to, while starting.
    private var bestHeld: UInt64 = 0
    private var sizeMaximum = 2 * SendWindow.usual
    /// The far end has asked for caution, and the window has not grown to the usual size since.
    private var isCautious = false

    /// Octets that may still be sent.
    var room: Int {
        let underWay = sent &- acknowledged
        return underWay < size ? Int(size - underWay) : 0
    }

    /// The far end takes this many octets.
    mutating func farEndTakes(_ offer: WindowOffer) {
        maximum = min(max(offer.most, 1024), SendWindow.largest)
        size = min(size, maximum)
        guard let first = offer.first, first < size else { return }
        size = max(first, WindowOffer.little)
        isCautious = true
    }

    /// Octets were sent at `now`, milliseconds.
    mutating func send(_ count: Int, now: Int64) {
        sent &+= UInt64(count)
        if maximum <= SendWindow.usual || isCautious { return }
        if room == 0 { wasFull = true }
        if probe == 0 {
            probe = sent
            probeSentAt = now
            acknowledgedAtProbe = acknowledged
        }
    }

    /// The far end has written all octets before `offset`. False when that is no news.
    mutating func acknowledge(_ offset: UInt64, now: Int64) -> Bool {
        guard offset > acknowledged, offset <= sent else { return false }
        let news = offset - acknowledged
        acknowledged = offset
        if isCautious {
            growCautiously(news)
            return true
        }
        if maximum <= SendWindow.usual { return true }
        if probe != 0, offset >= probe { roundTripEnded(now: now) }
        if isStarting, wasFull || wasFullBefore, SendWindow.longPath...Int64.max - 1 ~= shortestTrip {
            let trip = probe == 0 ? lastTrip : now - probeSentAt
            if trip <= 2 * shortestTrip { size = min(max(size, min(size + news, sizeMaximum)), maximum) }
        }
        return true
    }

    /// The window stays small until the reader has read more than what the kernels on the way to it take in for it;
    /// then it doubles in each round trip.
    private mutating func growCautiously(_ news: UInt64) {
        guard acknowledged > WindowOffer.provenAfter else { return }
        let usual = min(maximum, SendWindow.usual)
        size = min(usual, size + news)
        isCautious = size < usual
    }

    /// The far end wants no more octets.
    mutating func acknowledgeAll() { acknowledged = sent }

    private mutating func roundTripEnded(now: Int64) {
        lastTrip = max(1, now - probeSentAt)
        shortestTrip = min(shortestTrip, lastTrip)
        let held = (acknowledged - acknowledgedAtProbe) * UInt64(shortestTrip) / UInt64(lastTrip)
        if wasFull {
            if shortestTrip < SendWindow.longPath || bestHeld > 0 && held < bestHeld + bestHeld / 4 {
                isStarting = false
            }
            if !isStarting {
                // The rate can only double while the window allows it.
                let wanted = shortestTrip < SendWindow.longPath ? 0 : 2 * held
                size = min(maximum, max(SendWindow.usual, wanted))
            }
        }
        bestHeld = max(bestHeld, held)
        sizeMaximum = 2 * size
        wasFullBefore = wasFull
        wasFull = false
        probe = 0
    }
}
