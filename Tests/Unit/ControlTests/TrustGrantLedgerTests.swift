import SiteTrust
import Testing

/// Every row of the table in sheet §3.5, reservations, and the limit on wrong codes.
@Suite struct TrustGrantLedgerTests {
    private static let code = "Zk3u0ZqM1c8nYw5Xb7RtLpEe"

    private func ledger(
        allowed: Int = 1, used: Int = 0, expiration: Int64? = 1000, code: String = code
    ) -> GrantLedger {
        var ledger = GrantLedger()
        ledger.upsert(grant(allowed: allowed, used: used, expiration: expiration, code: code))
        return ledger
    }

    private func grant(
        uid: String = "uid-1", name: String = "g", allowed: Int = 1, used: Int = 0, expiration: Int64? = 1000,
        code: String = code
    ) -> GrantLedger.Grant {
        GrantLedger.Grant(
            uid: uid, namespace: "west", name: name, code: code, expirationUnix: expiration,
            redemptionsAllowed: allowed, redemptions: used)
    }

    private func ask(
        _ ledger: inout GrantLedger, path: String = "/uid-1", method: String = "POST", code: String? = code,
        now: Int64 = 10, key: String? = nil
    ) -> GrantLedger.Decision {
        ledger.begin(
            path: path, method: method, code: code.map { Array($0.utf8) }, now: now, peer: "192.0.2.9", key: key)
    }

    private func refusal(_ status: Int, _ text: String) -> GrantLedger.Decision {
        .refuse(GrantLedger.Refusal(status: status, text: text))
    }

    private func ticket(_ decision: GrantLedger.Decision) throws -> GrantLedger.Ticket {
        guard case .issue(let ticket) = decision else {
            Issue.record("refused: \(decision)")
            throw GrantLedger.Refusal(status: 0, text: "")
        }
        return ticket
    }

    @Test func refusalsInTheirOrder() {
        var fresh = ledger()
        for method in ["GET", "PUT", "post", ""] {
            #expect(ask(&fresh, path: "/none", method: method, code: nil) == refusal(405, "Only POST is supported"))
        }
        #expect(ask(&fresh, path: "/none", code: nil) == refusal(400, "Request body not valid"))
        #expect(ask(&fresh, path: "/none") == refusal(404, "No such claim"))
        #expect(ask(&fresh, path: "") == refusal(404, "No such claim"))
        var corrupted = ledger(used: 1, expiration: nil)
        #expect(ask(&corrupted, code: "wrong") == refusal(500, "Corrupted claim"))
        var expired = ledger(used: 1)
        #expect(ask(&expired, code: "wrong", now: 1000) == refusal(404, "No such claim"))
        #expect(ask(&expired, code: "wrong", now: 999) == refusal(404, "No such access granted"))
        #expect(ask(&expired, now: 999) == refusal(404, "No such access granted"))
        #expect(ask(&fresh, code: "wrong") == refusal(403, "Redemption of access token refused"))
        #expect(ask(&fresh, code: Self.code + "\n") == refusal(403, "Redemption of access token refused"))
        #expect(ask(&fresh, code: "") == refusal(403, "Redemption of access token refused"))
    }

    @Test func aGrantWithoutCodeRefusesTheEmptyCode() {
        var empty = ledger(code: "")
        #expect(ask(&empty, code: "") == refusal(403, "Redemption of access token refused"))
    }

    @Test(arguments: ["/uid-1", "uid-1", "/uid-1/", "//u/id-/1"])
    func slashesOfThePathDoNotCount(path: String) throws {
        var fresh = ledger()
        let ticket = try ticket(ask(&fresh, path: path))
        #expect(ticket.uid == "uid-1")
        #expect(ticket.namespace == "west")
        #expect(ticket.name == "g")
    }

