import SiteModel

/// `skupper site generate <name>`
struct SiteGenerate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "generate", arguments: "<name>", summary: "Print a site resource without creating it",
            example: "skupper site generate west --enable-link-access > west.yaml", scope: .offline,
            flags: LinkAccessFlags.flags(on: platform) + [CommonFlags.output(default: "yaml")])
    }

    private let invocation: Invocation
    private var site = Resource(kind: .site, name: "")

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    mutating func validate() -> [String] {
        var complaints = Complaints()
        let name = SiteName.required(invocation.arguments, &complaints)
        let access = LinkAccessFlags(flags: invocation.flags)
        access.validate(accessWillBeOn: invocation.flags.isOn("enable-link-access"), &complaints)
        CommonFlags.checkOutput(invocation.flags, &complaints)
        site = Resource(kind: .site, name: name)
        access.apply(to: &site)
        return complaints.texts
    }

    func run() {
        ResourceText.show([site], as: invocation.flags.text("output"))
    }
}
