import SiteModel

/// Redeems a token on a cluster: stores it there, and waits until the controller has exchanged it for a link.
struct TokenSubmission {
    /// What the messages of an exchange contain when the other site has answered no, so that asking again is in vain.
    /// Spec: control-plane §3.5.
    private static let refusals = ["403", "404", "No such claim", "No such access granted", "refused by", "refused: "]

    private let invocation: Invocation
    private let token: AccessToken

    init(_ invocation: Invocation, _ token: AccessToken) {
        self.invocation = invocation
        var token = token
        token.resource.namespace = invocation.namespace
        token.resource.document["status"] = nil
        self.token = token
    }

    /// Stores the token and waits. Redeeming a token again that has been redeemed here is no fault.
    /// - Returns: the token's name.
    func redeem(_ waiting: Waiting) throws -> String {
        try store()
        var seen: Resource?
        let redeemed = try waiting.until { reason in
            seen = try invocation.resources.observed(.accessToken, token.name)
            guard let seen else { return false }
            reason = seen.statusMessage
            return seen.condition(.redeemed)?.isTrue == true || Self.isRefused(seen)
        }
        guard redeemed, seen?.condition(.redeemed)?.isTrue == true else { throw failure(seen, waiting) }
        return token.name
    }

    /// Whether the controller reports that the other site has definitely refused the token.
    static func isRefused(_ token: Resource) -> Bool {
        token.statusWord == "Error" && refusals.contains { token.statusMessage.contains($0) }
    }

    private func store() throws {
        if let known = try invocation.resources.get(.accessToken, token.name).flatMap({ AccessToken($0) }) {
            guard known.url == token.url, known.code == token.code else {
                throw CommandFailure.failed(
                    "accesstokens.skupper.io \"\(token.name)\" already exists, for another grant: it may be left from "
                        + "an earlier token of the same name. Remove it and try again: \(removal)")
            }
            if known.redeemed || known.resource.condition(.redeemed)?.isTrue == true { return }
            // A controller does not look again at a token that was refused.
            try invocation.resources.delete(.accessToken, token.name)
        }
        if let told = try invocation.resources.create(token.resource) { Console.note(told) }
    }

    private func failure(_ seen: Resource?, _ waiting: Waiting) -> CommandFailure {
        var lines = ["Token \"\(token.name)\" redeem not ready yet, check the status for more information"]
        if let seen, Self.isRefused(seen) {
            lines.append(
                "The site that issued it refuses it: \(seen.statusMessage). A token can be used once unless it was "
                    + "issued for more, and for 15 minutes unless for longer: issue a new one there")
        } else if let seen, !seen.statusMessage.isEmpty {
            lines.append("Waited \(waiting.span): \(seen.statusMessage)")
        } else {
            let advice = invocation.resources.adviceWhenUntouched(.accessToken, token.name) ?? ""
            lines.append("Waited \(waiting.span) for the controller to take it up. \(advice)")
        }
        lines.append("The token stays in the namespace; to remove it: \(removal)")
        return .failed(lines.joined(separator: "\n"))
    }

    private var removal: String { "kubectl delete accesstoken \(token.name) -n \(invocation.namespace)" }
}
