import SiteModel

/// Checks the argument that names a link.
enum LinkName {
    /// The name, or nil after a complaint.
    static func required(_ arguments: [String], _ complaints: inout Complaints) -> String? {
        guard let name = arguments.first else {
            complaints.add("link name must be specified")
            return nil
        }
        return checked(name, arguments, &complaints)
    }

    /// The name when there is one; nil when there is none or after a complaint.
    static func optional(_ arguments: [String], _ complaints: inout Complaints) -> String? {
        arguments.first.flatMap { checked($0, arguments, &complaints) }
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
