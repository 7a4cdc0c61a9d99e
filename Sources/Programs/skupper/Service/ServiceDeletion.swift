import SiteModel

/// `connector delete` and `listener delete`.
struct ServiceDeletion {
    private let noun: ServiceNoun
    private let invocation: Invocation
    private var name = ""

    static func specification(_ noun: ServiceNoun, example: String) -> CommandSpecification {
        CommandSpecification(
            "delete", arguments: "<name>", summary: "Delete a \(noun.word)", example: example,
            flags: [CommonFlags.timeout("1m0s"), CommonFlags.waitForDeletion])
    }

    init(_ noun: ServiceNoun, _ invocation: Invocation) {
        self.noun = noun
        self.invocation = invocation
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        let missing = noun.missingNameForDelete
        if let found = ServiceArguments.name(noun, invocation.arguments, missing: missing, &complaints) {
            name = found
            if try invocation.files.get(noun.kind, name) == nil {
                complaints.add("\(noun.word) \(name) does not exist")
            }
        }
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        try invocation.files.delete(noun.kind, name)
    }

    func wait() throws {
        if invocation.flags.isOn("wait"), invocation.files.isControllerRunning() {
            try Waiting(invocation).disappear(noun.kind, name)
        }
        Console.print("\(noun.title) \"\(name)\" deleted")
    }
}
