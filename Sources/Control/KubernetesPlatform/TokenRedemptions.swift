import ControlIO
import KubernetesAPI
import LocalPlatform
import SiteModel
import SiteTrust
import Threading

/// Redeems AccessTokens on threads of their own, so that an issuing site that does not answer holds up nothing else
/// (control-plane.md §3.8).
final class TokenRedemptions: Sendable {
    /// Redemptions at the same time.
    private static let parallel = 4
    /// Wait before a site that could not be reached is asked again, milliseconds.
    private static let pause: Int64 = 10_000
    /// Wait before what a token gave is written again, milliseconds.
    private static let writePause = 1_000
    /// Annotation of what a token gave: its uid.
    private static let mark = "internal.skupper.io/token"
    /// Annotation of the Secret of a token: its Links as JSON. Grant servers of upstream answer once, so the first
    /// write has to hold all of the answer: a controller that was killed after that finds the rest here.
    private static let linksMark = "internal.skupper.io/token-links"

    private struct State {
        var running: Set<String> = []
        /// What tokens gave that could not be written yet, by uid of the token.
        var answers: [String: [Resource]] = [:]
        /// By uid of the token: not to be tried before, milliseconds.
        var waits: [String: Int64] = [:]
    }

    private let state = Locked(State())
    private let access: ClusterAccess
    private let cache: ObjectCache
    private let log: ControllerLog
    /// Called with a namespace when something changed there, and the wait until it is to be looked at, milliseconds.
    private let changed: @Sendable (String, Int) -> Void

    init(
        _ access: ClusterAccess, cache: ObjectCache, log: ControllerLog,
        changed: @escaping @Sendable (String, Int) -> Void
    ) {
        self.access = access
        self.cache = cache
        self.log = log
        self.changed = changed
    }

    /// Starts the redemption of those that are not under way and not waiting; gives after what time those that wait are
    /// to be looked at again, milliseconds. An event meanwhile ends the wait that `changed` asked for.
    func start(_ tokens: [AccessToken], namespace: String, site: Site) -> Int? {
        let now = MonotonicClock.now
        var next: Int64?
        for token in tokens {
            let wait = state.withLock { state -> Int64? in
                // Its end makes `changed` be called.
                if state.running.contains(token.uid) { return nil }
                if let until = state.waits[token.uid], until > now { return until - now }
                guard state.running.count < TokenRedemptions.parallel else { return Int64(TokenRedemptions.writePause) }
                state.running.insert(token.uid)
                return 0
            }
            guard wait == 0 else {
                if let wait { next = min(next ?? wait, wait) }
                continue
            }
            _ = Worker<Void> { [self] in
                let pause = redeem(token, namespace: namespace, site: site)
                state.withLock { state in
                    state.running.remove(token.uid)
                    state.waits[token.uid] = pause > 0 ? MonotonicClock.now + Int64(pause) : nil
                    if pause == 0 { state.answers[token.uid] = nil }
                    if state.waits.count > 10_000 { state.waits = [:] }
                }
                changed(namespace, pause)
            }
        }
        return next.map { Int($0) }
    }

    /// Redeems one token and writes what it gave; the wait until the next attempt, 0 when it is decided.
    private func redeem(_ token: AccessToken, namespace: String, site: Site) -> Int {
        if let now = cache.get("AccessToken", token.name, in: namespace).flatMap({ AccessToken($0) }), now.redeemed {
            // The plan is from before.
            return 0
        }
        do {
            let client = try APIClient(access)
            let outcome: Outcome
            if let resources = given(token, namespace: namespace) {
                outcome = .resources(resources)
            } else {
                guard let key = key(of: token, namespace: namespace) else { return TokenRedemptions.writePause }
                outcome = ask(token, site: site, key: key)
            }
            switch outcome {
            case .resources(let resources):
                state.withLock { $0.answers[token.uid] = resources }
                for resource in resources { try create(resource, of: token, namespace: namespace, site: site, client) }
                try write(.ready, of: token, namespace: namespace, client: client)
                log.note("token \(namespace)/\(token.name) redeemed")
                return 0
            case .refused(let text):
                log.warn("token \(namespace)/\(token.name): \(text)")
                try write(.error(text), of: token, namespace: namespace, client: client)
                return 0
            case .later(let text):
                log.warn("token \(namespace)/\(token.name): \(text)")
                try write(.pending(text), of: token, namespace: namespace, client: client)
                return Int(TokenRedemptions.pause)
            }
        } catch {
            log.warn("token \(namespace)/\(token.name): \(error)")
            let text = "Controller could not create received secret or link: \(error)"
            if error.isAlreadyExists || error.isForbidden, let client = try? APIClient(access) {
                let condition = error.isForbidden ? ConditionState.pending(text) : .error(text)
                try? write(condition, of: token, namespace: namespace, client: client)
                if error.isAlreadyExists { return 0 }
            }
            return error.isTemporary ? TokenRedemptions.writePause : Int(TokenRedemptions.pause)
        }
    }

