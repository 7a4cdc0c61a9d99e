import ControlIO

/// A resource read through the fields of its kind; the whole document stays behind it.
package protocol ResourceView: Hashable, Sendable {
    /// The kind the view is for.
    static var kind: ResourceKind { get }
    /// The resource behind the view.
    var resource: Resource { get set }
    /// Wraps without a check of the kind; use `init?(_:)`.
    init(unchecked resource: Resource)
}

extension ResourceView {
    /// The view of a resource, nil when the resource is of another kind.
    package init?(_ resource: Resource) {
        guard resource.knownKind == Self.kind else { return nil }
        self.init(unchecked: resource)
    }

    /// A new resource of the kind.
    package init(name: String, namespace: String = "") {
        self.init(unchecked: Resource(kind: Self.kind, name: name, namespace: namespace))
    }

    /// `metadata.name`.
    package var name: String { resource.name }
    /// `metadata.uid`.
    package var uid: String { resource.uid }

    func text(_ key: String) -> String { resource.spec(key)?.scalarText ?? "" }
    func flag(_ key: String) -> Bool { resource.spec(key)?.boolValue ?? false }
    func number(_ key: String) -> Int { Self.integer(resource.spec(key)) }
    mutating func setText(_ key: String, _ value: String) {
        resource.setSpec(value.isEmpty ? nil : .string(value), key)
    }
    mutating func setFlag(_ key: String, _ value: Bool) { resource.setSpec(value ? .bool(true) : nil, key) }
    mutating func setNumber(_ key: String, _ value: Int) {
        resource.setSpec(value == 0 ? nil : .int(Int64(value)), key)
    }

    static func integer(_ node: Document?) -> Int {
        switch node {
        case .int(let value)?: Int(value)
        case .string(let value)?: Int(value) ?? 0
        default: 0
        }
    }
}

/// A site (sheet §1.3).
package struct Site: ResourceView {
    package static var kind: ResourceKind { .site }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// "" or `none`: no incoming links; `default` or an access type otherwise.
    package var linkAccess: String {
        get { text("linkAccess") }
        set { setText("linkAccess", newValue) }
    }
    /// CA that signs; "" means `skupper-site-ca`.
    package var defaultIssuer: String {
        get { text("defaultIssuer") }
        set { setText("defaultIssuer", newValue) }
    }
    /// Two routers (accepted and ignored on hosts).
    package var ha: Bool {
        get { flag("ha") }
        set { setFlag("ha", newValue) }
    }
    /// The router runs in edge mode.
    package var edge: Bool {
        get { flag("edge") }
        set { setFlag("edge", newValue) }
    }
    /// Kubernetes service account.
    package var serviceAccount: String {
        get { text("serviceAccount") }
        set { setText("serviceAccount", newValue) }
    }
    /// True when the site asks for incoming links.
    package var acceptsLinks: Bool { !linkAccess.isEmpty && linkAccess != "none" }
    /// `status.endpoints`.
    package var endpoints: [Endpoint] {
        get { (resource.status("endpoints")?.listValue ?? []).map(Endpoint.init) }
        set { resource.setStatus(newValue.isEmpty ? nil : .list(newValue.map(\.document)), "endpoints") }
    }
}

/// Where a link can be opened to: an item of `Link.spec.endpoints` and `Site.status.endpoints`.
package struct Endpoint: Hashable, Sendable {
    /// `inter-router` or `edge` (on hosts `<router access>-<role>` in a site's status).
    package var name: String
    /// Host name or IP address.
    package var host: String
    /// Decimal port; a string in the documents.
    package var port: String
    /// Endpoints of one router have one group; "" when absent.
    package var group: String

    /// An endpoint.
    package init(name: String, host: String, port: String, group: String = "") {
        self.name = name
        self.host = host
        self.port = port
        self.group = group
    }

    init(_ node: Document) {
        self.init(
            name: node["name"]?.scalarText ?? "", host: node["host"]?.scalarText ?? "",
            port: node["port"]?.scalarText ?? "", group: node["group"]?.scalarText ?? "")
    }

    /// The endpoint as written in resources; the port is a string.
    package var document: Document {
        var result: Document = ["name": .string(name), "host": .string(host), "port": .string(port)]
        if !group.isEmpty { result["group"] = .string(group) }
        return result
    }
}

/// An outgoing link (sheet §1.4).
package struct Link: ResourceView {
    package static var kind: ResourceKind { .link }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// Where to connect to.
    package var endpoints: [Endpoint] {
        get { (resource.spec("endpoints")?.listValue ?? []).map(Endpoint.init) }
        set { resource.setSpec(.list(newValue.map(\.document)), "endpoints") }
    }
    /// Name of the Secret with tls.crt, tls.key, ca.crt.
    package var tlsCredentials: String {
        get { text("tlsCredentials") }
        set { setText("tlsCredentials", newValue) }
    }
    /// As written; 0 when absent. The router uses `effectiveCost`.
    package var cost: Int {
        get { number("cost") }
        set { setNumber("cost", newValue) }
    }
    /// `max(1, cost)`.
    package var effectiveCost: Int { max(1, cost) }
    /// Name of the Secret with the HTTP CONNECT proxy, "" when none.
    package var proxyConfiguration: String { resource.settings["proxy-configuration"] ?? "" }
    /// `status.remoteSiteId`.
    package var remoteSiteID: String { resource.status("remoteSiteId")?.scalarText ?? "" }
    /// `status.remoteSiteName`.
    package var remoteSiteName: String { resource.status("remoteSiteName")?.scalarText ?? "" }
}

