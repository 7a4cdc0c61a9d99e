import ControlIO
import RouterConfig
import SiteModel

/// Why one resource cannot be configured: the text of its Configured condition.
struct ResourceFault: Error {
    let text: String
}

/// Collects entities resource by resource; a resource with a fault adds none.
struct ConfigurationBuilder {
    let site: Site
    let host: HostState
    let resources: [Resource]
    private var entities: [Entity] = []
    private var profiles: [String: Entity] = [:]
    private var errors: [ResourceKey: String] = [:]
    private var endpoints: [Endpoint] = []

    init(site: Site, host: HostState, resources: [Resource]) {
        self.site = site
        self.host = host
        self.resources = resources.sorted { $0.key < $1.key }
    }

    var mode: String { site.edge ? "edge" : "interior" }
    var linkRole: String { site.edge ? "edge" : "inter-router" }

    /// Entities of one resource, with the profiles they use.
    struct Part {
        var entities: [Entity] = []
        var profiles: [Entity] = []
        var endpoints: [Endpoint] = []
    }

    mutating func build() throws(ReconcileError) -> Reconciliation {
        do {
            entities = try hostEntities()
            if host.profiles[SiteReconciler.localProfile] != nil {
                accept(try localListener())
            }
        } catch {
            throw .invalidConfiguration(detail: error.text)
        }
        noteSiteFaults()
        let conflicts = ResourceValidation.portConflicts(resources)
        for resource in resources where resource.knownKind != .site {
            do throws(ResourceFault) {
                if let fault = host.faults[resource.key] { throw ResourceFault(text: fault) }
                let faults = ResourceValidation.validate(resource, onCluster: host.cluster != nil)
                if !faults.isEmpty { throw ResourceFault(text: faults.joined(separator: "; ")) }
                if let conflict = conflicts.first(where: { $0.key == resource.key }) {
                    throw ResourceFault(text: conflict.text)
                }
                accept(try part(for: resource))
            } catch {
                errors[resource.key] = error.text
            }
        }
        do {
            let all = entities + profiles.sorted { $0.key < $1.key }.map(\.value)
            return Reconciliation(
                configuration: try RouterConfiguration(entities: all), errors: errors, siteName: site.name,
                endpoints: endpoints)
        } catch {
            throw .invalidConfiguration(detail: "\(error)")
        }
    }

    private mutating func accept(_ part: Part) {
        entities += part.entities
        endpoints += part.endpoints
        for profile in part.profiles {
            // Of two needs of one profile the one with the key pair wins: it serves both.
            let key = "\(profile.type) \(profile.name)"
            if profiles[key]?.attributes["certFile"] == nil { profiles[key] = profile }
        }
    }

    private mutating func noteSiteFaults() {
        for other in resources.compactMap(Site.init) where other.name != site.name {
            errors[other.resource.key] = "An active site already exists in the namespace (\(site.name))"
        }
        var faults = ResourceValidation.validate(site.resource)
        do throws(ResourceFault) {
            entities += try logEntities()
        } catch {
            faults.append(error.text)
        }
        if !faults.isEmpty { errors[site.resource.key] = faults.joined(separator: "; ") }
    }

    private func part(for resource: Resource) throws(ResourceFault) -> Part {
        switch resource.knownKind {
        case .routerAccess: try routerAccess(RouterAccess(unchecked: resource))
        case .link: try link(Link(unchecked: resource))
        case .listener: try listener(Listener(unchecked: resource))
        case .connector: try connector(Connector(unchecked: resource))
        case .attachedConnectorBinding: try attached(resource)
        case .multiKeyListener: try multiKeyListener(MultiKeyListener(unchecked: resource))
        default: Part()
        }
    }

    // MARK: The host's own entities

