import ControlIO
import LocalPlatform

/// `skupper system start`
struct SystemStart: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "start", summary: "Start the site of the namespace on this host",
            details: """
                Start the site of the namespace: as a unit where systemd runs, else as background processes.
                From then on, changes of its resources take effect by themselves.
                """,
            example: "skupper system start\nskupper system start -n west", scope: .system,
            flags: [CommonFlags.timeout("1m0s")])
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() throws -> [String] {
        var complaints = Complaints()
        for text in SystemReport.complaints(invocation) { complaints.add(text) }
        if let pid = invocation.files.controller {
            complaints.add(
                "namespace already exists: \(invocation.namespace) (it is running as process \(pid); "
                    + "changes take effect by themselves)")
        }
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        let store = try invocation.files.requiredStore()
        let sources = store.layout.inputResources
        guard Files.kind(sources) == .directory, try !Files.list(sources).isEmpty else {
            throw CommandFailure.failed(
                "No sources found at: \(sources)\nCreate a site first: "
                    + "skupper site create <name> -n \(invocation.namespace)")
        }
        let problems: [String]
        do {
            problems = try LocalSystem(store: store).start(timeoutSeconds: Int(invocation.flags.seconds("timeout")))
        } catch {
            throw CommandFailure.failed("Failed to bootstrap: \(error)")
        }
        try SystemReport.showSite(invocation, store)
        SystemReport.showProblems(problems)
    }
}
