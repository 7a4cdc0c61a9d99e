import SiteModel

/// `skupper system stop`
struct SystemStop: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification("stop", summary: "x", example: "skupper system stop", scope: .system)
    }
    init(_ invocation: Invocation) {}
    func validate() -> [String] { [] }
    func run() throws {}
}
