import ControlIO
import SiteModel

/// `skupper system generate-bundle <file>`
struct SystemGenerateBundle: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "generate-bundle", arguments: "<file>", summary: "Pack a site for another host (not built yet)",
            example: "skupper system generate-bundle west --input ./west", scope: .system,
            flags: [
                .text("input", "the directory with the resources"),
                .text("type", default: "tarball", "the kind of bundle: tarball or shell-script"),
            ])
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() -> [String] {
        var complaints = Complaints()
        if invocation.firstArgument.isEmpty {
            complaints.add("You need to specify a name for the bundle file to generate.")
        } else if invocation.arguments.count > 1 {
            complaints.add("This command does not accept more than one argument.")
        }
        if let input = invocation.flags.givenText("input") {
            switch Files.kind(input) {
            case nil: complaints.add("The input path does not exist")
            case .directory: break
            case .file, .other: complaints.add("The input path must be a directory")
            }
        }
        complaints.check(
            "Invalid bundle type", FieldRules.option(invocation.flags.text("type"), of: FieldRules.bundleTypes))
        return complaints.texts
    }

    func run() throws {
        throw CommandFailure.failed(
            "Bundles are not built yet. Copy the resources to the other host and run there: "
                + "skupper system apply -f <file>, then skupper system start")
    }
}
