import ControlIO
import SiteModel
import SiteReconciler

/// Statuses: conditions and texts of sheet §1, from the plan's faults and what the routers report.
extension NamespacePlanner {
    mutating func planStatuses(_ reconciliation: Reconciliation?) {
        let fault = site == nil ? "" : siteFault
        let resources = snapshot.resources.filter { $0.knownKind != nil }
        let usual: Set<ResourceKind> = [.link, .listener, .connector, .multiKeyListener]
        let computed = SiteReconciler.statuses(
            resources.filter { $0.knownKind.map(usual.contains) ?? false } + [site?.resource].compactMap { $0 },
            reconciliation: reconciliation, observation: observation, fault: fault)
        let byKey = Dictionary(computed.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        let pods = selectedPods()
        for resource in resources where !resource.isGoing {
            var copy = resource
            var changed = false
            switch resource.knownKind {
            case .site: changed = write(siteStatus(resource, observation), to: &copy)
            case .link, .listener, .multiKeyListener:
                changed = byKey[resource.key].map { write(waiting($0), to: &copy) } ?? false
            case .connector:
                changed = byKey[resource.key].map { write($0, to: &copy) } ?? false
                changed = setPods(pods[resource.key], of: &copy) || changed
            case .routerAccess: changed = write(routerAccessStatus(resource), to: &copy)
            case .securedAccess: changed = write(securedAccessStatus(resource), to: &copy)
            case .certificate:
                changed = copy.setCondition(.ready, state(resource.key, else: .ready), nowUnix: now)
            case .accessGrant: changed = write(grantStatus(resource), to: &copy)
            case .attachedConnector: changed = write(attachedStatus(resource), to: &copy)
            case .attachedConnectorBinding:
                changed = write(bindingStatus(resource, reconciliation, observation), to: &copy)
            case .accessToken, .secret, nil: changed = false
            }
            if changed { plan.statuses.append(copy) }
        }
    }

    private func write(_ status: ResourceStatus, to resource: inout Resource) -> Bool {
        status.apply(to: &resource, nowUnix: now)
    }

    /// What the router was told is of no use to clients while they have no Service for it.
    private func waiting(_ status: ResourceStatus) -> ResourceStatus {
        guard let wait = serviceWaits[status.key] else { return status }
        return ResourceStatus(
            key: status.key,
            conditions: status.conditions.map {
                $0.type == .configured && $0.state == .ready ? .init(type: $0.type, state: .pending(wait)) : $0
            }, fields: status.fields)
    }

    /// A fault, else a wait, else what is given.
    private func state(_ key: ResourceKey, else other: ConditionState) -> ConditionState {
        if let fault = faults[key] { return .error(fault) }
        if let wait = waits[key] { return .pending(wait) }
        return other
    }

    // MARK: What the routers say

    private var routerPods: [PodView] {
        snapshot.objects("Pod").filter { $0.label(Marks.component) == "router" && !$0.isGoing }.map(PodView.init)
    }

    /// The truth of all routers of the site that run, as their adaptors wrote it, and that of the network. Upstream's
    /// adaptor writes the network's alone.
    static func report(
        _ snapshot: NamespaceSnapshot, site: Site?
    ) -> (observation: RouterObservation, network: NetworkStatus?) {
        let ready = snapshot.objects("Pod").filter { $0.label(Marks.component) == "router" && !$0.isGoing }
            .map(PodView.init).filter(\.isReady)
        guard let site, !ready.isEmpty else {
            return (RouterObservation(isRunning: false, fault: "no router pod is ready"), nil)
        }
        let map = snapshot.object("ConfigMap", "skupper-network-status")
        let network = map?.document.value(at: ["data", "NetworkStatus"])?.stringValue.flatMap {
            NetworkStatus(json: $0)
        }
        var result: RouterObservation?
        for group in groups(ha: site.ha) {
            // What a router said before its pod went is not true any more.
            guard ready.contains(where: { ($0.resource.label(Marks.group) ?? group) == group }),
                let text = map?.document.value(at: ["data", "router.\(group)"])?.stringValue,
                let observed = RouterObservation(json: text)
            else { continue }
            result = result.map { $0.merged(with: observed) } ?? observed
        }
        let told = result ?? network.flatMap { RouterObservation(network: $0, siteID: site.uid) }
        return (told ?? RouterObservation(isRunning: false, fault: "the router has not reported yet"), network)
    }

    /// Running: one ready pod is enough (sheet §1.3).
    private var running: ConditionState {
        let pods = routerPods
        if pods.contains(where: \.isReady) { return .ready }
        guard let pod = pods.first else { return .pending("No router pod is ready") }
        return .pending(pod.firstFault ?? "Pod \(pod.resource.name) not ready")
    }

    // MARK: Site and access

    private func siteStatus(_ resource: Resource, _ observation: RouterObservation) -> ResourceStatus {
        guard let site, resource.name == site.name else {
            let text = "An active site already exists in the namespace (\(self.site?.name ?? ""))"
            return ResourceStatus(
                key: resource.key,
                conditions: [
                    .init(type: .configured, state: .error(text)), .init(type: .running, state: nil),
                    .init(type: .resolved, state: nil),
                ])
        }
        var fault = faults[resource.key]
        if fault == nil, !snapshot.denial.isEmpty { fault = "permission missing: \(snapshot.denial)" }
        let configured: ConditionState = fault.map { .error($0) } ?? .ready
        var conditions: [ResourceStatus.Entry] = [
            .init(type: .configured, state: configured), .init(type: .running, state: running),
        ]
        conditions.append(.init(type: .resolved, state: site.acceptsLinks ? resolved(site) : nil))
        let ends = siteEndpoints()
        let ids = Set(observation.routers.compactMap { NamespacePlanner.siteID($0) })
        let records = observation.isRunning ? network?.records(near: site.uid) : nil
        return ResourceStatus(
            key: resource.key, conditions: conditions,
            fields: [
                "endpoints": ends.isEmpty ? .none : .some(.list(ends.map(\.document))),
                "network": records.flatMap { $0.listValue?.isEmpty == false ? $0 : nil },
                "sitesInNetwork": .some(.int(Int64(max(1, ids.count, records?.listValue?.count ?? 0)))),
                "defaultIssuer": .some(.string(issuer)),
                "controller": .some([
                    "name": .string(settings.controllerName), "namespace": .string(settings.controllerNamespace),
                    "version": .string(settings.version),
                ]),
            ])
    }

    private static func siteID(_ router: RouterNode) -> String? {
        guard let text = (try? JSON.parse(router.metadata))?["id"]?.stringValue, !text.isEmpty else { return router.id }
        return text
    }

    private func resolved(_ site: Site) -> ConditionState {
        if !siteEndpoints().isEmpty { return .ready }
        for access in routerAccesses {
            if let fault = faults[access.resource.key] { return .pending("RouterAccess \(access.name): \(fault)") }
        }
        for access in securedAccesses {
            if let fault = faults[access.resource.key] { return .pending(fault) }
            if let wait = waits[access.resource.key] { return .pending(wait) }
        }
        return .pending("waiting for a RouterAccess with an address")
    }

    /// Endpoints of one RouterAccess, each with its router's group.
    func endpoints(of access: RouterAccess) -> [Endpoint] {
        groups.flatMap { group in
            (endpoints[securedName(access, group: group)] ?? []).map {
                Endpoint(name: $0.name, host: $0.host, port: $0.port, group: group)
            }
        }
    }

    private func siteEndpoints() -> [Endpoint] {
        guard servesSite else { return [] }
        return routerAccesses.filter { faults[$0.resource.key] == nil }.flatMap { endpoints(of: $0) }
    }

    /// Where tokens of this site lead to: RouterAccesses whose certificates the tokens' CA has signed.
    func linkEndpoints() -> [Endpoint] {
        guard servesSite, let site, !site.edge else { return [] }
        return routerAccesses.filter { access in
            faults[access.resource.key] == nil && (access.issuer.isEmpty || access.issuer == issuer)
        }.flatMap { endpoints(of: $0) }.filter { $0.name == "inter-router" || $0.name == "edge" }
    }

    private func routerAccessStatus(_ resource: Resource) -> ResourceStatus {
        let access = RouterAccess(unchecked: resource)
        let ends = endpoints(of: access)
        var configured: ConditionState = faults[resource.key].map { .error($0) } ?? .ready
        if site == nil {
            configured = .error("No active site in namespace")
        } else if configured == .ready, let fault = securedFault(access) {
            configured = .error(fault)
        } else if configured == .ready, snapshot.object("Secret", SiteReconciler.profile(of: access)) == nil {
            let name = SiteReconciler.profile(of: access)
            configured =
                access.generateTlsCredentials
                ? .pending("waiting for Secret \(name)") : .error("TLS credentials secret \"\(name)\" not found")
        }
        let wait = groups.compactMap { waits[ResourceKey(kind: "SecuredAccess", name: securedName(access, group: $0))] }
        let resolved: ConditionState =
            ends.isEmpty ? .pending(wait.first ?? "waiting for SecuredAccess \(access.name)") : .ready
        return ResourceStatus(
            key: resource.key,
            conditions: [.init(type: .configured, state: configured), .init(type: .resolved, state: resolved)],
            fields: ["endpoints": ends.isEmpty ? .none : .some(.list(ends.map(\.document)))])
    }

    private func securedFault(_ access: RouterAccess) -> String? {
        groups.compactMap { faults[ResourceKey(kind: "SecuredAccess", name: securedName(access, group: $0))] }.first
    }

    private func securedAccessStatus(_ resource: Resource) -> ResourceStatus {
        let access = SecuredAccess(unchecked: resource)
        let ends = endpoints[access.name] ?? []
        let configured: ConditionState = faults[resource.key].map { .error($0) } ?? .ready
        let resolved: ConditionState =
            ends.isEmpty ? .pending(waits[resource.key] ?? "waiting for an address") : .ready
        let authority = snapshot.object("Secret", access.certificate).flatMap { Secret($0)?.textValue("ca.crt") }
        return ResourceStatus(
            key: resource.key,
            conditions: [.init(type: .configured, state: configured), .init(type: .resolved, state: resolved)],
            fields: [
                "endpoints": ends.isEmpty ? .none : .some(.list(ends.map(\.document))),
                "ca": authority.map { .some(.string($0)) } ?? .none,
            ])
    }

    // MARK: Pods

    private func podList(_ pods: [ClusterState.Pod]?) -> Document? {
        guard let pods, !pods.isEmpty else { return nil }
        return .list(
            pods.sorted { ($0.name, $0.address) < ($1.name, $1.address) }
                .map { ["name": .string($0.name), "ip": .string($0.address)] })
    }

    private func setPods(_ pods: [ClusterState.Pod]?, of resource: inout Resource) -> Bool {
        let list = site == nil ? nil : podList(pods)
        guard resource.status("selectedPods") != list else { return false }
        resource.setStatus(list, "selectedPods")
        return true
    }

    private func attachedStatus(_ resource: Resource) -> ResourceStatus {
        let space = resource.spec("siteNamespace")?.scalarText ?? ""
        let found = snapshot.bindings.first { $0.name == resource.name && $0.namespace == space }
        let pods = NamespacePlanner.pods(
            snapshot.objects("Pod"), selector: resource.spec("selector")?.scalarText ?? "",
            includeNotReady: resource.spec("includeNotReadyPods")?.boolValue ?? false)
        let state: ConditionState
        let allowed = found?.spec("connectorNamespace")?.scalarText ?? ""
        if !settings.isClusterScoped {
            state = .error(
                "AttachedConnectors need a controller that may read all namespaces; this one reads "
                    + "\(snapshot.namespace) only")
        } else if found == nil {
            state = .error("No matching AttachedConnectorBinding in site namespace")
        } else if allowed != snapshot.namespace {
            state = .error(
                "AttachedConnectorBinding \(space)/\(resource.name) does not allow AttachedConnector in "
                    + "\(snapshot.namespace) (only \(allowed))")
        } else if pods.isEmpty {
            state = .error("No matches for selector")
        } else {
            state = .ready
        }
        return ResourceStatus(
            key: resource.key, conditions: [.init(type: .configured, state: state)],
            fields: ["selectedPods": podList(pods).map { .some($0) } ?? .none])
    }

    private func bindingStatus(
        _ resource: Resource, _ reconciliation: Reconciliation?, _ observation: RouterObservation
    ) -> ResourceStatus {
        var configured: ConditionState = reconciliation?.errors[resource.key].map { .error($0) } ?? .ready
        if reconciliation == nil { configured = .error(siteFault.isEmpty ? "No active site in namespace" : siteFault) }
        if !settings.isClusterScoped {
            configured = .error("AttachedConnectors need a controller that may read all namespaces")
        }
        let key = resource.spec("routingKey")?.scalarText ?? ""
        let isLocal = snapshot.resources.compactMap(Listener.init).contains {
            $0.routingKey == key && reconciliation?.errors[$0.resource.key] == nil
        }
        let isMatched =
            observation.isRunning && (isLocal || (observation.addresses[key]?.remoteListeners ?? 0) > 0)
        return ResourceStatus(
            key: resource.key,
            conditions: [
                .init(type: .configured, state: configured),
                .init(type: .matched, state: isMatched ? .ready : .pending("No matching listeners")),
            ], fields: ["hasMatchingListener": .some(.bool(isMatched))])
    }
}
