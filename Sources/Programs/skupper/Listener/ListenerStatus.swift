import SiteModel

/// `skupper listener status [name]`
struct ListenerStatus: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "status", arguments: "[name]", summary: "Show the state of listeners",
            example: "skupper listener status\nskupper listener status backend -o yaml",
            flags: [CommonFlags.output()])
    }

    private var list: ServiceStatusList

    init(_ invocation: Invocation) {
        list = ServiceStatusList(.listener, invocation)
    }

    mutating func validate() throws -> [String] { try list.validate() }

    func run() throws {
        try list.show(table: table, single: single)
    }

    private func table(_ listeners: [Resource]) -> Table {
        var table = Table(["NAME", "STATUS", "ROUTING-KEY", "HOST", "PORT", "MATCHING-CONNECTOR", "MESSAGE"])
        for listener in listeners {
            let summary = listener.summary()
            table.add([
                listener.name, summary.status, listener.specText("routingKey"), listener.specText("host"),
                listener.specText("port"), matched(listener), summary.message,
            ])
        }
        return table
    }

    private func single(_ listener: Resource) {
        let summary = listener.summary()
        LabelledLines.show([
            ("Name", listener.name), ("Status", summary.status), ("Routing key", listener.specText("routingKey")),
            ("Host", listener.specText("host")), ("Port", listener.specText("port")),
            ("Has Matching Connector", matched(listener)), ("Message", summary.message),
        ])
    }

    private func matched(_ listener: Resource) -> String {
        listener.status("hasMatchingConnector")?.boolValue == true ? "true" : "false"
    }
}
