import SiteModel

/// The resources of the namespace a command works on, wherever they are kept. It is the seam between the commands and
/// the platforms: `SiteFiles` keeps them in a folder of this host, `ClusterResources` in a cluster.
protocol SiteResources {
    // MARK: What the user asked for

    /// The resources of a kind.
    func list(_ kind: ResourceKind) throws -> [Resource]
    /// One resource; nil when there is none of the name.
    func get(_ kind: ResourceKind, _ name: String) throws -> Resource?
    /// Stores a resource that was not there before.
    /// - Returns: what the user should know about it; nil when there is nothing to say.
    func create(_ resource: Resource) throws -> String?
    /// Stores what differs between a resource as it was read and as it should be.
    /// - Returns: as `create`.
    func change(_ original: Resource, into wanted: Resource) throws -> String?
    /// Deletes a resource; false when there was none.
    @discardableResult
    func delete(_ kind: ResourceKind, _ name: String) throws -> Bool
    /// Deletes a site and, if `all`, every other resource of the namespace that a user may have made.
    func deleteSite(_ name: String, all: Bool) throws
    /// Whether TLS credentials of this name are there.
    func hasCredentials(_ name: String) throws -> Bool

    // MARK: What the controller says

    /// The resources of a kind with the status the controller gave them.
    func observedList(_ kind: ResourceKind) throws -> [Resource]
    /// A resource as the controller sees it; nil while it does not know it, or no longer.
    func observed(_ kind: ResourceKind, _ name: String) throws -> Resource?
    /// Whether the status of a resource was made for the version that was written, not for an earlier one.
    func isCurrent(_ seen: Resource, written: Resource) -> Bool
    /// Whether to wait for the controller makes sense.
    func expectsController() -> Bool
    /// Tells on standard error when what is shown may be out of date.
    func warnWhenStale() throws

    // MARK: Waiting

    /// Microseconds between two looks.
    var pollMicroseconds: UInt32 { get }
    /// What to look at when nothing has touched a resource until the time was up; nil when there is nothing to add.
    func adviceWhenUntouched(_ kind: ResourceKind, _ name: String) -> String?
}
