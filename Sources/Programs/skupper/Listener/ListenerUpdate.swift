/// `skupper listener update <name>`
struct ListenerUpdate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        ServiceUpdate.specification(.listener, on: platform, example: "skupper listener update backend --port 9090")
    }

    private var command: ServiceUpdate

    init(_ invocation: Invocation) {
        command = ServiceUpdate(.listener, invocation)
    }

    mutating func validate() throws -> [String] { try command.validate() }

    func run() throws { try command.run() }

    func wait() throws { try command.wait() }
}
