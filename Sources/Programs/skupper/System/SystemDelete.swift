import SiteModel

/// `skupper system delete -f <file>`
struct SystemDelete: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "delete", summary: "Delete the resources named in a file from the namespace",
            example: "skupper system delete -f resources.yaml", scope: .system, flags: [ResourceSource.flag])
    }

    private let invocation: Invocation
    private let source: ResourceSource

    init(_ invocation: Invocation) {
        self.invocation = invocation
        source = ResourceSource(invocation: invocation, purpose: "delete custom resources", verb: "delete")
    }

    func validate() -> [String] { source.validate() }

    func run() throws {
        for resource in try source.read() {
            guard let kind = resource.knownKind else { continue }
            if try invocation.files.delete(kind, resource.name) {
                Console.print("\(resource.kind) \(resource.name) deleted")
            } else {
                Console.note("Warning: there is no \(resource.kind) \(resource.name) in the namespace")
            }
        }
        Console.print(
            "Custom resources deleted. If a site is already running, run `skupper system reload` "
                + "to make effective the changes.")
    }
}
