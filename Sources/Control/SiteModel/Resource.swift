import ControlIO

/// The kinds of resources the control module knows (sheet §1); `secret` is the core Kubernetes kind.
package enum ResourceKind: String, Hashable, Sendable, CaseIterable {
    case site = "Site"
    case link = "Link"
    case listener = "Listener"
    case connector = "Connector"
    case multiKeyListener = "MultiKeyListener"
    case accessGrant = "AccessGrant"
    case accessToken = "AccessToken"
    case routerAccess = "RouterAccess"
    case securedAccess = "SecuredAccess"
    case certificate = "Certificate"
    case attachedConnector = "AttachedConnector"
    case attachedConnectorBinding = "AttachedConnectorBinding"
    case secret = "Secret"

    /// `skupper.io/v2alpha1`, or `v1` for Secrets.
    package var apiVersion: String { self == .secret ? "v1" : "skupper.io/v2alpha1" }
}

/// Which resource is meant, within one namespace.
package struct ResourceKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The kind as written in the document.
    package let kind: String
    /// `metadata.name`.
    package let name: String

    /// A key.
    package init(kind: String, name: String) {
        self.kind = kind
        self.name = name
    }

    /// `Kind/name`.
    package var description: String { "\(kind)/\(name)" }

    package static func < (left: ResourceKey, right: ResourceKey) -> Bool {
        (left.kind, left.name) < (right.kind, right.name)
    }
}

/// A text that does not hold usable resources.
package struct ResourceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong and what to do.
    package let description: String

    /// An error with this text.
    package init(_ description: String) { self.description = description }
}

/// One resource as its whole document, so that fields this program does not know survive a round trip.
package struct Resource: Hashable, Sendable {
    /// The whole document; its top is a map.
    package var document: Document

    /// The resource of a parsed document: a map with `kind` and `metadata.name`.
    package init(document: Document) throws(ResourceError) {
        guard document.mapValue != nil else {
            throw ResourceError("a resource must be a YAML map with apiVersion, kind and metadata")
        }
        guard let kind = document["kind"]?.stringValue, !kind.isEmpty else {
            throw ResourceError("the document has no \"kind\": it is not a resource")
        }
        guard let name = document.value(at: ["metadata", "name"])?.scalarText, !name.isEmpty else {
            throw ResourceError("the \(kind) has no \"metadata.name\": give it a name")
        }
        self.document = document
    }

    /// A new resource without spec and status.
    package init(kind: ResourceKind, name: String, namespace: String = "") {
        document = [
            "apiVersion": .string(kind.apiVersion), "kind": .string(kind.rawValue),
            "metadata": ["name": .string(name)],
        ]
        if !namespace.isEmpty { self.namespace = namespace }
    }

    /// All resources of a (multi-document) YAML or JSON text; items of a `List` are taken one by one.
    package static func parseAll(yaml text: String) throws(ResourceError) -> [Resource] {
        let documents: [Document]
        do {
            documents = try YAML.parse(text)
        } catch {
            throw ResourceError("the YAML cannot be read: \(error)")
        }
        var resources: [Resource] = []
        for document in documents {
            if document["kind"]?.stringValue == "List", let items = document["items"]?.listValue {
                for item in items { resources.append(try Resource(document: item)) }
            } else {
                resources.append(try Resource(document: document))
            }
        }
        return resources
    }

    /// The document as YAML with sorted keys.
    package func yaml() -> String { YAML.emit(document, sortedKeys: true) }

    /// The document as YAML without empty fields and, unless wanted, without status: the form of token files.
    package func reducedYAML(withStatus: Bool = false) -> String {
        var copy = document
        if !withStatus { copy["status"] = nil }
        return YAML.emit(copy.removingEmptyFields(), sortedKeys: true)
    }

    /// `apiVersion`.
    package var apiVersion: String { document["apiVersion"]?.stringValue ?? "" }
    /// `kind` as written.
    package var kind: String { document["kind"]?.stringValue ?? "" }
    /// `kind` when it is a known one of the right group, else nil.
    package var knownKind: ResourceKind? {
        guard let known = ResourceKind(rawValue: kind) else { return nil }
        let group = apiVersion.split(separator: "/").first.map(String.init) ?? ""
        return known == .secret ? (apiVersion == "v1" ? known : nil) : (group == "skupper.io" ? known : nil)
    }
    /// Kind and name.
    package var key: ResourceKey { ResourceKey(kind: kind, name: name) }

    /// `metadata.name`.
    package var name: String {
        get { metadataText("name") }
        set { document.set(.string(newValue), at: ["metadata", "name"]) }
    }
    /// `metadata.namespace`, "" when absent.
    package var namespace: String {
        get { metadataText("namespace") }
        set { document.set(newValue.isEmpty ? nil : .string(newValue), at: ["metadata", "namespace"]) }
    }
    /// `metadata.uid`, "" when absent.
    package var uid: String {
        get { metadataText("uid") }
        set { document.set(newValue.isEmpty ? nil : .string(newValue), at: ["metadata", "uid"]) }
    }
    /// `metadata.generation`, 0 when absent.
    package var generation: Int64 {
        get { document.value(at: ["metadata", "generation"])?.intValue ?? 0 }
        set { document.set(newValue == 0 ? nil : .int(newValue), at: ["metadata", "generation"]) }
    }

    /// One annotation, nil when absent.
    package func annotation(_ key: String) -> String? {
        document.value(at: ["metadata", "annotations", key])?.scalarText
    }
    /// Writes (nil: removes) one annotation.
    package mutating func setAnnotation(_ key: String, _ value: String?) {
        document.set(value.map { .string($0) }, at: ["metadata", "annotations", key])
    }

    /// The node at keys below `spec`.
    package func spec(_ path: String...) -> Document? { document.value(at: ["spec"] + path) }
    /// Writes (nil: removes) the node at keys below `spec`.
    package mutating func setSpec(_ value: Document?, _ path: String...) { document.set(value, at: ["spec"] + path) }
    /// The node at keys below `status`.
    package func status(_ path: String...) -> Document? { document.value(at: ["status"] + path) }
    /// Writes (nil: removes) the node at keys below `status`.
    package mutating func setStatus(_ value: Document?, _ path: String...) {
        document.set(value, at: ["status"] + path)
    }

    /// `spec.settings`: text values by name.
    package var settings: [String: String] {
        var result: [String: String] = [:]
        for (key, value) in spec("settings")?.mapValue?.entries ?? [] { result[key] = value.scalarText }
        return result
    }

    private func metadataText(_ key: String) -> String {
        document.value(at: ["metadata", key])?.scalarText ?? ""
    }
}
