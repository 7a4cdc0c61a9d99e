import SiteModel

/// The cause of a link that is not up, in one short text (design §2, link status).
enum LinkCause {
    /// Parts of OpenSSL's and the system's texts with what they mean for a person.
    private static let meanings: [(part: String, text: String)] = [
        ("certificate has expired", "certificate has expired"),
        ("certificate is not yet valid", "certificate is not valid yet: check the clocks of both hosts"),
        ("hostname mismatch", "peer certificate is for another host name"),
        ("ip address mismatch", "peer certificate is for another address"),
        ("self-signed certificate", "peer certificate is not signed by this link's CA"),
        ("self signed certificate", "peer certificate is not signed by this link's CA"),
        ("unable to get local issuer", "peer certificate is not signed by this link's CA"),
        ("unable to verify the first certificate", "peer certificate is not signed by this link's CA"),
        ("certificate signature failure", "peer certificate is not signed by this link's CA"),
        ("certificate verify failed", "peer certificate is not signed by this link's CA"),
        ("unknown ca", "the remote site does not trust this link's certificate: ask for a new token"),
        ("certificate revoked", "the remote site has revoked this link's certificate: ask for a new token"),
        ("alert certificate expired", "this link's certificate has expired: ask for a new token"),
        ("bad certificate", "the remote site refused this link's certificate: ask for a new token"),
        ("wrong version number", "the remote port does not speak TLS: check host and port of the link"),
    ]

    /// `Not operational`, with the cause after a colon when there is one.
    /// - Parameter endpoint: where the router dials.
    static func message(_ endpoint: Endpoint?, _ observation: LinkObservation?, observationFault: String) -> String {
        guard let observation else { return join(observationFault) }
        let raw = observation.connectionMessage.isEmpty ? observation.lastError : observation.connectionMessage
        if observation.connectionStatus == "SUCCESS" {
            return join("connected; waiting for the routing exchange with the remote router")
        }
        return join(raw.isEmpty ? "" : place(meaning(raw), endpoint: endpoint))
    }

    private static func join(_ cause: String) -> String {
        cause.isEmpty ? "Not operational" : "Not operational: \(cause)"
    }

    /// The meaning of a raw text, or the text itself on one line and of bounded length.
    static func meaning(_ raw: String) -> String {
        let lower = raw.lowercased()
        if let known = meanings.first(where: { lower.contains($0.part) }) { return known.text }
        let line = raw.split { $0.isNewline }.joined(separator: " ")
        return line.count > 200 ? line.prefix(200) + "…" : line
    }

    /// Puts host and port in front unless the text has them.
    private static func place(_ text: String, endpoint: Endpoint?) -> String {
        guard let endpoint, !text.contains(endpoint.host) else { return text }
        return "connect \(endpoint.host):\(endpoint.port): \(text)"
    }
}
