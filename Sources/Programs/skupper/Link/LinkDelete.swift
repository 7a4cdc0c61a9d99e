import SiteModel

/// `skupper link delete <name>`
struct LinkDelete: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "delete", arguments: "<name>", summary: "Delete a link",
            details: """
                Delete a link from this site to another one. Its certificate stays in the Secret of the same name.
                """,
            example: "skupper link delete west-12f75bc8-5dda-4256-88f8-9df48150281a",
            flags: [CommonFlags.timeout("1m0s"), CommonFlags.waitForDeletion])
    }

    private let invocation: Invocation
    private var name = ""

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        try LinkName.requireSite(invocation, &complaints)
        if let found = LinkName.required(invocation, &complaints) {
            name = found
            if try invocation.resources.get(.link, name) == nil {
                complaints.add(
                    invocation.isOnCluster
                        ? "the link \"\(name)\" is not available in the namespace"
                        : "There is no link resource in the namespace with the name \"\(name)\"")
            }
        }
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        try invocation.resources.delete(.link, name)
    }

    func wait() throws {
        try DeletionWait.finish(invocation, .link, name, done: "Link \"\(name)\" is deleted")
    }
}