    /// The router itself; what differs between the platforms is said in its metadata.
    func routerEntity(platform: String) throws(ResourceFault) -> Entity {
        var metadata: Document = [
            "id": .string(host.siteID), "version": .string(host.version), "platform": .string(platform),
        ]
        // Elsewhere the entity `site` tells these.
        if host.cluster != nil {
            metadata["name"] = .string(site.name)
            metadata["namespace"] = .string(host.namespace)
        }
        var router: [String: AttributeValue] = [
            "id": .string("\(site.name)-\(host.routerIDSuffix)"), "mode": .string(mode),
            "helloMaxAgeSeconds": .integer(3),
            "metadata": .string(JSON.emit(metadata, pretty: false, sortedKeys: false)),
        ]
        if let count = site.resource.settings["router-data-connection-count"], !count.isEmpty {
            router["dataConnectionCount"] = .string(count)
        }
        return try entity("router", router)
    }

    private func hostEntities() throws(ResourceFault) -> [Entity] {
        if host.cluster != nil { return try clusterEntities() }
        var result = [
            try routerEntity(platform: "linux"),
            try entity(
                "site",
                [
                    "name": .string(site.name), "platform": "linux", "namespace": .string(host.namespace),
                    "version": .string(host.version),
                ]),
            try entity("router.config.address", ["prefix": "mc", "distribution": "multicast"]),
        ]
        if let port = host.httpPort {
            result.append(
                try entity(
                    "listener",
                    [
                        "name": .string("@\(port)"), "role": "normal", "host": "127.0.0.1",
                        "port": .integer(Int64(port)), "http": .boolean(true), "httpRootDir": "disabled",
                        "healthz": .boolean(true), "metrics": .boolean(true),
                    ]))
        }
        return result
    }

    private func localListener() throws(ResourceFault) -> Part {
        if host.cluster != nil { return try clusterListener() }
        let name = SiteReconciler.localProfile
        let listener = try entity(
            "listener",
            [
                "name": .string(SiteReconciler.localListener), "role": "normal", "host": "127.0.0.1",
                "port": .integer(Int64(host.localPort)), "sslProfile": .string(name), "saslMechanisms": "EXTERNAL",
                "authenticatePeer": .boolean(true),
            ])
        return Part(entities: [listener], profiles: [try profile(name, secret: name, needsKeyPair: true)])
    }

    /// `router-logging`: a comma list of `[MODULE:]level[+]` (sheet §4.3).
    private func logEntities() throws(ResourceFault) -> [Entity] {
        guard let setting = site.resource.settings["router-logging"], !setting.isEmpty else { return [] }
        var levels: [String: String] = [:]
        for item in setting.split(separator: ",") {
            let parts = item.split(separator: ":", maxSplits: 1).map { $0.filter { $0 != " " } }
            guard let level = parts.last, !level.isEmpty else {
                throw ResourceFault(text: "setting router-logging: \"\(item)\" has no level")
            }
            levels[parts.count == 2 ? parts[0] : "DEFAULT"] = level
        }
        var result: [Entity] = []
        for (module, level) in levels.sorted(by: { $0.key < $1.key }) {
            result.append(try entity("log", ["module": .string(module), "enable": .string(level)]))
        }
        return result
    }

    // MARK: Resources

    private func routerAccess(_ access: RouterAccess) throws(ResourceFault) -> Part {
        if site.edge { throw ResourceFault(text: "Edge sites cannot accept incoming links from remote sites") }
        var part = Part()
        let profileName = SiteReconciler.profile(of: access)
        part.profiles = [try profile(profileName, secret: profileName, needsKeyPair: true)]
        var roles: Set<String> = []
        for role in access.roles {
            guard roles.insert(role.name).inserted else {
                throw ResourceFault(text: "role \(role.name) stands twice: remove one of them")
            }
            let name = "\(access.name)-\(role.name)"
            let port = host.ports[name] ?? role.effectivePort
            var attributes: [String: AttributeValue] = [
                "name": .string(name), "role": .string(role.name), "port": .integer(Int64(port)),
                "sslProfile": .string(profileName), "saslMechanisms": "EXTERNAL", "authenticatePeer": .boolean(true),
            ]
            if !access.bindHost.isEmpty { attributes["host"] = .string(access.bindHost) }
            part.entities.append(try entity("listener", attributes))
            part.endpoints.append(
                Endpoint(name: name, host: endpointHost(access), port: String(port), group: access.name))
        }
        return part
    }