    /// What the token gave before: it is asked once only.
    private func given(_ token: AccessToken, namespace: String) -> [Resource]? {
        if let answer = state.withLock({ $0.answers[token.uid] }) { return answer }
        // An earlier life of this controller redeemed it and could not say so.
        let secret = cache.resources(in: namespace).first {
            $0.kind == "Secret" && $0.annotation(TokenRedemptions.mark) == token.uid
        }
        guard let text = secret?.annotation(TokenRedemptions.linksMark), let links = try? JSON.parse(text) else {
            return nil
        }
        return (links.listValue ?? []).compactMap { try? Resource(document: $0) }
    }

    private enum Outcome {
        case resources([Resource])
        case refused(String)
        case later(String)
    }

    /// By this key an answer is given again to a controller that was killed before it could write it down. The Secret
    /// is in the namespace before any router is, lives as long as the site, and who may read it has the site anyway.
    /// Nil while it is being made.
    private func key(of token: AccessToken, namespace: String) -> String? {
        guard let secret = cache.get("Secret", "skupper-local-ca", in: namespace).flatMap({ Secret($0) }) else {
            return nil
        }
        return secret.textValue("tls.key").map { RedemptionKey.derived(secret: $0, token: token.uid) } ?? ""
    }

    private func ask(_ token: AccessToken, site: Site, key: String) -> Outcome {
        let request = RedeemRequest(
            url: token.url, ca: token.ca, code: token.code, name: token.name, subject: site.uid, key: key,
            timeoutMilliseconds: 10_000)
        do throws(HTTPClientError) {
            let reply = try redeemOverHTTPS(request)
            let text = String(reply.body.split(separator: "\n").first ?? "")
            guard reply.status == 200 else {
                let message =
                    "Controller got failed response: \(reply.status) (\(TokenRedemptions.phrase(reply.status))) \(text)"
                return [429, 502, 503, 504].contains(reply.status) ? .later(message) : .refused(message)
            }
            switch TokenRedeemer.resources(in: reply.body, token: token) {
            case .success(let resources): return .resources(TokenRedemptions.ordered(resources))
            case .failure(let error): return .refused("Controller could not decode response: \(error)")
            }
        } catch {
            let message = "Controller got error: \(error)"
            return error.isTemporary ? .later(message) : .refused(message)
        }
    }

    /// The Secret first, with the Links in an annotation.
    private static func ordered(_ resources: [Resource]) -> [Resource] {
        let links = resources.filter { $0.kind != "Secret" }
        let text = JSON.emit(.list(links.map(\.document)), pretty: false, sortedKeys: true)
        return resources.filter { $0.kind == "Secret" }.map { resource in
            var secret = resource
            secret.setAnnotation(linksMark, text)
            return secret
        } + links
    }

    private func create(
        _ resource: Resource, of token: AccessToken, namespace: String, site: Site, _ client: APIClient
    ) throws(APIFault) {
        guard let kind = WatchedKinds.resource(resource.kind) else { return }
        var copy = resource
        copy.namespace = namespace
        copy.document["status"] = nil
        copy.document.set(nil, at: ["metadata", "creationTimestamp"])
        copy.setAnnotation(TokenRedemptions.mark, token.uid)
        copy.document.set(
            [
                [
                    "apiVersion": .string(site.resource.apiVersion), "kind": "Site", "name": .string(site.name),
                    "uid": .string(site.uid),
                ]
            ], at: ["metadata", "ownerReferences"])
        do {
            cache.put(kind.completed(try client.create(kind, namespace: namespace, copy.document)))
        } catch {
            // Made at an earlier attempt, of which the answer was lost.
            guard error.isAlreadyExists,
                let found = try client.getIfExists(kind, namespace: namespace, name: copy.name),
                found.value(at: ["metadata", "annotations", TokenRedemptions.mark])?.stringValue == token.uid
            else { throw error }
            cache.put(kind.completed(found))
        }
    }

    private func write(
        _ condition: ConditionState, of token: AccessToken, namespace: String, client: APIClient
    ) throws(APIFault) {
        guard let kind = WatchedKinds.resource("AccessToken") else { return }
        var resource = cache.get("AccessToken", token.name, in: namespace) ?? token.resource
        guard resource.uid == token.uid else { return }
        var changed = resource.setCondition(.redeemed, condition, nowUnix: WallClock.now)
        if case .ready = condition, resource.status("redeemed") != true {
            resource.setStatus(true, "redeemed")
            changed = true
        }
        guard changed, let status = resource.document["status"] else { return }
        let stored = try client.merge(
            kind, namespace: namespace, name: token.name, ["status": status], subresource: "status")
        cache.put(kind.completed(stored))
    }

    private static func phrase(_ status: Int) -> String {
        switch status {
        case 400: "Bad Request"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 429: "Too Many Requests"
        case 500: "Internal Server Error"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        default: "HTTP"
        }
    }
}
