/// `skupper connector update <name>`
struct ConnectorUpdate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        ServiceUpdate.specification(.connector, on: platform, example: "skupper connector update backend --port 9090")
    }

    private var command: ServiceUpdate

    init(_ invocation: Invocation) {
        command = ServiceUpdate(.connector, invocation)
    }

    mutating func validate() throws -> [String] { try command.validate() }

    func run() throws { try command.run() }

    func wait() throws { try command.wait() }
}