    private func endpointHost(_ access: RouterAccess) -> String {
        if let advertised = host.advertisedHosts.first { return advertised }
        if !["", "0.0.0.0", "::"].contains(access.bindHost) { return access.bindHost }
        return access.subjectAlternativeNames.first ?? "127.0.0.1"
    }

    private func link(_ link: Link) throws(ResourceFault) -> Part {
        guard let endpoint = SiteReconciler.endpoint(of: link, isEdge: site.edge) else {
            throw ResourceFault(
                text: "the link has no endpoint named \(linkRole), which a site in \(mode) mode needs: ask for a new "
                    + "token or link file")
        }
        let profileName = "\(link.tlsCredentials)-profile"
        var part = Part()
        part.profiles = [try profile(profileName, secret: link.tlsCredentials, needsKeyPair: true)]
        var attributes: [String: AttributeValue] = [
            "name": .string(link.name), "role": .string(linkRole), "host": .string(endpoint.host),
            "port": .string(endpoint.port), "cost": .integer(Int64(link.effectiveCost)),
            "sslProfile": .string(profileName), "verifyHostname": .boolean(true),
        ]
        if !link.proxyConfiguration.isEmpty {
            // On a cluster links share the profile that has the Secret's name, which is how adaptors find that.
            let name = host.cluster == nil ? "\(link.name)-proxy" : link.proxyConfiguration
            part.profiles.append(try proxy(link.proxyConfiguration, name: name))
            attributes["proxyProfile"] = .string(name)
        }
        part.entities.append(try entity("connector", attributes))
        return part
    }

    private func proxy(_ secretName: String, name: String) throws(ResourceFault) -> Entity {
        guard let secret = resources.compactMap(Secret.init).first(where: { $0.name == secretName }),
            let proxyHost = secret.textValue("host"), let port = secret.textValue("port")
        else { throw ResourceFault(text: "Secret not found for proxy configuration") }
        var attributes: [String: AttributeValue] = [
            "name": .string(name), "host": .string(proxyHost), "port": .string(port),
        ]
        if let user = secret.textValue("username"), !user.isEmpty { attributes["username"] = .string(user) }
        if let password = secret.textValue("password"), !password.isEmpty {
            // A ConfigMap may be read by more people than a Secret: there the adaptor puts the password into a file.
            attributes["password"] = .string(
                host.cluster == nil
                    ? "literal:\(password)" : "file:\(ClusterState.proxyFolder)/\(name)/password.txt")
        }
        return try entity("proxyProfile", attributes)
    }

    private func listener(_ listener: Listener) throws(ResourceFault) -> Part {
        if host.cluster != nil { return try clusterListener(listener) }
        var attributes: [String: AttributeValue] = [
            "name": .string("listener/\(listener.name)"), "host": .string(listener.host),
            "port": .string(String(listener.port)), "address": .string(listener.routingKey),
            "siteId": .string(host.siteID),
        ]
        return try tcpListener(&attributes, credentials: listener.tlsCredentials, observer: listener.observer)
    }

    private func multiKeyListener(_ listener: MultiKeyListener) throws(ResourceFault) -> Part {
        guard let strategy = listener.strategy else { return Part() }
        let name = "multiAddress/\(listener.name)"
        var attributes: [String: AttributeValue] = [
            "name": .string(name), "siteId": .string(host.siteID), "multiAddressStrategy": .string(strategy.word),
        ]
        if host.cluster != nil {
            attributes["port"] = .string(String(try servicePort(ClusterState.portKey(multiKeyListener: listener.name))))
        } else {
            attributes["host"] = .string(listener.host)
            attributes["port"] = .string(String(listener.port))
        }
        if listener.requireClientCert { attributes["authenticatePeer"] = .boolean(true) }
        var part = try tcpListener(&attributes, credentials: listener.tlsCredentials, observer: listener.observer)
        let values: [Int]
        switch strategy {
        case .priority(let keys): values = keys.indices.map { keys.count - 1 - $0 }
        case .weighted(let keys): values = keys.map(\.weight)
        }
        for (key, value) in zip(strategy.routingKeys, values) {
            part.entities.append(
                try entity(
                    "listenerAddress",
                    [
                        "name": .string("\(listener.name)/\(key)"), "address": .string(key),
                        "value": .integer(Int64(value)), "listener": .string(name),
                    ]))
        }
        return part
    }

