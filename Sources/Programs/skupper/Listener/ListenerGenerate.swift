/// `skupper listener generate <name> <port>`
struct ListenerGenerate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        ServiceGeneration.specification(
            .listener, on: platform, example: "skupper listener generate backend 8080 > listener.yaml")
    }

    private var command: ServiceGeneration

    init(_ invocation: Invocation) {
        command = ServiceGeneration(.listener, invocation)
    }

    mutating func validate() throws -> [String] { try command.validate() }

    func run() { command.run() }
}
