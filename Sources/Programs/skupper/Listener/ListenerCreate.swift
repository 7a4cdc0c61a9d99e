/// `skupper listener create <name> <port>`
struct ListenerCreate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        ServiceCreation.specification(
            .listener, on: platform, summary: "Give clients a local address for a service",
            example: "skupper listener create backend 8080 --host 127.0.0.1")
    }

    private var command: ServiceCreation

    init(_ invocation: Invocation) {
        command = ServiceCreation(.listener, invocation)
    }

    mutating func validate() throws -> [String] { try command.validate() }

    func run() throws { try command.run() }

    func wait() throws { try command.wait() }
}
