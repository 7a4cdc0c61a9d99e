/// The noun `listener`.
enum ListenerCommands {
    static func node(on platform: Platform) -> CommandNode {
        .group(
            "listener", "Give clients a local address for a service of the application network",
            [
                .command(ListenerCreate.self, on: platform), .command(ListenerUpdate.self, on: platform),
                .command(ListenerStatus.self, on: platform), .command(ListenerDelete.self, on: platform),
                .command(ListenerGenerate.self, on: platform),
            ])
    }
}
