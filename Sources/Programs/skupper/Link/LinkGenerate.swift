import ControlIO
import Glibc
import SiteModel
import SiteTrust

/// `skupper link generate`
struct LinkGenerate: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        let common: [Flag] = [
            .text("cost", default: "1", "what one use of the link counts when routes are compared"),
            CommonFlags.output(default: "yaml"),
        ]
        let flags: [Flag] =
            platform == .kubernetes
            ? [
                .text("tls-credentials", "the Secret with the client certificate of the link"),
                .toggle("generate-credential", default: true, "print the Secret, too"), CommonFlags.timeout("1m0s"),
            ]
            : [
                .text("name", "the router access to link to; else all of them"),
                .text("host", "the host name or address to link to; else the advertised one"),
            ]
        return CommandSpecification(
            "generate", summary: "Print a link to this site, with its certificate, for another site to apply",
            details: """
                Print a Link resource and its Secret, with which another site can link to this one without a token.
                Whoever has this text can join the network for as long as the certificate is valid: keep it secret.

                """
                + (platform == .kubernetes
                    ? "The controller makes the certificate and keeps it as a Secret, which further calls print again."
                    : "Nothing is stored here; each call makes a certificate of its own."),
            example: "skupper link generate > link.yaml\n"
                + (platform == .kubernetes
                    ? "skupper link generate --cost 5 -o json" : "skupper link generate --host 192.0.2.7 > link.yaml"),
            flags: flags + common)
    }

    private let invocation: Invocation
    private var site: Site?

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    mutating func validate() throws -> [String] {
        var complaints = Complaints()
        if invocation.isOnCluster {
            site = try LinkExport.validate(invocation, &complaints)
            return complaints.texts
        }
        if !invocation.arguments.isEmpty { complaints.add("arguments are not allowed in this command") }
        site = try invocation.files.observedList(.site).first.flatMap { Site($0) }
        if try site == nil || !invocation.files.isInitialized() {
            complaints.add("there is no active site in this namespace")
        }
        if let host = invocation.flags.givenText("host"), let reason = FieldRules.host(host) { complaints.add(reason) }
        complaints.check("link cost is not valid", FieldRules.number(invocation.flags.text("cost")))
        CommonFlags.checkOutput(invocation.flags, &complaints)
        return complaints.texts
    }

    func run() throws {
        guard let site else { return }
        if invocation.isOnCluster { return try LinkExport(invocation, site: site).run() }
        let endpoints = try wantedEndpoints(site)
        let name = "link-\(site.name)"
        let issuer = site.defaultIssuer.isEmpty ? "skupper-site-ca" : site.defaultIssuer
        guard let authority = try invocation.files.authority(issuer) else {
            throw CommandFailure.failed(
                "the CA \"\(issuer)\" of site \"\(site.name)\" was not found: it is made when the site starts. "
                    + "Start it with: skupper system start -n \(invocation.namespace)")
        }
        let pair = try CertificateAuthority.issue(
            commonName: name, hosts: endpoints.map(\.host), by: authority, nowUnix: Int64(time(nil)))
        var response = RedeemResponse(
            name: name, certificatePEM: pair.certificatePEM, keyPEM: pair.keyPEM, caPEM: authority.certificatePEM,
            endpoints: endpoints)
        response.setCost(Int(invocation.flags.text("cost")) ?? 1)
        show(response)
    }

    /// Links first and the Secret last, as upstream prints them.
    private func show(_ response: RedeemResponse) {
        let resources = response.links.map(\.resource) + [response.secret.resource]
        if invocation.flags.text("output") == "json" { return ResourceText.show(resources, as: "json") }
        Console.write(
            YAML.emit(documents: resources.map { $0.document.removingEmptyFields() }, leadingSeparator: true),
            to: STDOUT_FILENO)
    }

    /// The endpoints the flags choose, named by their role as links need them.
    private func wantedEndpoints(_ site: Site) throws -> [Endpoint] {
        guard !site.endpoints.isEmpty else {
            throw CommandFailure.failed("this site is not enabled for link access, there are no links created")
        }
        let access = invocation.flags.text("name")
        let fitting = site.endpoints.filter { access.isEmpty || $0.group == access }
        guard !fitting.isEmpty else {
            let known = Set(site.endpoints.map(\.group)).sorted().joined(separator: ", ")
            throw CommandFailure.failed("there is no router access \"\(access)\" to link to; there is: \(known)")
        }
        let host = invocation.flags.text("host")
        if !host.isEmpty, !fitting.contains(where: { $0.host == host }) {
            Console.note(
                "Warning: the site does not advertise \(host). The link works if the site is reached there and its "
                    + "certificate is valid for that name: skupper site update \(site.name) --advertise-host \(host)")
        }
        return fitting.map { endpoint in
            var copy = endpoint
            copy.name = endpoint.name.hasSuffix("edge") ? "edge" : "inter-router"
            if !host.isEmpty { copy.host = host }
            return copy
        }
    }
}
