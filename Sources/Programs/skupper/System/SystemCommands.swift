/// The noun `system`.
enum SystemCommands {
    static func node(on platform: Platform) -> CommandNode {
        .group(
            "system", "Run sites on this host",
            [
                .command(SystemStart.self, on: platform), .command(SystemStop.self, on: platform),
                .command(SystemReload.self, on: platform), .command(SystemStatus.self, on: platform),
                .command(SystemApply.self, on: platform), .command(SystemDelete.self, on: platform),
                .command(SystemInstall.self, on: platform), .command(SystemUninstall.self, on: platform),
                .command(SystemGenerateBundle.self, on: platform),
            ])
    }
}
