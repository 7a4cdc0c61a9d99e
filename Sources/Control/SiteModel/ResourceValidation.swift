import ControlIO

/// Checks of resource files on hosts, where no API server makes them (sheet §5.2 step 2).
package enum ResourceValidation {
    /// Faults of one resource, in the order of its fields; empty when it is good. Unknown kinds have none.
    /// - Parameter onCluster: pods can be selected.
    package static func validate(_ resource: Resource, onCluster: Bool = false) -> [String] {
        guard let kind = resource.knownKind else { return [] }
        var faults: [String] = []
        if !FieldRules.isDottedName(resource.name) || (kind != .secret && !FieldRules.isLabel1123(resource.name)) {
            faults.append(
                "invalid \(kind.rawValue.lowercased()) name \"\(resource.name)\": use at most 63 lower case letters, "
                    + "digits and hyphens, with a letter or digit at both ends")
        }
        switch kind {
        case .site: faults += site(Site(unchecked: resource))
        case .link: faults += link(Link(unchecked: resource))
        case .listener: faults += listener(Listener(unchecked: resource))
        case .connector: faults += connector(Connector(unchecked: resource), onCluster: onCluster)
        case .multiKeyListener: faults += multiKeyListener(MultiKeyListener(unchecked: resource))
        case .accessGrant: faults += accessGrant(AccessGrant(unchecked: resource))
        case .accessToken: faults += accessToken(AccessToken(unchecked: resource))
        case .routerAccess: faults += routerAccess(RouterAccess(unchecked: resource))
        case .certificate:
            if Certificate(unchecked: resource).subject.isEmpty { faults.append("subject is required") }
        case .secret, .securedAccess, .attachedConnector, .attachedConnectorBinding: break
        }
        return faults
    }

    /// Faults between resources of one namespace: number of sites, namespaces, links without Secret, ports used
    /// twice. Keyed by the resource they belong to; the faults of the whole set carry the Site's key or none.
    package static func validate(set resources: [Resource]) -> [(key: ResourceKey?, text: String)] {
        var faults: [(key: ResourceKey?, text: String)] = []
        let sites = resources.filter { $0.knownKind == .site }
        if sites.isEmpty { faults.append((nil, "no valid site definition has been found")) }
        if sites.count > 1 {
            let names = sites.map(\.name).sorted().joined(separator: ", ")
            faults.append((nil, "multiple sites found, but only one site is allowed per namespace: \(names)"))
        }
        let namespaces = Set(resources.map(\.namespace).filter { !$0.isEmpty }).sorted()
        if namespaces.count > 1 {
            faults.append(
                (nil, "multiple namespaces found, but only one is allowed: \(namespaces.joined(separator: ", "))"))
        }
        let secrets = Set(resources.filter { $0.knownKind == .secret }.map(\.name))
        for link in resources.compactMap(Link.init) where !secrets.contains(link.tlsCredentials) {
            if link.tlsCredentials.isEmpty { continue }
            faults.append((link.resource.key, "TLS credentials secret \"\(link.tlsCredentials)\" not found"))
        }
        return faults + portConflicts(resources)
    }

    /// Listeners and MultiKeyListeners whose host and port another one (earlier by name) has.
    package static func portConflicts(_ resources: [Resource]) -> [(key: ResourceKey?, text: String)] {
        var owners: Set<String> = []
        var faults: [(key: ResourceKey?, text: String)] = []
        let ordered = resources.filter { $0.knownKind == .listener || $0.knownKind == .multiKeyListener }
            .sorted { $0.key < $1.key }
        for resource in ordered {
            let host = resource.spec("host")?.scalarText ?? ""
            let port = resource.spec("port")?.scalarText ?? ""
            if host.isEmpty || port.isEmpty { continue }
            if !owners.insert("\(host) \(port)").inserted {
                faults.append((resource.key, "port \(port) is already mapped for host \"\(host)\""))
            }
        }
        return faults
    }

    private static func site(_ site: Site) -> [String] {
        site.edge && site.ha ? ["Edge sites cannot have HA enabled"] : []
    }

    private static func link(_ link: Link) -> [String] {
        var faults: [String] = []
        if link.tlsCredentials.isEmpty {
            faults.append("tlsCredentials is required: name the Secret with tls.crt, tls.key and ca.crt")
        }
        if link.endpoints.isEmpty { faults.append("at least one endpoint is required") }
        for endpoint in link.endpoints {
            if endpoint.host.isEmpty { faults.append("endpoint \"\(endpoint.name)\": host is required") }
            if !isPort(endpoint.port) {
                faults.append(
                    "endpoint \"\(endpoint.name)\": port \"\(endpoint.port)\" is not valid: "
                        + "a number from 1 to 65535 is expected")
            }
        }
        if link.cost < 0 { faults.append("cost is not valid: value is not positive") }
        return faults
    }

    private static func listener(_ listener: Listener) -> [String] {
        var faults = hostAndPort(host: listener.host, port: listener.port)
        faults += routingKey(listener.routingKey)
        faults += serviceType(listener.type)
        if !["", "auto", "none", "http1", "http2"].contains(listener.observer) {
            faults.append("observer \"\(listener.observer)\" is not valid: use auto, none, http1 or http2")
        }
        return faults
    }

    private static func connector(_ connector: Connector, onCluster: Bool) -> [String] {
        var faults: [String] = []
        if connector.host.isEmpty, !connector.selector.isEmpty {
            if !onCluster {
                faults.append("host is required: selectors name pods and have no meaning on this platform")
            }
            if !(1...65_535).contains(connector.port) { faults += port(connector.port) }
        } else {
            faults += hostAndPort(host: connector.host, port: connector.port)
        }
        faults += routingKey(connector.routingKey)
        faults += serviceType(connector.type)
        return faults
    }

    private static func multiKeyListener(_ listener: MultiKeyListener) -> [String] {
        var faults = hostAndPort(host: listener.host, port: listener.port)
        if listener.requireClientCert, listener.tlsCredentials.isEmpty {
            faults.append("requireClientCert needs tlsCredentials: name the Secret with which the router speaks TLS")
        }
        guard let strategy = listener.strategy else {
            faults.append("strategy must have exactly one of priority and weighted")
            return faults
        }
        let keys = strategy.routingKeys
        if !(1...256).contains(keys.count) {
            faults.append("strategy \(strategy.word) must have 1 to 256 routing keys; it has \(keys.count)")
        }
        if Set(keys).count != keys.count { faults.append("strategy \(strategy.word) has a routing key twice") }
        for key in keys where FieldRules.name(key) != nil {
            faults.append("routing key \"\(key)\" is not valid: \(FieldRules.name(key) ?? "")")
        }
        if case .weighted(let weights) = strategy {
            for weight in weights where weight.weight < 1 {
                faults.append("weight of routing key \"\(weight.key)\" is not valid: a positive number is expected")
            }
        }
        return faults
    }

    /// The text when the strategy kind of a MultiKeyListener changed against the state before, else nil.
    package static func strategyChange(from old: MultiKeyListener, to new: MultiKeyListener) -> String? {
        guard let before = old.strategy?.word, let after = new.strategy?.word, before != after else { return nil }
        return "the strategy cannot be changed from \(before) to \(after): delete the MultiKeyListener and create it "
            + "again"
    }

    private static func accessGrant(_ grant: AccessGrant) -> [String] {
        var faults: [String] = []
        if grant.redemptionsAllowed < 0 { faults.append("redemptionsAllowed must not be negative") }
        if !grant.expirationWindow.isEmpty, GoDuration.parse(grant.expirationWindow) == nil {
            faults.append("Invalid duration \"\(grant.expirationWindow)\": write it as for example 15m or 1h30m")
        }
        return faults
    }

    private static func accessToken(_ token: AccessToken) -> [String] {
        var faults: [String] = []
        if token.url.isEmpty { faults.append("url is required") }
        if !token.url.isEmpty, !token.url.lowercased().hasPrefix("https://") {
            faults.append("token url scheme must be https")
        }
        if token.code.isEmpty { faults.append("code is required") }
        if token.ca.isEmpty { faults.append("token does not have a CA") }
        if token.linkCost < 0 { faults.append("linkCost is not valid: value is not positive") }
        return faults
    }

    private static func routerAccess(_ access: RouterAccess) -> [String] {
        var faults: [String] = []
        if access.roles.isEmpty { faults.append("roles must not be empty: use inter-router, edge or both") }
        for role in access.roles {
            if role.name != "inter-router", role.name != "edge" {
                faults.append("invalid role: \(role.name) (valid roles: edge, inter-router)")
            }
            if role.port != 0, !(1...65_535).contains(role.port) { faults += port(role.port) }
        }
        if !access.bindHost.isEmpty, FieldRules.host(access.bindHost) != nil {
            faults.append("invalid bindHost \"\(access.bindHost)\": a valid IP address or hostname is expected")
        }
        for name in access.subjectAlternativeNames where FieldRules.host(name) != nil {
            faults.append("invalid subjectAlternativeName \"\(name)\": a valid IP address or hostname is expected")
        }
        return faults
    }

    private static func hostAndPort(host: String, port number: Int) -> [String] {
        var faults: [String] = []
        if host.isEmpty {
            faults.append("host is required")
        } else if let fault = FieldRules.host(host) {
            faults.append(fault)
        }
        return faults + ((1...65_535).contains(number) ? [] : port(number))
    }

    private static func port(_ number: Int) -> [String] {
        number == 0 ? ["port is required"] : ["port \(number) is not valid: a number from 1 to 65535 is expected"]
    }

    private static func routingKey(_ key: String) -> [String] {
        if key.isEmpty { return ["routingKey is required"] }
        return FieldRules.name(key).map { ["routing key is not valid: \($0)"] } ?? []
    }

    private static func serviceType(_ type: String) -> [String] {
        if type.isEmpty { return [] }
        return FieldRules.option(type, of: FieldRules.serviceTypes).map { ["type is not valid: \($0)"] } ?? []
    }

    private static func isPort(_ text: String) -> Bool {
        guard text.utf8.allSatisfy({ (48...57).contains($0) }), let port = Int(text) else { return false }
        return (1...65_535).contains(port)
    }
}
