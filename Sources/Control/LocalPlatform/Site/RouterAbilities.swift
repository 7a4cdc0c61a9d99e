import SiteModel

/// What resources may ask for that this version's router does not have yet. One unknown entity would keep the whole
/// router from starting, so such resources are left out and say why.
enum RouterAbilities {
    /// Roles of router accesses that the router can listen for.
    static let roles: Set<String> = ["inter-router", "edge", "normal"]

    /// Why a resource is left out; nil if it need not be.
    static func fault(of resource: Resource) -> String? {
        if let access = RouterAccess(resource), !access.roles.contains(where: { roles.contains($0.name) }) {
            return "it has only roles that the router does not know: use role inter-router or edge"
        }
        return nil
    }

    /// The router access with the roles that the router has.
    static func reduced(_ resource: Resource) -> Resource {
        guard var access = RouterAccess(resource) else { return resource }
        access.roles = access.roles.filter { roles.contains($0.name) }
        return access.resource
    }
}
