import SiteModel

/// Checks the argument that names a link.
enum LinkName {
    /// The name, or nil after a complaint.
    static func required(_ invocation: Invocation, _ complaints: inout Complaints) -> String? {
        guard let name = invocation.arguments.first else {
            complaints.add(invocation.isOnCluster ? "link name must not be empty" : "link name must be specified")
            return nil
        }
        return checked(name, invocation.arguments, &complaints)
    }

    /// On a cluster, links can only be changed beside a site.
    static func requireSite(_ invocation: Invocation, _ complaints: inout Complaints) throws {
        if invocation.isOnCluster, try invocation.resources.list(.site).isEmpty {
            complaints.add("there is no skupper site in this namespace")
        }
    }

    /// The name when there is one; nil when there is none or after a complaint.
    static func optional(_ invocation: Invocation, _ complaints: inout Complaints) -> String? {
        if invocation.isOnCluster, invocation.arguments.count > 1 {
            complaints.add("this command only accepts one argument")
            return nil
        }
        return invocation.arguments.first.flatMap { checked($0, invocation.arguments, &complaints) }
    }

    private static func checked(_ name: String, _ arguments: [String], _ complaints: inout Complaints) -> String? {
        if arguments.count > 1 {
            complaints.add("only one argument is allowed for this command")
        } else if name.isEmpty {
            complaints.add("link name must not be empty")
        } else if let reason = FieldRules.name(name) {
            complaints.add("link name is not valid: \(reason)")
        } else {
            return name
        }
        return nil
    }
}
