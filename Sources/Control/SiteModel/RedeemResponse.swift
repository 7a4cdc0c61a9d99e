import ControlIO

/// The documents with which a grant server answers a redemption (sheet §3.6).
package struct RedeemResponse: Hashable, Sendable {
    /// The client certificate with its key and the CA.
    package var secret: Secret
    /// One link per group of endpoints.
    package var links: [Link]

    /// Builds the documents for a redeemer. Only endpoints of the roles inter-router and edge are used; one group
    /// gives a Link called `name`, several give `name-1`, `name-2`, … in order of the group's first endpoint.
    package init(name: String, certificatePEM: String, keyPEM: String, caPEM: String, endpoints: [Endpoint]) {
        secret = Secret.tls(name: name, certificatePEM: certificatePEM, keyPEM: keyPEM, caPEM: caPEM)
        let usable = endpoints.filter { $0.name == "inter-router" || $0.name == "edge" }
        var groups: [String] = []
        for endpoint in usable where !groups.contains(endpoint.group) { groups.append(endpoint.group) }
        links = groups.enumerated().map { index, group in
            var link = Link(name: groups.count == 1 ? name : "\(name)-\(index + 1)")
            link.endpoints = usable.filter { $0.group == group }
            link.tlsCredentials = name
            return link
        }
    }

    /// Reads an answer. Unknown kinds are skipped; there must be exactly one Secret and at least one Link.
    package init(parsing text: String) throws(ResourceError) {
        let resources = try Resource.parseAll(yaml: text)
        let secrets = resources.compactMap { Secret($0) }
        let links = resources.compactMap { Link($0) }
        guard let secret = secrets.first, secrets.count == 1, !links.isEmpty else {
            throw ResourceError(
                "the answer to the redemption has \(secrets.count) Secret(s) and \(links.count) Link(s) where one "
                    + "Secret and at least one Link are expected: the token's URL is likely not that of a grant server")
        }
        self.secret = secret
        self.links = links
    }

    /// The answer's body: every document after a line `---`.
    package func text() -> String {
        YAML.emit(
            documents: [secret.resource.document] + links.map(\.resource.document), sortedKeys: true,
            leadingSeparator: true)
    }

    /// Gives every link a cost (a token's `linkCost`), if it is greater than 0.
    package mutating func setCost(_ cost: Int) {
        guard cost > 0 else { return }
        for index in links.indices { links[index].cost = cost }
    }
}
