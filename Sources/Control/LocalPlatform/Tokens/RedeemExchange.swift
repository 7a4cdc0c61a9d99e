import ControlIO
import SiteModel
import SiteTrust

/// The question to a grant server (control-plane.md §3.5).
package struct RedeemRequest: Hashable, Sendable {
    /// The token's URL.
    package let url: String
    /// The only CA trusted for it, PEM.
    package let ca: String
    /// The code; never to be logged.
    package let code: String
    /// Wanted name of the Secret and the Link.
    package let name: String
    /// Common name of the certificate asked for.
    package let subject: String
    /// Header `Idempotency-Key`, by which an answer that was lost can be asked for again; never to be logged.
    package let key: String
    /// Longest time for the whole exchange, milliseconds.
    package let timeoutMilliseconds: Int

    /// A request.
    package init(
        url: String, ca: String, code: String, name: String, subject: String, key: String, timeoutMilliseconds: Int
    ) {
        self.url = url
        self.ca = ca
        self.code = code
        self.name = name
        self.subject = subject
        self.key = key
        self.timeoutMilliseconds = timeoutMilliseconds
    }
}

/// The answer of a grant server.
package struct RedeemReply: Hashable, Sendable {
    package let status: Int
    /// The reason that our own grant servers give on a line of its own when asked; upstream's give none.
    var reason: RefusalReason? { status == 200 ? nil : RefusalReason(body: body) }
    package let body: String

    package init(status: Int, body: String) {
        self.status = status
        self.body = body
    }
}

/// Words by which our grant servers tell refusals apart that share a text (control-plane.md §3.5).
///
/// A client asks for the word with the request header `skupper-reason`; it then stands on the second line of the
/// body. Clients of upstream do not ask and see upstream's answer.
enum RefusalReason: String, Sendable, CaseIterable {
    case expired
    case used
    case unknown
    case wrongCode = "wrong-code"
    case noLinkAccess = "no-link-access"

    /// Header of requests, and what begins the line in answers.
    static let header = "skupper-reason"

    /// The line in the body of an answer.
    var line: String { "\(RefusalReason.header): \(rawValue)" }

    /// The reason in a body; nil if there is none.
    init?(body: String) {
        let prefix = "\(RefusalReason.header): "
        guard let line = body.split(separator: "\n").dropFirst().first(where: { $0.hasPrefix(prefix) }) else {
            return nil
        }
        self.init(rawValue: String(line.dropFirst(prefix.count)))
    }
}

/// How a request gets to the grant server and back; replaced in tests.
package typealias RedeemExchange = @Sendable (RedeemRequest) throws(HTTPClientError) -> RedeemReply

/// The exchange over HTTPS.
package func redeemOverHTTPS(_ request: RedeemRequest) throws(HTTPClientError) -> RedeemReply {
    let response = try HTTPSClient().post(
        url: request.url,
        headers: [
            ("name", request.name), ("subject", request.subject), (RefusalReason.header, "1"),
            (RedemptionKey.header, request.key),
        ],
        body: Array(request.code.utf8), trustedCAPEM: request.ca, minimumTLS13: true,
        timeoutMilliseconds: request.timeoutMilliseconds)
    return RedeemReply(status: response.status, body: String(decoding: response.body, as: UTF8.self))
}

/// What a failed exchange means for the user.
struct RedeemFailure: Hashable, Sendable {
    let error: LocalError
    /// Whether trying again may succeed without anybody doing anything.
    let isTemporary: Bool

    /// A refusal by the server. The reason wins; else upstream's texts decide (control-plane.md §3.5).
    init(reply: RedeemReply, request: RedeemRequest) {
        let text = reply.body.split(separator: "\n").first.map(String.init) ?? ""
        let at = RedeemFailure.host(of: request.url)
        let answer = text.isEmpty ? "\(reply.status)" : "\(reply.status) \(text)"
        switch (reply.reason, reply.status, text) {
        case (.expired?, _, _):
            self = .definite(
                "the token has expired (\(at) says: \(answer))",
                "more time has passed since it was issued than its expiration window allows",
                "Issue a new token at the other site, with more time if needed: "
                    + "\"skupper token issue FILE --expiration-window 60m\"")
        case (.used?, _, _), (nil, 404, "No such access granted"):
            self = .definite(
                "the token has been used up (\(at) says: \(answer))",
                "it was redeemed as often as it allows, perhaps by this site earlier",
                "Look for an existing link with \"skupper link status\"; else issue a new token at the other site, "
                    + "with \"--redemptions-allowed N\" if several sites are to use it")
        case (.unknown?, _, _):
            self = .definite(
                "the issuing site does not know this token (\(at) says: \(answer))",
                "its grant was deleted, or the site was set up anew since", "Issue a new token at the other site")
        case (nil, 404, _):
            self = .definite(
                "the issuing site does not know this token or it has expired (\(at) says: \(answer))",
                "its time is over, its grant was deleted, or the site was set up anew since",
                "Issue a new token at the other site and redeem it in time")
        case (.wrongCode?, _, _), (nil, 403, _):
            self = .definite(
                "the issuing site refused the code of this token (\(at) says: \(answer))",
                "the code in the file is not that of the grant: the file was edited or mixed from two tokens",
                "Copy the token file again as it is, or issue a new token at the other site")
        case (.noLinkAccess?, _, _), (nil, 500, "No valid endpoints found for site"):
            self = .definite(
                "the issuing site cannot accept links (\(at) says: \(answer))",
                "link access was disabled there, or its link endpoints are not ready yet",
                "Enable it at that site with \"skupper site update NAME --enable-link-access\", then redeem again; "
                    + "this token was not used up if that site runs this version")
        case (_, 429, _), (_, 502...504, _):
            self.init(
                error: LocalError(
                    what: "the issuing site is busy (\(at) says: \(answer))",
                    cause: "too many attempts in a short time, or it is just starting",
                    remedy: "Try again in a minute"),
                isTemporary: true)
        default:
            self = .definite(
                "the issuing site could not redeem the token (\(at) says: \(answer))",
                "a fault at that site, or something else answers at this address",
                "Look at the site's status and its controller's log over there")
        }
    }

