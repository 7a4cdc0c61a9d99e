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
            invocation, verb: "delete", unknown: { "site \($0) does not exist" }, &complaints)
        name = site?.name ?? ""
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        if invocation.flags.isOn("all") {
            try invocation.files.deleteEverything()
        } else {
            try invocation.files.delete(.site, name)
            // A router access made by hand for this site is of no use without it.
            try invocation.files.delete(.routerAccess, "router-access-\(name)")
        }
    }

    func wait() throws {
        if invocation.flags.isOn("wait"), invocation.files.isControllerRunning() {
            try Waiting(invocation).disappear(.site, name)
        }
        Console.print("Site \"\(name)\" is deleted")
    }
}
