import LocalPlatform

/// `skupper system stop`
struct SystemStop: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "stop", summary: "Stop the site of the namespace on this host",
            details: """
                Stop the site of the namespace. Its resources, certificates and ports are kept, so that it can be
                started again and the links made to it stay valid.
                """,
            example: "skupper system stop -n west", scope: .system)
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() -> [String] { SystemReport.complaints(invocation) }

    func run() throws {
        let store = try invocation.files.requiredStore()
        guard store.exists else {
            throw CommandFailure.failed(
                "System teardown has failed: namespace \"\(invocation.namespace)\" does not exist "
                    + "at \(store.layout.root)")
        }
        let didRun: Bool
        do {
            didRun = try LocalSystem(store: store).stop()
        } catch {
            throw CommandFailure.failed("System teardown has failed: \(error)")
        }
        guard didRun else {
            throw CommandFailure.failed(
                "System teardown has failed: namespace \"\(invocation.namespace)\" is not running")
        }
        Console.print("Namespace \"\(invocation.namespace)\" has been removed")
    }
}
