import ControlIO
import KubernetesReconciler
import SiteModel
import Testing

/// One namespace as an API server keeps it, as far as plans need: apply, delete, statuses, made-up certificates.
struct ClusterInMemory {
    var objects: [ResourceKey: Resource] = [:]
    var settings = ClusterSettings(routerImage: "img", adaptorImage: "img", version: "2.3.0")
    var attached: [NamespaceSnapshot.Attached] = []
    var bindings: [Resource] = []
    var shared: [Resource] = []
    var gateway: Resource?
    var spoilt: Set<String> = []
    var grantURL = ""
    var denial = ""
    var now: Int64 = 1_764_000_000
    private var nextUID = 1

    init(_ items: String...) throws { for item in items { try add(item) } }

    /// Adds a resource, as YAML flow without the outer braces; creation times follow the order of adding.
    mutating func add(_ item: String) throws {
        let core = ["Secret", "Service", "Pod", "ConfigMap"].contains { item.hasPrefix("kind: \($0),") }
        let head = core ? "v1" : item.hasPrefix("kind: Deployment") ? "apps/v1" : "skupper.io/v2alpha1"
        for resource in try Resource.parseAll(yaml: "{apiVersion: \(head), \(item)}") { put(resource.document) }
    }

    mutating func put(_ document: Document) {
        guard var resource = try? Resource(document: document) else { return }
        resource.namespace = "ns"
        if resource.uid.isEmpty {
            resource.uid = "uid-\(nextUID)"
            resource.document.set(
                .string("2026-01-01T00:00:\(nextUID < 10 ? "0" : "")\(nextUID)Z"),
                at: ["metadata", "creationTimestamp"])
            nextUID += 1
        }
        if resource.generation == 0 { resource.generation = 1 }
        objects[resource.key] = resource
    }

    var snapshot: NamespaceSnapshot {
        NamespaceSnapshot(
            namespace: "ns", resources: Array(objects.values), attached: attached, bindings: bindings,
            shared: shared, gateway: gateway, spoiltSecrets: spoilt, grantURL: grantURL,
            grantAuthority: grantURL.isEmpty ? "" : "CA", denial: denial)
    }

    var plan: ReconcilePlan {
        NamespacePlanner.plan(snapshot, settings: settings, nowUnix: now) { "code-of-\($0.name)" }
    }

    /// Carries out one plan.
    mutating func carryOut(_ plan: ReconcilePlan) {
        for apply in plan.applies { merge(apply.object) }
        for order in plan.orders {
            guard var secret = (try? Resource(document: order.secret)).flatMap({ Secret($0) }) else { continue }
            secret.setValue("tls.crt", Array("\(order.commonName) \(order.hosts)".utf8))
            secret.setValue("tls.key", Array("key".utf8))
            secret.setValue("ca.crt", Array((order.issuer?.textValue("tls.crt") ?? order.commonName).utf8))
            merge(secret.resource.document)
        }
        for resource in plan.deletes { objects[resource.key] = nil }
        for resource in plan.statuses { objects[resource.key]?.document["status"] = resource.document["status"] }
    }

    private mutating func merge(_ document: Document) {
        guard let resource = try? Resource(document: document) else { return }
        guard var existing = objects[resource.key] else { return put(document) }
        for (field, value) in document.mapValue?.entries ?? [] where field != "metadata" {
            existing.document[field] = value
        }
        for part in ["labels", "annotations"] {
            for (key, value) in document.value(at: ["metadata", part])?.mapValue?.entries ?? [] {
                existing.document.set(value, at: ["metadata", part, key])
            }
        }
        if let owners = document.value(at: ["metadata", "ownerReferences"]) {
            existing.document.set(owners, at: ["metadata", "ownerReferences"])
        }
        objects[resource.key] = existing
    }

    /// Plans and carries out until nothing is left to do; fails if that takes more than ten rounds.
    mutating func settle(_ location: SourceLocation = #_sourceLocation) {
        for _ in 0..<10 {
            let plan = plan
            if plan.isEmpty { return }
            carryOut(plan)
        }
        let rest = plan
        Issue.record(
            "not settled: \(rest.applies.map(\.object)) \(rest.deletes.map(\.key)) \(rest.statuses.map(\.key))",
            sourceLocation: location)
    }

    // MARK: What the cluster's own parts do

    mutating func routerPod(_ group: String = "skupper-router", ready: Bool = true, fault: String = "") throws {
        try add(
            """
            kind: Pod, metadata: {name: \(group)-x, labels: {skupper.io/component: router, \
            skupper.io/group: \(group)}}, \
            status: {phase: Running, podIP: 10.0.0.9, conditions: [{type: Ready, \
            status: "\(ready ? "True" : "False")", \
            message: "\(fault)"}]}
            """)
    }

    mutating func pod(_ name: String, labels: String, ip: String, ready: Bool = true) throws {
        try add(
            """
            kind: Pod, metadata: {name: \(name), labels: {\(labels)}}, status: {phase: Running, podIP: \(ip), \
            conditions: [{type: Ready, status: "\(ready ? "True" : "False")"}]}
            """)
    }

    mutating func balancer(_ service: String, ip: String) {
        objects[ResourceKey(kind: "Service", name: service)]?.setStatus(
            [["ip": .string(ip)]], "loadBalancer", "ingress")
    }

    /// What the adaptor of the first router reports.
    mutating func report(_ json: String) { report(["router.skupper-router": .string(json)]) }

    /// What all adaptors report.
    mutating func report(_ data: Document) {
        put([
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "skupper-network-status"], "data": data,
        ])
    }

    // MARK: Looking

    func get(_ kind: String, _ name: String) -> Resource? { objects[ResourceKey(kind: kind, name: name)] }

    func summary(_ kind: String, _ name: String) -> String {
        guard let resource = get(kind, name) else { return "absent" }
        return "\(resource.statusWord) \(resource.statusMessage)"
    }

    func condition(_ kind: String, _ name: String, _ type: ConditionType) -> String {
        get(kind, name)?.condition(type).map { "\($0.reason) \($0.message)" } ?? "absent"
    }

    /// The router configuration's entities of a type, by name.
    func entities(_ type: String, group: String = "skupper-router") -> [String: Document] {
        let text = get("ConfigMap", group)?.document.value(at: ["data", "skrouterd.json"])?.stringValue ?? "[]"
        var result: [String: Document] = [:]
        for item in (try? JSON.parse(text))?.listValue ?? [] where item[0]?.stringValue == type {
            result[item[1]?["name"]?.scalarText ?? ""] = item[1]
        }
        return result
    }
}

enum Sample {
    static let site = "kind: Site, metadata: {name: west}, spec: {linkAccess: loadbalancer}"
    static let plainSite = "kind: Site, metadata: {name: east}"
    static let listener =
        "kind: Listener, metadata: {name: backend}, spec: {routingKey: backend, host: backend, port: 8080}"
    static let connector =
        "kind: Connector, metadata: {name: db}, spec: {routingKey: db, selector: app=db, port: 5432}"
    static let secret =
        "kind: Secret, metadata: {name: link-1}, type: kubernetes.io/tls, data: {"
        + "tls.crt: YQ==, tls.key: YQ==, ca.crt: YQ==}"
    static let link =
        "kind: Link, metadata: {name: link-1}, spec: {cost: 2, tlsCredentials: link-1, endpoints: ["
        + "{name: inter-router, host: 192.0.2.7, port: \"55671\"}, {name: edge, host: 192.0.2.7, port: \"45671\"}]}"
}
