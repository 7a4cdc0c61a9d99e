import ControlIO
import SiteModel
import SiteReconciler

/// AccessGrants (sheet §3.3) and AccessTokens (§3.8).
extension NamespacePlanner {
    /// Window of a grant that names none, seconds.
    private static let defaultWindow: Int64 = 600

    func grantStatus(_ resource: Resource) -> ResourceStatus {
        let grant = AccessGrant(unchecked: resource)
        var fault: String?
        var expiration = grant.expirationTime
        if !settings.grantsEnabled {
            fault = "AccessGrants are not enabled"
        } else if let site, site.edge {
            fault = "Edge sites cannot accept incoming links from remote sites"
        } else if site == nil {
            fault = "No active site in namespace"
        } else if routerAccesses.isEmpty {
            fault = "link access is not enabled for this site: enable it with \"skupper site update\""
        }
        if expiration.isEmpty, settings.grantsEnabled {
            let window = grant.expirationWindow
            let seconds = window.isEmpty ? NamespacePlanner.defaultWindow : GoDuration.parseSeconds(window)
            if let seconds, seconds > 0, seconds < 1 << 32 {
                expiration = Timestamp.format(unix: now + seconds)
            } else {
                fault = "Invalid duration \"\(window)\": give one such as 15m or 1h30m"
            }
        }
        var code = grant.statusCode
        if code.isEmpty, settings.grantsEnabled { code = grant.code.isEmpty ? makeCode(resource.key) : grant.code }
        let isReachable = !snapshot.grantURL.isEmpty && !snapshot.grantAuthority.isEmpty
        let hasEndpoints = !linkEndpoints().isEmpty
        let url = isReachable && !resource.uid.isEmpty ? "\(snapshot.grantURL)/\(resource.uid)" : ""
        let resolved: ConditionState
        if !isReachable {
            resolved = .pending("waiting for the grant server's address")
        } else if !hasEndpoints {
            resolved = .pending("waiting for an endpoint of the site")
        } else {
            resolved = .ready
        }
        return ResourceStatus(
            key: resource.key,
            conditions: [
                .init(type: .processed, state: fault.map { .error($0) } ?? .ready),
                .init(type: .resolved, state: resolved),
            ],
            fields: [
                "url": url.isEmpty ? .none : .some(.string(url)),
                "ca": url.isEmpty ? .none : .some(.string(snapshot.grantAuthority)),
                "code": code.isEmpty ? .none : .some(.string(code)),
                "expirationTime": expiration.isEmpty ? .none : .some(.string(expiration)),
                "redemptions": .some(.int(Int64(grant.redemptions))),
            ])
    }

    mutating func planTokens() {
        for resource in snapshot.objects("AccessToken") where !resource.isGoing {
            guard let token = AccessToken(resource), !token.redeemed else { continue }
            let condition = resource.condition(.redeemed)
            let isDecided =
                condition?.reason == "Error" && condition?.observedGeneration == resource.generation
            var copy = resource
            let texts = ResourceValidation.validate(resource, onCluster: true)
            if isDecided { continue }
            if !texts.isEmpty {
                if copy.setCondition(.redeemed, .error(texts.joined(separator: "; ")), nowUnix: now) {
                    plan.statuses.append(copy)
                }
            } else if servesSite {
                plan.redemptions.append(token)
            } else if copy.setCondition(
                .redeemed, .pending("waiting for an active site in the namespace"), nowUnix: now)
            {
                plan.statuses.append(copy)
            }
        }
    }
}
