import ControlIO
import LocalPlatform
import SiteModel
import SiteTrust

/// The resources of a namespace on this host: files with what the user asked for, joined with those of the controller.
/// Reading from a namespace with an impossible name finds nothing; the frame has refused the name by then.
struct SiteFiles: SiteResources {
    private let store: NamespaceStore?
    private let namespace: String

    init(namespace: String) {
        self.namespace = namespace
        store = try? NamespaceStore(namespace: namespace)
    }

    /// The store itself, for what the platform does with a namespace.
    func requiredStore() throws -> NamespaceStore {
        if let store { return store }
        return try NamespaceStore(namespace: namespace)
    }

    // MARK: What the user asked for

    func list(_ kind: ResourceKind) throws -> [Resource] {
        try store?.list(kind, in: .input) ?? []
    }

    func get(_ kind: ResourceKind, _ name: String) throws -> Resource? {
        try store?.get(kind, name, in: .input)
    }

    /// Stores a resource and returns the path of its file.
    func write(_ resource: Resource) throws -> String {
        try requiredStore().put(resource)
    }

    @discardableResult
    func delete(_ kind: ResourceKind, _ name: String) throws -> Bool {
        try requiredStore().delete(kind, name)
    }

    func create(_ resource: Resource) throws -> String? {
        "File written to \(try write(resource))"
    }

    func change(_ original: Resource, into wanted: Resource) throws -> String? {
        "File written to \(try write(wanted))"
    }

    func deleteSite(_ name: String, all: Bool) throws {
        if all { return try Files.removeTree(requiredStore().layout.inputResources) }
        try delete(.site, name)
        // A router access made by hand for this site is of no use without it.
        try delete(.routerAccess, "router-access-\(name)")
    }

    // MARK: What the controller says

    /// A resource as the controller sees it; nil while it does not know it.
    func observed(_ kind: ResourceKind, _ name: String) throws -> Resource? {
        try store?.get(kind, name, in: .runtime)
    }

    /// The resources of a kind, each with the status the controller gave it. Those the controller made itself (links
    /// out of access tokens) are among them while it runs.
    func observedList(_ kind: ResourceKind) throws -> [Resource] {
        guard let store else { return [] }
        var seen: [String: Resource] = [:]
        for resource in try store.list(kind, in: .runtime) { seen[resource.name] = resource }
        var result = try store.list(kind, in: .input).map { wanted in
            guard let known = seen.removeValue(forKey: wanted.name) else { return wanted }
            var joined = wanted
            joined.document["status"] = known.document["status"]
            if joined.uid.isEmpty { joined.uid = known.uid }
            return joined
        }
        if store.controller != nil { result += seen.values }
        return result.sorted { $0.name < $1.name }
    }

    /// Whether the site of the namespace has been started.
    func isInitialized() throws -> Bool {
        guard let store else { return false }
        return try store.isStarted || !store.list(.site, in: .runtime).isEmpty
    }

    /// The process that acts on changes of the namespace; nil when there is none.
    var controller: Int32? {
        store?.controller
    }

    /// Whether a controller acts on changes of the namespace right now.
    func isControllerRunning() -> Bool {
        store?.controller != nil
    }

    /// Tells on standard error when what is shown may have changed since the controller ended.
    func warnWhenStale() throws {
        guard try isInitialized(), !isControllerRunning() else { return }
        Console.note(
            "Warning: the controller of namespace \"\(namespace)\" is not running; what is shown was true when it last "
                + "ran. Start it with: skupper system start -n \(namespace)")
    }

    func isCurrent(_ seen: Resource, written: Resource) -> Bool { seen.spec() == written.spec() }

    func expectsController() -> Bool { isControllerRunning() }

    var pollMicroseconds: UInt32 { 100_000 }

    func adviceWhenUntouched(_ kind: ResourceKind, _ name: String) -> String? { nil }

    // MARK: Certificates

    /// Whether credentials of this name were given by the user or made by the controller.
    func hasCredentials(_ name: String) throws -> Bool {
        guard let store else { return false }
        if try store.get(.secret, name, in: .input) != nil { return true }
        if try store.get(.secret, name, in: .runtime) != nil { return true }
        return Files.kind("\(store.layout.inputCertificates)/\(name)") == .directory
    }

    /// A CA of the namespace: the one the user brought, else the one the controller has made; nil when there is none.
    func authority(_ name: String) throws -> KeyedCertificate? {
        guard let store else { return nil }
        for folder in ["\(store.layout.inputIssuers)/\(name)", "\(store.layout.runtimeIssuers)/\(name)"]
        where Files.exists("\(folder)/tls.key") {
            return KeyedCertificate(
                certificatePEM: try Files.readText("\(folder)/tls.crt"),
                keyPEM: try Files.readText("\(folder)/tls.key"))
        }
        return nil
    }
}
