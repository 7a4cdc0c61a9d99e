import ControlIO
import Glibc
import HTTPServer
import KubernetesAPI
import KubernetesReconciler
import LocalPlatform
import SiteModel
import SiteTrust
import Threading

/// The controller on a cluster: watches, plans each namespace that changed, and carries plans out while it leads.
///
/// Threads: the watcher's puts objects into the cache and namespaces into the queue; one worker plans and writes; the
/// elector's says who leads; the grant server's and the redemptions' have clients of their own.
package final class ClusterController: Sendable {
    private struct State {
        var missing: Set<String> = []
        var troubles: [String: String] = [:]
        var isLeader = false
        var lastFaults: [String: String] = [:]
        /// What the controller may not write, by namespace.
        var denials: [String: String] = [:]
        var isStopping = false
    }

    /// The longest wait before a namespace whose plan failed is looked at again, milliseconds. A permission that is
    /// given at last makes no event.
    private static let longestWait = 60_000
    /// The longest wait until a namespace's certificates are looked at again, seconds: clocks may be set meanwhile.
    private static let longestRenewalWait: Int64 = 86_400

    private let access: ClusterAccess
    private let environment: ControllerEnvironment
    private let log: ControllerLog
    private let cache = ObjectCache()
    private let queue = SharedWorkQueue<String>(
        WorkQueue(backOff: BackOff(first: 250, limit: ClusterController.longestWait)))
    private let state = Locked(State())
    private let grants: ClusterGrants
    private let redemptions: TokenRedemptions

    /// A controller for the cluster that `access` leads to.
    package init(_ access: ClusterAccess, environment: ControllerEnvironment, log: ControllerLog) throws(APIFault) {
        self.access = access
        var environment = environment
        environment.settings.availableGroups = ClusterController.groups(access)
        self.environment = environment
        self.log = log
        let (cache, queue) = (cache, queue)
        grants = ClusterGrants(try APIClient(access), log: log) { stored in
            if let resource = WatchedKinds.resource("AccessGrant") { cache.put(resource.completed(stored)) }
            queue.add(stored.value(at: ["metadata", "namespace"])?.stringValue ?? "")
        }
        redemptions = TokenRedemptions(access, cache: cache, log: log) { namespace, pause in
            queue.add(namespace, afterMilliseconds: pause)
        }
    }

    /// The API groups that the cluster has; empty when it does not say: then each kind is tried.
    private static func groups(_ access: ClusterAccess) -> Set<String> {
        var request = APIRequest(.get, ["apis"])
        request.timeoutMilliseconds = 5_000
        request.attempts = 1
        guard let client = try? APIClient(access), let list = try? client.object(request) else { return [] }
        return Set((list["groups"]?.listValue ?? []).compactMap { $0["name"]?.stringValue })
    }

    /// Runs until a signal says stop.
    package func run(signals: ControllerSignals) throws {
        let health = try HTTPServer(host: environment.healthHost, port: environment.healthPort, tls: nil) { [self] in
            healthAnswer($0)
        }
        defer { health.stop() }
        let watcher = try ClusterWatcher(access)
        watch(with: watcher)
        guard watcher.start() else { throw ControllerFault("no thread can be started for the watches") }
        defer { watcher.stop() }
        let elector = LeaderElector(
            try APIClient(access), namespace: environment.namespace, name: "skupper-controller",
            identity: environment.identity
        ) { [self] in changed($0) }
        guard elector.start() else { throw ControllerFault("no thread can be started for the election of a leader") }
        let worker = Worker<Bool> { [self] in work() }
        log.note(
            "controller of \(environment.watchedNamespace.map { "namespace \($0)" } ?? "all namespaces") at "
                + access.server)
        var waiting = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
        while true {
            _ = poll(&waiting, 1, -1)
            if signals.take().isStop { break }
        }
        log.note("stopping")
        state.withLock { $0.isStopping = true }
        grants.stop()
        queue.stop()
        while worker.take() == nil { usleep(10_000) }
        elector.stop()
    }

    private func healthAnswer(_ request: HTTPRequest) -> HTTPResponse {
        // What cannot be read for want of a right, or of a server, is no reason to restart: only `livez` is.
        if request.path == "/livez" { return .text("ok\n") }
        guard request.path == "/healthz" else { return .text("not found\n", status: 404) }
        let waits = state.withLock { state in
            state.missing.sorted().map { name in state.troubles[name].map { "\(name) (\($0))" } ?? name }
        }
        return waits.isEmpty ? .text("ok\n") : .text("waiting for \(waits.joined(separator: ", "))\n", status: 503)
    }

    // MARK: Watching

    private func watch(with watcher: ClusterWatcher) {
        let orders = WatchedKinds.all(environment.settings)
        state.withLock { $0.missing = Set(orders.map(\.name)) }
        for order in orders {
            let namespace = order.isOwn ? environment.namespace : environment.watchedNamespace
            watcher.add(order.kind, namespace: namespace, labels: order.labels, fields: order.fields) { [self] in
                delivered($0, order)
            }
        }
    }

    private func delivered(_ delivery: WatchDelivery, _ order: WatchedKinds.Order) {
        let kind = order.kind
        switch delivery {
        case .changed(let object):
            let object = kind.completed(object)
            if cache.put(object) { touch(object, kind: kind) }
        case .removed(let object):
            let object = kind.completed(object)
            let wasOurs = kind.group == "skupper.io"
            cache.remove(object, isGone: true)
            if wasOurs, let name = object.value(at: ["metadata", "namespace"])?.stringValue { queue.add(name) }
            touch(object, kind: kind)
        case .synced: arrived(order)
        case .troubled(let fault):
            // Clusters whose definitions are older lack this kind.
            if fault.isNotFound, WatchedKinds.optional.contains(kind.kind) { arrived(order) }
            let text = "\(fault)"
            let isNew = state.withLock { state in
                defer { state.troubles[order.name] = text }
                return state.troubles[order.name] != text
            }
            if isNew { log.warn("watch of \(order.name): \(text)") }
        case .recovered:
            let isQuiet = state.withLock { state in
                state.troubles[order.name] = nil
                return state.troubles.isEmpty && state.missing.isEmpty
            }
            // Plans that failed meanwhile need not wait for their time.
            if isQuiet { lookAtAll() }
        }
    }

    private func arrived(_ order: WatchedKinds.Order) {
        let isComplete = state.withLock { state in
            state.missing.remove(order.name) != nil && state.missing.isEmpty
        }
        guard isComplete else { return }
        grants.expect(Set(cache.names.filter { cache.isOurs($0) && isControlled($0) }))
        lookAtAll()
    }

    private func lookAtAll() {
        for name in cache.names where cache.isOurs(name) || name == environment.namespace { queue.add(name) }
        queue.add(environment.namespace)
    }

    /// Queues the namespaces that an object has to do with.
    private func touch(_ object: Document, kind: APIResource) {
        guard let resource = try? Resource(document: object) else { return }
        let name = resource.namespace
        if cache.isOurs(name) || name == environment.namespace { queue.add(name) }
        switch resource.kind {
        case "AttachedConnector": queue.add(resource.spec("siteNamespace")?.scalarText ?? name)
        case "AttachedConnectorBinding":
            queue.add(resource.spec("connectorNamespace")?.scalarText ?? name)
            // Those that it does not allow say so.
            for connector in cache.attaching("AttachedConnector")
            where connector.name == resource.name && connector.spec("siteNamespace")?.scalarText == name {
                queue.add(connector.namespace)
            }
        case "Pod":
            for connector in cache.attaching("AttachedConnector") where connector.namespace == name {
                queue.add(connector.spec("siteNamespace")?.scalarText ?? name)
            }
        case "ConfigMap" where name == environment.namespace:
            if resource.name == WatchedKinds.logConfig { setLogLevel() }
            let labels = resource.document.value(at: ["metadata", "labels"])
            if WatchedKinds.sharedMarks.contains(where: { labels?[$0] != nil }) { lookAtAll() }
        case "Gateway": lookAtAll()
        case "SecuredAccess", "Secret", "Service":
            // The grant server's address is in the status of every grant.
            if resource.name == "skupper-grant-server", name == environment.namespace { lookAtAll() }
        default: break
        }
    }

    /// The level that the ConfigMap in the controller's namespace names; `info` without one.
    private func setLogLevel() {
        let map = cache.get("ConfigMap", WatchedKinds.logConfig, in: environment.namespace)
        let text = map?.document.value(at: ["data", "CONTROLLER_LOG_LEVEL"])?.scalarText?.lowercased() ?? "info"
        let level = ControllerLog.Level(rawValue: text) ?? .info
        guard level != log.level else { return }
        log.level = level
        log.note("log level \(level.rawValue)")
    }

    // MARK: Leading

    private func changed(_ change: LeaderElector.Change) {
        switch change {
        case .lead:
            log.note("this replica leads")
            state.withLock { $0.isLeader = true }
            lookAtAll()
        case .resign(let why):
            log.note("this replica no longer leads: \(why)")
            state.withLock { $0.isLeader = false }
        case .follow(let holder): log.note("\(holder) leads; this replica stands by")
        case .troubled(let fault): log.warn("election of a leader: \(fault)")
        }
    }

    // MARK: Working

    private func work() -> Bool {
        guard let client = try? APIClient(access) else {
            log.warn("no client for the API server can be made")
            return false
        }
        while let namespace = queue.take() {
            guard state.withLock({ $0.missing.isEmpty }) else {
                queue.done(namespace)
                continue
            }
            switch reconcile(namespace, client: client) {
            case .done: queue.done(namespace)
            case .failed(let pause) where pause > 0:
                queue.done(namespace)
                queue.add(namespace, afterMilliseconds: pause)
            case .failed: queue.retry(namespace)
            }
        }
        return true
    }

    private enum Outcome {
        case done
        /// To be done again, if the server asked for a pause after that, milliseconds.
        case failed(pause: Int)
    }

    /// Plans a namespace and carries the plan out.
    private func reconcile(_ namespace: String, client: APIClient) -> Outcome {
        guard isControlled(namespace) else {
            grants.update(namespace, grants: [], issuing: nil)
            return .done
        }
        let (snapshot, renewal) = snapshot(namespace)
        let plan = NamespacePlanner.plan(snapshot, settings: environment.settings, nowUnix: WallClock.now) { _ in
            (try? RandomValues.code()) ?? ""
        }
        serveGrants(snapshot, plan: plan)
        let mayWrite = { [state] in state.withLock { $0.isLeader && !$0.isStopping } }
        guard mayWrite() else { return .done }
        var writer = PlanWriter(
            client: client, cache: cache, namespace: namespace, lifetime: environment.certificateLifetime,
            mayGoOn: mayWrite)
        writer.carryOut(plan)
        report(writer.faults, notes: plan.notes, in: namespace)
        log.debug(
            "namespace \(namespace): \(plan.applies.count) to apply, \(plan.orders.count) certificates, "
                + "\(plan.deletes.count) to delete, \(plan.statuses.count) statuses, \(writer.faults.count) faults")
        if let site = snapshot.objects("Site").compactMap(Site.init).first(where: { !$0.uid.isEmpty }) {
            let pause = redemptions.start(plan.redemptions, namespace: namespace, site: site)
            if let pause { queue.add(namespace, afterMilliseconds: pause) }
        }
        // What was written went into the cache; the plan of that has to be looked at as well.
        if !plan.isEmpty, writer.isComplete { queue.add(namespace) }
        if let renewal { queue.add(namespace, afterMilliseconds: renewal) }
        note(writer.denials, in: namespace)
        return writer.isComplete ? .done : .failed(pause: min(writer.pause, ClusterController.longestWait))
    }

    /// Keeps what may not be written for the status of the Site.
    private func note(_ denials: [String], in namespace: String) {
        let text = denials.prefix(2).joined(separator: "; ")
        let isNew = state.withLock { state in
            defer { state.denials[namespace] = text.isEmpty ? nil : text }
            return state.denials[namespace] ?? "" != text
        }
        if isNew { queue.add(namespace) }
    }

    private func report(_ faults: [String], notes: [String], in namespace: String) {
        for (kind, texts) in [("faults", faults), ("notes", notes)] {
            let text = texts.joined(separator: "; ")
            let key = "\(kind) \(namespace)"
            let isNew = state.withLock { state in
                defer { state.lastFaults[key] = text.isEmpty ? nil : text }
                return state.lastFaults[key] ?? "" != text
            }
            if isNew, !text.isEmpty { log.warn("namespace \(namespace): \(text)") }
        }
    }

    /// Whether this controller, of several in a cluster, has the namespace (control-plane.md §4.1).
    private func isControlled(_ namespace: String) -> Bool {
        guard let map = cache.get("ConfigMap", "skupper", in: namespace),
            let wanted = map.document.value(at: ["data", "controller"])?.stringValue, !wanted.isEmpty
        else { return !environment.requiresExplicitControl }
        let name = environment.settings.controllerName
        return wanted == name || wanted == "\(environment.namespace)/\(name)"
    }

    /// A namespace as it is now, and after what time its next certificate is due for renewal, milliseconds.
    private func snapshot(_ namespace: String) -> (NamespaceSnapshot, renewal: Int?) {
        let resources = cache.resources(in: namespace)
        let now = WallClock.now
        var spoilt: Set<String> = []
        var renewal: Int64?
        for secret in resources.compactMap(Secret.init)
        where secret.resource.isControlled && secret.resource.annotation(Marks.certificate) != nil {
            guard let text = secret.textValue("tls.crt") else { continue }
            if let seen = try? CertificateInspection(pem: text), seen.isValid(atUnix: now), now < seen.renewalTime {
                renewal = min(renewal ?? seen.renewalTime, seen.renewalTime)
            } else {
                spoilt.insert(secret.name)
            }
        }
        let attached = cache.attaching("AttachedConnector")
            .filter { $0.spec("siteNamespace")?.scalarText == namespace }
            .map { connector in
                NamespaceSnapshot.Attached(
                    connector: connector,
                    pods: cache.resources(in: connector.namespace).filter { $0.kind == "Pod" })
            }
        let bindings = cache.attaching("AttachedConnectorBinding").filter { $0.namespace != namespace }
        let own = environment.namespace
        let shared = namespace == own ? [] : cache.resources(in: own).filter { $0.kind == "ConfigMap" }
        let snapshot = NamespaceSnapshot(
            namespace: namespace, resources: resources, attached: attached, bindings: bindings,
            shared: shared, gateway: cache.get("Gateway", NamespacePlanner.gatewayName, in: own),
            spoiltSecrets: spoilt, grantURL: grantURL(), grantAuthority: grantSecret?.textValue("ca.crt") ?? "",
            denial: state.withLock { $0.denials[namespace] ?? "" })
        let pause = renewal.map { Int(min($0 - now, ClusterController.longestRenewalWait)) * 1000 }
        return (snapshot, pause)
    }

    // MARK: Grants

    private var grantSecret: Secret? {
        cache.get("Secret", "skupper-grant-server", in: environment.namespace).flatMap { Secret($0) }
    }

    private func grantURL() -> String {
        guard environment.settings.grantsEnabled else { return "" }
        if !environment.grantBaseURL.isEmpty { return "https://\(environment.grantBaseURL)" }
        guard let access = cache.get("SecuredAccess", "skupper-grant-server", in: environment.namespace),
            let endpoint = access.status("endpoints")?[0], let host = endpoint["host"]?.scalarText,
            let port = endpoint["port"]?.scalarText
        else { return "" }
        return "https://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }

    private func serveGrants(_ snapshot: NamespaceSnapshot, plan: ReconcilePlan) {
        guard environment.settings.grantsEnabled else { return }
        if snapshot.namespace == environment.namespace, let secret = grantSecret,
            let certificate = secret.textValue("tls.crt"), let key = secret.textValue("tls.key")
        {
            grants.serve(
                host: environment.grantHost, port: environment.grantPort,
                identity: TLSIdentity(certificatePEM: certificate, privateKeyPEM: key, minimumVersion: .tls13))
        }
        var issuing: GrantServer.Issuing?
        if let secret = snapshot.object("Secret", plan.issuerName).flatMap({ Secret($0) }),
            let certificate = secret.textValue("tls.crt"), let key = secret.textValue("tls.key")
        {
            issuing = GrantServer.Issuing(
                authority: KeyedCertificate(certificatePEM: certificate, keyPEM: key), endpoints: plan.linkEndpoints)
        }
        // Statuses of this plan count at once: a code that was just made must be known before anybody has it.
        let written = Dictionary(plan.statuses.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        let known = snapshot.objects("AccessGrant").map { written[$0.key] ?? $0 }
        grants.update(snapshot.namespace, grants: known.compactMap { AccessGrant($0) }, issuing: issuing)
    }
}

/// Why the controller cannot run.
package struct ControllerFault: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}
