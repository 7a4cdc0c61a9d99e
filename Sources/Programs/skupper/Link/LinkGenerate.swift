import SiteModel

/// `skupper link generate`
struct LinkGenerate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "generate", summary: "Print a link to this site, with its certificate, for another site to apply",
            details: """
                Print a Link resource and its Secret, with which another site can link to this one without a token.
                Whoever has this text can join the network for as long as the certificate is valid: keep it secret.
                """,
            example: "skupper link generate > link.yaml\nskupper link generate --host 192.0.2.7 > link.yaml",
            flags: [
                .text("name", "the router access to link to; else the first one"),
                .text("host", "the address to link to, as listed in its certificate; else the first one"),
            ])
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() throws -> [String] {
        var complaints = Complaints()
        if !invocation.arguments.isEmpty { complaints.add("arguments are not allowed in this command") }
        if try invocation.files.list(.site).isEmpty || !invocation.files.isInitialized() {
            complaints.add("there is no active site in this namespace")
        }
        return complaints.texts
    }

    func run() throws {
        let all = try invocation.files.staticLinks()
        guard !all.isEmpty else {
            throw CommandFailure.failed("this site is not enabled for link access, there are no links created")
        }
        let name = invocation.flags.text("name")
        let host = invocation.flags.text("host")
        let fitting = all.filter { file in
            (name.isEmpty || file.hasPrefix("link-\(name)-")) && (host.isEmpty || file.hasSuffix("-\(host).yaml"))
        }
        guard let file = fitting.first else {
            let known = all.joined(separator: ", ")
            throw CommandFailure.failed(
                "no link fits --name \"\(name)\" and --host \"\(host)\"; there are: \(known)")
        }
        var text = try invocation.files.staticLink(file)
        while text.last == "\n" { text.removeLast() }
        Console.print(text)
    }
}
