/// `skupper connector generate <name> <port>`
struct ConnectorGenerate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        ServiceGeneration.specification(
            .connector, on: platform, example: "skupper connector generate backend 8080 > connector.yaml")
    }

    private var command: ServiceGeneration

    init(_ invocation: Invocation) {
        command = ServiceGeneration(.connector, invocation)
    }

    mutating func validate() throws -> [String] { try command.validate() }

    func run() { command.run() }
}
