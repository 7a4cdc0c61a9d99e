import ControlIO
import KubernetesAPI
import KubernetesReconciler
import LocalPlatform
import SiteModel
import SiteTrust

/// Carries a plan out against the API server. One object that cannot be written holds up no other; a server that does
/// not answer, or asks to be left alone, ends the plan, which is made anew later.
struct PlanWriter {
    let client: APIClient
    let cache: ObjectCache
    let namespace: String
    /// Asked before each write: whether this replica still leads and is not to end.
    let mayGoOn: () -> Bool
    /// Validity of certificates that are made, except for those of CAs, seconds.
    let lifetime: Int64
    /// What could not be done, with the object.
    private(set) var faults: [String] = []
    /// Something was written by somebody else meanwhile: usual, and to be planned anew.
    private(set) var isOutOfDate = false
    /// All that the plan asked for was done.
    var isComplete: Bool { faults.isEmpty && !isOutOfDate }
    /// Those of the faults that are missing permissions.
    private(set) var denials: [String] = []
    /// How long the server wants to be left alone, milliseconds.
    private(set) var pause = 0
    private var isOver = false

    init(
        client: APIClient, cache: ObjectCache, namespace: String, lifetime: Int64, mayGoOn: @escaping () -> Bool
    ) {
        self.client = client
        self.cache = cache
        self.namespace = namespace
        self.lifetime = lifetime
        self.mayGoOn = mayGoOn
    }

    mutating func carryOut(_ plan: ReconcilePlan) {
        for order in plan.orders { carryOut(order) }
        for apply in plan.applies {
            if apply.manager == ReconcilePlan.annotator {
                annotate(apply.object)
            } else {
                write(apply.object, manager: apply.manager)
            }
        }
        for resource in plan.deletes { delete(resource) }
        for resource in plan.statuses { writeStatus(resource) }
    }

    private var ends: Bool { isOver || !mayGoOn() }

    private mutating func failed(_ what: String, _ fault: APIFault) {
        if fault.isConflict {
            isOutOfDate = true
            return
        }
        faults.append("\(what): \(fault)")
        if fault.isForbidden { denials.append("\(fault)") }
        pause = max(pause, fault.retryAfterMilliseconds)
        switch fault {
        case .transport: isOver = true
        default: isOver = pause > 0
        }
    }

    private mutating func carryOut(_ order: ReconcilePlan.CertificateOrder) {
        if ends { return }
        do {
            let now = WallClock.now
            let pair: KeyedCertificate
            let authority: String
            if let issuer = order.issuer {
                authority = issuer.textValue("tls.crt") ?? ""
                pair = try CertificateAuthority.issue(
                    commonName: order.commonName, hosts: order.hosts,
                    by: KeyedCertificate(certificatePEM: authority, keyPEM: issuer.textValue("tls.key") ?? ""),
                    nowUnix: now, validitySeconds: lifetime)
            } else {
                let previous = order.previous.map {
                    KeyedCertificate(
                        certificatePEM: $0.textValue("tls.crt") ?? "", keyPEM: $0.textValue("tls.key") ?? "")
                }
                pair = try CertificateAuthority.makeAuthority(
                    commonName: order.commonName, nowUnix: now, renewing: previous)
                authority = pair.certificatePEM
            }
            guard var secret = (try? Resource(document: order.secret)).flatMap({ Secret($0) }) else { return }
            secret.setValue("tls.crt", Array(pair.certificatePEM.utf8))
            secret.setValue("tls.key", Array(pair.keyPEM.utf8))
            secret.setValue("ca.crt", Array(authority.utf8))
            write(secret.resource.document, manager: ReconcilePlan.manager)
        } catch {
            faults.append("certificate \(order.name): \(error)")
        }
    }

    private mutating func write(_ object: Document, manager: String) {
        if ends { return }
        guard let kind = object["kind"]?.stringValue, let resource = WatchedKinds.resource(kind),
            let name = object.value(at: ["metadata", "name"])?.stringValue
        else { return }
        do {
            // Apply would take over what came since the watches last spoke: somebody else's Service, or a CA that
            // another replica has just made.
            if cache.get(kind, name, in: namespace) == nil,
                let found = try client.getIfExists(resource, namespace: namespace, name: name)
            {
                cache.put(resource.completed(found))
                isOutOfDate = true
                return
            }
            let stored = try client.apply(resource, namespace: namespace, object, fieldManager: manager)
            cache.put(resource.completed(stored))
        } catch {
            failed("\(kind) \(name)", error)
        }
    }

    /// Annotates an object of somebody else's. Apply would make an empty one where there is none any more.
    private mutating func annotate(_ object: Document) {
        if ends { return }
        guard let kind = object["kind"]?.stringValue, let resource = WatchedKinds.resource(kind),
            let name = object.value(at: ["metadata", "name"])?.stringValue
        else { return }
        do {
            let stored = try client.merge(
                resource, namespace: namespace, name: name, object, fieldManager: ReconcilePlan.annotator)
            cache.put(resource.completed(stored))
        } catch {
            // Gone meanwhile, or another one of that name (its uid is another): the watch will tell.
            if error.isNotFound || error.status == 422 {
                isOutOfDate = true
            } else {
                failed("\(kind) \(name)", error)
            }
        }
    }

    private mutating func delete(_ object: Resource) {
        if ends { return }
        guard let resource = WatchedKinds.resource(object.kind) else { return }
        do {
            try client.delete(resource, namespace: namespace, name: object.name, uid: object.uid)
            cache.remove(object.document)
        } catch {
            // Another one of that name has taken its place; the watch will tell.
            failed("\(object.key)", error)
        }
    }

    private mutating func writeStatus(_ object: Resource) {
        if ends { return }
        guard let resource = WatchedKinds.resource(object.kind) else { return }
        do {
            let stored = try client.update(
                resource, namespace: namespace, object.document, subresource: "status",
                fieldManager: ReconcilePlan.manager)
            cache.put(resource.completed(stored))
        } catch {
            // Gone meanwhile: the watch will tell.
            if !error.isNotFound { failed("status of \(object.key)", error) }
        }
    }
}
