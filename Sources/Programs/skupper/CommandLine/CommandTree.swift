/// All commands of the program.
enum CommandTree {
    static func root(on platform: Platform) -> CommandNode {
        .group(
            "skupper", "Link sites into an application network and connect services across them",
            [
                SiteCommands.node(on: platform), TokenCommands.node(on: platform), LinkCommands.node(on: platform),
                ConnectorCommands.node(on: platform), ListenerCommands.node(on: platform),
                SystemCommands.node(on: platform), DebugCommands.node(on: platform),
                .command(VersionCommand.self, on: platform), .command(ManifestCommand.self, on: platform, hidden: true),
            ])
    }
}
