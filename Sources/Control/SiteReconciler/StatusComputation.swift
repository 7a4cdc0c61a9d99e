import ControlIO
import SiteModel

extension SiteReconciler {
    /// Statuses of the resources of the namespace whose kinds have one here: Site, Link, Listener, Connector,
    /// MultiKeyListener, RouterAccess. AccessGrants and AccessTokens have their own functions.
    /// - Parameter reconciliation: nil when there is no configuration.
    /// - Parameter fault: why there is none; "" means that no Site is active.
    package static func statuses(
        _ resources: [Resource], reconciliation: Reconciliation?, observation: RouterObservation, fault: String = ""
    ) -> [ResourceStatus] {
        let computation = StatusComputation(
            resources: resources, reconciliation: reconciliation, observation: observation, fault: fault)
        return resources.sorted { $0.key < $1.key }.compactMap(computation.status)
    }

    /// The status of a grant (sheet §3.3): Processed is the fault or ready; Resolved is ready when the grant server
    /// can be reached under `url` with `ca`.
    package static func grantStatus(
        _ grant: AccessGrant, fault: String?, url: String, ca: String, code: String, expirationTime: String,
        redemptions: Int
    ) -> ResourceStatus {
        let isResolved = !url.isEmpty && !ca.isEmpty
        return ResourceStatus(
            key: grant.resource.key,
            conditions: [
                .init(type: .processed, state: fault.map { .error($0) } ?? .ready),
                .init(type: .resolved, state: isResolved ? .ready : .pending("waiting for the grant server's address")),
            ],
            fields: [
                "url": .some(.string(url)), "ca": .some(.string(ca)), "code": .some(.string(code)),
                "expirationTime": .some(.string(expirationTime)), "redemptions": .some(.int(Int64(redemptions))),
            ])
    }

    /// The status of a token: redeemed (`fault` nil), or why it is not; `isFinal` faults are errors, others pending.
    package static func tokenStatus(_ token: AccessToken, fault: String?, isFinal: Bool) -> ResourceStatus {
        let state: ConditionState = fault.map { isFinal ? .error($0) : .pending($0) } ?? .ready
        return ResourceStatus(
            key: token.resource.key, conditions: [.init(type: .redeemed, state: state)],
            fields: ["redeemed": .some(.bool(fault == nil))])
    }
}

/// Conditions of every resource from one reconciliation and one observation.
struct StatusComputation {
    let resources: [Resource]
    let reconciliation: Reconciliation?
    let observation: RouterObservation
    let fault: String

    func status(_ resource: Resource) -> ResourceStatus? {
        switch resource.knownKind {
        case .site: site(Site(unchecked: resource))
        case .link: link(Link(unchecked: resource))
        case .listener: listener(Listener(unchecked: resource))
        case .connector: connector(Connector(unchecked: resource))
        case .multiKeyListener: multiKeyListener(MultiKeyListener(unchecked: resource))
        case .routerAccess: routerAccess(RouterAccess(unchecked: resource))
        default: nil
        }
    }

    private var noSite: String { fault.isEmpty ? "No active site in namespace" : fault }

    private func configured(_ key: ResourceKey) -> ConditionState {
        guard let reconciliation else { return .error(noSite) }
        return reconciliation.errors[key].map { .error($0) } ?? .ready
    }

    private var stopped: String {
        observation.fault.isEmpty ? "the router is not running" : "the router is not running: \(observation.fault)"
    }

    // MARK: Site

    private func site(_ site: Site) -> ResourceStatus {
        let key = site.resource.key
        guard site.name == reconciliation?.siteName || reconciliation == nil else {
            return ResourceStatus(key: key, conditions: [.init(type: .configured, state: configured(key))])
        }
        var configured = configured(key)
        if reconciliation == nil, fault.isEmpty { configured = .pending("waiting for the controller") }
        let running: ConditionState =
            observation.isRunning ? .ready : .pending(stopped.prefix(1).uppercased() + stopped.dropFirst())
        var conditions: [ResourceStatus.Entry] = [
            .init(type: .configured, state: configured), .init(type: .running, state: running),
        ]
        conditions.append(.init(type: .resolved, state: site.acceptsLinks ? resolved(site) : nil))
        let ids = siteIDs()
        let endpoints = reconciliation?.endpoints ?? []
        return ResourceStatus(
            key: key, conditions: conditions,
            fields: [
                "endpoints": endpoints.isEmpty ? .none : .some(.list(endpoints.map(\.document))),
                "sitesInNetwork": .some(.int(Int64(max(1, ids.count)))),
                "defaultIssuer": .some(
                    .string(site.defaultIssuer.isEmpty ? SiteReconciler.siteIssuer : site.defaultIssuer)),
            ])
    }

