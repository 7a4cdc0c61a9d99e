import ControlIO
import KubernetesAPI
import KubernetesReconciler
import LocalPlatform
import SiteModel
import SiteTrust

/// Carries a plan out against the API server. One object that cannot be written holds up no other.
struct PlanWriter {
    let client: APIClient
    let cache: ObjectCache
    let namespace: String
    /// What could not be done, with the object; empty if all was.
    private(set) var faults: [String] = []

    init(client: APIClient, cache: ObjectCache, namespace: String) {
        self.client = client
        self.cache = cache
        self.namespace = namespace
    }

    mutating func carryOut(_ plan: ReconcilePlan) {
        for order in plan.orders { carryOut(order) }
        for apply in plan.applies { write(apply.object, manager: apply.manager) }
        for resource in plan.deletes { delete(resource) }
        for resource in plan.statuses { writeStatus(resource) }
    }

    private mutating func carryOut(_ order: ReconcilePlan.CertificateOrder) {
        do {
            let now = WallClock.now
            let pair: KeyedCertificate
            let authority: String
            if let issuer = order.issuer {
                authority = issuer.textValue("tls.crt") ?? ""
                pair = try CertificateAuthority.issue(
                    commonName: order.commonName, hosts: order.hosts,
                    by: KeyedCertificate(certificatePEM: authority, keyPEM: issuer.textValue("tls.key") ?? ""),
                    nowUnix: now)
            } else {
                pair = try CertificateAuthority.makeAuthority(commonName: order.commonName, nowUnix: now)
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
        guard let kind = object["kind"]?.stringValue, let resource = WatchedKinds.resource(kind) else { return }
        do {
            let stored = try client.apply(resource, namespace: namespace, object, fieldManager: manager)
            cache.put(resource.completed(stored))
        } catch {
            let name = object.value(at: ["metadata", "name"])?.stringValue ?? ""
            faults.append("\(kind) \(name): \(error)")
        }
    }

    private mutating func delete(_ object: Resource) {
        guard let resource = WatchedKinds.resource(object.kind) else { return }
        do {
            try client.delete(resource, namespace: namespace, name: object.name, uid: object.uid)
            cache.remove(object.document)
        } catch {
            // Another one of that name has taken its place; the watch will tell.
            if !error.isConflict { faults.append("\(object.key): \(error)") }
        }
    }

    private mutating func writeStatus(_ object: Resource) {
        guard let resource = WatchedKinds.resource(object.kind) else { return }
        do {
            let stored = try client.update(
                resource, namespace: namespace, object.document, subresource: "status",
                fieldManager: ReconcilePlan.manager)
            cache.put(resource.completed(stored))
        } catch {
            // Gone meanwhile: the watch will tell.
            if !error.isNotFound { faults.append("status of \(object.key): \(error)") }
        }
    }
}
