import SiteModel

/// What `connector status` and `listener status` share: which resources to show.
struct ServiceStatusList {
    let noun: ServiceNoun
    let invocation: Invocation
    private(set) var name: String?
    private(set) var resources: [Resource] = []

    init(_ noun: ServiceNoun, _ invocation: Invocation) {
        self.noun = noun
        self.invocation = invocation
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        name = ServiceArguments.optionalName(noun, invocation.arguments, &complaints)
        resources = try invocation.resources.observedList(noun.kind)
        if let name {
            resources = resources.filter { $0.name == name }
            if resources.isEmpty {
                complaints.add("\(noun.word) \(name) does not exist in namespace \(invocation.namespace)")
            }
        }
        CommonFlags.checkOutput(invocation.flags, &complaints)
        return complaints.texts
    }

    /// Prints the resources: as `-o` says, or with one of the given ways.
    func show(table: ([Resource]) -> Table, single: (Resource) -> Void) throws {
        try invocation.resources.warnWhenStale()
        let format = invocation.flags.text("output")
        if !format.isEmpty {
            ResourceText.show(resources, as: format)
        } else if resources.isEmpty {
            Console.print("No \(noun.word)s found")
        } else if name != nil, let resource = resources.first {
            single(resource)
        } else {
            Console.print(table(resources).text)
        }
    }
}
