import ControlIO
import SiteModel
import SiteReconciler

/// A published Service with a server certificate (sheet §1.11); internal, but users may make them too.
struct SecuredAccess: ResourceView {
    /// One port.
    struct Port: Hashable {
        var name: String
        var port: Int
        var targetPort: Int
    }

    static var kind: ResourceKind { .securedAccess }
    var resource: Resource
    init(unchecked resource: Resource) { self.resource = resource }

    var accessType: String { resource.spec("accessType")?.scalarText ?? "" }
    var issuer: String { resource.spec("issuer")?.scalarText ?? "" }
    var certificate: String { resource.spec("certificate")?.scalarText ?? "" }
    var selector: Document { resource.spec("selector") ?? .emptyMap }
    var ports: [Port] {
        (resource.spec("ports")?.listValue ?? []).map { node in
            let port = Int(node["port"]?.intValue ?? 0)
            let target = Int(node["targetPort"]?.intValue ?? 0)
            return Port(name: node["name"]?.scalarText ?? "", port: port, targetPort: target == 0 ? port : target)
        }
    }
}

/// RouterAccess → SecuredAccess → Service, Route, Ingress or HTTPProxy → endpoints (sheet §4.2, §4.6).
extension NamespacePlanner {
    /// The name of a RouterAccess's SecuredAccess in a group.
    func securedName(_ access: RouterAccess, group: String) -> String {
        group == "skupper-router" ? access.name : "\(access.name)-2"
    }

    mutating func planAccess() {
        planRouterAccesses()
        for access in routerAccesses where faults[access.resource.key] == nil { planSecured(access) }
        planGrantServer()
        planGateway()
        let made = Set(securedAccesses.map(\.name))
        for resource in snapshot.objects("SecuredAccess") where !made.contains(resource.name) {
            // Generated ones that nothing asks for are on their way out.
            if resource.isControlled { continue }
            if let access = SecuredAccess(resource) { securedAccesses.append(access) }
        }
        for access in securedAccesses { publish(access) }
    }

    private mutating func planRouterAccesses() {
        let name = "skupper-router"
        let own = snapshot.object("RouterAccess", name)
        for resource in snapshot.objects("RouterAccess") {
            if resource.isControlled { continue }
            if let access = RouterAccess(resource) { routerAccesses.append(access) }
        }
        if servesSite, let site, site.acceptsLinks, !site.edge, own.map({ $0.isControlled }) ?? true {
            var object = object(
                "skupper.io/v2alpha1", "RouterAccess", name, owner: site.resource)
            var spec: Document = [
                "roles": [["name": "inter-router", "port": 55671], ["name": "edge", "port": 45671]],
                "tlsCredentials": .string(SiteReconciler.siteServer), "generateTlsCredentials": true,
                "issuer": .string(issuer),
            ]
            if site.linkAccess != "default" { spec["accessType"] = .string(site.linkAccess) }
            object["spec"] = spec
            want(object)
            if var resource = own ?? (try? Resource(document: object)) {
                resource.document["spec"] = object["spec"]
                routerAccesses.append(RouterAccess(unchecked: resource))
            }
        }
        for access in routerAccesses {
            let key = access.resource.key
            let texts = ResourceValidation.validate(access.resource, onCluster: true)
            if site?.edge ?? false {
                faults[key] = "Edge sites cannot accept incoming links from remote sites"
            } else if !texts.isEmpty {
                faults[key] = texts.joined(separator: "; ")
            } else if settings.accessType(access.accessType) == nil {
                faults[key] =
                    "unsupported access type \(access.accessType): enabled are "
                    + settings.enabledAccessTypes.joined(separator: ", ")
            }
        }
    }

    private mutating func planSecured(_ access: RouterAccess) {
        guard servesSite else { return }
        for group in groups {
            let name = securedName(access, group: group)
            var object = object(
                "skupper.io/v2alpha1", "SecuredAccess", name, labels: [Marks.routerAccess: access.name],
                owner: access.resource)
            var spec: Document = [
                "ports": .list(
                    access.roles.map {
                        [
                            "name": .string($0.name), "port": .int(Int64($0.effectivePort)),
                            "targetPort": .int(Int64($0.effectivePort)), "protocol": "TCP",
                        ]
                    }),
                "selector": [Marks.component: "router", Marks.group: .string(group)],
                "issuer": .string(access.issuer.isEmpty ? issuer : access.issuer),
            ]
            if !access.accessType.isEmpty { spec["accessType"] = .string(access.accessType) }
            if access.generateTlsCredentials { spec["certificate"] = .string(SiteReconciler.profile(of: access)) }
            if let settings = access.resource.spec("settings") { spec["settings"] = settings }
            object["spec"] = spec
            addSecured(object)
        }
    }

