import ControlIO
import RouterConfig
import SiteModel
import SiteReconciler

/// Router configurations, in a ConfigMap for each router, and what runs them (sheet §4.2, §4.3).
extension NamespacePlanner {
    /// Folder of the TLS profiles in the pod.
    static let certificateFolder = "/etc/skupper-router-certs"

    /// What the routers of the site are configured with; nil without a Site that can be served.
    mutating func planRouters(ports: [String: Int]) -> Reconciliation? {
        guard servesSite, let site else { return nil }
        let usable = usableResources(site)
        var generations = TLSGenerations(snapshot.object("ConfigMap", "skupper-router"))
        let podsByListener = remotePods()
        let needs = SiteReconciler.profileNeeds(usable + attachedConnectors().map(\.resource))
        let profiles = profileFiles(needs, site: site, generations: &generations)
        var result: Reconciliation?
        for (index, group) in groups.enumerated() {
            let cluster = ClusterState(
                servicePorts: ports, pods: selectedPods(), attached: attachedByName(),
                remotePods: podsByListener.reduce(into: [:]) { result, item in
                    result[item.key] = item.value.filter {
                        ports[ClusterState.portKey(listener: item.key, pod: $0)] != nil
                    }
                },
                peerHost: index == 0 ? nil : "skupper-router")
            let host = HostState(
                namespace: snapshot.namespace, siteID: site.uid, routerIDSuffix: "${HOSTNAME}",
                version: settings.version, certificateFolder: NamespacePlanner.certificateFolder, profiles: profiles,
                activeSite: site.name, cluster: cluster, faults: faults.merging(waits) { fault, _ in fault })
            do {
                let made = try SiteReconciler.reconcile(usable, host: host)
                if index == 0 { result = made }
                wantConfiguration(made.configuration, group: group, site: site, generations: generations)
            } catch {
                siteFault = "\(error)"
                faults[site.resource.key] = siteFault
                return nil
            }
        }
        annotateSecrets(needs, generations: generations)
        renderSite(site)
        return result
    }

    /// Skupper's resources that make router entities, and the Secrets they may name.
    private func usableResources(_ site: Site) -> [Resource] {
        let kinds: Set<ResourceKind> = [
            .link, .listener, .connector, .multiKeyListener, .secret, .attachedConnectorBinding,
        ]
        let others = snapshot.resources.filter { resource in
            guard let kind = resource.knownKind, !resource.isGoing else { return false }
            return kinds.contains(kind)
        }
        return [site.resource] + routerAccesses.map(\.resource) + others
    }

    // MARK: Pods

    /// Usable pods of every Connector and every binding.
    func selectedPods() -> [ResourceKey: [ClusterState.Pod]] {
        var result: [ResourceKey: [ClusterState.Pod]] = [:]
        let pods = snapshot.objects("Pod")
        for connector in snapshot.resources.compactMap(Connector.init) where connector.host.isEmpty {
            result[connector.resource.key] = NamespacePlanner.pods(
                pods, selector: connector.selector, includeNotReady: connector.includeNotReadyPods)
        }
        for binding in snapshot.objects("AttachedConnectorBinding") {
            guard let pair = pair(of: binding) else { continue }
            result[binding.key] = NamespacePlanner.pods(
                pair.pods, selector: pair.connector.spec("selector")?.scalarText ?? "",
                includeNotReady: pair.connector.spec("includeNotReadyPods")?.boolValue ?? false)
        }
        return result
    }

    static func pods(_ pods: [Resource], selector: String, includeNotReady: Bool) -> [ClusterState.Pod] {
        guard let selector = PodSelector(selector) else { return [] }
        return pods.filter { selector.matches($0.labels) }.map(PodView.init)
            .filter { $0.isUsable(includeNotReady: includeNotReady) }
            .map { ClusterState.Pod(name: $0.resource.name, address: $0.address, uid: $0.resource.uid) }
    }

    /// The AttachedConnector that agrees with a binding (sheet §1.13).
    func pair(of binding: Resource) -> NamespaceSnapshot.Attached? {
        guard settings.isClusterScoped else { return nil }
        return snapshot.attached.first {
            $0.connector.name == binding.name
                && $0.connector.namespace == binding.spec("connectorNamespace")?.scalarText
                && $0.connector.spec("siteNamespace")?.scalarText == snapshot.namespace
        }
    }

    private func attachedByName() -> [String: Resource] {
        var result: [String: Resource] = [:]
        for binding in snapshot.objects("AttachedConnectorBinding") {
            if let pair = pair(of: binding) { result[binding.name] = pair.connector }
        }
        return result
    }

    private func attachedConnectors() -> [Connector] {
        snapshot.objects("AttachedConnectorBinding").compactMap { binding in
            pair(of: binding).map { SiteReconciler.connector(of: binding, attached: $0.connector) }
        }
    }

    // MARK: TLS