    @Test func whoAsksAgainIsAnsweredAgainAndCountsOnce() throws {
        var fresh = ledger()
        let first = try ticket(ask(&fresh, key: "mine"))
        #expect(!first.isRepeated)
        #expect(fresh.commit(first) == 1)
        let held = try #require(fresh.grant(uid: "uid-1"))
        #expect(held.claims == [RedemptionKey.claim("mine")])
        let again = try ticket(ask(&fresh, key: "mine"))
        #expect(again.isRepeated)
        #expect(fresh.commit(again) == 1)
        #expect(fresh.grant(uid: "uid-1") == held)
        // Nobody else, not with a wrong code, and not for longer than the grant.
        #expect(ask(&fresh, key: "theirs") == refusal(404, "No such access granted"))
        #expect(ask(&fresh, key: "") == refusal(404, "No such access granted"))
        #expect(ask(&fresh) == refusal(404, "No such access granted"))
        #expect(ask(&fresh, code: "wrong", key: "mine") == refusal(403, "Redemption of access token refused"))
        #expect(ask(&fresh, now: 1000, key: "mine") == refusal(404, "No such claim"))
        // Who made no use has no claim: an answer that was not stored may be asked for by anybody.
        var other = ledger()
        other.abandon(try ticket(ask(&other, key: "mine")))
        #expect(try !ticket(ask(&other, key: "mine")).isRepeated)
    }

    @Test func claimsComeBackWithTheGrantAndAreBounded() throws {
        var fresh = ledger()
        var stored = grant(allowed: 200, used: 1)
        stored.claims = [try #require(RedemptionKey.claim("mine"))]
        fresh.upsert(stored)
        #expect(try ticket(ask(&fresh, key: "mine")).isRepeated)
        for number in 0..<GrantLedger.claimLimit {
            fresh.commit(try ticket(ask(&fresh, key: "other-\(number)")))
        }
        #expect(fresh.grant(uid: "uid-1")?.claims.count == GrantLedger.claimLimit)
        #expect(try !ticket(ask(&fresh, key: "mine")).isRepeated)
        // An older version of the resource takes no claim away.
        fresh.upsert(stored)
        #expect(try ticket(ask(&fresh, key: "other-7")).isRepeated)
    }

    @Test func keysOfTokens() {
        let key = RedemptionKey.derived(secret: "s", token: "t")
        #expect(key == RedemptionKey.derived(secret: "s", token: "t"))
        #expect(key.count == 64)
        #expect(key != RedemptionKey.derived(secret: "s2", token: "t"))
        #expect(key != RedemptionKey.derived(secret: "s", token: "t2"))
        #expect(RedemptionKey.claim("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(RedemptionKey.claim("") == nil)
        #expect(RedemptionKey.claim(String(repeating: "x", count: 129)) == nil)
    }

    @Test func aUseCountsWhenCommitted() throws {
        var fresh = ledger(allowed: 2)
        let first = try ticket(ask(&fresh))
        #expect(fresh.commit(first) == 1)
        #expect(fresh.commit(first) == nil, "a ticket counts once")
        let second = try ticket(ask(&fresh))
        #expect(fresh.commit(second) == 2)
        #expect(ask(&fresh) == refusal(404, "No such access granted"))
        #expect(fresh.grant(uid: "uid-1")?.redemptions == 2)
    }

    @Test func anAbandonedUseIsGivenBack() throws {
        var fresh = ledger()
        for _ in 0..<5 {
            let ticket = try ticket(ask(&fresh))
            fresh.abandon(ticket)
            #expect(fresh.commit(ticket) == nil)
        }
        #expect(fresh.grant(uid: "uid-1")?.redemptions == 0)
        #expect(fresh.commit(try ticket(ask(&fresh))) == 1)
    }

    @Test func parallelRedemptionsCannotExceedWhatIsAllowed() throws {
        var fresh = ledger(allowed: 2)
        let first = try ticket(ask(&fresh))
        let second = try ticket(ask(&fresh))
        #expect(first != second)
        let full = GrantLedger.Refusal(status: 503, text: "Internal error", retryAfterSeconds: 1)
        #expect(ask(&fresh) == .refuse(full))
        #expect(ask(&fresh, code: "wrong") == refusal(403, "Redemption of access token refused"))
        fresh.abandon(first)
        let third = try ticket(ask(&fresh))
        #expect(fresh.commit(second) == 1)
        #expect(fresh.commit(third) == 2)
        #expect(fresh.commit(first) == nil)
        #expect(ask(&fresh) == refusal(404, "No such access granted"))
    }

    @Test func zeroAllowedMeansOne() throws {
        var fresh = ledger(allowed: 0)
        #expect(fresh.commit(try ticket(ask(&fresh))) == 1)
        #expect(ask(&fresh) == refusal(404, "No such access granted"))
    }

    @Test func forgottenReservationsAreGivenUp() throws {
        var fresh = ledger()
        let lost = try ticket(ask(&fresh, now: 10))
        guard case .refuse(let refusal) = ask(&fresh, now: 129) else {
            Issue.record("a reserved use was given twice")
            return
        }
        #expect(refusal.status == 503)
        let next = try ticket(ask(&fresh, now: 130))
        #expect(fresh.commit(lost) == nil)
        #expect(fresh.commit(next) == 1)
    }

    @Test func wrongCodesAreLimited() throws {
        var fresh = ledger()
        for attempt in 0..<10 {
            #expect(
                ask(&fresh, code: "wrong", now: 10 + Int64(attempt))
                    == refusal(403, "Redemption of access token refused"))
        }
        for code in ["wrong", Self.code] {
            guard case .refuse(let limited) = ask(&fresh, code: code, now: 25) else {
                Issue.record("no limit")
                return
            }
            #expect(limited.status == 429)
            #expect(limited.retryAfterSeconds == 45)
            #expect(limited.text.hasSuffix("retry after 45 s"))
        }
        // The first wrong code leaves the window: one more attempt is free.
        let ticket = try ticket(ask(&fresh, now: 70))
        fresh.abandon(ticket)
        #expect(ask(&fresh, code: "wrong", now: 70) == refusal(403, "Redemption of access token refused"))
        guard case .refuse(let again) = ask(&fresh, now: 70) else {
            Issue.record("no limit after the window moved")
            return
        }
        #expect(again.status == 429)
    }

