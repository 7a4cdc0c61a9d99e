import ControlIO
import HTTPServer
import KubernetesAPI
import LocalPlatform
import SiteModel
import SiteTrust
import Threading

/// The grant server of a cluster: one for the sites of all namespaces (control-plane.md §3.2 to §3.6). A redemption
/// is in the AccessGrant's status before its answer leaves, with a claim by which its redeemer may ask once more.
final class ClusterGrants: Sendable {
    private struct State {
        var ledger = GrantLedger()
        var issuing: [String: GrantServer.Issuing] = [:]
        var client: APIClient
        /// Namespaces whose grants are not in the ledger yet.
        var expected: Set<String> = []
    }

    private let state: Locked<State>
    private let server = Locked<(http: HTTPServer, identity: TLSIdentity)?>(nil)
    private let log: ControllerLog
    private let redeemed: @Sendable (Document) -> Void

    /// - Parameters:
    ///   - client: for this server alone.
    ///   - redeemed: told the AccessGrant as it is stored after a redemption.
    init(_ client: APIClient, log: ControllerLog, redeemed: @escaping @Sendable (Document) -> Void) {
        state = Locked(State(client: client))
        self.log = log
        self.redeemed = redeemed
    }

    /// Serves with an identity from now on; nil leaves everything as it is.
    func serve(host: String, port: UInt16, identity: TLSIdentity) {
        server.withLock { current in
            do {
                if let running = current {
                    guard running.identity != identity else { return }
                    try running.http.replaceIdentity(identity)
                    current = (running.http, identity)
                } else {
                    let http = try HTTPServer(
                        host: host, port: port, tls: identity,
                        limits: HTTPLimits(bodyBytes: 4096, headerBytes: 8192, connections: 64, idleSeconds: 30)
                    ) { [self] in respond(to: $0) }
                    current = (http, identity)
                    log.note("grant server listens on port \(http.port)")
                }
            } catch {
                log.warn("grant server: \(error)")
            }
        }
    }

    /// Ends the server.
    func stop() {
        let running = server.withLock { current in
            defer { current = nil }
            return current
        }
        running?.http.stop()
    }

    /// The controller has begun: a grant that is not known may be one of these namespaces, until each was updated.
    func expect(_ namespaces: Set<String>) {
        state.withLock { $0.expected = namespaces }
    }

    /// Takes the grants of a namespace as they are now, and what answers are made of there.
    func update(_ namespace: String, grants: [AccessGrant], issuing: GrantServer.Issuing?) {
        state.withLock { state in
            state.expected.remove(namespace)
            state.issuing[namespace] = issuing
            let kept = Set(grants.map(\.uid))
            for old in state.ledger.grants where old.namespace == namespace && !kept.contains(old.uid) {
                state.ledger.remove(uid: old.uid)
            }
            for grant in grants where !grant.uid.isEmpty && !grant.statusCode.isEmpty {
                state.ledger.upsert(
                    GrantLedger.Grant(
                        uid: grant.uid, namespace: namespace, name: grant.name, code: grant.statusCode,
                        expirationUnix: Timestamp.parse(grant.expirationTime),
                        redemptionsAllowed: max(1, grant.redemptionsAllowed), redemptions: grant.redemptions,
                        claims: grant.claims))
            }
        }
    }

    private func respond(to request: HTTPRequest) -> HTTPResponse {
        let now = WallClock.now
        let response = state.withLock { state -> HTTPResponse in
            switch state.ledger.begin(
                path: request.path, method: request.method, code: request.body, now: now, peer: request.peerAddress,
                key: request.header(RedemptionKey.header))
            {
            case .refuse(.unknown) where !state.expected.isEmpty:
                // A refusal would be for good, and the token's site may just have got a new controller.
                return ClusterGrants.response(.notReady)
            case .refuse(let refusal): return ClusterGrants.response(refusal)
            case .issue(let ticket): return issue(ticket, request: request, now: now, state: &state)
            }
        }
        let text = String(decoding: response.body.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        log.note(
            "grant server: \(request.peerAddress): \(response.status) \(response.status == 200 ? "redeemed" : text)")
        return response
    }

    private func issue(
        _ ticket: GrantLedger.Ticket, request: HTTPRequest, now: Int64, state: inout State
    ) -> HTTPResponse {
        func given(_ header: String) -> String? { request.header(header).flatMap { $0.isEmpty ? nil : $0 } }
        let name = given("name") ?? ticket.name
        do {
            let text = try GrantServer.documents(
                name: name, subject: given("subject") ?? name, issuing: state.issuing[ticket.namespace], now: now)
            guard let grants = WatchedKinds.resource("AccessGrant"), let held = state.ledger.grant(uid: ticket.uid)
            else { return ClusterGrants.response(.storeFailed) }
            // Another replica may answer at the same time: what is stored counts, and its version guards the write.
            let found = try state.client.getIfExists(grants, namespace: ticket.namespace, name: ticket.name)
            let used = max(held.redemptions, Int(found?.value(at: ["status", "redemptions"])?.intValue ?? 0))
            let claims = (found?.value(at: ["status", "claims"])?.listValue ?? []).compactMap(\.scalarText)
            let isRepeated = ticket.isRepeated || ticket.claim.map(claims.contains) ?? false
            guard let version = found?.value(at: ["metadata", "resourceVersion"])?.stringValue,
                found?.value(at: ["metadata", "uid"])?.stringValue == ticket.uid,
                used < held.redemptionsAllowed || isRepeated
            else {
                state.ledger.abandon(ticket)
                return ClusterGrants.response(GrantLedger.Refusal(status: 404, text: "No such access granted"))
            }
            let answer = HTTPResponse(
                status: 200, headers: [("Content-Type", "application/yaml")], body: Array(text.utf8))
            if isRepeated {
                // The use was stored with its claim.
                state.ledger.abandon(ticket)
                return answer
            }
            let stored = try state.client.merge(
                grants, namespace: ticket.namespace, name: ticket.name,
                [
                    "metadata": ["uid": .string(ticket.uid), "resourceVersion": .string(version)],
                    "status": [
                        "redemptions": .int(Int64(used + 1)),
                        "claims": .list(GrantLedger.Grant.claims(claims, adding: ticket.claim).map { .string($0) }),
                    ],
                ], subresource: "status")
            guard state.ledger.commit(ticket) != nil else { return ClusterGrants.response(.storeFailed) }
            redeemed(stored)
            return answer
        } catch let failure as GrantServer.DocumentsFailure {
            state.ledger.abandon(ticket)
            return ClusterGrants.response(failure.refusal)
        } catch {
            log.warn("grant \(ticket.namespace)/\(ticket.name): the redemption cannot be stored: \(error)")
            state.ledger.abandon(ticket)
            return ClusterGrants.response(.storeFailed)
        }
    }

    private static func response(_ refusal: GrantLedger.Refusal) -> HTTPResponse {
        var response = HTTPResponse.text(refusal.text + "\n", status: refusal.status)
        if let wait = refusal.retryAfterSeconds { response.headers.append(("Retry-After", String(wait))) }
        return response
    }
}
