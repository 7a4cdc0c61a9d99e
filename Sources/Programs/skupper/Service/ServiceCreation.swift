import SiteModel

/// `connector create` and `listener create`.
struct ServiceCreation {
    private let noun: ServiceNoun
    private let invocation: Invocation
    private var resource: Resource

    static func specification(_ noun: ServiceNoun, on platform: Platform, summary: String, example: String)
        -> CommandSpecification
    {
        CommandSpecification(
            "create", arguments: "<name> <port>", summary: summary, example: example,
            flags: ServiceFields.flags(of: noun, on: platform)
                + [CommonFlags.timeout("1m0s"), CommonFlags.wait("configured")])
    }

    init(_ noun: ServiceNoun, _ invocation: Invocation) {
        self.noun = noun
        self.invocation = invocation
        resource = Resource(kind: noun.kind, name: "")
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        let (name, port) = ServiceArguments.nameAndPort(noun, invocation.arguments, &complaints)
        if complaints.texts.isEmpty, try invocation.resources.get(noun.kind, name) != nil {
            complaints.add("There is already a \(noun.word) \(name) created for namespace \(invocation.namespace)")
        }
        var fields = ServiceFields(noun, invocation)
        try fields.validate(credentials: .mustExist, &complaints)
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        CommonFlags.checkWait(invocation.flags, &complaints)
        resource = Resource(kind: noun.kind, name: name, namespace: invocation.namespace)
        fields.fill(&resource, port: port)
        try HostRules.check(resource, invocation, &complaints)
        return complaints.texts
    }

    func run() throws {
        if let told = try invocation.resources.create(resource) { Console.print(told) }
    }

    func wait() throws {
        try ServiceWait.finish(invocation, .create, resource) {
            "\(noun.title) \"\(resource.name)\" is \($0.rawValue)."
        }
    }
}

/// The end of creating and updating: wait where a controller is there to act.
enum ServiceWait {
    static func finish(
        _ invocation: Invocation, _ prefix: Waiting.Prefix, _ resource: Resource, done: (Waiting.Goal) -> String
    ) throws {
        let goal = Waiting.Goal(rawValue: invocation.flags.text("wait")) ?? .none
        guard goal != .none, invocation.resources.expectsController() else { return }
        try Waiting(invocation, prefix).reach(goal, written: resource)
        Console.print(done(goal))
    }
}
