/// A time before every other, from which intervals can be measured without overflow.
let longAgo = Int64.min / 4

/// What the machine knows of one remote router (§3.4).
struct RemoteRouter {
    /// Unanswered requests are repeated at this many ticks; after that the next RA starts anew.
    static let requestRepeats = 3

    let id: String
    let maskBit: Int
    var instance: Int64 = 0
    var protocolVersion = 0
    /// Time of the last message from it that was not refused.
    var lastHeard = longAgo

    /// Slot of the confirmed control connection, if it is a neighbour.
    var slot: Int?
    /// Time of the last HELLO on that slot that listed us.
    var confirmedAt = longAgo

    var peers: [String: Int] = [:]
    var linkStateSequence: Int64 = 0
    var linkStateSeen = longAgo
    var advertisedLinkState: Int64 = 0

    var addresses: [String: AddressInfo] = [:]
    var mobileSequence: Int64 = 0
    var advertisedMobile: Int64 = 0
    /// Some of its addresses did not fit in the store.
    var isTruncated = false

    var path: PathComputation.Path?
    var unreachableTicks = 0
    var unlistedTicks = 0

    var linkStateRequest = PendingSend(isWanted: true)
    var mobileRequest = PendingSend(isWanted: true)
    var linkStateReply = PendingSend(isWanted: false)
    var mobileReply = PendingSend(isWanted: false)

    init(id: String, maskBit: Int) {
        self.id = id
        self.maskBit = maskBit
    }

    var isReachable: Bool { path != nil }

    /// A message to it is to be sent, now or later.
    var hasWish: Bool {
        linkStateRequest.isWanted || linkStateReply.isWanted || mobileRequest.isWanted || mobileReply.isWanted
    }

    /// When the next message to it may be sent; nil if none is wanted.
    func nextDue(spacing: Int64) -> Int64? {
        var next: Int64?
        func take(_ due: Int64?) {
            if let due { next = min(next ?? due, due) }
        }
        take(linkStateRequest.dueAt(spacing: spacing))
        take(linkStateReply.dueAt(spacing: spacing))
        take(mobileRequest.dueAt(spacing: spacing))
        take(mobileReply.dueAt(spacing: 5 * spacing))
        return next
    }
}

/// A message to one router that waits for a path, or for a decent distance to the one before.
struct PendingSend {
    var isWanted: Bool
    var lastSent = longAgo
    var notBefore = longAgo
    var repeatsLeft = RemoteRouter.requestRepeats

    init(isWanted: Bool) { self.isWanted = isWanted }

    mutating func want(notBefore time: Int64 = longAgo) {
        // A wish that can be met sooner replaces one that waits.
        notBefore = isWanted ? min(notBefore, time) : time
        isWanted = true
    }

    /// The request has become necessary for a new reason: repeat it as often as the first time.
    mutating func wantAfresh(notBefore time: Int64 = longAgo) {
        want(notBefore: time)
        repeatsLeft = RemoteRouter.requestRepeats
    }

    func dueAt(spacing: Int64) -> Int64? {
        isWanted ? max(notBefore, lastSent + spacing) : nil
    }

    /// True, once, if it may be sent now.
    mutating func takeIfDue(now: Int64, spacing: Int64) -> Bool {
        guard let due = dueAt(spacing: spacing), due <= now else { return false }
        isWanted = false
        lastSent = now
        return true
    }

    /// For each tick while the answer is missing: asks again if there are repeats left and the last one is old enough.
    mutating func repeatAtTick(now: Int64, answerTime: Int64) {
        guard !isWanted, repeatsLeft > 0, now - lastSent >= answerTime else { return }
        repeatsLeft -= 1
        isWanted = true
        notBefore = longAgo
    }
}

/// A control connection of this router.
struct ConnectionSlot {
    var cost: Int
    /// Grows with each connection made; between two connections to one router the newer is preferred.
    let order: Int
    /// The router at the other end, from its first HELLO.
    var peerID: String?
    var confirmedAt = longAgo
    /// Instance in the last HELLO on it.
    var instance: Int64 = 0
    /// Time of the first HELLO on it.
    var greetedAt: Int64?
    /// The id of a router that is a neighbour over another connection and is not the one at the end of this one.
    var twinOf: String?
    /// HELLO that may still be sent in answer before the next tick.
    var answersLeft: Int
}
