import SiteModel

/// `skupper site create <name>`
struct SiteCreate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "create", arguments: "<name>", summary: "Create a site",
            details: """
                Create a site in the namespace. With link access, other sites can link to it, and tokens can be issued.
                On platform linux the site runs once "skupper system start" was called for the namespace.
                """,
            example: "skupper site create west --enable-link-access",
            flags: LinkAccessFlags.flags(on: platform) + [CommonFlags.timeout("3m0s"), CommonFlags.wait("ready")])
    }

    private let invocation: Invocation
    private var site = Resource(kind: .site, name: "")

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        let name = SiteName.required(invocation.arguments, &complaints)
        if try !invocation.resources.list(.site).isEmpty {
            complaints.add("There is already a site created for this namespace")
        }
        let access = LinkAccessFlags(flags: invocation.flags)
        access.validate(accessWillBeOn: invocation.flags.isOn("enable-link-access"), &complaints)
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        CommonFlags.checkWait(invocation.flags, &complaints)
        site = Resource(kind: .site, name: name, namespace: invocation.namespace)
        if invocation.flags.isOn("enable-link-access") || invocation.flags.isOn("enable-ha") {
            access.apply(to: &site)
        }
        return complaints.texts
    }

    func run() throws {
        if let told = try invocation.resources.create(site) { Console.print(told) }
    }

    func wait() throws {
        try SiteWait.finish(invocation, .status, site: site, done: { "Site \"\(site.name)\" is \($0.rawValue)." })
    }
}
