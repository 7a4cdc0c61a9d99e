import LocalPlatform

/// `skupper system reload`
struct SystemReload: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "reload", summary: "Have the site read its resources again",
            details: """
                Have the site read its resources again, and wait until they have taken effect. Nothing is restarted;
                changes take effect by themselves, so this is needed only to see what is wrong with them.
                """,
            example: "skupper system reload -n west", scope: .system, flags: [CommonFlags.timeout("1m0s")])
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() -> [String] {
        var complaints = Complaints()
        for text in SystemReport.complaints(invocation) { complaints.add(text) }
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        let store = try invocation.files.requiredStore()
        let problems: [String]
        do {
            problems = try LocalSystem(store: store).reload(timeoutSeconds: Int(invocation.flags.seconds("timeout")))
        } catch {
            throw CommandFailure.failed("Failed to bootstrap: \(error)")
        }
        Console.print("Sources will be consumed from namespace \"\(invocation.namespace)\"")
        try SystemReport.showSite(invocation, store)
        SystemReport.showProblems(problems)
    }
}
