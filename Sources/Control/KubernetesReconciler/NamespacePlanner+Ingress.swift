import ControlIO
import SiteModel

/// Ways in by SNI: Routes, Ingresses, HTTPProxies and TLSRoutes pass TLS through to the router by host name
/// (sheet §4.6).
extension NamespacePlanner {
    /// As `want`, unless an object of that name is somebody else's: then the access has a fault.
    private mutating func wantOwn(_ object: Document, for access: SecuredAccess) -> Bool {
        let kind = object["kind"]?.stringValue ?? ""
        let name = object.value(at: ["metadata", "name"])?.stringValue ?? ""
        guard !isForeign(kind, name) else {
            faults[access.resource.key] = "\(kind) \(name) already exists in namespace"
            return false
        }
        want(object)
        return true
    }

    mutating func routeEndpoints(_ access: SecuredAccess) -> [Endpoint] {
        waits[access.resource.key] = "waiting for the host of Route \(access.name)-\(access.ports.first?.name ?? "")"
        let domain = access.resource.settings["domain"] ?? settings.ingressDomain
        var found: [Endpoint] = []
        for port in access.ports {
            let name = "\(access.name)-\(port.name)"
            var route = object(
                "route.openshift.io/v1", "Route", name, labels: [Marks.securedAccess: access.name],
                owner: access.resource)
            var spec: Document = [
                "port": ["targetPort": .string(port.name)],
                "tls": ["termination": "passthrough", "insecureEdgeTerminationPolicy": "None"],
                "to": ["kind": "Service", "name": .string(access.name)],
            ]
            if !domain.isEmpty { spec["host"] = .string("\(name).\(domain)") }
            route["spec"] = spec
            guard wantOwn(route, for: access) else { return [] }
            if let host = snapshot.object("Route", name)?.spec("host")?.scalarText, !host.isEmpty {
                found.append(Endpoint(name: port.name, host: host, port: "443"))
            }
        }
        return found.count == access.ports.count ? found : []
    }

    mutating func ingressEndpoints(_ access: SecuredAccess, isNginx: Bool) -> [Endpoint] {
        let given = access.resource.settings["domain"] ?? settings.ingressDomain
        let domain = given.isEmpty ? deducedDomain(access) : given
        // Without a domain the Ingress has a default rule only; its address gives the domain.
        waits[access.resource.key] = "waiting for the address of Ingress \(access.name)"
        var ingressClass = access.resource.settings["ingressClassName"] ?? settings.ingressClass
        if ingressClass.isEmpty, isNginx { ingressClass = "nginx" }
        var annotations: [String: String] = [:]
        if isNginx {
            annotations["nginx.ingress.kubernetes.io/ssl-passthrough"] = "true"
            annotations["nginx.ingress.kubernetes.io/ssl-redirect"] = "true"
        }
        var ingress = object(
            "networking.k8s.io/v1", "Ingress", access.name, labels: [Marks.securedAccess: access.name],
            annotations: annotations, owner: access.resource)
        let rules = access.ports.map { port -> Document in
            var rule: Document = [
                "http": [
                    "paths": [
                        [
                            "path": "/", "pathType": "Prefix",
                            "backend": [
                                "service": ["name": .string(access.name), "port": ["name": .string(port.name)]]
                            ],
                        ]
                    ]
                ]
            ]
            if !domain.isEmpty { rule["host"] = .string("\(port.name).\(snapshot.namespace).\(domain)") }
            return rule
        }
        var spec: Document = ["rules": .list(rules)]
        if !ingressClass.isEmpty { spec["ingressClassName"] = .string(ingressClass) }
        ingress["spec"] = spec
        guard wantOwn(ingress, for: access) else { return [] }
        guard !domain.isEmpty else { return [] }
        return access.ports.map {
            Endpoint(name: $0.name, host: "\($0.name).\(snapshot.namespace).\(domain)", port: "443")
        }
    }

    private func deducedDomain(_ access: SecuredAccess) -> String {
        let node = snapshot.object("Ingress", access.name)?.status("loadBalancer", "ingress")?[0]
        if let host = node?["hostname"]?.scalarText, !host.isEmpty { return host }
        if let address = node?["ip"]?.scalarText, !address.isEmpty { return "\(address).nip.io" }
        return ""
    }

