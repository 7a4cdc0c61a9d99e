import LocalPlatform
import SiteModel
import SiteTrust

/// Issues a token on a cluster: makes an access grant, waits until the controller serves it, and makes the token.
struct GrantRequest {
    private let invocation: Invocation
    private let site: String
    private let order: TokenIssuer.Order

    init(_ invocation: Invocation, site: String, order: TokenIssuer.Order) {
        self.invocation = invocation
        self.site = site
        self.order = order
    }

    /// The token. A grant that does not become ready stays, so that its status can be looked at.
    /// - Throws: `CommandFailure` with the reason that the grant's status gives and how to take the grant back.
    func issue(_ waiting: Waiting) throws -> TokenIssuer.Issued {
        var grant = AccessGrant(name: "\(site)-\(try RandomValues.uuid4())", namespace: invocation.namespace)
        grant.redemptionsAllowed = order.redemptionsAllowed
        grant.expirationWindow = order.expirationWindow
        if let told = try invocation.resources.create(grant.resource) { Console.note(told) }
        var seen: Resource?
        let ready = try waiting.until { reason in
            seen = try invocation.resources.observed(.accessGrant, grant.name)
            guard let seen else { return false }
            reason = seen.statusMessage
            return seen.isReady || seen.statusWord == "Error"
        }
        guard ready, let found = seen.flatMap({ AccessGrant($0) }), found.resource.isReady else {
            throw failure(grant.name, seen, waiting)
        }
        return TokenIssuer.token(of: found, linkCost: order.linkCost)
    }

    private func failure(_ name: String, _ seen: Resource?, _ waiting: Waiting) -> CommandFailure {
        var lines = ["grant \"\(name)\" not ready yet, check the status for more information"]
        if let seen, seen.statusWord == "Error" {
            lines.append("The controller refuses it: \(seen.statusMessage)")
        } else if let seen, !seen.statusMessage.isEmpty {
            lines.append("Waited \(waiting.span): \(seen.statusMessage)")
        } else {
            let advice = invocation.resources.adviceWhenUntouched(.accessGrant, name) ?? ""
            lines.append("Waited \(waiting.span) for the controller to take it up. \(advice)")
        }
        lines.append("The grant stays; to take it back: kubectl delete accessgrant \(name) -n \(invocation.namespace)")
        return .failed(lines.joined(separator: "\n"))
    }
}
