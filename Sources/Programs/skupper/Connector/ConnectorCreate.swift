/// `skupper connector create <name> <port>`
struct ConnectorCreate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        ServiceCreation.specification(
            .connector, on: platform, summary: "Offer a server to the application network",
            example: "skupper connector create backend 8080 --host 10.0.0.5")
    }

    private var command: ServiceCreation

    init(_ invocation: Invocation) {
        command = ServiceCreation(.connector, invocation)
    }

    mutating func validate() throws -> [String] { try command.validate() }

    func run() throws { try command.run() }

    func wait() throws { try command.wait() }
}