/// A place that local clients connect to (sheet §1.5).
package struct Listener: ResourceView {
    package static var kind: ResourceKind { .listener }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// Pairs with connectors.
    package var routingKey: String {
        get { text("routingKey") }
        set { setText("routingKey", newValue) }
    }
    /// On hosts the address to bind.
    package var host: String {
        get { text("host") }
        set { setText("host", newValue) }
    }
    /// TCP port.
    package var port: Int {
        get { number("port") }
        set { setNumber("port", newValue) }
    }
    /// `tcp`, also when absent.
    package var type: String {
        get { text("type") }
        set { setText("type", newValue) }
    }
    /// `auto`, `none`, `http1`, `http2`; "" when absent.
    package var observer: String {
        get { text("observer") }
        set { setText("observer", newValue) }
    }
    /// Secret with which the router terminates TLS; "" for none.
    package var tlsCredentials: String {
        get { text("tlsCredentials") }
        set { setText("tlsCredentials", newValue) }
    }
    /// `status.hasMatchingConnector`.
    package var hasMatchingConnector: Bool { resource.status("hasMatchingConnector")?.boolValue ?? false }
}

/// Local servers (sheet §1.6); on hosts always a `host`.
package struct Connector: ResourceView {
    package static var kind: ResourceKind { .connector }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// Pairs with listeners.
    package var routingKey: String {
        get { text("routingKey") }
        set { setText("routingKey", newValue) }
    }
    /// Server's host name or address.
    package var host: String {
        get { text("host") }
        set { setText("host", newValue) }
    }
    /// Kubernetes pod selector.
    package var selector: String {
        get { text("selector") }
        set { setText("selector", newValue) }
    }
    /// Server's TCP port.
    package var port: Int {
        get { number("port") }
        set { setNumber("port", newValue) }
    }
    /// `tcp`, also when absent.
    package var type: String {
        get { text("type") }
        set { setText("type", newValue) }
    }
    /// Secret for TLS to the server; "" for none.
    package var tlsCredentials: String {
        get { text("tlsCredentials") }
        set { setText("tlsCredentials", newValue) }
    }
    /// Present the Secret's client certificate.
    package var useClientCert: Bool {
        get { flag("useClientCert") }
        set { setFlag("useClientCert", newValue) }
    }
    /// `verifyHostname`, nil when absent.
    package var verifyHostname: Bool? { resource.spec("verifyHostname")?.boolValue }
    /// Use pods that are not ready.
    package var includeNotReadyPods: Bool {
        get { flag("includeNotReadyPods") }
        set { setFlag("includeNotReadyPods", newValue) }
    }
    /// `status.hasMatchingListener`.
    package var hasMatchingListener: Bool { resource.status("hasMatchingListener")?.boolValue ?? false }
}

/// A listener that chooses between routing keys (sheet §1.7).
package struct MultiKeyListener: ResourceView {
    /// How it chooses.
    package enum Strategy: Hashable, Sendable {
        /// The first reachable key wins.
        case priority([String])
        /// Keys with positive weights, in written order.
        case weighted([WeightedKey])

        /// `priority` or `weighted`.
        package var word: String {
            switch self {
            case .priority: "priority"
            case .weighted: "weighted"
            }
        }
        /// The keys in order.
        package var routingKeys: [String] {
            switch self {
            case .priority(let keys): keys
            case .weighted(let keys): keys.map(\.key)
            }
        }
    }

    /// A routing key and its weight.
    package struct WeightedKey: Hashable, Sendable {
        /// The routing key.
        package let key: String
        /// Its weight, at least 1 in a valid resource.
        package let weight: Int

        /// A key with its weight.
        package init(key: String, weight: Int) {
            self.key = key
            self.weight = weight
        }
    }

    package static var kind: ResourceKind { .multiKeyListener }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// Address to bind.
    package var host: String {
        get { text("host") }
        set { setText("host", newValue) }
    }
    /// TCP port.
    package var port: Int {
        get { number("port") }
        set { setNumber("port", newValue) }
    }
    /// Secret with which the router terminates TLS; "" for none.
    package var tlsCredentials: String {
        get { text("tlsCredentials") }
        set { setText("tlsCredentials", newValue) }
    }
    /// Clients must show a certificate.
    package var requireClientCert: Bool { flag("requireClientCert") }
    /// As for `Listener`.
    package var observer: String { text("observer") }
    /// The strategy; nil when there is none or more than one.
    package var strategy: Strategy? {
        let priority = resource.spec("strategy", "priority")
        let weighted = resource.spec("strategy", "weighted")
        switch (priority, weighted) {
        case (let node?, nil):
            return .priority((node["routingKeys"]?.listValue ?? []).compactMap(\.scalarText))
        case (nil, let node?):
            let entries = node["routingKeys"]?.mapValue?.entries ?? []
            return .weighted(entries.map { WeightedKey(key: $0.key, weight: Self.integer($0.value)) })
        default: return nil
        }
    }
}
