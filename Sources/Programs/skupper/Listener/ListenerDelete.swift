/// `skupper listener delete <name>`
struct ListenerDelete: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        ServiceDeletion.specification(.listener, example: "skupper listener delete backend")
    }

    private var command: ServiceDeletion

    init(_ invocation: Invocation) {
        command = ServiceDeletion(.listener, invocation)
    }

    mutating func validate() throws -> [String] { try command.validate() }

    func run() throws { try command.run() }

    func wait() throws { try command.wait() }
}
