import ControlIO
import Glibc
import HTTPServer
import SiteModel
import SiteTrust
import Threading

/// Serves the grants of one namespace (control-plane.md §3.2 to §3.6).
///
/// Requests come on the server's thread; the controller's thread brings grants and takes back how often each was
/// redeemed. A redemption is on disk before its answer leaves.
package final class GrantServer: Sendable {
    /// What an answer is made of.
    package struct Issuing: Hashable, Sendable {
        /// The CA that signs.
        package let authority: KeyedCertificate
        /// Where links are to go; none means that links cannot be accepted now.
        package let endpoints: [Endpoint]

        package init(authority: KeyedCertificate, endpoints: [Endpoint]) {
            self.authority = authority
            self.endpoints = endpoints
        }
    }

    /// A request that was decided, for the log. The code is not part of it.
    package struct Record: Hashable, Sendable {
        package let peer: String
        /// Name of the grant; empty if it is not known.
        package let grant: String
        package let status: Int
        package let text: String
    }

    /// Records kept until the controller takes them; more are dropped.
    private static let recordLimit = 100

    private struct State {
        var ledger = GrantLedger()
        var issuing: Issuing?
        var records: [Record] = []
    }

    private let state: Locked<State>
    private let path: String

    /// Reads the grants that were kept in `path`, where they are written from now on.
    package init(path: String) {
        self.path = path
        var ledger = GrantLedger()
        for grant in GrantServer.load(path) { ledger.upsert(grant) }
        state = Locked(State(ledger: ledger))
    }

    /// All grants with their uses.
    package var grants: [GrantLedger.Grant] { state.withLock { $0.ledger.grants } }

    /// Takes what the resources say now; grants that are in none of them are forgotten. Uses never go down.
    package func update(grants: [GrantLedger.Grant]) throws(FileError) {
        let failure = state.withLock { state -> FileError? in
            var ledger = state.ledger
            let kept = Set(grants.map(\.uid))
            for old in ledger.grants where !kept.contains(old.uid) { ledger.remove(uid: old.uid) }
            for grant in grants { ledger.upsert(grant) }
            guard Set(ledger.grants) != Set(state.ledger.grants) else { return nil }
            do throws(FileError) {
                try store(ledger)
                state.ledger = ledger
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }

    /// Sets what answers are made of; nil while the site is not ready.
    package func update(issuing: Issuing?) { state.withLock { $0.issuing = issuing } }

    /// Decided requests since the last call.
    package func takeRecords() -> [Record] {
        state.withLock { state in
            defer { state.records = [] }
            return state.records
        }
    }

    /// Answers one request. The lock is held throughout, so that redemptions come one after the other.
    package func respond(to request: HTTPRequest) -> HTTPResponse {
        let now = WallClock.now
        return state.withLock { state in
            let uid = String(request.path.filter { $0 != "/" })
            let known = state.ledger.grant(uid: uid)
            let decision = state.ledger.begin(
                path: request.path, method: request.method, code: request.body, now: now, peer: request.peerAddress,
                key: request.header(RedemptionKey.header))
            let wantsReason = request.header(RefusalReason.header) != nil
            let response: HTTPResponse
            switch decision {
            case .refuse(let refusal):
                let reason = wantsReason ? GrantServer.reason(refusal, known: known) : nil
                response = GrantServer.response(refusal, reason: reason)
            case .issue(let ticket):
                response = issue(ticket, request: request, now: now, state: &state)
            }
            if state.records.count < GrantServer.recordLimit {
                let text = String(decoding: response.body.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
                state.records.append(
                    Record(
                        peer: request.peerAddress, grant: known?.name ?? "", status: response.status,
                        text: response.status == 200 ? "redeemed" : text))
            }
            return response
        }
    }

    private func issue(
        _ ticket: GrantLedger.Ticket, request: HTTPRequest, now: Int64, state: inout State
    ) -> HTTPResponse {
        let name = GrantServer.given(request.header("name")) ?? ticket.name
        let subject = GrantServer.given(request.header("subject")) ?? name
        let text: String
        do {
            text = try GrantServer.documents(name: name, subject: subject, issuing: state.issuing, now: now)
        } catch {
            // Nothing was given away, so nothing counts.
            state.ledger.abandon(ticket)
            let wantsReason = request.header(RefusalReason.header) != nil
            return GrantServer.response(error.refusal, reason: wantsReason ? error.reason : nil)
        }
        var ledger = state.ledger
        ledger.commit(ticket)
        do {
            try store(ledger)
        } catch {
            state.ledger.abandon(ticket)
            return GrantServer.response(.storeFailed, reason: nil)
        }
        state.ledger = ledger
        return HTTPResponse(status: 200, headers: [("Content-Type", "application/yaml")], body: Array(text.utf8))
    }

    /// Why no documents can be made.
    package struct DocumentsFailure: Error {
        package let refusal: GrantLedger.Refusal
        let reason: RefusalReason?
    }

    /// Secret and Links for a site that redeems (control-plane.md §3.6).
    package static func documents(
        name: String, subject: String, issuing: Issuing?, now: Int64
    ) throws(DocumentsFailure) -> String {
        guard let issuing else {
            throw DocumentsFailure(refusal: .generatorFailed("Site not yet defined"), reason: nil)
        }
        guard !issuing.endpoints.isEmpty else {
            throw DocumentsFailure(
                refusal: .generatorFailed("No valid endpoints found for site"), reason: .noLinkAccess)
        }
        guard FieldRules.name(name) == nil, name.utf8.count <= 253 else {
            throw DocumentsFailure(
                refusal: GrantLedger.Refusal(status: 400, text: "Request header \"name\" not valid"), reason: nil)
        }
        let pair: KeyedCertificate
        do {
            pair = try CertificateAuthority.issue(
                commonName: subject, hosts: Array(Set(issuing.endpoints.map(\.host))).sorted(),
                by: issuing.authority, nowUnix: now)
        } catch {
            throw DocumentsFailure(
                refusal: .generatorFailed("Could not get issuer for requested certificate"), reason: nil)
        }
        let secret = Secret.tls(
            name: name, certificatePEM: pair.certificatePEM, keyPEM: pair.keyPEM,
            caPEM: issuing.authority.certificatePEM)
        var documents = [secret.resource.document]
        let groups = Dictionary(grouping: issuing.endpoints, by: \.group).sorted { $0.key < $1.key }
        for (index, group) in groups.enumerated() {
            var link = Link(name: groups.count == 1 ? name : "\(name)-\(index + 1)")
            link.endpoints = group.value
            link.tlsCredentials = name
            documents.append(link.resource.document)
        }
        return YAML.emit(documents: documents, leadingSeparator: true)
    }

    private static func given(_ header: String?) -> String? { header.flatMap { $0.isEmpty ? nil : $0 } }

    private static func response(_ refusal: GrantLedger.Refusal, reason: RefusalReason?) -> HTTPResponse {
        let extra = reason.map { $0.line + "\n" } ?? ""
        var response = HTTPResponse.text(refusal.text + "\n" + extra, status: refusal.status)
        if let wait = refusal.retryAfterSeconds { response.headers.append(("Retry-After", String(wait))) }
        return response
    }

    /// The reason beyond upstream's texts, which are the same for unknown and expired grants.
    ///
    /// Grant identities are random 122-bit numbers: who can name one has had the token, so nothing is given away.
    private static func reason(_ refusal: GrantLedger.Refusal, known: GrantLedger.Grant?) -> RefusalReason? {
        switch (refusal.status, refusal.text) {
        case (404, "No such access granted"): .used
        case (404, _): known == nil ? .unknown : .expired
        case (403, _): .wrongCode
        default: nil
        }
    }

    // MARK: Keeping

    private func store(_ ledger: GrantLedger) throws(FileError) {
        let items = ledger.grants.sorted { ($0.name, $0.uid) < ($1.name, $1.uid) }.map { grant -> Document in
            [
                "uid": .string(grant.uid), "namespace": .string(grant.namespace), "name": .string(grant.name),
                "code": .string(grant.code),
                "expiration": grant.expirationUnix.map { .string(Timestamp.format(unix: $0)) } ?? .null,
                "redemptionsAllowed": .int(Int64(grant.redemptionsAllowed)),
                "redemptions": .int(Int64(grant.redemptions)), "claims": .list(grant.claims.map { .string($0) }),
            ]
        }
        try Files.write(path, text: YAML.emit(["grants": .list(items)]), mode: 0o600)
    }

    private static func load(_ path: String) -> [GrantLedger.Grant] {
        guard let text = try? Files.readText(path), let document = try? YAML.parse(text).first else { return [] }
        return (document["grants"]?.listValue ?? []).compactMap { item in
            guard let uid = item["uid"]?.scalarText, let name = item["name"]?.scalarText,
                let code = item["code"]?.scalarText
            else { return nil }
            return GrantLedger.Grant(
                uid: uid, namespace: item["namespace"]?.scalarText ?? "", name: name, code: code,
                expirationUnix: item["expiration"]?.scalarText.flatMap { Timestamp.parse($0) },
                redemptionsAllowed: item["redemptionsAllowed"]?.intValue.map { Int($0) } ?? 1,
                redemptions: item["redemptions"]?.intValue.map { Int($0) } ?? 0,
                claims: (item["claims"]?.listValue ?? []).compactMap(\.scalarText))
        }
    }
}
