import SiteModel

/// `skupper link update <name>`
struct LinkUpdate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "update", arguments: "<name>", summary: "Change the cost or the credentials of a link",
            details: """
                Change a link. What no flag mentions stays as it is. A new cost takes effect without a new connection.
                """,
            example: "skupper link update west-12f75bc8-5dda-4256-88f8-9df48150281a --cost 5",
            flags: [
                .text("cost", default: "1", "what one use of the link counts when routes are compared"),
                .text("tls-credentials", "the Secret with the client certificate of the link"),
                CommonFlags.timeout("1m0s"), CommonFlags.wait("ready"),
            ])
    }

    private let invocation: Invocation
    private var link: Resource?
    private var original: Resource?

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        try LinkName.requireSite(invocation, &complaints)
        if let name = LinkName.required(invocation, &complaints) {
            original = try invocation.resources.get(.link, name)
            link = original
            if original == nil {
                complaints.add(
                    "the link \"\(name)\" is not available in the namespace"
                        + (invocation.isOnCluster ? ": links.skupper.io \"\(name)\" not found" : ""))
            }
        }
        if let secret = invocation.flags.givenText("tls-credentials") {
            if let reason = FieldRules.name(secret) {
                complaints.add("the name of the tls secret is not valid: \(reason)")
            } else if try !invocation.resources.hasCredentials(secret) {
                complaints.add(
                    "the TLS secret \"\(secret)\" is not available in the namespace: "
                        + (invocation.isOnCluster ? "secrets \"\(secret)\" not found" : "not found"))
            } else {
                link?.setSpecText("tlsCredentials", secret)
            }
        }
        if let cost = invocation.flags.givenText("cost") {
            complaints.check("link cost is not valid", FieldRules.number(cost))
            link?.setSpec(.int(Int64(cost) ?? 1), "cost")
        }
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        CommonFlags.checkWait(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        guard let original, let link else { return }
        if let told = try invocation.resources.change(original, into: link) { Console.print(told) }
    }

    func wait() throws {
        guard let link else { return }
        let goal = Waiting.Goal(rawValue: invocation.flags.text("wait")) ?? .none
        guard goal != .none, invocation.resources.expectsController() else { return }
        try Waiting(invocation, .update).reach(goal, written: link)
        Console.print("Link \"\(link.name)\" is updated")
    }
}
