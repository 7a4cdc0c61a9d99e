import ControlIO
import LocalPlatform

/// `skupper system uninstall`
struct SystemUninstall: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "uninstall", summary: "Remove the sites of this host",
            details: """
                Remove what is left of the sites of this host and user, or with -n of one namespace. Sites that run, and
                resources that were not deleted, are removed with --force only.
                """,
            example: "skupper system uninstall --force\nskupper system uninstall -n west --force", scope: .system,
            flags: [.toggle("force", short: "f", "stop and remove active sites, and their resources")])
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    private var isForced: Bool { invocation.flags.isOn("force") }

    func validate() throws -> [String] {
        var complaints = SystemReport.complaints(invocation)
        guard complaints.isEmpty, !isForced else { return complaints }
        for namespace in try namespaces() where try NamespaceStore(namespace: namespace).controller != nil {
            complaints.append(
                "Uninstallation halted: Active sites detected. Use --force flag to stop and remove active sites")
            break
        }
        return complaints
    }

    func run() throws {
        for namespace in try namespaces() {
            let store = try NamespaceStore(namespace: namespace)
            let input = store.layout.inputResources
            if !isForced, Files.kind(input) == .directory, try !Files.list(input).isEmpty {
                Console.note(
                    "Namespace \"\(namespace)\" is kept, because it has resources at \(input); --force removes it")
                continue
            }
            if store.controller != nil { Console.print("Removing active site namespace \"\(namespace)\"") }
            try LocalSystem(store: store).uninstall(force: isForced)
            Console.print("Namespace \"\(namespace)\" has been removed")
        }
    }

    private func namespaces() throws -> [String] {
        let all = try DataHome.current().namespaces()
        return invocation.flags.isGiven("namespace") ? all.filter { $0 == invocation.namespace } : all
    }
}
