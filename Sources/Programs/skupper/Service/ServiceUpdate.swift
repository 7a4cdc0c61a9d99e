import SiteModel

/// `connector update` and `listener update`.
struct ServiceUpdate {
    private let noun: ServiceNoun
    private let invocation: Invocation
    private var resource: Resource
    private var original: Resource

    static func specification(_ noun: ServiceNoun, on platform: Platform, example: String) -> CommandSpecification {
        CommandSpecification(
            "update", arguments: "<name>", summary: "Change a \(noun.word)",
            details: "Change a \(noun.word). What no flag mentions stays as it is.", example: example,
            flags: ServiceFields.flags(of: noun, on: platform) + [
                .integer("port", default: 0, "the port; 0 leaves it as it is"), CommonFlags.timeout("1m0s"),
                CommonFlags.wait("configured"),
            ])
    }

    init(_ noun: ServiceNoun, _ invocation: Invocation) {
        self.noun = noun
        self.invocation = invocation
        original = Resource(kind: noun.kind, name: "")
        resource = original
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        let missing = "\(noun.word) name must be configured"
        if let name = ServiceArguments.name(noun, invocation.arguments, missing: missing, &complaints) {
            if let found = try invocation.resources.get(noun.kind, name) {
                original = found
                resource = found
            } else {
                complaints.add("\(noun.word) \(name) must exist in namespace \(invocation.namespace) to be updated")
            }
        }
        if invocation.flags.integer("port") < 0 {
            complaints.add("\(noun.word) port is not valid: value is not positive")
        }
        var fields = ServiceFields(noun, invocation)
        try fields.validate(credentials: .mustExist, &complaints)
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        CommonFlags.checkWait(invocation.flags, &complaints)
        fields.change(&resource)
        try HostRules.check(resource, invocation, &complaints)
        return complaints.texts
    }

    func run() throws {
        if let told = try invocation.resources.change(original, into: resource) { Console.print(told) }
    }

    func wait() throws {
        try ServiceWait.finish(invocation, .update, resource) { goal in
            noun.kind == .connector
                ? "Connector \"\(resource.name)\" is \(goal.rawValue)." : "Listener \"\(resource.name)\" is updated"
        }
    }
}
