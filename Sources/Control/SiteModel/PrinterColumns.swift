import ControlIO

/// The columns in which resources of a kind are listed (sheet §1).
package enum PrinterColumns {
    private static let columns: [ResourceKind: [(title: String, path: [String])]] = [
        .site: [("Status", status), ("Sites In Network", ["status", "sitesInNetwork"]), ("Message", message)],
        .link: [("Status", status), ("Remote Site", ["status", "remoteSiteName"]), ("Message", message)],
        .listener: [
            ("Routing Key", ["spec", "routingKey"]), ("Port", ["spec", "port"]), ("Host", ["spec", "host"]),
            ("Status", status), ("Has Matching Connector", ["status", "hasMatchingConnector"]), ("Message", message),
        ],
        .connector: [
            ("Routing Key", ["spec", "routingKey"]), ("Port", ["spec", "port"]), ("Host", ["spec", "host"]),
            ("Selector", ["spec", "selector"]), ("Status", status),
            ("Has Matching Listener", ["status", "hasMatchingListener"]), ("Message", message),
        ],
        .multiKeyListener: [
            ("Status", status), ("Message", message), ("HasDestination", ["status", "hasDestination"]),
        ],
        .accessGrant: [
            ("Redemptions Allowed", ["spec", "redemptionsAllowed"]), ("Redemptions Made", ["status", "redemptions"]),
            ("Expiration", ["status", "expirationTime"]), ("Status", status), ("Message", message),
        ],
        .accessToken: [
            ("URL", ["spec", "url"]), ("Redeemed", ["status", "redeemed"]), ("Status", status), ("Message", message),
        ],
        .routerAccess: [("Status", status), ("Message", message)],
        .securedAccess: [("Status", status), ("Message", message)],
        .certificate: [
            ("CA", ["spec", "ca"]), ("Server", ["spec", "server"]), ("Client", ["spec", "client"]),
            ("Signing", ["spec", "signing"]), ("Status", status), ("Expiration", ["status", "expiration"]),
            ("Message", message),
        ],
        .attachedConnector: [
            ("Port", ["spec", "port"]), ("Selector", ["spec", "selector"]),
            ("Site Namespace", ["spec", "siteNamespace"]), ("Status", status),
        ],
        .attachedConnectorBinding: [
            ("Routing Key", ["spec", "routingKey"]), ("Connector Namespace", ["spec", "connectorNamespace"]),
            ("Status", status), ("Has Matching Listener", ["status", "hasMatchingListener"]),
        ],
    ]
    private static let status = ["status", "status"]
    private static let message = ["status", "message"]

    /// Titles for a kind, without the leading Name; empty for Secrets.
    package static func titles(_ kind: ResourceKind) -> [String] { (columns[kind] ?? []).map(\.title) }

    /// The document paths of the columns, as `spec.routingKey` (for custom resource definitions).
    package static func paths(_ kind: ResourceKind) -> [String] {
        (columns[kind] ?? []).map { $0.path.joined(separator: ".") }
    }

    /// The cells of a resource in the order of `titles`; absent fields are "".
    package static func cells(_ resource: Resource) -> [String] {
        guard let kind = resource.knownKind else { return [] }
        return (columns[kind] ?? []).map { resource.document.value(at: $0.path)?.scalarText ?? "" }
    }
}
