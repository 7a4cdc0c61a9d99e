/// `skupper debug dump [file]`
struct DebugDump: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "dump", arguments: "[file]", summary: "Collect what support needs to know about a site",
            example: "skupper debug dump west")
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() -> [String] {
        invocation.arguments.count > 1 ? ["only one argument is allowed for this command"] : []
    }

    func run() throws {
        let root = try invocation.files.requiredStore().layout.root
        throw CommandFailure.failed(
            "\"skupper debug dump\" is not built yet. Everything about the site is below \(root): send that directory "
                + "without its private keys (tar --exclude='*.key' --exclude='Secret-*' --exclude='Access*').")
    }
}

/// The noun `debug`.
enum DebugCommands {
    static func node(on platform: Platform) -> CommandNode {
        .group("debug", "Find out what is wrong", [.command(DebugDump.self, on: platform)])
    }
}
