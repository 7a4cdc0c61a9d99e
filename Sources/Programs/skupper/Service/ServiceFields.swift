import SiteModel

/// The flags that describe a connector or a listener, with their checks and the fields they set.
struct ServiceFields {
    let noun: ServiceNoun
    let platform: Platform
    let flags: FlagValues

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

    /// Checks every flag that was given. `credentialsLabel` is how upstream names the flag in this command.
    func validate(credentialsLabel: String, _ complaints: inout Complaints) {
        if let key = given("routing-key") { complaints.check("routing key is not valid", FieldRules.name(key)) }
        if let type = flags.givenText("type") {
            complaints.check("\(noun.word) type is not valid", FieldRules.option(type, of: FieldRules.serviceTypes))
        }
        if let host = given("host"), let reason = FieldRules.host(host) { complaints.add(reason) }
        if let secret = given("tls-credentials") {
            complaints.check("\(credentialsLabel) is not valid", FieldRules.name(secret))
        }
        validateSelection(&complaints)
    }

    private func validateSelection(_ complaints: inout Complaints) {
        let selector = given("selector")
        let workload = given("workload")
        if let selector { complaints.check("selector is not valid", FieldRules.selector(selector)) }
        if let workload { complaints.check("workload is not valid", FieldRules.workload(workload)) }
        if given("host") != nil, selector != nil || workload != nil {
            complaints.add("If host is configured, cannot configure workload or selector")
        } else if selector != nil, workload != nil {
            complaints.add("If selector is configured, cannot configure workload or host")
        }
    }

    /// Fills a new resource, with the defaults for what was not given.
    func fill(_ resource: inout Resource, port: Int) {
        let host = flags.givenText("host") ?? noun.defaultHost(on: platform, name: resource.name)
        resource.setSpecText("host", host)
        resource.setSpec(.int(Int64(port)), "port")
        resource.setSpecText("routingKey", given("routing-key") ?? resource.name)
        resource.setSpecText("tlsCredentials", flags.text("tls-credentials"))
        resource.setSpecText("type", flags.text("type"))
        guard noun.kind == .connector, platform == .kubernetes else { return }
        if host.isEmpty { resource.setSpecText("selector", given("selector") ?? "app=\(resource.name)") }
        if flags.isOn("include-not-ready") { resource.setSpec(.bool(true), "includeNotReadyPods") }
    }

    /// Changes what was given and nothing else.
    func change(_ resource: inout Resource) {
        if let key = given("routing-key") { resource.setSpecText("routingKey", key) }
        if let host = given("host") { resource.setSpecText("host", host) }
        if let type = given("type") { resource.setSpecText("type", type) }
        // An empty value takes the credentials away.
        if let secret = flags.givenText("tls-credentials") { resource.setSpecText("tlsCredentials", secret) }
        if flags.isGiven("port"), let port = Int64(flags.text("port")) { resource.setSpec(.int(port), "port") }
    }

    /// A flag that was given a value.
    private func given(_ name: String) -> String? {
        flags.givenText(name).flatMap { $0.isEmpty ? nil : $0 }
    }
}