    private func resolved(_ site: Site) -> ConditionState {
        if site.edge { return .error("Edge sites cannot accept incoming links from remote sites") }
        guard observation.isRunning else { return .pending("waiting for the router to listen for links") }
        if let fault = observation.linkListenerFaults.sorted(by: { $0.key < $1.key }).first {
            return .pending("waiting for link listener \(fault.key): \(fault.value)")
        }
        if let endpoints = reconciliation?.endpoints, !endpoints.isEmpty { return .ready }
        let accesses = resources.filter { $0.knownKind == .routerAccess }
        if let faulty = accesses.first(where: { reconciliation?.errors[$0.key] != nil }) {
            return .pending("RouterAccess \(faulty.name): \(reconciliation?.errors[faulty.key] ?? "")")
        }
        return .pending("waiting for a RouterAccess that listens for links")
    }

    /// The ids of the sites of the network: from metadata where known, else one per router.
    private func siteIDs() -> Set<String> {
        Set(observation.routers.map { RemoteSite(router: $0).id ?? $0.id })
    }

    // MARK: Link

    private func link(_ link: Link) -> ResourceStatus {
        let key = link.resource.key
        let configured = configured(key)
        guard configured == .ready else {
            // A link that is left out of the configuration has no operational state.
            return ResourceStatus(
                key: key,
                conditions: [.init(type: .configured, state: configured), .init(type: .operational, state: nil)],
                fields: ["remoteSiteId": .none, "remoteSiteName": .none])
        }
        let reported = observation.links[link.name]
        let isUp = observation.isRunning && reported?.connectionStatus == "SUCCESS" && reported?.isNeighbourUp == true
        let operational: ConditionState?
        if isUp {
            operational = .ready
        } else if observation.isRunning, reported == nil {
            // Not reported yet: the condition stays absent, or what was known is over.
            operational = link.resource.condition(.operational) == nil ? nil : .pending("Not operational")
        } else if !observation.isRunning, link.resource.condition(.operational) == nil {
            operational = nil
        } else {
            let message = LinkCause.message(
                dialled(link), observation.isRunning ? reported : nil, observationFault: stopped)
            operational = .pending(message)
        }
        var fields: [String: Document?] = [:]
        if isUp, let remote = reported?.remoteRouterID, !remote.isEmpty {
            let metadata = observation.routers.first { $0.id == remote }?.metadata ?? ""
            let site = RemoteSite(router: RouterNode(id: remote, metadata: metadata))
            if let id = site.id { fields["remoteSiteId"] = .some(.string(id)) }
            fields["remoteSiteName"] = .some(.string(site.name))
        }
        return ResourceStatus(
            key: key,
            conditions: [
                .init(type: .configured, state: .ready), .init(type: .operational, state: operational),
            ], fields: fields)
    }

    private func dialled(_ link: Link) -> Endpoint? {
        let site = resources.compactMap(Site.init).first { $0.name == reconciliation?.siteName }
        return SiteReconciler.endpoint(of: link, isEdge: site?.edge ?? false)
    }

    // MARK: Listeners and connectors

    private func consumers(_ routingKey: String) -> Int {
        guard observation.isRunning, let address = observation.addresses[routingKey] else { return 0 }
        return address.localConsumers + address.remoteConsumers
    }

    /// Configured, from the router's word about the socket too: what cannot be bound is not configured.
    private func configured(_ key: ResourceKey, listener name: String, host: String, port: Int) -> ConditionState {
        let state = configured(key)
        guard state == .ready, observation.isRunning, let listener = observation.listeners[name],
            listener.operStatus == "down", isFault(listener.message)
        else { return state }
        return .error("cannot listen on \(host):\(port): \(listener.message)")
    }