    private mutating func addSecured(_ object: Document) {
        guard var resource = try? Resource(document: object) else { return }
        if let existing = snapshot.object("SecuredAccess", resource.name), !existing.isControlled {
            plan.notes.append("SecuredAccess \(resource.name) belongs to somebody else and is not used")
            return
        }
        want(object)
        if let existing = snapshot.object("SecuredAccess", resource.name) {
            resource = existing
            resource.document["spec"] = object["spec"]
        }
        securedAccesses.append(SecuredAccess(unchecked: resource))
    }

    /// The grant server is the controller's, so its publication is in the controller's namespace (sheet §3.2).
    private mutating func planGrantServer() {
        guard settings.grantsEnabled, settings.publishesGrantServer,
            snapshot.namespace == settings.controllerNamespace
        else { return }
        var object = object("skupper.io/v2alpha1", "SecuredAccess", "skupper-grant-server", owner: nil)
        object["spec"] = [
            "ports": [["name": "https", "port": 9090, "targetPort": 9090, "protocol": "TCP"]],
            "selector": Document(texts: settings.controllerLabels), "issuer": "skupper-grant-server-ca",
            "certificate": "skupper-grant-server",
        ]
        addSecured(object)
    }

    // MARK: Publication

    private mutating func publish(_ access: SecuredAccess) {
        let key = access.resource.key
        guard let type = settings.accessType(access.accessType) else {
            faults[key] = "unsupported access type"
            return
        }
        if let group = type.group, !settings.mayHave(group) {
            faults[key] = "access type \(type.rawValue) needs the API \(group), which this cluster does not have"
            return
        }
        let numbers = access.ports.flatMap { [$0.port, $0.targetPort] }
        guard !numbers.isEmpty, numbers.allSatisfy({ (1...65_535).contains($0) }) else {
            faults[key] = "ports: at least one is needed, each with a number from 1 to 65535"
            return
        }
        guard !isForeign("Service", access.name) else {
            faults[key] = "Service \(access.name) already exists in namespace"
            return
        }
        var service = object(
            "v1", "Service", access.name, labels: [Marks.securedAccess: access.name], owner: access.resource)
        service["spec"] = [
            "type": .string(type.serviceType), "selector": access.selector,
            "ports": .list(
                access.ports.map {
                    [
                        "name": .string($0.name), "port": .int(Int64($0.port)),
                        "targetPort": .int(Int64($0.targetPort)), "protocol": "TCP",
                    ]
                }),
        ]
        want(service)
        var found: [Endpoint] = []
        switch type {
        case .local:
            found = access.ports.map {
                Endpoint(name: $0.name, host: "\(access.name).\(snapshot.namespace)", port: String($0.port))
            }
        case .loadbalancer: found = balancerEndpoints(access)
        case .nodeport: found = nodePortEndpoints(access)
        case .route: found = routeEndpoints(access)
        case .ingress, .ingressNginx: found = ingressEndpoints(access, isNginx: type == .ingressNginx)
        case .contour: found = proxyEndpoints(access)
        case .gateway: found = gatewayEndpoints(access)
        }
        if found.isEmpty {
            waits[key] = waits[key] ?? "waiting for external address of Service \(access.name)"
        } else {
            endpoints[access.name] = found
        }
    }

    private func balancerEndpoints(_ access: SecuredAccess) -> [Endpoint] {
        let service = snapshot.object("Service", access.name)
        let hosts = (service?.status("loadBalancer", "ingress")?.listValue ?? []).compactMap { node -> String? in
            let address = node["ip"]?.scalarText ?? ""
            let host = address.isEmpty ? node["hostname"]?.scalarText ?? "" : address
            return host.isEmpty ? nil : host
        }
        return hosts.flatMap { host in
            access.ports.map { Endpoint(name: $0.name, host: host, port: String($0.port)) }
        }
    }

    private mutating func nodePortEndpoints(_ access: SecuredAccess) -> [Endpoint] {
        waits[access.resource.key] = "waiting for node ports of Service \(access.name)"
        let nodes = snapshot.object("Service", access.name)?.spec("ports")?.listValue ?? []
        let found = access.ports.compactMap { port -> Endpoint? in
            guard let node = nodes.first(where: { $0["name"]?.scalarText == port.name }),
                let number = node["nodePort"]?.intValue, number > 0
            else { return nil }
            return Endpoint(name: port.name, host: settings.clusterHost, port: String(number))
        }
        return found.count == access.ports.count ? found : []
    }
}
