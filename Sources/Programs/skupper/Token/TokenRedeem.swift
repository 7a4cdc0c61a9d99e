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

    func validate() throws -> [String] {
        var complaints = Complaints()
        let isFile = source != "-"
        if invocation.arguments.isEmpty {
            complaints.add("token file name must be configured")
        } else if invocation.arguments.count > 1 {
            complaints.add("only one argument is allowed for this command")
        } else if source.isEmpty {
            complaints.add("file name must not be empty")
        } else if isFile, let reason = TokenTarget.pathComplaint(source) {
            complaints.add("token file name is not valid: \(reason)")
        }
        let isNamed = complaints.texts.isEmpty && isFile
        if invocation.isOnCluster { try validateSite(&complaints) }
        if isNamed {
            if !Files.exists(source) {
                complaints.add(
                    "token file does not exist: "
                        + (invocation.isOnCluster ? "stat \(source): no such file or directory" : source))
            } else if Files.kind(source) == .directory {
                complaints.add("token file name is a directory")
            }
        }
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return complaints.texts
    }

    private func validateSite(_ complaints: inout Complaints) throws {
        let sites = try invocation.resources.list(.site)
        if sites.isEmpty {
            complaints.add("A site must exist in namespace \(invocation.namespace) before a token can be redeemed")
        } else if !sites.contains(where: \.isReady) {
            complaints.add("there is no active skupper site in this namespace")
        }
    }

    func run() throws {
        let file = source == "-"
            ? try TokenFile.parse(Console.readInput(limit: TokenFile.sizeLimit), path: "from standard input")
            : try TokenFile.read(source)
        try file.checkExpiration(now: Int64(time(nil)))
        if invocation.isOnCluster {
            let name = try TokenSubmission(invocation, file.token).redeem(Waiting(invocation, .token))
            return Console.print("Token \"\(name)\" has been redeemed")
        }
        let outcome = try TokenRedeemer(store: invocation.files.requiredStore()).redeem(
            file.token, timeoutSeconds: Int(invocation.flags.seconds("timeout")), report: { Console.note($0) })
        Console.print("Token \"\(outcome.token)\" has been redeemed.")
        if !invocation.files.isControllerRunning() {
            Console.note(
                "The link becomes active once the site runs: skupper system start -n \(invocation.namespace)")
        }
    }
}
