import SiteModel

/// `skupper system start`
struct SystemStart: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification("start", summary: "x", example: "skupper system start", scope: .system)
    }
    init(_ invocation: Invocation) {}
    func validate() -> [String] { [] }
    func run() throws {}
}