    func tcpListener(
        _ attributes: inout [String: AttributeValue], credentials: String, observer: String
    ) throws(ResourceFault) -> Part {
        var part = Part()
        if !observer.isEmpty { attributes["observer"] = .string(observer) }
        if !credentials.isEmpty {
            part.profiles = [try profile(credentials, secret: credentials, needsKeyPair: true)]
            attributes["sslProfile"] = .string(credentials)
        }
        part.entities = [try entity("tcpListener", attributes)]
        return part
    }

    private func connector(_ connector: Connector) throws(ResourceFault) -> Part {
        if host.cluster != nil, connector.host.isEmpty { return try clusterConnector(connector) }
        var part = Part()
        var attributes: [String: AttributeValue] = [
            "name": .string("connector/\(connector.name)@\(connector.host)"), "host": .string(connector.host),
            "port": .string(String(connector.port)), "address": .string(connector.routingKey),
            "siteId": .string(host.siteID),
        ]
        part.profiles = try secure(&attributes, of: connector)
        part.entities = [try entity("tcpConnector", attributes)]
        return part
    }

    // MARK: Parts

    /// TLS towards the server; gives the profile it takes.
    func secure(
        _ attributes: inout [String: AttributeValue], of connector: Connector
    ) throws(ResourceFault) -> [Entity] {
        guard !connector.tlsCredentials.isEmpty else { return [] }
        let name = connector.useClientCert ? connector.tlsCredentials : "\(connector.tlsCredentials)-profile"
        attributes["sslProfile"] = .string(name)
        if let verify = connector.verifyHostname { attributes["verifyHostname"] = .boolean(verify) }
        return [try profile(name, secret: connector.tlsCredentials, needsKeyPair: connector.useClientCert)]
    }

    func profile(_ name: String, secret: String, needsKeyPair: Bool) throws(ResourceFault) -> Entity {
        guard let files = host.profiles[name] else {
            throw ResourceFault(text: "TLS credentials secret \"\(secret)\" not found")
        }
        if needsKeyPair, !files.hasKeyPair {
            throw ResourceFault(text: "TLS credentials secret \"\(secret)\" has no tls.crt and tls.key")
        }
        guard files.hasAuthority || needsKeyPair else {
            throw ResourceFault(text: "TLS credentials secret \"\(secret)\" has no ca.crt")
        }
        let folder = "\(host.certificateFolder)/\(name)"
        var attributes: [String: AttributeValue] = ["name": .string(name)]
        if needsKeyPair {
            attributes["certFile"] = .string("\(folder)/tls.crt")
            attributes["privateKeyFile"] = .string("\(folder)/tls.key")
        }
        if files.hasAuthority { attributes["caCertFile"] = .string("\(folder)/ca.crt") }
        if files.ordinal > 0 {
            attributes["ordinal"] = .integer(files.ordinal)
            attributes["oldestValidOrdinal"] = .integer(files.oldestValidOrdinal)
        }
        return try entity("sslProfile", attributes)
    }

    func entity(_ type: String, _ attributes: [String: AttributeValue]) throws(ResourceFault) -> Entity {
        do {
            let made = try Schema.validate(type: type, attributes: attributes, for: .file)
            try Schema.checkRole(of: made, mode: mode)
            return made
        } catch {
            throw ResourceFault(text: "\(error)")
        }
    }
}
