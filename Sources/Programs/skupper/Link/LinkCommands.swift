/// The noun `link`.
enum LinkCommands {
    static func node(on platform: Platform) -> CommandNode {
        .group(
            "link", "Inspect and change the links to other sites",
            [
                .command(LinkStatus.self, on: platform), .command(LinkUpdate.self, on: platform),
                .command(LinkDelete.self, on: platform), .command(LinkGenerate.self, on: platform),
            ])
    }
}
