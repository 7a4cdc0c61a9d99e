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
        let missing = noun.missingNameForDelete(on: invocation.platform)
        if let found = ServiceArguments.name(noun, invocation.arguments, missing: missing, &complaints) {
            name = found
            if try invocation.resources.get(noun.kind, name) == nil {
                complaints.add(
                    "\(noun.word) \(name) does not exist"
                        + (invocation.isOnCluster ? " in namespace \(invocation.namespace)" : ""))
            }
        }
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        try invocation.resources.delete(noun.kind, name)
    }

    func wait() throws {
        try DeletionWait.finish(invocation, noun.kind, name, done: "\(noun.title) \"\(name)\" deleted")
    }
}