    /// Whether the text of a socket that is down names a fault; sockets without consumers are down on purpose.
    private func isFault(_ message: String) -> Bool {
        let lower = message.lowercased()
        return ["in use", "denied", "cannot assign", "not available", "failed", "fail to", "error", "invalid"]
            .contains { lower.contains($0) }
    }

    private func listener(_ listener: Listener) -> ResourceStatus {
        let state = configured(
            listener.resource.key, listener: "listener/\(listener.name)", host: listener.host, port: listener.port)
        let isMatched = consumers(listener.routingKey) > 0
        return ResourceStatus(
            key: listener.resource.key,
            conditions: [
                .init(type: .configured, state: state),
                .init(type: .matched, state: isMatched ? .ready : .pending("No matching connectors")),
            ], fields: ["hasMatchingConnector": .some(.bool(isMatched))])
    }

    private func connector(_ connector: Connector) -> ResourceStatus {
        let isMatched =
            observation.isRunning
            && (localListenerKeys.contains(connector.routingKey)
                || (observation.addresses[connector.routingKey]?.remoteListeners ?? 0) > 0)
        return ResourceStatus(
            key: connector.resource.key,
            conditions: [
                .init(type: .configured, state: configured(connector.resource.key)),
                .init(type: .matched, state: isMatched ? .ready : .pending("No matching listeners")),
            ], fields: ["hasMatchingListener": .some(.bool(isMatched))])
    }

    /// Routing keys of this site's listeners that are configured.
    private var localListenerKeys: Set<String> {
        var keys: Set<String> = []
        for resource in resources where reconciliation != nil && reconciliation?.errors[resource.key] == nil {
            if let listener = Listener(resource) { keys.insert(listener.routingKey) }
            if let listener = MultiKeyListener(resource) { keys.formUnion(listener.strategy?.routingKeys ?? []) }
        }
        return keys
    }

    private func multiKeyListener(_ listener: MultiKeyListener) -> ResourceStatus {
        let state = configured(
            listener.resource.key, listener: "multiAddress/\(listener.name)", host: listener.host, port: listener.port)
        let reachable = (listener.strategy?.routingKeys ?? []).filter { consumers($0) > 0 }
        var strategy: Document?
        switch listener.strategy {
        case .priority: strategy = ["priority": ["routingKeysReachable": .list(reachable.map { .string($0) })]]
        case .weighted(let keys):
            let pairs = keys.filter { reachable.contains($0.key) }.map { ($0.key, Document.int(Int64($0.weight))) }
            strategy = ["weighted": ["routingKeysReachable": .map(DocumentMap(pairs))]]
        case nil: strategy = nil
        }
        return ResourceStatus(
            key: listener.resource.key,
            conditions: [
                .init(type: .configured, state: state),
                .init(
                    type: .operational,
                    state: reachable.isEmpty ? .pending("No matching connectors") : .ready),
            ], fields: ["hasDestination": .some(.bool(!reachable.isEmpty)), "strategy": strategy])
    }

    private func routerAccess(_ access: RouterAccess) -> ResourceStatus {
        let key = access.resource.key
        let endpoints = (reconciliation?.endpoints ?? []).filter { $0.group == access.name }
        let faults = observation.linkListenerFaults.filter { fault in endpoints.contains { $0.name == fault.key } }
            .sorted { $0.key < $1.key }
        let resolved: ConditionState
        if let fault = faults.first {
            resolved = .error("cannot listen as \(fault.key): \(fault.value)")
        } else if observation.isRunning, !endpoints.isEmpty {
            resolved = .ready
        } else {
            resolved = .pending("waiting for the router to listen for links")
        }
        return ResourceStatus(
            key: key,
            conditions: [.init(type: .configured, state: configured(key)), .init(type: .resolved, state: resolved)],
            fields: ["endpoints": endpoints.isEmpty ? .none : .some(.list(endpoints.map(\.document)))])
    }
}
