import ControlIO
import Glibc
import SiteModel
import SiteTrust

/// Redeems tokens: asks the issuing site for a certificate and link, and writes both into the namespace's input.
package struct TokenRedeemer: Sendable {
    /// What a redeemed token gave.
    package struct Outcome: Hashable, Sendable {
        /// Name of the token.
        package let token: String
        /// Names of the links made; one, unless the issuing site has several groups of endpoints.
        package let links: [String]
        /// Files written.
        package let files: [String]
    }

    /// Longest wait for one answer, milliseconds (control-plane.md §3.5).
    static let attemptLimit: Int64 = 10_000
    /// Waits between attempts, milliseconds; the last one is repeated.
    static let waits: [Int64] = [500, 1_000, 2_000, 4_000, 8_000]

    private let store: NamespaceStore
    private let exchange: RedeemExchange

    /// - Parameters:
    ///   - store: the namespace in which the link is made.
    ///   - exchange: how to reach the grant server.
    package init(store: NamespaceStore, exchange: @escaping RedeemExchange = redeemOverHTTPS) {
        self.store = store
        self.exchange = exchange
    }

    /// Redeems the token of a file. Blocks for at most `timeoutSeconds`; temporary failures are retried within that
    /// time, each told to `report` as one sentence.
    ///
    /// Throws `LocalError` with a text of its own for every cause. Nothing is written unless all of it is.
    package func redeem(
        file path: String, subject: String? = nil, timeoutSeconds: Int = 60, report: (String) -> Void = { _ in }
    ) throws(LocalError) -> Outcome {
        let file = try TokenFile.read(path)
        try file.checkExpiration(now: WallClock.now)
        return try redeem(file.token, subject: subject, timeoutSeconds: timeoutSeconds, report: report)
    }

    /// Redeems a token; see `redeem(file:subject:timeoutSeconds:report:)`.
    package func redeem(
        _ token: AccessToken, subject: String? = nil, timeoutSeconds: Int = 60, report: (String) -> Void = { _ in }
    ) throws(LocalError) -> Outcome {
        // A use of the token must not be lost to something that could have been known before.
        try checkRoom(for: token.name)
        let resources = try fetch(token, subject: subject, timeoutSeconds: timeoutSeconds, report: report)
        return try keep(resources, of: token)
    }

    /// Asks the issuing site and gives the Secret and Links of its answer, with the token's link cost applied.
    package func fetch(
        _ token: AccessToken, subject: String?, timeoutSeconds: Int, report: (String) -> Void
    ) throws(LocalError) -> [Resource] {
        let deadline = MonotonicClock.now + Int64(timeoutSeconds) * 1000
        // The same for all attempts: an answer that was lost is given again.
        let key = (try? RandomValues.code()) ?? ""
        var attempt = 0
        while true {
            let rest = deadline - MonotonicClock.now
            let request = RedeemRequest(
                url: token.url, ca: token.ca, code: token.code, name: token.name,
                subject: subject ?? store.layout.namespace, key: key,
                timeoutMilliseconds: Int(max(1_000, min(rest, TokenRedeemer.attemptLimit))))
            let failure: RedeemFailure
            do {
                let reply = try exchange(request)
                if reply.status == 200 {
                    switch TokenRedeemer.resources(in: reply.body, token: token) {
                    case .success(let resources): return resources
                    case .failure(let problem):
                        throw RedeemFailure(unusable: problem.description, request: request).error
                    }
                }
                failure = RedeemFailure(reply: reply, request: request)
            } catch let error as HTTPClientError {
                failure = RedeemFailure(transport: error, request: request)
            } catch let error as LocalError {
                throw error
            } catch {
                // No other type of error can come out of the two calls above.
                failure = RedeemFailure(unusable: "\(error)", request: request)
            }
            let wait = TokenRedeemer.waits[min(attempt, TokenRedeemer.waits.count - 1)]
            attempt += 1
            guard failure.isTemporary else { throw failure.error }
            guard MonotonicClock.now + wait < deadline else {
                throw LocalError(
                    what: "\(failure.error.what), \(attempt) attempts in \(timeoutSeconds) s",
                    cause: failure.error.cause, remedy: failure.error.remedy)
            }
            report(
                "\(failure.error.what); this may pass, trying again in \(Double(wait) / 1000) s "
                    + "(attempt \(attempt), \((deadline - MonotonicClock.now) / 1000) s left)")
            usleep(useconds_t(wait * 1000))
        }
    }

    /// Writes what a token gave, all or nothing.
    package func keep(_ resources: [Resource], of token: AccessToken) throws(LocalError) -> Outcome {
        do {
            let files = try store.putAll(resources, in: .input)
            return Outcome(
                token: token.name, links: resources.filter { $0.knownKind == .link }.map(\.name), files: files)
        } catch {
            throw LocalError(
                what: "the token was redeemed, but its link cannot be written (\(error))",
                cause: "the disk is full, or this user may not write to the namespace",
                remedy: "Remove the cause and issue a new token; this use of the token is gone")
        }
    }

    /// The Secret and Links of an answer (control-plane.md §3.6); unknown fields are kept.
    package static func resources(in body: String, token: AccessToken) -> Result<[Resource], ResourceError> {
        do {
            var resources = try Resource.parseAll(yaml: body)
            let secrets = resources.compactMap { Secret($0) }
            guard secrets.count == 1, let secret = secrets.first else {
                return .failure(ResourceError("it holds \(secrets.count) Secrets instead of one"))
            }
            for key in ["tls.crt", "tls.key", "ca.crt"] where secret.value(key)?.isEmpty ?? true {
                return .failure(ResourceError("its Secret has no \(key)"))
            }
            let links = resources.filter { $0.knownKind == .link }
            guard !links.isEmpty else { return .failure(ResourceError("it holds no Link")) }
            guard links.count + 1 == resources.count else {
                return .failure(ResourceError("it holds resources other than a Secret and Links"))
            }
            for index in resources.indices {
                guard var link = Link(resources[index]) else { continue }
                guard !link.endpoints.isEmpty else { return .failure(ResourceError("its Link has no endpoints")) }
                guard link.tlsCredentials == secret.name else {
                    return .failure(ResourceError("its Link does not use its Secret"))
                }
                if token.linkCost > 0 { link.cost = token.linkCost }
                resources[index] = link.resource
            }
            return .success(resources)
        } catch {
            return .failure(error)
        }
    }

    private func checkRoom(for name: String) throws(LocalError) {
        let isTaken = (try? store.get(.link, name, in: .input)) ?? nil
        if isTaken != nil {
            throw LocalError(
                what: "namespace \(store.layout.namespace) already has a link \"\(name)\"",
                cause: "this token was redeemed here before",
                remedy: "See \"skupper link status \(name)\"; to make it anew, delete it first with "
                    + "\"skupper link delete \(name)\"")
        }
        do {
            try Files.makeDirectory(store.layout.inputResources)
            let probe = "\(store.layout.inputResources)/.probe-\(getpid())"
            try Files.write(probe, text: "")
            try Files.remove(probe)
        } catch {
            throw LocalError(
                what: "the link of token \"\(name)\" could not be written: \(error)",
                cause: "this user may not write to namespace \(store.layout.namespace)",
                remedy: "Run the command as the user who created the site, or set SKUPPER_OUTPUT_PATH. The token was "
                    + "not used")
        }
    }
}
