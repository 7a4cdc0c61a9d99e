import SiteModel

/// `skupper system apply -f <file>`
struct SystemApply: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "apply", summary: "Store resources from a file in the namespace",
            details: "Store resources in the namespace. A site that runs takes them up at once.",
            example: "skupper system apply -f resources.yaml\ncat site.yaml | skupper system apply -f -",
            scope: .system, flags: [ResourceSource.flag])
    }

    private let invocation: Invocation
    private let source: ResourceSource

    init(_ invocation: Invocation) {
        self.invocation = invocation
        source = ResourceSource(invocation: invocation, purpose: "apply", verb: "apply")
    }

    func validate() -> [String] { source.validate() }

    func run() throws {
        var resources = try source.read()
        let faults = resources.flatMap { resource in
            ResourceValidation.validate(resource).map { "\(resource.kind) \(resource.name): \($0)" }
        }
        guard faults.isEmpty else {
            throw CommandFailure.failed(
                "Failed parsing the custom resources: " + faults.joined(separator: "\n") + "\nNothing was stored.")
        }
        // A resource lives where it is stored, whatever namespace it came from.
        for index in resources.indices { resources[index].namespace = invocation.namespace }
        try invocation.files.requiredStore().putAll(resources)
        for resource in resources { Console.print("\(resource.kind) \(resource.name) added") }
        Console.print("Custom resources are applied.")
    }
}
