import SiteModel

/// What a cluster's API server would refuse, and on a host the command line has to: nobody else looks before the
/// router does.
enum HostRules {
    /// Checks a complete resource that is about to be stored beside the others of its namespace.
    static func check(_ resource: Resource, _ invocation: Invocation, _ complaints: inout Complaints) throws {
        guard !invocation.isOnCluster, complaints.texts.isEmpty else { return }
        for fault in ResourceValidation.validate(resource) {
            complaints.add("\(resource.kind) \"\(resource.name)\" is not valid: \(fault)")
        }
        let files = invocation.resources
        let others = try (files.list(.listener) + files.list(.multiKeyListener)).filter { $0.key != resource.key }
        let before = ResourceValidation.portConflicts(others).map(\.text)
        for conflict in ResourceValidation.portConflicts(others + [resource]) where !before.contains(conflict.text) {
            complaints.add("\(resource.kind) \"\(resource.name)\" is not valid: \(conflict.text)")
        }
    }
}
