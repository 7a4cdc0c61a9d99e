import SiteModel

/// `skupper site status [name]`
struct SiteStatus: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "status", arguments: platform == .kubernetes ? "" : "[name]", summary: "Show the state of a site",
            example: "skupper site status\nskupper site status -o yaml", flags: [CommonFlags.output()])
    }

    private let invocation: Invocation
    private var sites: [Resource] = []

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        if invocation.isOnCluster {
            if !invocation.arguments.isEmpty { return ["this command does not need any arguments"] }
            CommonFlags.checkOutput(invocation.flags, &complaints)
            return complaints.texts
        }
        sites = try invocation.resources.observedList(.site)
        if invocation.arguments.count > 1 {
            complaints.add("only one argument is allowed for this command")
        } else if let name = invocation.arguments.first {
            if name.isEmpty {
                complaints.add("site name must not be empty")
            } else if let reason = FieldRules.name(name) {
                complaints.add("site name is not valid: \(reason)")
            } else {
                sites = sites.filter { $0.name == name }
                if sites.isEmpty { complaints.add("site \(name) does not exist") }
            }
        }
        CommonFlags.checkOutput(invocation.flags, &complaints)
        return complaints.texts
    }

    mutating func run() throws {
        if invocation.isOnCluster { sites = try invocation.resources.observedList(.site) }
        guard !sites.isEmpty else {
            Console.print("There is no existing Skupper site resource")
            return
        }
        if !invocation.isOnCluster, try !invocation.files.isInitialized() {
            Console.note("Site not initialized yet")
        } else {
            try invocation.resources.warnWhenStale()
        }
        let format = invocation.flags.text("output")
        if !format.isEmpty { return ResourceText.show(sites, as: format) }
        var table = Table(["NAME", "STATUS", "MESSAGE"])
        for site in sites {
            let summary = site.summary()
            table.add([site.name, summary.status, summary.message])
        }
        Console.print(table.text)
    }
}
