import ControlIO
import SiteModel

/// Where `system apply` and `system delete` read resources from: `--filename`, a file or `-`.
struct ResourceSource {
    static let flag = Flag.text(
        "filename", short: "f", "the file with the resources, .yaml or .json; - is standard input")

    let invocation: Invocation
    /// What is done with them, for the texts: `apply` or `delete custom resources`.
    let purpose: String
    /// The command, for the texts.
    let verb: String

    private var name: String { invocation.flags.text("filename") }

    func validate() -> [String] {
        var complaints = Complaints()
        if !invocation.arguments.isEmpty { complaints.add("This command does not accept arguments") }
        if name.isEmpty {
            complaints.add(
                "You need to provide a file to \(purpose) or use standard input.\n"
                    + " Example: cat site.yaml | skupper system \(verb) -f -")
        } else if name != "-" {
            switch Files.kind(name) {
            case nil: complaints.add("The file \"\(name)\" does not exist")
            case .directory: complaints.add("The file \"\(name)\" is a directory")
            case .file where !name.hasSuffix(".yaml") && !name.hasSuffix(".json"):
                complaints.add(
                    "The file has an unsupported extension, it should have one of the following: .yaml, .json")
            case .file, .other: break
            }
        }
        return complaints.texts
    }

    /// The resources, of known kinds only; others are named on standard error.
    func read() throws -> [Resource] {
        let text = name == "-" ? try Console.readInput() : try Files.readText(name)
        let all: [Resource]
        do {
            all = try Resource.parseAll(yaml: text)
        } catch {
            throw CommandFailure.failed("Failed parsing the custom resources: \(error)")
        }
        return all.filter { resource in
            if resource.knownKind != nil { return true }
            Console.note(
                "Warning: \(resource.kind) \(resource.name) (\(resource.apiVersion)) is of no use here: left out")
            return false
        }
    }
}
