import SiteModel

/// `connector generate` and `listener generate`.
struct ServiceGeneration {
    private let noun: ServiceNoun
    private let invocation: Invocation
    private var resource: Resource

    static func specification(_ noun: ServiceNoun, on platform: Platform, example: String) -> CommandSpecification {
        CommandSpecification(
            "generate", arguments: "<name> <port>", summary: "Print a \(noun.word) resource without creating it",
            example: example, scope: .offline,
            flags: ServiceFields.flags(of: noun, on: platform) + [CommonFlags.output(default: "yaml")])
    }

    init(_ noun: ServiceNoun, _ invocation: Invocation) {
        self.noun = noun
        self.invocation = invocation
        resource = Resource(kind: noun.kind, name: "")
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        let (name, port) = ServiceArguments.nameAndPort(noun, invocation.arguments, &complaints)
        var fields = ServiceFields(noun, invocation)
        try fields.validate(credentials: .mayBeMissing, &complaints)
        CommonFlags.checkOutput(invocation.flags, &complaints)
        resource = Resource(kind: noun.kind, name: name)
        fields.fill(&resource, port: port)
        return complaints.texts
    }

    func run() {
        ResourceText.show([resource], as: invocation.flags.text("output"))
    }
}
