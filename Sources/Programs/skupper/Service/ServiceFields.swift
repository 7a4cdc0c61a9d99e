import SiteModel

/// The flags that describe a connector or a listener, with their checks and the fields they set.
struct ServiceFields {
    /// How the Secret named by `--tls-credentials` is checked.
    enum CredentialsCheck {
        /// The command prints a resource for another place.
        case mayBeMissing
        /// The command stores the resource beside the Secret. On this host the Secret may come later.
        case mustExist
    }

    private let noun: ServiceNoun
    private let invocation: Invocation
    /// The selector of `--workload`, once it has been looked up.
    private var workloadSelector = ""

    private var platform: Platform { invocation.platform }
    private var flags: FlagValues { invocation.flags }

    init(_ noun: ServiceNoun, _ invocation: Invocation) {
        self.noun = noun
        self.invocation = invocation
    }

    /// The flags of create, update and generate.
    static func flags(of noun: ServiceNoun, on platform: Platform) -> [Flag] {
        var flags: [Flag] = [
            .text("routing-key", short: "r", "what pairs listeners with connectors; else the name"),
            noun.hostFlag(on: platform),
            .text("tls-credentials", "the Secret with the certificates for TLS"),
            .text("type", default: "tcp", "the kind of traffic: tcp"),
        ]
        if noun.kind == .connector, platform == .kubernetes {
            flags += [
                .text("selector", "the label that selects the pods, as key=value; else app=<name>"),
                .text("workload", "the workload whose pods serve, as <resource-type>/<resource-name>"),
                .toggle("include-not-ready", "use pods that are not ready, too"),
            ]
        }
        return flags
    }

    /// Checks every flag that was given, and looks up the workload.
    mutating func validate(credentials: CredentialsCheck, _ complaints: inout Complaints) throws {
        if let key = given("routing-key") { complaints.check("routing key is not valid", FieldRules.name(key)) }
        if let secret = given("tls-credentials") { try check(secret, credentials, &complaints) }
        if let type = flags.givenText("type") {
            complaints.check("\(noun.word) type is not valid", FieldRules.option(type, of: FieldRules.serviceTypes))
        }
        try validateSelection(&complaints)
    }

    private func check(_ secret: String, _ credentials: CredentialsCheck, _ complaints: inout Complaints) throws {
        let reason = FieldRules.name(secret)
        switch (credentials, platform) {
        case (.mayBeMissing, _):
            complaints.check("tlsCredentials is not valid", reason)
        case (.mustExist, .kubernetes):
            if try reason != nil || !invocation.resources.hasCredentials(secret) {
                complaints.add("tls-secret is not valid: does not exist")
            }
        case (.mustExist, _):
            complaints.check("tlsCredentials value is not valid", reason)
        }
    }

    /// A connector has one of host, selector and workload. Each that is one too many is complained about.
    private mutating func validateSelection(_ complaints: inout Complaints) throws {
        let host = given("host")
        let selector = given("selector")
        let workload = given("workload")
        if let host {
            if selector != nil || workload != nil {
                complaints.add("If host is configured, cannot configure workload or selector")
            }
            if let reason = FieldRules.host(host) { complaints.add(reason) }
        }
        if let selector {
            if host != nil || workload != nil {
                complaints.add("If selector is configured, cannot configure workload or host")
            }
            complaints.check("selector is not valid", FieldRules.selector(selector))
        }
        if let workload {
            if host != nil || selector != nil {
                complaints.add("If workload is configured, cannot configure selector or host")
            }
            let reason = FieldRules.workload(workload)
            complaints.check("workload is not valid", reason)
            guard reason == nil else { return }
            guard let cluster = invocation.cluster else {
                complaints.add(
                    "the selector of a workload is read from a cluster, which this command does not ask: give "
                        + "--selector instead of --workload")
                return
            }
            switch try Workload(workload).selector(in: cluster) {
            case .success(let found): workloadSelector = found
            case .failure(let fault): complaints.add(fault.text)
            }
        }
    }

    /// Fills a new resource, with the defaults for what was not given.
    func fill(_ resource: inout Resource, port: Int) {
        let host = flags.givenText("host") ?? noun.defaultHost(on: platform, name: resource.name)
        resource.setSpecText("host", host.isEmpty ? noun.defaultHost(on: platform, name: resource.name) : host)
        resource.setSpec(.int(Int64(port)), "port")
        resource.setSpecText("routingKey", given("routing-key") ?? resource.name)
        resource.setSpecText("tlsCredentials", flags.text("tls-credentials"))
        resource.setSpecText("type", flags.text("type"))
        guard noun.kind == .connector, platform == .kubernetes else { return }
        if host.isEmpty { resource.setSpecText("selector", wantedSelector ?? "app=\(resource.name)") }
        if flags.isOn("include-not-ready") { resource.setSpec(.bool(true), "includeNotReadyPods") }
    }

    /// Changes what was given and nothing else.
    func change(_ resource: inout Resource) {
        if let key = given("routing-key") { resource.setSpecText("routingKey", key) }
        if let host = given("host") {
            resource.setSpecText("host", host)
            resource.setSpec(nil, "selector")
        }
        if let type = given("type") { resource.setSpecText("type", type) }
        // An empty value takes the credentials away.
        if let secret = flags.givenText("tls-credentials") { resource.setSpecText("tlsCredentials", secret) }
        if let port = Int64(flags.text("port")), port != 0 { resource.setSpec(.int(port), "port") }
        guard noun.kind == .connector, platform == .kubernetes else { return }
        if let selector = wantedSelector {
            resource.setSpecText("selector", selector)
            resource.setSpec(nil, "host")
        }
        if flags.isGiven("include-not-ready") {
            resource.setSpec(flags.isOn("include-not-ready") ? .bool(true) : nil, "includeNotReadyPods")
        }
    }

    private var wantedSelector: String? {
        given("selector") ?? (workloadSelector.isEmpty ? nil : workloadSelector)
    }

    /// A flag that was given a value.
    private func given(_ name: String) -> String? {
        flags.givenText(name).flatMap { $0.isEmpty ? nil : $0 }
    }
}
