import SiteModel

/// `skupper system reload`
struct SystemReload: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification("reload", summary: "x", example: "skupper system reload", scope: .system)
    }
    init(_ invocation: Invocation) {}
    func validate() -> [String] { [] }
    func run() throws {}
}
