import LocalPlatform

/// `skupper system status`
struct SystemStatus: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "status", summary: "Show which sites run on this host",
            details: "Show the sites of this host and user, or with -n the one of a namespace.",
            example: "skupper system status\nskupper system status -n west", scope: .system)
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() -> [String] { SystemReport.complaints(invocation) }

    func run() throws {
        var namespaces = try DataHome.current().namespaces()
        if invocation.flags.isGiven("namespace") {
            namespaces = namespaces.filter { $0 == invocation.namespace }
            if namespaces.isEmpty {
                throw CommandFailure.failed("namespace \"\(invocation.namespace)\" does not exist")
            }
        }
        guard !namespaces.isEmpty else {
            Console.print("There are no sites on this host below \(DataHome.current().path)")
            return
        }
        var table = Table(["NAMESPACE", "SITE", "CONTROLLER", "ROUTER", "STATUS", "MESSAGE"])
        for namespace in namespaces {
            let status = try LocalSystem(namespace: namespace).status()
            let isKnown = status.controller != nil && !status.status.isEmpty
            table.add([
                namespace, status.site ?? "-", Self.process(status.controller), Self.process(status.router),
                isKnown ? status.status : "Pending", isKnown ? status.message : "Not Running",
            ])
        }
        Console.print(table.text)
    }

    private static func process(_ pid: Int32?) -> String {
        pid.map(String.init) ?? "stopped"
    }
}
