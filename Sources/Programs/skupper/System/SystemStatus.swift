import SiteModel

/// `skupper system status`
struct SystemStatus: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification("status", summary: "x", example: "skupper system status", scope: .system)
    }
    init(_ invocation: Invocation) {}
    func validate() -> [String] { [] }
    func run() throws {}
}
