import SiteModel

/// `skupper system uninstall`
struct SystemUninstall: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification("uninstall", summary: "x", example: "skupper system uninstall", scope: .system)
    }
    init(_ invocation: Invocation) {}
    func validate() -> [String] { [] }
    func run() throws {}
}
