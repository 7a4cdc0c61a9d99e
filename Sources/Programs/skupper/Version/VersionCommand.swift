import LocalPlatform

/// `skupper version`
struct VersionCommand: Command {
    /// The version of these programs.
    static let version = SiteController.version

    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "version", summary: "Print the version", example: "skupper version", scope: .offline)
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() -> [String] {
        invocation.arguments.isEmpty ? [] : ["this command does not accept arguments"]
    }

    func run() {
        Console.print(Self.version)
    }
}
