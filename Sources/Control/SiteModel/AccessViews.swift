import ControlIO

/// Permission to redeem tokens (sheet §1.8).
package struct AccessGrant: ResourceView {
    package static var kind: ResourceKind { .accessGrant }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// As written; 0 when absent (counts as 1).
    package var redemptionsAllowed: Int {
        get { number("redemptionsAllowed") }
        set { setNumber("redemptionsAllowed", newValue) }
    }
    /// Duration text, "" when absent (counts as 10 minutes).
    package var expirationWindow: String {
        get { text("expirationWindow") }
        set { setText("expirationWindow", newValue) }
    }
    /// A code chosen by the user, "" for a random one.
    package var code: String {
        get { text("code") }
        set { setText("code", newValue) }
    }
    /// `status.code`.
    package var statusCode: String {
        get { resource.status("code")?.scalarText ?? "" }
        set { resource.setStatus(.string(newValue), "code") }
    }
    /// `status.url`.
    package var statusURL: String {
        get { resource.status("url")?.scalarText ?? "" }
        set { resource.setStatus(.string(newValue), "url") }
    }
    /// `status.ca`, PEM.
    package var statusCA: String {
        get { resource.status("ca")?.scalarText ?? "" }
        set { resource.setStatus(.string(newValue), "ca") }
    }
    /// `status.redemptions`.
    package var redemptions: Int {
        get { Self.integer(resource.status("redemptions")) }
        set { resource.setStatus(.int(Int64(newValue)), "redemptions") }
    }
    /// `status.claims`: who made the last uses.
    package var claims: [String] { (resource.status("claims")?.listValue ?? []).compactMap(\.scalarText) }
    /// `status.expirationTime`, RFC 3339 text, "" when absent.
    package var expirationTime: String {
        get { resource.status("expirationTime")?.scalarText ?? "" }
        set { resource.setStatus(.string(newValue), "expirationTime") }
    }
}

/// A portable token (sheet §1.9, §3.4).
package struct AccessToken: ResourceView {
    package static var kind: ResourceKind { .accessToken }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// Annotation with the expiry (RFC 3339) in files we write; upstream ignores it.
    package static let expirationAnnotation = "skupper.io/expiration"

    /// Grant URL.
    package var url: String {
        get { text("url") }
        set { setText("url", newValue) }
    }
    /// The code; never log it.
    package var code: String {
        get { text("code") }
        set { setText("code", newValue) }
    }
    /// CA of the grant server, PEM.
    package var ca: String {
        get { text("ca") }
        set { setText("ca", newValue) }
    }
    /// Cost for the link, 0 when absent.
    package var linkCost: Int {
        get { number("linkCost") }
        set { setNumber("linkCost", newValue) }
    }
    /// `status.redeemed`.
    package var redeemed: Bool { resource.status("redeemed")?.boolValue ?? false }
    /// RFC 3339 expiry carried by the file, nil when absent.
    package var expiration: String? { resource.annotation(Self.expirationAnnotation) }

    /// The token file's text (§3.4): sorted keys, no namespace, no status, no empty fields.
    package func fileText() -> String {
        var copy = resource
        copy.namespace = ""
        return copy.reducedYAML()
    }
}