    /// A server that could not be asked.
    init(transport: HTTPClientError, request: RedeemRequest) {
        let at = RedeemFailure.host(of: request.url)
        let isTemporary = transport.isTemporary
        func failure(_ what: String, _ cause: String, _ remedy: String) -> RedeemFailure {
            RedeemFailure(error: LocalError(what: what, cause: cause, remedy: remedy), isTemporary: isTemporary)
        }
        switch transport {
        case .cannotResolve(let host):
            self = failure(
                "the issuing site's host \(host) has no address here", "the name is not known to this host's DNS",
                "Check DNS, or have the token issued with an address that is valid here "
                    + "(\"skupper site update NAME --advertise-host ADDRESS\" over there)")
        case .cannotConnect(let host, let port, let reason):
            self = failure(
                "cannot connect to the issuing site at \(host) port \(port): \(reason)",
                "the site is not running, or a firewall stands between",
                "Start the site over there (\"skupper system start\"), and open port \(port) towards this host")
        case .timeout(let milliseconds):
            self = failure(
                "the issuing site at \(at) did not answer within \(milliseconds / 1000) s",
                "the host is down or unreachable from here, or a firewall drops the packets",
                "Check with \"ping\" or \"curl -k https://\(at)/\" that this host reaches it")
        case .tlsUntrusted(let detail):
            self = .definite(
                "the server at \(at) is not the one this token is for: its certificate is not signed by the token's CA "
                    + "(\(detail))",
                "the issuing site was set up anew, another program answers there, or a proxy opens TLS on the way",
                "Issue a new token at the other site; if that fails too, look for a proxy between")
        case .tlsNameMismatch(let host):
            self = .definite(
                "the certificate of the server at \(at) is not valid for the name \(host)",
                "the issuing site's address has changed since its certificate was made",
                "Set the address over there with \"skupper site update NAME --advertise-host \(host)\" and issue a "
                    + "new token")
        case .caUnreadable(let detail):
            self = .definite(
                "the CA certificate in the token cannot be read: \(detail)", "it was damaged or edited on its way",
                "Copy the token file again as it is, or issue a new token")
        case .tlsOther(let detail):
            self = .definite(
                "no secure connection to the issuing site at \(at): \(detail)",
                "the server is older than TLS 1.3, or is no TLS server",
                "Check the address, and issue a new token at the other site")
        case .tooLarge(let limit):
            self = .definite(
                "the answer of \(at) is longer than \(limit) octets", "something else answers at this address",
                "Check the URL in the token")
        case .invalidURL(let detail):
            self = .definite(
                "the token's URL \(request.url) cannot be used: \(detail)", "the file was edited",
                "Copy the token file again as it is, or issue a new token")
        case .other(let detail):
            self = failure(
                "the exchange with the issuing site at \(at) failed: \(detail)", "a fault on the way or over there",
                "Try again; if it persists, look at the controller's log over there")
        }
    }

    /// An answer that says yes but cannot be used.
    init(unusable detail: String, request: RedeemRequest) {
        self = .definite(
            "the answer of \(RedeemFailure.host(of: request.url)) cannot be used: \(detail)",
            "something else than a grant server answers there, or one of another version",
            "Check the URL in the token, and issue a new one with a site of version 2")
    }

    init(error: LocalError, isTemporary: Bool) {
        self.error = error
        self.isTemporary = isTemporary
    }

    private static func definite(_ what: String, _ cause: String, _ remedy: String) -> RedeemFailure {
        RedeemFailure(error: LocalError(what: what, cause: cause, remedy: remedy), isTemporary: false)
    }

    /// `host:port` of a URL, for texts.
    static func host(of url: String) -> String {
        guard let start = url.firstRange(of: "://") else { return url }
        return String(url[start.upperBound...].prefix { $0 != "/" })
    }
}
