/// The noun `debug`.
enum DebugCommands {
    static func node(on platform: Platform) -> CommandNode {
        .group("debug", "Find out what is wrong", [.command(DebugDump.self, on: platform)])
    }
}
