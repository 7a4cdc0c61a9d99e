/// Decides on redemptions of access grants (sheet §3.5). Pure: time comes in, nothing is stored or sent.
///
/// `begin` reserves a use, so that parallel redemptions cannot exceed what is allowed; the caller then makes the
/// certificate and calls `commit` (the use counts) or `abandon` (it does not).
package struct GrantLedger: Sendable {
    /// A grant as its resource's status has it.
    package struct Grant: Hashable, Sendable {
        /// `metadata.uid`: the key in the URL.
        package var uid: String
        /// Namespace of the grant.
        package var namespace: String
        /// Name of the grant.
        package var name: String
        /// The secret code.
        package var code: String
        /// Unix seconds; nil when `status.expirationTime` cannot be read.
        package var expirationUnix: Int64?
        /// Uses allowed; 0 counts as 1.
        package var redemptionsAllowed: Int
        /// Uses made.
        package var redemptions: Int
        /// What `RedemptionKey.claim` gives for those who made the last uses, the newest at the end.
        package var claims: [String]

        /// A grant.
        package init(
            uid: String, namespace: String, name: String, code: String, expirationUnix: Int64?,
            redemptionsAllowed: Int, redemptions: Int, claims: [String] = []
        ) {
            self.uid = uid
            self.namespace = namespace
            self.name = name
            self.code = code
            self.expirationUnix = expirationUnix
            self.redemptionsAllowed = redemptionsAllowed
            self.redemptions = redemptions
            self.claims = claims
        }

        /// Claims with one more, the oldest left out when there are too many.
        package static func claims(_ known: [String], adding claim: String?) -> [String] {
            Array((known + [claim].compactMap { $0 }).suffix(GrantLedger.claimLimit))
        }
    }

    /// A reserved use.
    package struct Ticket: Hashable, Sendable {
        /// Distinguishes reservations.
        package let id: UInt64
        /// The grant the use is of.
        package let uid: String
        /// Namespace of the grant.
        package let namespace: String
        /// Name of the grant: the name for Secret and Link when the request gives none.
        package let name: String
        /// Claim of the redeemer; nil if it made none.
        package let claim: String?
        /// The redeemer was answered before: this is that use once more, and is not counted.
        package let isRepeated: Bool
    }

    /// A refusal as HTTP says it; the body is the text and a newline, text/plain.
    package struct Refusal: Error, Hashable, Sendable {
        /// HTTP status.
        package let status: Int
        /// Body without the newline.
        package let text: String
        /// For status 429: seconds for the `Retry-After` header.
        package let retryAfterSeconds: Int?

        /// A refusal.
        package init(status: Int, text: String, retryAfterSeconds: Int? = nil) {
            self.status = status
            self.text = text
            self.retryAfterSeconds = retryAfterSeconds
        }

        /// For a generator that failed (sheet §3.5, row 9), after `abandon`.
        package static func generatorFailed(_ text: String) -> Refusal { Refusal(status: 500, text: text) }
        /// For a status that could not be stored (row 8), after `abandon`.
        package static let storeFailed = Refusal(status: 503, text: "Internal error")
        /// For a grant that is not there, or not any more.
        package static let unknown = Refusal(status: 404, text: "No such claim")
        /// For a server that has not been told of all grants yet.
        package static let notReady = Refusal(
            status: 503, text: "The controller has just started; try again", retryAfterSeconds: 1)
    }

    /// What to do with a request.
    package enum Decision: Hashable, Sendable {
        /// Answer with this.
        case refuse(Refusal)
        /// Make a certificate, then `commit` or `abandon`.
        case issue(Ticket)
    }

    /// Most grants held; the oldest expired ones, else the oldest, make room.
    package static let maximumGrants = 10_000
    /// Claims held of one grant; a redeemer from before them that asks again counts as a new one.
    package static let claimLimit = 100
    /// Wrong codes per grant and window after which 429 is answered.
    package static let wrongCodeLimit = 10
    /// Length of that window, seconds.
    package static let wrongCodeWindowSeconds: Int64 = 60
    /// Age at which a reservation that was neither committed nor abandoned is given up, seconds.
    package static let reservationSeconds: Int64 = 120

    private struct Entry {
        var grant: Grant
        var reservations: [UInt64: Int64] = [:]
        var wrongCodes: [Int64] = []
        let order: UInt64
    }

    private var entries: [String: Entry] = [:]
    private var uidByName: [String: String] = [:]
    private var nextNumber: UInt64 = 1

    /// An empty ledger.
    package init() {}

    /// Grants held, in no particular order.
    package var grants: [Grant] { entries.values.map(\.grant) }

    /// The grant of a uid.
    package func grant(uid: String) -> Grant? { entries[uid]?.grant }

    /// Adds a grant or takes over what its resource says now. A grant of the same namespace and name with another
    /// uid is forgotten. Uses never go down by this: a stale resource does not give uses back.
    package mutating func upsert(_ grant: Grant) {
        let place = "\(grant.namespace)/\(grant.name)"
        if let old = uidByName[place], old != grant.uid { entries[old] = nil }
        uidByName[place] = grant.uid
        if var entry = entries[grant.uid] {
            let isStale = grant.redemptions < entry.grant.redemptions
            let (used, claims) = (entry.grant.redemptions, entry.grant.claims)
            entry.grant = grant
            if isStale { (entry.grant.redemptions, entry.grant.claims) = (used, claims) }
            entries[grant.uid] = entry
            return
        }
        if entries.count >= Self.maximumGrants { makeRoom() }
        entries[grant.uid] = Entry(grant: grant, order: takeNumber())
    }

    /// Forgets a grant; its URL then answers 404.
    package mutating func remove(uid: String) {
        guard let entry = entries.removeValue(forKey: uid) else { return }
        let place = "\(entry.grant.namespace)/\(entry.grant.name)"
        if uidByName[place] == uid { uidByName[place] = nil }
    }

    /// Decides on a request; checks in the order of sheet §3.5.
    /// - Parameters:
    ///   - path: of the URL; all slashes are removed before the look-up.
    ///   - code: the body; nil when it could not be read (or was too long).
    ///   - now: Unix seconds.
    ///   - peer: the client's address, for the rate limit's text only.
    ///   - key: `Idempotency-Key` of the request; nil without one.
    package mutating func begin(
        path: String, method: String, code: [UInt8]?, now: Int64, peer: String, key: String? = nil
    ) -> Decision {
        guard method == "POST" else { return .refuse(Refusal(status: 405, text: "Only POST is supported")) }
        guard let code else { return .refuse(Refusal(status: 400, text: "Request body not valid")) }
        let uid = String(path.filter { $0 != "/" })
        guard var entry = entries[uid] else { return .refuse(.unknown) }
        guard let expiration = entry.grant.expirationUnix else {
            return .refuse(Refusal(status: 500, text: "Corrupted claim"))
        }
        guard now < expiration else { return .refuse(.unknown) }
        entry.reservations = entry.reservations.filter { now - $0.value < Self.reservationSeconds }
        defer { entries[uid] = entry }
        let allowed = max(1, entry.grant.redemptionsAllowed)
        let claim = key.flatMap { RedemptionKey.claim($0) }
        let isRepeated = claim.map(entry.grant.claims.contains) ?? false
        guard entry.grant.redemptions < allowed || isRepeated else {
            return .refuse(Refusal(status: 404, text: "No such access granted"))
        }
        if let refusal = rateRefusal(&entry, now: now, peer: peer) { return .refuse(refusal) }
        guard ConstantTime.equal(code, Array(entry.grant.code.utf8)), !entry.grant.code.isEmpty else {
            entry.wrongCodes.append(now)
            return .refuse(Refusal(status: 403, text: "Redemption of access token refused"))
        }
        guard entry.grant.redemptions + entry.reservations.count < allowed || isRepeated else {
            // Another redemption is under way; it may yet fail and give its use back.
            return .refuse(Refusal(status: 503, text: "Internal error", retryAfterSeconds: 1))
        }
        let ticket = Ticket(
            id: takeNumber(), uid: uid, namespace: entry.grant.namespace, name: entry.grant.name, claim: claim,
            isRepeated: isRepeated)
        if !isRepeated { entry.reservations[ticket.id] = now }
        return .issue(ticket)
    }

    /// Counts the reserved use, unless it is repeated. Call it before the answer is sent, and store the number that
    /// comes back.
    /// - Returns: `status.redemptions` now; nil when the grant was removed or the reservation given up meanwhile:
    ///   then nothing may be handed out, answer `storeFailed`.
    @discardableResult
    package mutating func commit(_ ticket: Ticket) -> Int? {
        guard var entry = entries[ticket.uid] else { return nil }
        if ticket.isRepeated { return entry.grant.redemptions }
        guard entry.reservations.removeValue(forKey: ticket.id) != nil else { return nil }
        entry.grant.redemptions += 1
        entry.grant.claims = Grant.claims(entry.grant.claims, adding: ticket.claim)
        entries[ticket.uid] = entry
        return entry.grant.redemptions
    }

    /// Gives the reserved use back: the certificate could not be made or the status not stored.
    package mutating func abandon(_ ticket: Ticket) {
        entries[ticket.uid]?.reservations[ticket.id] = nil
    }

    private func rateRefusal(_ entry: inout Entry, now: Int64, peer: String) -> Refusal? {
        entry.wrongCodes.removeAll { now - $0 >= Self.wrongCodeWindowSeconds }
        guard entry.wrongCodes.count >= Self.wrongCodeLimit, let oldest = entry.wrongCodes.first else { return nil }
        let wait = Int(max(1, oldest + Self.wrongCodeWindowSeconds - now))
        return Refusal(
            status: 429,
            text: "Too many wrong codes for this access grant, last request from \(peer): retry after \(wait) s",
            retryAfterSeconds: wait)
    }

    private mutating func takeNumber() -> UInt64 {
        defer { nextNumber += 1 }
        return nextNumber
    }

    private mutating func makeRoom() {
        // Used-up grants answer 404 either way, so they go first; then the oldest.
        let victim =
            entries.values.filter { $0.grant.redemptions >= max(1, $0.grant.redemptionsAllowed) }
            .min { $0.order < $1.order } ?? entries.values.min { $0.order < $1.order }
        if let victim { remove(uid: victim.grant.uid) }
    }
}