    private func profileFiles(
        _ needs: [ProfileNeed], site: Site, generations: inout TLSGenerations
    ) -> [String: ProfileFiles] {
        var result: [String: ProfileFiles] = [:]
        for need in needs {
            if snapshot.object("Secret", need.secretName) == nil {
                let known = generations.known[need.secretName]
                let isOrdered = certificates.contains { $0.name == need.secretName && faults[$0.resource.key] == nil }
                // A Secret that was deleted and is being made anew takes nothing away from a running router. Before
                // the first one is there only the local profile is named: the pod waits for it.
                guard need.purpose == .local || known != nil && isOrdered else { continue }
                let ordinal = known?.ordinal ?? 0
                result[need.profile] = ProfileFiles(
                    hasKeyPair: true, hasAuthority: true, ordinal: ordinal,
                    oldestValidOrdinal: oldestValid(ordinal, secret: nil, site: site))
                continue
            }
            guard let secret = snapshot.object("Secret", need.secretName).flatMap({ Secret($0) }) else { continue }
            let ordinal = generations.ordinal(of: secret)
            result[need.profile] = ProfileFiles(
                hasKeyPair: secret.value("tls.crt")?.isEmpty == false && secret.value("tls.key")?.isEmpty == false,
                hasAuthority: secret.value("ca.crt")?.isEmpty == false, ordinal: ordinal,
                oldestValidOrdinal: oldestValid(ordinal, secret: secret, site: site))
        }
        return result
    }

    /// The oldest generation whose connections stay: as many before the present one as the Secret or the Site say.
    private func oldestValid(_ ordinal: Int64, secret: Secret?, site: Site) -> Int64 {
        let prior =
            secret?.resource.annotation(Marks.priorRevisions).flatMap { Int64($0) }
            ?? site.resource.settings["tls-prior-valid-revisions"].flatMap { Int64($0) } ?? 2
        return max(0, ordinal - max(0, prior))
    }

    /// Tells the adaptors which profiles a Secret is for and which generation it is (sheet §4.8).
    private mutating func annotateSecrets(_ needs: [ProfileNeed], generations: TLSGenerations) {
        for (name, group) in Dictionary(grouping: needs, by: \.secretName).sorted(by: { $0.key < $1.key }) {
            guard let secret = snapshot.object("Secret", name).flatMap({ Secret($0) }) else { continue }
            let ordinal = generations.known[name]?.ordinal ?? 1
            let items = group.map(\.profile).sorted().map { profile -> Document in
                ["profileName": .string(profile), "ordinal": .int(ordinal)]
            }
            let text = JSON.emit(.list(items), pretty: false, sortedKeys: true)
            guard secret.resource.annotation(Marks.profileContext) != text else { continue }
            plan.applies.append(
                .init(
                    object: [
                        "apiVersion": "v1", "kind": "Secret",
                        "metadata": [
                            "name": .string(name), "namespace": .string(snapshot.namespace),
                            "uid": .string(secret.resource.uid), "annotations": [Marks.profileContext: .string(text)],
                        ],
                    ], manager: ReconcilePlan.annotator))
        }
    }

    private mutating func wantConfiguration(
        _ configuration: RouterConfiguration, group: String, site: Site, generations: TLSGenerations
    ) {
        var map = object(
            "v1", "ConfigMap", group, labels: [Marks.routerConfig: "true"],
            annotations: [Marks.generations: generations.text], owner: site.resource)
        map["data"] = ["skrouterd.json": .string(configuration.renderJSON())]
        want(map)
    }
}

/// Which generation the files of each TLS Secret are; remembered in an annotation of the router's ConfigMap, so that
/// a controller which was restarted goes on counting.
struct TLSGenerations: Hashable {
    struct Generation: Hashable {
        var ordinal: Int64
        var digest: String
    }

    private(set) var known: [String: Generation] = [:]

    init(_ map: Resource?) {
        guard let text = map?.annotation(Marks.generations), let document = try? JSON.parse(text) else { return }
        for (name, node) in document.mapValue?.entries ?? [] {
            guard let ordinal = node[0]?.intValue, let digest = node[1]?.stringValue else { continue }
            known[name] = Generation(ordinal: ordinal, digest: digest)
        }
    }

    /// The generation of a Secret as it is now: one more than before if its certificates have changed.
    mutating func ordinal(of secret: Secret) -> Int64 {
        let digest = Digest.text((secret.textValue("tls.crt") ?? "") + (secret.textValue("ca.crt") ?? ""))
        var generation = known[secret.name] ?? Generation(ordinal: 1, digest: digest)
        if generation.digest != digest { generation = Generation(ordinal: generation.ordinal + 1, digest: digest) }
        known[secret.name] = generation
        return generation.ordinal
    }

    var text: String {
        let pairs = known.sorted { $0.key < $1.key }.map { name, generation -> (String, Document) in
            (name, [.int(generation.ordinal), .string(generation.digest)])
        }
        return JSON.emit(.map(DocumentMap(pairs)), pretty: false, sortedKeys: true)
    }
}
