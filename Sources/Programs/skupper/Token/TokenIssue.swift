import LocalPlatform
import SiteModel

/// `skupper token issue <file>`
struct TokenIssue: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "issue", arguments: "<file>", summary: "Write a token that lets another site link to this one",
            details: """
                Write a token file. Whoever has the file can join the application network until the token is used up
                or expired: keep it secret. With "-" as the file, the token goes to standard output.
                """,
            example: "skupper token issue west.yaml\n"
                + "skupper token issue west.yaml --expiration-window 60m --redemptions-allowed 3",
            flags: [
                .integer("redemptions-allowed", default: 1, "how many times the token can be redeemed"),
                .duration("expiration-window", default: "15m0s", "how long the token can be redeemed, at least 1m"),
                .text("cost", default: "1", "the cost of the links made with the token"),
                CommonFlags.timeout("1m0s"),
            ])
    }

    private let invocation: Invocation
    private let target: TokenTarget
    private var site = Site(name: "")

    init(_ invocation: Invocation) {
        self.invocation = invocation
        target = TokenTarget(name: invocation.firstArgument)
    }

    var reservesStandardOutput: Bool { target.isStandardOutput }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        if invocation.arguments.isEmpty {
            complaints.add("file name must be configured")
        } else if invocation.arguments.count > 1 {
            complaints.add("only one argument is allowed for this command")
        } else if let complaint = target.complaint() {
            complaints.add(complaint)
        }
        try validateSite(&complaints)
        let flags = invocation.flags
        if flags.integer("redemptions-allowed") < 1 { complaints.add("number of redemptions is not valid") }
        complaints.check(
            "expiration time is not valid", FieldRules.expirationWindow(seconds: flags.seconds("expiration-window")))
        CommonFlags.checkTimeout(flags, &complaints)
        complaints.check("link cost is not valid", FieldRules.number(flags.text("cost")))
        return complaints.texts
    }

    private mutating func validateSite(_ complaints: inout Complaints) throws {
        let sites = try invocation.resources.list(.site).compactMap { Site($0) }
        guard let first = sites.first else {
            complaints.add("A site must exist in namespace \(invocation.namespace) before a token can be created")
            return
        }
        guard invocation.isOnCluster else {
            site = first
            if site.edge {
                complaints.add("Edge sites cannot accept incoming links from remote sites")
            } else if !site.acceptsLinks {
                complaints.add("You must enable link access for this site before you can create a token.")
            }
            return
        }
        let ready = sites.filter { $0.resource.isReady }
        if ready.isEmpty {
            complaints.add("there is no active skupper site in this namespace")
        } else if ready.contains(where: \.edge) {
            complaints.add("Edge sites cannot accept incoming links from remote sites")
        } else if let open = ready.first(where: { !$0.endpoints.isEmpty }) {
            site = open
        } else {
            complaints.add("You must enable link access for this site before you can create a token.")
        }
    }

    func run() throws {
        let flags = invocation.flags
        let order = TokenIssuer.Order(
            redemptionsAllowed: flags.integer("redemptions-allowed"),
            expirationWindow: GoDuration.format(seconds: flags.seconds("expiration-window")),
            linkCost: Int(flags.text("cost")) ?? 1)
        if invocation.isOnCluster {
            let wait = Waiting(invocation, .token, mayDraw: !target.isStandardOutput)
            let issued = try GrantRequest(invocation, site: site.name, order: order).issue(wait)
            try target.write(issued.text)
            return tell(grant: issued.name)
        }
        let issued = try TokenIssuer(store: invocation.files.requiredStore())
            .issue(order, to: target.isReplaceable ? target.name : "-", timeoutSeconds: Int(flags.seconds("timeout")))
        if !target.isReplaceable { try target.writeThrough(issued.text) }
        tell(grant: issued.name)
    }

    /// What the user reads after success.
    private func tell(grant: String) {
        let window = GoDuration.format(seconds: invocation.flags.seconds("expiration-window"))
        let uses = invocation.flags.integer("redemptions-allowed")
        let name = target.isStandardOutput ? "<file>" : target.name
        let text = """

            Grant "\(grant)" is ready
            Token file \(target.isStandardOutput ? "on standard output" : name) created

            Transfer this file to a remote site. At the remote site,
            create a link to this site using the "skupper token redeem" command:

            \tskupper token redeem \(name)

            The token expires after \(uses) use(s) or after \(window).
            """
        if target.isStandardOutput { Console.note(text) } else { Console.print(text) }
    }
}
