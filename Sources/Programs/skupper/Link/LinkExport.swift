import ControlIO
import Glibc
import SiteModel

/// `link generate` on a cluster: the links to the active site and a client certificate that the controller issues.
struct LinkExport {
    private let invocation: Invocation
    private let site: Site

    private var flags: FlagValues { invocation.flags }

    init(_ invocation: Invocation, site: Site) {
        self.invocation = invocation
        self.site = site
    }

    /// The checks of the command, after upstream.
    /// - Returns: the site to link to; nil when there is none.
    static func validate(_ invocation: Invocation, _ complaints: inout Complaints) throws -> Site? {
        let sites = try invocation.resources.list(.site)
        if sites.isEmpty { complaints.add("there is no skupper site in this namespace") }
        let active = sites.first(where: \.isReady).flatMap { Site($0) }
        if active == nil { complaints.add("there is no active skupper site in this namespace") }
        if !invocation.arguments.isEmpty { complaints.add("arguments are not allowed in this command") }
        let credentials = invocation.flags.text("tls-credentials")
        if !credentials.isEmpty {
            complaints.check("the name of the tls secret is not valid", FieldRules.name(credentials))
        } else if !invocation.flags.isOn("generate-credential") {
            complaints.add("the TLS secret name was not specified")
        }
        complaints.check("link cost is not valid", FieldRules.number(invocation.flags.text("cost")))
        CommonFlags.checkOutput(invocation.flags, &complaints)
        CommonFlags.checkTimeout(invocation.flags, &complaints)
        return active
    }

    func run() throws {
        guard !site.endpoints.isEmpty else {
            throw CommandFailure.failed(
                "A link cannot be generated because link access is not enabled. \n"
                    + " Use \"skupper site update --enable-link-access\" to enable it.")
        }
        let base = "link-\(site.name)"
        let credentials = flags.text("tls-credentials").isEmpty ? base : flags.text("tls-credentials")
        var resources = Self.links(
            to: site, base: base, credentials: credentials, cost: Int(flags.text("cost")) ?? 1
        ).map(\.resource)
        if flags.isOn("generate-credential") { resources.append(try issuedSecret(credentials).resource) }
        show(resources)
    }

    /// One link for each group of endpoints, in the order of the groups' first endpoints.
    static func links(to site: Site, base: String, credentials: String, cost: Int) -> [Link] {
        var groups: [String] = []
        for endpoint in site.endpoints where !groups.contains(endpoint.group) { groups.append(endpoint.group) }
        return groups.map { group in
            var link = Link(name: group.isEmpty ? base : "\(base)-\(group)")
            link.endpoints = site.endpoints.filter { $0.group == group }
            link.tlsCredentials = credentials
            link.cost = cost
            return link
        }
    }

    /// The Secret that the controller makes for a Certificate of this name, reduced to what the other site needs.
    private func issuedSecret(_ name: String) throws -> Secret {
        let resources = invocation.resources
        if try resources.get(.certificate, name) == nil {
            var certificate = Certificate(name: name, namespace: invocation.namespace)
            let issuer = site.resource.status("defaultIssuer")?.scalarText ?? site.defaultIssuer
            certificate.ca = issuer.isEmpty ? "skupper-site-ca" : issuer
            certificate.client = true
            certificate.subject = site.endpoints.map(\.host).joined(separator: ",")
            _ = try resources.create(certificate.resource)
        }
        let waiting = Waiting(invocation, .status, mayDraw: false)
        var found: Secret?
        _ = try waiting.until { _ in
            found = try resources.observed(.secret, name).flatMap { Secret($0) }
            return found?.textValue("tls.crt") != nil && found?.textValue("ca.crt") != nil
        }
        guard let found, let certificate = found.textValue("tls.crt"), let authority = found.textValue("ca.crt"),
            let key = found.textValue("tls.key")
        else {
            let reason = try resources.observed(.certificate, name).flatMap { $0.condition(.ready) }
            let advice = reason.map { "The Certificate \"\(name)\" says: \($0.message)" }
                ?? resources.adviceWhenUntouched(.certificate, name)
            throw CommandFailure.failed(
                "TLS secret \"\(name)\" not ready yet, check the status for more information"
                    + (advice.map { "\nWaited \(waiting.span). \($0)" } ?? ""))
        }
        return .tls(name: name, certificatePEM: certificate, keyPEM: key, caPEM: authority)
    }

    private func show(_ resources: [Resource]) {
        if flags.text("output") == "json" { return ResourceText.show(resources, as: "json") }
        Console.write(
            YAML.emit(documents: resources.map { $0.document.removingEmptyFields() }, leadingSeparator: false),
            to: STDOUT_FILENO)
    }
}
