import SiteModel

/// `skupper site update [name]`
struct SiteUpdate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "update", arguments: "[name]", summary: "Change the settings of a site",
            details: """
                Change a site. What no flag mentions stays as it is; --enable-link-access=false takes link access away.
                The name may be left out when the namespace has one site.
                """,
            example: "skupper site update --enable-link-access\nskupper site update west --enable-link-access=false",
            flags: LinkAccessFlags.flags(on: platform) + [CommonFlags.timeout("30s"), CommonFlags.wait("ready")])
    }

    private let invocation: Invocation
    private var site = Resource(kind: .site, name: "")
    private var original = Resource(kind: .site, name: "")

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        let found = try SiteName.existing(
            invocation, verb: "update", unknown: { "site with name \"\($0)\" is not available" }, &complaints)
        let access = LinkAccessFlags(flags: invocation.flags)
        original = found ?? site
        site = original
        access.apply(to: &site)
        let text = site.specText("linkAccess")
        access.validate(accessWillBeOn: found == nil || (!text.isEmpty && text != "none"), &complaints)
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        CommonFlags.checkWait(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        if let told = try invocation.resources.change(original, into: site) { Console.print(told) }
    }

    func wait() throws {
        try SiteWait.finish(invocation, .update, site: site, done: { _ in "Site \"\(site.name)\" is updated" })
    }
}
