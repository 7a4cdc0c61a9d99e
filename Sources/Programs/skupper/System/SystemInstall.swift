import SiteModel

/// `skupper system install`
struct SystemInstall: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "install", summary: "Prepare this host for sites in containers (platform linux needs nothing)",
            example: "skupper system install", scope: .system,
            flags: [.text("reload-type", default: "manual", "how changes take effect: manual or auto")])
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() -> [String] {
        var complaints = Complaints()
        if !invocation.arguments.isEmpty { complaints.add("this command does not accept arguments") }
        complaints.check(
            "reload type is not valid",
            FieldRules.option(invocation.flags.text("reload-type"), of: FieldRules.reloadTypes))
        return complaints.texts
    }

    func run() throws {
        throw CommandFailure.failed(
            "the selected platform is not supported by this command. There is nothing to install")
    }
}
