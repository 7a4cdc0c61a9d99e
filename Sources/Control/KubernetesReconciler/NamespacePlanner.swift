import ControlIO
import RouterConfig
import SiteModel
import SiteReconciler

/// Makes the plan of one namespace: what its resources ask for, compared with what there is (sheet §4).
///
/// Pure: the same snapshot gives the same plan, and the plan of what a plan made is empty.
package struct NamespacePlanner {
    let snapshot: NamespaceSnapshot
    let settings: ClusterSettings
    let now: Int64
    let makeCode: (ResourceKey) -> String

    /// The Site in force, if there is one.
    let site: Site?
    /// What the routers report of themselves, and of the network.
    let observation: RouterObservation
    let network: NetworkStatus?
    /// Templates of labels and annotations for generated objects.
    let templates: [LabelTemplate]
    /// Why that Site cannot be served, "" if it can.
    var siteFault = ""
    var plan = ReconcilePlan()
    /// Generated objects that are wanted.
    var desired: Set<ResourceKey> = []
    /// Resources that cannot be configured here, and why.
    var faults: [ResourceKey: String] = [:]
    /// As `faults`, for what is only waited for.
    var waits: [ResourceKey: String] = [:]
    /// Listeners of which the Service is not there yet. Routers listen for them all the same.
    var serviceWaits: [ResourceKey: String] = [:]
    /// RouterAccesses, with the default one as it is to be.
    var routerAccesses: [RouterAccess] = []
    /// SecuredAccesses as they are to be.
    var securedAccesses: [SecuredAccess] = []
    /// Where each SecuredAccess is reached; absent while it is not.
    var endpoints: [String: [Endpoint]] = [:]
    /// Certificates as they are to be.
    var certificates: [Certificate] = []

    private init(
        snapshot: NamespaceSnapshot, settings: ClusterSettings, now: Int64,
        makeCode: @escaping (ResourceKey) -> String
    ) {
        self.snapshot = snapshot
        self.settings = settings
        self.now = now
        self.makeCode = makeCode
        let site = NamespacePlanner.activeSite(snapshot)
        self.site = site
        let report = NamespacePlanner.report(snapshot, site: site)
        observation = report.observation
        network = report.network
        let own = snapshot.objects("ConfigMap").filter { $0.label(LabelTemplate.mark) != nil }
        let shared = snapshot.shared.filter { $0.label(LabelTemplate.mark) != nil }
        templates = (own + shared).map(LabelTemplate.init)
    }

    /// The plan of a namespace.
    /// - Parameters:
    ///   - nowUnix: for the times in statuses.
    ///   - makeCode: a new random code for an AccessGrant.
    package static func plan(
        _ snapshot: NamespaceSnapshot, settings: ClusterSettings, nowUnix: Int64,
        makeCode: @escaping (ResourceKey) -> String
    ) -> ReconcilePlan {
        var planner = NamespacePlanner(
            snapshot: snapshot, settings: settings, now: nowUnix, makeCode: makeCode)
        planner.run()
        return planner.plan
    }

    /// The Site that has the router already, else the oldest.
    static func activeSite(_ snapshot: NamespaceSnapshot) -> Site? {
        let sites = snapshot.resources.compactMap(Site.init).filter { !$0.resource.isGoing }
        let owned = snapshot.object("ConfigMap", groups(ha: false)[0])
        if let owned, let site = sites.first(where: { !$0.uid.isEmpty && owned.isOwned(by: $0.uid) }) { return site }
        return sites.min { ($0.resource.created, $0.name) < ($1.resource.created, $1.name) }
    }

    /// Names of the routers of a site, which name their Deployments and ConfigMaps.
    static func groups(ha: Bool) -> [String] { ha ? ["skupper-router", "skupper-router-2"] : ["skupper-router"] }

    var groups: [String] { NamespacePlanner.groups(ha: site?.ha ?? false) }

    private mutating func run() {
        plan.notes += templates.compactMap(\.fault)
        checkSite()
        planAccess()
        planCertificates()
        let services = planServices()
        let reconciliations = planRouters(ports: services)
        planStatuses(reconciliations)
        planTokens()
        planDeletes()
        for endpoint in linkEndpoints() { plan.linkEndpoints.append(endpoint) }
        plan.issuerName = issuer
    }

    /// The CA of the site.
    var issuer: String {
        guard let name = site?.defaultIssuer, !name.isEmpty else { return SiteReconciler.siteIssuer }
        return name
    }

    private mutating func checkSite() {
        guard let site else { return }
        var texts = ResourceValidation.validate(site.resource, onCluster: true)
        if site.acceptsLinks, settings.accessType(site.linkAccess) == nil {
            texts.append("Unsupported value for LinkAccess: \(site.linkAccess)")
        }
        for group in groups {
            for kind in ["ConfigMap", "Deployment"] where isForeign(kind, group) {
                texts.append("\(kind) \(group) already exists in namespace and is not controlled by skupper")
            }
        }
        siteFault = texts.joined(separator: "; ")
        if !siteFault.isEmpty { faults[site.resource.key] = siteFault }
    }

    /// Whether the Site, as it is, is to have a router.
    var servesSite: Bool { site != nil && siteFault.isEmpty }

    // MARK: Objects

    /// Whether an object of this name belongs to somebody else.
    func isForeign(_ kind: String, _ name: String) -> Bool {
        guard let object = snapshot.object(kind, name) else { return false }
        if object.isControlled { return false }
        return !(site.map { !$0.uid.isEmpty && object.isOwned(by: $0.uid) } ?? false)
    }

    /// Puts an object into the plan unless it is there as wanted.
    mutating func want(_ object: Document) {
        guard let kind = object["kind"]?.stringValue,
            let name = object.value(at: ["metadata", "name"])?.stringValue
        else { return }
        desired.insert(ResourceKey(kind: kind, name: name))
        let marked = ObjectDifference.marked(object)
        if let existing = snapshot.object(kind, name), ObjectDifference.isAsWanted(existing.document, marked) { return }
        plan.applies.append(.init(object: marked, manager: ReconcilePlan.manager))
    }

    /// The head of a generated object.
    func object(
        _ apiVersion: String, _ kind: String, _ name: String, labels: [String: String] = [:],
        annotations: [String: String] = [:], owner: Resource?
    ) -> Document {
        // What the user's templates say counts, except for labels and annotations of Skupper's own.
        var (labels, marks) = (labels, annotations)
        for template in templates where template.matches(kind: kind, name: name, labels: labels) {
            labels.merge(template.labels.filter { !$0.key.contains("skupper.io/") || labels[$0.key] == nil }) { $1 }
            marks.merge(template.annotations.filter { !$0.key.contains("skupper.io/") || marks[$0.key] == nil }) { $1 }
        }
        marks[Marks.controlled] = "true"
        var metadata: Document = [
            "name": .string(name), "namespace": .string(snapshot.namespace), "annotations": Document(texts: marks),
        ]
        if !labels.isEmpty { metadata["labels"] = Document(texts: labels) }
        if let owner, !owner.uid.isEmpty {
            metadata["ownerReferences"] = [
                [
                    "apiVersion": .string(owner.apiVersion), "kind": .string(owner.kind), "name": .string(owner.name),
                    "uid": .string(owner.uid),
                ]
            ]
        }
        return ["apiVersion": .string(apiVersion), "kind": .string(kind), "metadata": metadata]
    }

    // MARK: Deletion

    /// Kinds of which generated objects are removed when nothing wants them any more. Owner references would do the
    /// same when the owner goes; this also covers what a live owner no longer asks for.
    private static let generatedKinds = [
        "Deployment", "ConfigMap", "Service", "Route", "Ingress", "HTTPProxy", "TLSRoute", "Gateway", "SecuredAccess",
        "RouterAccess",
        "Certificate", "Secret", "RoleBinding", "Role", "ServiceAccount",
    ]

    private mutating func planDeletes() {
        // A Site that cannot be served now keeps what it had: a wrong field must not stop traffic.
        if site != nil, !siteFault.isEmpty { return }
        for kind in NamespacePlanner.generatedKinds {
            for object in snapshot.objects(kind) where object.isControlled && !object.isGoing {
                if desired.contains(object.key) { continue }
                // Other generated ConfigMaps and Secrets are not from here.
                if kind == "ConfigMap", object.label(Marks.routerConfig) == nil { continue }
                if kind == "Secret", object.annotation(Marks.certificate) == nil { continue }
                plan.deletes.append(object)
            }
        }
    }
}

extension Resource {
    /// `metadata.creationTimestamp`; RFC 3339, so that texts order as times do.
    var created: String { document.value(at: ["metadata", "creationTimestamp"])?.scalarText ?? "" }
}

extension Document {
    /// A map of texts with sorted keys.
    init(texts: [String: String]) {
        self = .map(DocumentMap(texts.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
    }
}
