/// The noun `token`.
enum TokenCommands {
    static func node(on platform: Platform) -> CommandNode {
        .group(
            "token", "Issue and redeem tokens, which link sites",
            [.command(TokenIssue.self, on: platform), .command(TokenRedeem.self, on: platform)])
    }
}
