import ControlIO
import Glibc
import LocalPlatform
import SiteModel

/// `skupper token redeem <file>`
struct TokenRedeem: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "redeem", arguments: "<file>", summary: "Link this site to the one that issued the token",
            details: """
                Exchange a token for a certificate and a link to the site that issued it. With "-" as the file, the
                token is read from standard input. "skupper link status" shows when the link is up.
                """,
            example: "skupper token redeem west.yaml\nskupper token redeem - < west.yaml",
            // Here the exchange is made by this program itself, and whoever waits at it should soon know what is wrong.
            flags: [CommonFlags.timeout(platform == .kubernetes ? "1m0s" : "20s")])
    }

    private let invocation: Invocation
    private let source: String

    init(_ invocation: Invocation) {
        self.invocation = invocation
        source = invocation.firstArgument
    }

    func validate() -> [String] {
        var complaints = Complaints()
        if invocation.arguments.isEmpty {
            complaints.add("token file name must be configured")
        } else if invocation.arguments.count > 1 {
            complaints.add("only one argument is allowed for this command")
        } else if source.isEmpty {
            complaints.add("file name must not be empty")
        } else if source != "-" {
            if let reason = TokenTarget.pathComplaint(source) {
                complaints.add("token file name is not valid: \(reason)")
            } else if !Files.exists(source) {
                complaints.add("token file does not exist: \(source)")
            } else if Files.kind(source) == .directory {
                complaints.add("token file name is a directory")
            }
        }
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        let file = source == "-"
            ? try TokenFile.parse(Console.readInput(limit: TokenFile.sizeLimit), path: "from standard input")
            : try TokenFile.read(source)
        try file.checkExpiration(now: Int64(time(nil)))
        let outcome = try TokenRedeemer(store: invocation.files.requiredStore()).redeem(
            file.token, timeoutSeconds: Int(invocation.flags.seconds("timeout")), report: { Console.note($0) })
        Console.print("Token \"\(outcome.token)\" has been redeemed.")
        if !invocation.files.isControllerRunning() {
            Console.note(
                "The link becomes active once the site runs: skupper system start -n \(invocation.namespace)")
        }
    }
}
