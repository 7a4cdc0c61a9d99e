import SiteModel

/// `skupper link status [name]`
struct LinkStatus: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "status", arguments: "[name]", summary: "Show the state of the links of this site",
            details: """
                Show the links that this site makes to other sites. A link is Ready when its routers exchange routes.
                Links that other sites make to this one are listed with -o wide.
                """,
            example: "skupper link status\nskupper link status west-12f75bc8-5dda-4256-88f8-9df48150281a -o yaml",
            flags: [.text("output", short: "o", "print the resources as json or yaml, or incoming links too: wide")])
    }

    private let invocation: Invocation
    private var name: String?
    private var links: [Resource] = []

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    private var format: String { invocation.flags.text("output") }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        name = LinkName.optional(invocation, &complaints)
        links = try invocation.resources.observedList(.link)
        if let name { links = links.filter { $0.name == name } }
        if format != "wide" { CommonFlags.checkOutput(invocation.flags, &complaints) }
        if complaints.texts.isEmpty, try invocation.resources.list(.site).isEmpty {
            complaints.add("there is no skupper site available")
        }
        return complaints.texts
    }

    func run() throws {
        try invocation.resources.warnWhenStale()
        if links.isEmpty, let name {
            throw CommandFailure.failed(
                invocation.isOnCluster
                    ? "links.skupper.io \"\(name)\" not found"
                    : "There is no link resource in the namespace with the name \"\(name)\"")
        }
        if format == "json" || format == "yaml" { return ResourceText.show(links, as: format) }
        if name != nil, let link = links.first {
            showOne(link)
        } else if links.isEmpty {
            Console.print("There are no link resources in the namespace")
        } else {
            showAll()
        }
        if format == "wide" { try showIncoming() }
    }

    private func showOne(_ link: Resource) {
        let summary = link.summary(required: .operational)
        Console.print("Name\t: \(link.name)")
        Console.print("Status\t: \(summary.status)")
        Console.print("Cost\t: \(Self.cost(of: link))")
        Console.print("Message\t: \(summary.message)")
    }

    private func showAll() {
        var table = Table(["NAME", "STATUS", "COST", "MESSAGE"])
        for link in links {
            let summary = link.summary(required: .operational)
            table.add([link.name, summary.status, Self.cost(of: link), summary.message])
        }
        Console.print(table.text)
    }

    /// The links of other sites that end here, out of what the site knows of its network.
    private func showIncoming() throws {
        var table = Table(["FROM SITE", "LINK", "OPERATIONAL"])
        var found = false
        for site in try invocation.resources.observedList(.site) {
            let ownIdentity = site.uid
            for remote in site.status("network")?.listValue ?? [] {
                for link in remote["links"]?.listValue ?? []
                where link["remoteSiteName"]?.scalarText == site.name
                    || (!ownIdentity.isEmpty && link["remoteSiteId"]?.scalarText == ownIdentity)
                {
                    found = true
                    table.add([
                        remote["name"]?.scalarText ?? "", link["name"]?.scalarText ?? "",
                        link["operational"]?.scalarText ?? "false",
                    ])
                }
            }
        }
        Console.print("")
        Console.print(found ? table.text : "No incoming links are known")
    }

    /// The router counts a cost below one as one.
    private static func cost(of link: Resource) -> String {
        String(max(1, link.spec("cost")?.intValue ?? 1))
    }
}
