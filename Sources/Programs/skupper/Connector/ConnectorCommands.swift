/// The noun `connector`.
enum ConnectorCommands {
    static func node(on platform: Platform) -> CommandNode {
        .group(
            "connector", "Offer servers to the application network",
            [
                .command(ConnectorCreate.self, on: platform), .command(ConnectorUpdate.self, on: platform),
                .command(ConnectorStatus.self, on: platform), .command(ConnectorDelete.self, on: platform),
                .command(ConnectorGenerate.self, on: platform),
            ])
    }
}
