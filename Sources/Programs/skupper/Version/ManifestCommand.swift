/// `skupper manifest` (not listed): the versions of all parts, which this build makes from one source.
struct ManifestCommand: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "manifest", summary: "Print the versions of all components", example: "skupper manifest",
            scope: .offline, flags: [.text("output", short: "o", "print as json or yaml")])
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() -> [String] {
        var complaints = Complaints()
        if !invocation.arguments.isEmpty { complaints.add("this command does not accept arguments") }
        CommonFlags.checkOutput(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() {
        let components = ["skupper", "skupper-router", "skupper-controller"]
        switch invocation.flags.text("output") {
        case "json":
            let lines = components.map { "  \"\($0)\": \"\(VersionCommand.version)\"" }
            Console.print("{\n" + lines.joined(separator: ",\n") + "\n}")
        case "yaml":
            for component in components { Console.print("\(component): \(VersionCommand.version)") }
        default:
            var table = Table(["COMPONENT", "VERSION"])
            for component in components { table.add([component, VersionCommand.version]) }
            Console.print(table.text)
        }
    }
}
