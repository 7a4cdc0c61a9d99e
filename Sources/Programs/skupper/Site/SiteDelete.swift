import SiteModel

/// `skupper site delete [name]`
struct SiteDelete: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "delete", arguments: "[name]", summary: "Delete a site",
            details: """
                Delete the site of the namespace. The name may be left out when the namespace has one site.
                On platform linux, "skupper system stop" ends its router and removes what is left of it.
                """,
            example: "skupper site delete\nskupper site delete west --all",
            flags: [
                .toggle("all", "delete every other resource of the namespace, too"),
                CommonFlags.timeout("1m0s"), CommonFlags.waitForDeletion,
            ])
    }

    private let invocation: Invocation
    private var name = ""

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        let site = try SiteName.existing(
            invocation, verb: "delete",
            unknown: {
                invocation.isOnCluster ? "site with name \"\($0)\" is not available" : "site \($0) does not exist"
            }, &complaints)
        name = site?.name ?? ""
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        try invocation.resources.deleteSite(name, all: invocation.flags.isOn("all"))
    }

    func wait() throws {
        try DeletionWait.finish(invocation, .site, name, done: "Site \"\(name)\" is deleted")
    }
}
