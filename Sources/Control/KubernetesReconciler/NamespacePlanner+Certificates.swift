import ControlIO
import SiteModel
import SiteReconciler

/// Certificate resources and the Secrets that they ask for (sheet §4.7).
extension NamespacePlanner {
    mutating func planCertificates() {
        if servesSite, let site {
            let namespace = snapshot.namespace
            if issuer == SiteReconciler.siteIssuer {
                certificate(
                    SiteReconciler.siteIssuer, subject: "\(site.name) site CA", signing: true, owner: site.resource)
            }
            certificate("skupper-local-ca", subject: "skupper-local-ca", signing: true, owner: site.resource)
            certificate(
                SiteReconciler.localProfile, subject: "skupper-router-local", ca: "skupper-local-ca",
                hosts: [
                    "skupper-router-local", "skupper-router-local.\(namespace)",
                    "skupper-router-local.\(namespace).svc.cluster.local",
                ], owner: site.resource)
        }
        // One certificate serves all SecuredAccesses that name it, so it has the hosts of all.
        var hosts: [String: [String]] = [:]
        for access in securedAccesses where !access.certificate.isEmpty && faults[access.resource.key] == nil {
            hosts[access.certificate, default: []] += [access.name, "\(access.name).\(snapshot.namespace)"]
            hosts[access.certificate, default: []] += (endpoints[access.name] ?? []).map(\.host)
        }
        if hosts["skupper-grant-server"] != nil { hosts["skupper-grant-server", default: []] += settings.grantHosts }
        for access in securedAccesses {
            guard let names = hosts.removeValue(forKey: access.certificate) else { continue }
            if access.issuer == "skupper-grant-server-ca" {
                certificate(access.issuer, subject: "SkupperGrantServerCA", signing: true, owner: nil)
            }
            certificate(
                access.certificate, subject: access.name, ca: access.issuer.isEmpty ? issuer : access.issuer,
                hosts: names, owner: site?.resource ?? access.resource)
        }
        let made = Set(certificates.map(\.name))
        for resource in snapshot.objects("Certificate") where !made.contains(resource.name) && !resource.isControlled {
            if let certificate = Certificate(resource) { certificates.append(certificate) }
        }
        for certificate in certificates { order(certificate) }
    }

    private mutating func certificate(
        _ name: String, subject: String, ca: String = "", hosts: [String] = [], signing: Bool = false,
        owner: Resource?
    ) {
        // A Certificate that the user made is the user's.
        if let existing = snapshot.object("Certificate", name), !existing.isControlled {
            if let view = Certificate(existing) { certificates.append(view) }
            return
        }
        var object = object("skupper.io/v2alpha1", "Certificate", name, owner: owner)
        var spec: Document = ["subject": .string(subject)]
        if signing {
            // The schema wants an issuer for every one; a CA is its own.
            spec["signing"] = true
            spec["ca"] = .string(name)
        } else {
            spec["ca"] = .string(ca)
            spec["server"] = true
            spec["hosts"] = .list(Set(hosts).sorted().map { .string($0) })
        }
        object["spec"] = spec
        want(object)
        guard var resource = snapshot.object("Certificate", name) ?? (try? Resource(document: object)) else { return }
        resource.document["spec"] = spec
        certificates.append(Certificate(unchecked: resource))
    }

    private mutating func order(_ certificate: Certificate) {
        let key = certificate.resource.key
        let name = certificate.name
        guard !certificate.subject.isEmpty else {
            faults[key] = "subject is required"
            return
        }
        let hosts = Set(certificate.hosts).sorted()
        let marks = [
            Marks.certificate: name, Marks.hosts: hosts.joined(separator: ","),
            "internal.skupper.io/subject": certificate.subject,
        ]
        // The Secret goes with its Certificate, so that one has to be there first: it is in the next plan.
        guard !certificate.resource.uid.isEmpty else {
            waits[key] = "waiting for Secret \(name)"
            return
        }
        var object = object("v1", "Secret", name, annotations: marks, owner: certificate.resource)
        object["type"] = "kubernetes.io/tls"
        object = ObjectDifference.marked(object)
        var previous: Secret?
        if let secret = snapshot.object("Secret", name) {
            guard secret.isControlled else {
                // A CA or certificate that the user brought is used as it is.
                if isOwnCertificate(certificate) { return }
                faults[key] = "secret exists but is not controlled by skupper"
                return
            }
            desired.insert(secret.key)
            let isSame =
                marks.allSatisfy { secret.annotation($0.key) == $0.value }
                && Secret(secret)?.value("tls.crt")?.isEmpty == false
            if isSame, !snapshot.spoiltSecrets.contains(name), isOfPresentIssuer(secret, certificate) {
                relabel(secret, as: object)
                return
            }
            if isSame, certificate.signing { previous = Secret(secret) }
        }
        var issuerSecret: Secret?
        if !certificate.signing {
            guard let found = snapshot.object("Secret", certificate.ca).flatMap({ Secret($0) }),
                found.value("tls.crt") != nil, found.value("tls.key") != nil
            else {
                waits[key] = "waiting for CA Secret \(certificate.ca)"
                return
            }
            issuerSecret = found
        }
        desired.insert(ResourceKey(kind: "Secret", name: name))
        plan.orders.append(
            .init(
                name: name, commonName: certificate.subject, hosts: hosts, issuer: issuerSecret, previous: previous,
                secret: object))
        waits[key] = "waiting for Secret \(name)"
    }

    /// Gives a Secret the labels and annotations that are wanted now, and leaves the certificate as it is: in the
    /// version that was read, so that a newer one is not undone.
    private mutating func relabel(_ secret: Resource, as wanted: Document) {
        guard !ObjectDifference.isAsWanted(secret.document, wanted) else { return }
        var object = wanted
        object["data"] = secret.document["data"]
        object.set(
            secret.document.value(at: ["metadata", "resourceVersion"]), at: ["metadata", "resourceVersion"])
        plan.applies.append(.init(object: object, manager: ReconcilePlan.manager))
    }

    /// False when the CA has become another one: what the old one signed fits no token that the new one signs.
    private func isOfPresentIssuer(_ secret: Resource, _ certificate: Certificate) -> Bool {
        guard !certificate.signing, let issuer = snapshot.object("Secret", certificate.ca).flatMap({ Secret($0) }),
            let authority = issuer.textValue("tls.crt"), issuer.value("tls.key") != nil
        else { return true }
        return Secret(secret)?.textValue("ca.crt") == authority
    }

    private func isOwnCertificate(_ certificate: Certificate) -> Bool { certificate.resource.isControlled }
}
