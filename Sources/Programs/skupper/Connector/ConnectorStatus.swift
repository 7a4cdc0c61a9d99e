import SiteModel

/// `skupper connector status [name]`
struct ConnectorStatus: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "status", arguments: "[name]", summary: "Show the state of connectors",
            example: "skupper connector status\nskupper connector status backend -o yaml",
            flags: [CommonFlags.output()])
    }

    private var list: ServiceStatusList

    init(_ invocation: Invocation) {
        list = ServiceStatusList(.connector, invocation)
    }

    mutating func validate() throws -> [String] { try list.validate() }

    func run() throws {
        try list.show(table: table, single: single)
    }

    private func table(_ connectors: [Resource]) -> Table {
        var table = Table([
            "NAME", "STATUS", "ROUTING-KEY", "SELECTOR", "HOST", "PORT", "HAS MATCHING LISTENER", "MESSAGE",
        ])
        for connector in connectors {
            let summary = connector.summary()
            table.add([
                connector.name, summary.status, connector.specText("routingKey"), connector.specText("selector"),
                connector.specText("host"), connector.specText("port"), matched(connector), summary.message,
            ])
        }
        return table
    }

    private func single(_ connector: Resource) {
        let summary = connector.summary()
        LabelledLines.show([
            ("Name", connector.name), ("Status", summary.status), ("Routing key", connector.specText("routingKey")),
            ("Selector", connector.specText("selector")), ("Host", connector.specText("host")),
            ("Port", connector.specText("port")), ("Has Matching Listener", matched(connector)),
            ("Message", summary.message),
        ])
    }

    private func matched(_ connector: Resource) -> String {
        connector.status("hasMatchingListener")?.boolValue == true ? "true" : "false"
    }
}