    mutating func proxyEndpoints(_ access: SecuredAccess) -> [Endpoint] {
        guard !settings.proxyDomain.isEmpty else {
            waits[access.resource.key] = "waiting for SKUPPER_HTTP_PROXY_DOMAIN to be set for the controller"
            return []
        }
        return endpoints(
            access, "projectcontour.io/v1", "HTTPProxy", domain: settings.proxyDomain, outerPort: 443
        ) { host, port in
            [
                "virtualhost": ["fqdn": .string(host), "tls": ["passthrough": true]],
                "tcpproxy": ["services": [["name": .string(access.name), "port": .int(Int64(port))]]],
            ]
        }
    }

    /// One object for each port, below a domain. A port whose object is somebody else's has no endpoint.
    private mutating func endpoints(
        _ access: SecuredAccess, _ apiVersion: String, _ kind: String, domain: String, outerPort: Int,
        spec: (_ host: String, _ port: Int) -> Document
    ) -> [Endpoint] {
        access.ports.compactMap { port in
            let name = "\(access.name)-\(port.name)"
            let host = "\(name).\(snapshot.namespace).\(domain)"
            var item = object(
                apiVersion, kind, name, labels: [Marks.securedAccess: access.name], owner: access.resource)
            item["spec"] = spec(host, port.port)
            guard wantOwn(item, for: access) else { return nil }
            return Endpoint(name: port.name, host: host, port: String(outerPort))
        }
    }

    // MARK: Gateway

    /// The one Gateway of a controller, in its namespace, through which the TLSRoutes of all namespaces go.
    mutating func planGateway() {
        guard snapshot.namespace == settings.controllerNamespace, settings.enabledAccessTypes.contains("gateway"),
            !settings.gatewayClass.isEmpty
        else { return }
        guard !isForeign("Gateway", NamespacePlanner.gatewayName) else {
            plan.notes.append("Gateway \(NamespacePlanner.gatewayName) belongs to somebody else and is used as it is")
            return
        }
        var gateway = object("gateway.networking.k8s.io/v1", "Gateway", NamespacePlanner.gatewayName, owner: nil)
        gateway["spec"] = [
            "gatewayClassName": .string(settings.gatewayClass),
            "listeners": [
                [
                    "name": "tls", "protocol": "TLS", "port": .int(Int64(settings.gatewayPort)),
                    "tls": ["mode": "Passthrough"], "allowedRoutes": ["namespaces": ["from": "All"]],
                ]
            ],
        ]
        want(gateway)
    }

    /// The Gateway's name.
    package static let gatewayName = "skupper"

    /// The domain below which TLSRoutes have their hosts: the configured one, else the Gateway's address.
    private var gatewayDomain: String {
        if !settings.gatewayDomain.isEmpty { return settings.gatewayDomain }
        let addresses = snapshot.gateway?.status("addresses")?.listValue ?? []
        func value(_ type: String) -> String? {
            addresses.first { ($0["type"]?.scalarText ?? "IPAddress") == type }?["value"]?.scalarText
        }
        return value("Hostname") ?? value("IPAddress").map { "\($0).nip.io" } ?? ""
    }

    mutating func gatewayEndpoints(_ access: SecuredAccess) -> [Endpoint] {
        let domain = gatewayDomain
        guard !domain.isEmpty else {
            waits[access.resource.key] =
                "waiting for the address of Gateway \(settings.controllerNamespace)/\(NamespacePlanner.gatewayName)"
            return []
        }
        let (namespace, gatewayNamespace) = (snapshot.namespace, settings.controllerNamespace)
        return endpoints(
            access, "gateway.networking.k8s.io/v1alpha2", "TLSRoute", domain: domain, outerPort: settings.gatewayPort
        ) { host, port in
            [
                "parentRefs": [
                    [
                        "kind": "Gateway", "name": .string(NamespacePlanner.gatewayName),
                        "namespace": .string(gatewayNamespace), "sectionName": "tls",
                    ]
                ],
                "hostnames": [.string(host)],
                "rules": [
                    [
                        "backendRefs": [
                            [
                                "name": .string(access.name), "namespace": .string(namespace),
                                "port": .int(Int64(port)),
                            ]
                        ]
                    ]
                ],
            ]
        }
    }
}
