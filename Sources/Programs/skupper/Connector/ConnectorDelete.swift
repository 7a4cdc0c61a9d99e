/// `skupper connector delete <name>`
struct ConnectorDelete: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        ServiceDeletion.specification(.connector, example: "skupper connector delete backend")
    }

    private var command: ServiceDeletion

    init(_ invocation: Invocation) {
        command = ServiceDeletion(.connector, invocation)
    }

    mutating func validate() throws -> [String] { try command.validate() }

    func run() throws { try command.run() }

    func wait() throws { try command.wait() }
}
