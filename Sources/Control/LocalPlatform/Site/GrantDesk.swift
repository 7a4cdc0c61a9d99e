import ControlIO
import HTTPServer
import SiteModel
import SiteReconciler
import SiteTrust

/// Turns the AccessGrants of a namespace into entries of its grant server, and keeps that server running. Used from
/// one thread.
final class GrantDesk {
    /// Where the server is and what it shows.
    struct Place: Hashable {
        var bindHost: String
        var port: UInt16
        /// Host in the URLs of tokens.
        var urlHost: String
        var identity: TLSIdentity
        var authorityPEM: String
    }

    /// Window of a grant that names none, seconds (control-plane.md §3.3).
    private static let defaultWindow: Int64 = 600

    private let server: GrantServer
    private var http: HTTPServer?
    private var place: Place?
    private var faults: [String: String] = [:]
    /// Why the server does not listen; empty if it does or need not.
    private(set) var serverFault = ""

    init(path: String) { server = GrantServer(path: path) }

    deinit { http?.stop() }

    /// Whether somebody may still come with a token for the present address.
    func hasLiveGrants(now: Int64) -> Bool {
        server.grants.contains { ($0.expirationUnix ?? 0) > now && $0.redemptions < max(1, $0.redemptionsAllowed) }
    }

    /// Brings the server to where it belongs, or stops it.
    func serve(at wanted: Place?, issuing: GrantServer.Issuing?, log: ControllerLog) {
        server.update(issuing: issuing)
        guard let wanted else {
            http?.stop()
            (http, place, serverFault) = (nil, nil, "")
            return
        }
        defer { place = wanted }
        if let http, let place, place.bindHost == wanted.bindHost, place.port == wanted.port {
            guard place.identity != wanted.identity else { return }
            do {
                try http.replaceIdentity(wanted.identity)
            } catch {
                log.warn("grant server: \(error)")
            }
            return
        }
        http?.stop()
        do {
            http = try GrantDesk.listen(wanted, server: server)
            serverFault = ""
            log.note("grant server listens on port \(wanted.port)")
        } catch {
            http = nil
            if serverFault != "\(error)" { log.warn("grant server: \(error)") }
            serverFault = "\(error)"
        }
    }

    // The handler runs on the server's thread, so it is made outside of whatever the caller is confined to.
    private static func listen(_ place: Place, server: GrantServer) throws(HTTPServerError) -> HTTPServer {
        try HTTPServer(
            host: place.bindHost, port: place.port, tls: place.identity,
            limits: HTTPLimits(bodyBytes: 4096, headerBytes: 8192, connections: 64, idleSeconds: 30)
        ) { server.respond(to: $0) }
    }

    /// Takes the grants as the resources have them now: new ones get an identity, a code and an end.
    func tend(_ grants: [AccessGrant], namespace: String, isEdge: Bool, now: Int64, log: ControllerLog) {
        let known = Dictionary(server.grants.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        faults = [:]
        var entries: [GrantLedger.Grant] = []
        for grant in grants {
            if isEdge {
                faults[grant.name] = "Edge sites cannot accept incoming links from remote sites"
                continue
            }
            let allowed = max(1, grant.redemptionsAllowed)
            if var entry = known[grant.name], grant.uid.isEmpty || grant.uid == entry.uid {
                entry.redemptionsAllowed = allowed
                entries.append(entry)
                continue
            }
            let window = grant.expirationWindow
            let seconds = window.isEmpty ? GrantDesk.defaultWindow : GoDuration.parseSeconds(window)
            guard let seconds, seconds > 0, seconds < 1 << 40 else {
                faults[grant.name] = "Invalid duration \"\(window)\": give one such as 15m or 1h30m"
                continue
            }
            do {
                entries.append(
                    GrantLedger.Grant(
                        uid: try grant.uid.isEmpty ? RandomValues.uuid4() : grant.uid, namespace: namespace,
                        name: grant.name, code: try grant.code.isEmpty ? RandomValues.code() : grant.code,
                        expirationUnix: now + seconds, redemptionsAllowed: allowed, redemptions: 0))
            } catch {
                faults[grant.name] = "\(error)"
            }
        }
        do {
            try server.update(grants: entries)
        } catch {
            log.warn("grants cannot be kept: \(error)")
            for entry in entries { faults[entry.name] = "The grant cannot be kept: \(error)" }
        }
        for record in server.takeRecords() {
            let name = record.grant.isEmpty ? "unknown" : record.grant
            log.note("grant \(name): \(record.peer): \(record.status) \(record.text)")
        }
    }

    /// Statuses of all grants.
    func statuses(_ grants: [AccessGrant], hasLinkAccess: Bool) -> [ResourceStatus] {
        let known = Dictionary(server.grants.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        return grants.map { grant in
            let entry = known[grant.name]
            var fault = faults[grant.name]
            if fault == nil, !hasLinkAccess {
                fault = "link access is not enabled for this site: enable it with \"skupper site update\""
            }
            if fault == nil, !serverFault.isEmpty { fault = serverFault }
            var url = ""
            if let place, let entry, http != nil {
                let host = place.urlHost.contains(":") ? "[\(place.urlHost)]" : place.urlHost
                url = "https://\(host):\(place.port)/\(entry.uid)"
            }
            return SiteReconciler.grantStatus(
                grant, fault: fault, url: url, ca: url.isEmpty ? "" : place?.authorityPEM ?? "",
                code: entry?.code ?? "",
                expirationTime: entry?.expirationUnix.map { Timestamp.format(unix: $0) } ?? "",
                redemptions: entry?.redemptions ?? 0)
        }
    }
}
