/// The noun `site`.
enum SiteCommands {
    static func node(on platform: Platform) -> CommandNode {
        .group(
            "site", "Create, change and inspect the site of a namespace",
            [
                .command(SiteCreate.self, on: platform), .command(SiteUpdate.self, on: platform),
                .command(SiteStatus.self, on: platform), .command(SiteDelete.self, on: platform),
                .command(SiteGenerate.self, on: platform),
            ])
    }
}
