import ControlIO
import SiteModel

/// Ways in by SNI: Routes, Ingresses and HTTPProxies pass TLS through to the router by host name (sheet §4.6).
extension NamespacePlanner {
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
            want(route)
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
        want(ingress)
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
        return access.ports.map { port in
            let name = "\(access.name)-\(port.name)"
            let host = "\(name).\(snapshot.namespace).\(settings.proxyDomain)"
            var proxy = object(
                "projectcontour.io/v1", "HTTPProxy", name, labels: [Marks.securedAccess: access.name],
                owner: access.resource)
            proxy["spec"] = [
                "virtualhost": ["fqdn": .string(host), "tls": ["passthrough": true]],
                "tcpproxy": ["services": [["name": .string(access.name), "port": .int(Int64(port.port))]]],
            ]
            want(proxy)
            return Endpoint(name: port.name, host: host, port: "443")
        }
    }
}