/// Router listeners for links (sheet §1.10).
package struct RouterAccess: ResourceView {
    /// One listener.
    package struct Role: Hashable, Sendable {
        /// `inter-router`, `edge` or (internally) `normal`.
        package let name: String
        /// As written; 0 when absent.
        package let port: Int

        /// A role.
        package init(name: String, port: Int) {
            self.name = name
            self.port = port
        }

        /// The port, or the role's default (55671, 45671, 5671).
        package var effectivePort: Int {
            if port > 0 { return port }
            switch name {
            case "inter-router": return 55671
            case "edge": return 45671
            default: return 5671
            }
        }
    }

    package static var kind: ResourceKind { .routerAccess }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// The listeners.
    package var roles: [Role] {
        get {
            (resource.spec("roles")?.listValue ?? []).map {
                Role(name: $0["name"]?.scalarText ?? "", port: Self.integer($0["port"]))
            }
        }
        set {
            resource.setSpec(
                .list(
                    newValue.map { role in
                        var node: Document = ["name": .string(role.name)]
                        if role.port > 0 { node["port"] = .int(Int64(role.port)) }
                        return node
                    }), "roles")
        }
    }
    /// Server Secret and sslProfile name.
    package var tlsCredentials: String {
        get { text("tlsCredentials") }
        set { setText("tlsCredentials", newValue) }
    }
    /// Let the controller issue the Secret.
    package var generateTlsCredentials: Bool {
        get { flag("generateTlsCredentials") }
        set { setFlag("generateTlsCredentials", newValue) }
    }
    /// CA name, "" for the site's issuer.
    package var issuer: String {
        get { text("issuer") }
        set { setText("issuer", newValue) }
    }
    /// As a Site's linkAccess.
    package var accessType: String {
        get { text("accessType") }
        set { setText("accessType", newValue) }
    }
    /// Address to bind, "" for all.
    package var bindHost: String {
        get { text("bindHost") }
        set { setText("bindHost", newValue) }
    }
    /// Further names for the certificate.
    package var subjectAlternativeNames: [String] {
        get { (resource.spec("subjectAlternativeNames")?.listValue ?? []).compactMap(\.scalarText) }
        set {
            resource.setSpec(newValue.isEmpty ? nil : .list(newValue.map { .string($0) }), "subjectAlternativeNames")
        }
    }
}

/// A request for a TLS Secret (sheet §1.12).
package struct Certificate: ResourceView {
    package static var kind: ResourceKind { .certificate }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// Issuer Secret's name.
    package var ca: String {
        get { text("ca") }
        set { setText("ca", newValue) }
    }
    /// Common name.
    package var subject: String {
        get { text("subject") }
        set { setText("subject", newValue) }
    }
    /// Subject alternative names.
    package var hosts: [String] {
        get { (resource.spec("hosts")?.listValue ?? []).compactMap(\.scalarText) }
        set { resource.setSpec(newValue.isEmpty ? nil : .list(newValue.map { .string($0) }), "hosts") }
    }
    /// For clients (no effect on key usages).
    package var client: Bool {
        get { flag("client") }
        set { setFlag("client", newValue) }
    }
    /// For servers (no effect on key usages).
    package var server: Bool {
        get { flag("server") }
        set { setFlag("server", newValue) }
    }
    /// A CA.
    package var signing: Bool {
        get { flag("signing") }
        set { setFlag("signing", newValue) }
    }
}

/// A core Secret; `data` is base64 in the document, `stringData` plain.
package struct Secret: ResourceView {
    package static var kind: ResourceKind { .secret }
    package var resource: Resource
    package init(unchecked resource: Resource) { self.resource = resource }

    /// `type`, for example `kubernetes.io/tls`.
    package var type: String {
        get { resource.document["type"]?.stringValue ?? "" }
        set { resource.document["type"] = .string(newValue) }
    }

    /// The decoded value of a key (`stringData` wins over `data`, as in Kubernetes); nil when absent or not base64.
    package func value(_ key: String) -> [UInt8]? {
        if let plain = resource.document.value(at: ["stringData", key])?.scalarText { return Array(plain.utf8) }
        guard let text = resource.document.value(at: ["data", key])?.scalarText else { return nil }
        return Base64.decode(text)
    }

    /// As `value(_:)` for UTF-8 text such as PEM.
    package func textValue(_ key: String) -> String? {
        value(key).flatMap { String(validating: $0, as: UTF8.self) }
    }

    /// Writes a value base64-coded under `data`, removing a `stringData` twin.
    package mutating func setValue(_ key: String, _ bytes: [UInt8]) {
        resource.document.set(nil, at: ["stringData", key])
        resource.document.set(.string(Base64.encode(bytes)), at: ["data", key])
    }

    /// A `kubernetes.io/tls` Secret with tls.crt, tls.key and ca.crt (§3.6).
    package static func tls(
        name: String, namespace: String = "", certificatePEM: String, keyPEM: String, caPEM: String
    ) -> Secret {
        var secret = Secret(name: name, namespace: namespace)
        secret.type = "kubernetes.io/tls"
        secret.setValue("ca.crt", Array(caPEM.utf8))
        secret.setValue("tls.crt", Array(certificatePEM.utf8))
        secret.setValue("tls.key", Array(keyPEM.utf8))
        return secret
    }
}