    @Test func theLimitIsPerGrant() throws {
        var fresh = ledger()
        fresh.upsert(grant(uid: "uid-2", name: "h"))
        for _ in 0..<11 { _ = ask(&fresh, code: "wrong") }
        _ = try ticket(ask(&fresh, path: "/uid-2"))
    }

    @Test func aStaleResourceGivesNoUsesBack() throws {
        var fresh = ledger(allowed: 2)
        #expect(fresh.commit(try ticket(ask(&fresh))) == 1)
        fresh.upsert(grant(allowed: 3, used: 0))
        #expect(fresh.grant(uid: "uid-1")?.redemptions == 1)
        #expect(fresh.grant(uid: "uid-1")?.redemptionsAllowed == 3)
    }

    @Test func aNewGrantOfTheNameInvalidatesTheOld() throws {
        var fresh = ledger()
        let old = try ticket(ask(&fresh))
        fresh.upsert(grant(uid: "uid-2"))
        #expect(ask(&fresh) == refusal(404, "No such claim"))
        #expect(fresh.commit(old) == nil)
        fresh.remove(uid: "uid-2")
        fresh.remove(uid: "uid-2")
        #expect(ask(&fresh, path: "/uid-2") == refusal(404, "No such claim"))
        #expect(fresh.grants.isEmpty)
    }

    @Test func theNumberOfGrantsIsBounded() {
        var full = GrantLedger()
        for index in 0..<GrantLedger.maximumGrants {
            full.upsert(grant(uid: "u\(index)", name: "n\(index)", used: index == 5 ? 1 : 0))
        }
        full.upsert(grant(uid: "one", name: "more"))
        #expect(full.grants.count == GrantLedger.maximumGrants)
        #expect(full.grant(uid: "u5") == nil, "a used-up grant goes first")
        full.upsert(grant(uid: "two", name: "more still"))
        #expect(full.grant(uid: "u0") == nil, "then the oldest")
        #expect(full.grant(uid: "two") != nil)
    }
}
