import SiteModel

/// Finds out which site a command is about.
enum SiteName {
    /// Checks the one argument that names a new site.
    static func required(_ arguments: [String], _ complaints: inout Complaints) -> String {
        guard let name = arguments.first, !name.isEmpty else {
            complaints.add("site name must not be empty")
            return ""
        }
        return checked(arguments, name, &complaints)
    }

    /// The site named by the argument, or the only site there is.
    /// - Parameters:
    ///   - verb: what is to be done, for the texts: `update` or `delete`.
    ///   - unknown: the text for a name that no site has.
    static func existing(
        _ invocation: Invocation, verb: String, unknown: (String) -> String, _ complaints: inout Complaints
    ) throws -> Resource? {
        let sites = try invocation.resources.list(.site)
        if sites.isEmpty {
            complaints.add("there is no existing Skupper site resource to \(verb)")
            return nil
        }
        guard !invocation.arguments.isEmpty else {
            if sites.count == 1 { return sites[0] }
            complaints.add("site name is required because there are several sites in this namespace")
            return nil
        }
        if invocation.isOnCluster { return named(sites, invocation.arguments, unknown, &complaints) }
        let before = complaints.texts.count
        let name = required(invocation.arguments, &complaints)
        guard complaints.texts.count == before else { return nil }
        if let site = sites.first(where: { $0.name == name }) { return site }
        complaints.add(unknown(name))
        return nil
    }

    /// On a cluster the name is looked up as it stands, as upstream does.
    private static func named(
        _ sites: [Resource], _ arguments: [String], _ unknown: (String) -> String, _ complaints: inout Complaints
    ) -> Resource? {
        guard arguments.count == 1 else {
            complaints.add("only one argument is allowed for this command")
            return nil
        }
        if let site = sites.first(where: { $0.name == arguments[0] }) { return site }
        complaints.add(unknown(arguments[0]))
        return nil
    }

    private static func checked(_ arguments: [String], _ name: String, _ complaints: inout Complaints) -> String {
        if arguments.count > 1 {
            complaints.add("only one argument is allowed for this command.")
        } else {
            complaints.check("site name is not valid", FieldRules.name(name))
        }
        return name
    }
}
