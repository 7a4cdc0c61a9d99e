import ControlIO
import Glibc
import HTTPServer
import KubernetesAPI
import KubernetesReconciler
import LocalPlatform
import ManagementClient
import RouterConfig
import SiteModel
import SiteReconciler
import Threading

/// What the adaptor's environment says (control-plane.md §4.2).
package struct AdaptorEnvironment: Sendable {
    package var namespace: String
    package var siteID: String
    package var siteName: String
    /// Name of the ConfigMap, which is the router's group.
    package var group: String
    /// Where TLS profiles and the configuration are written.
    package var folder: String
    /// Where the passwords of proxies are written: in a pod a volume of their own.
    package var proxyFolder: String {
        folder == AdaptorEnvironment.podFolder ? ClusterState.proxyFolder : "\(folder)/proxies"
    }
    /// Address at which the router listens instead of all addresses; "" in a pod. For routers that share a network.
    package var bindAddress: String
    package var healthPort: UInt16

    /// The folder that configurations name.
    static let podFolder = "/etc/skupper-router-certs"

    /// Reads the environment; `variable` is nil for what is not set.
    package init(namespace: String, variable: (String) -> String?) {
        func text(_ name: String, _ other: String = "") -> String {
            variable(name).flatMap { $0.isEmpty ? nil : $0 } ?? other
        }
        self.namespace = text("SKUPPER_NAMESPACE", namespace)
        siteID = text("SKUPPER_SITE_ID")
        siteName = text("SKUPPER_SITE_NAME")
        group = text("SKUPPER_ROUTER_CONFIG", "skupper-router")
        folder = text("SKUPPER_ROUTER_FOLDER", AdaptorEnvironment.podFolder)
        bindAddress = text("SKUPPER_ROUTER_ADDRESS")
        healthPort = UInt16(text("SKUPPER_ADAPTOR_HEALTH_PORT", "9191")) ?? 9191
    }
}

/// Runs beside a router in its pod: writes its certificates, changes it while it runs, and reports what it says
/// (control-plane.md §4.8). Router and controller know each other through the ConfigMap only.
package final class RouterAdaptor: Sendable {
    /// Longest wait for Secrets before a router starts, seconds.
    private static let initLimit = 60
    /// Between two looks at the router, milliseconds.
    private static let interval = 1_000

    private struct State {
        var map: Resource?
        var secrets: [String: Secret] = [:]
        var isChanged = true
        var isReachable = false
        /// What the status map has become for this router since the last round; nil if nothing came.
        var seenReport: String?
    }

    private let access: ClusterAccess
    private let environment: AdaptorEnvironment
    private let log: ControllerLog
    private let files: ProfileWriter
    private let state = Locked(State())
    private let queue = SharedWorkQueue<String>()

    /// An adaptor for the router of `environment`.
    package init(_ access: ClusterAccess, environment: AdaptorEnvironment, log: ControllerLog) {
        self.access = access
        self.environment = environment
        self.log = log
        files = ProfileWriter(folder: environment.folder, proxyFolder: environment.proxyFolder)
    }

    // MARK: Before the router starts

    /// Writes the configuration and the certificates that it names, waiting for those that are on their way.
    package func prepare() throws {
        let client = try APIClient(access)
        let deadline = MonotonicClock.now + Int64(RouterAdaptor.initLimit) * 1000
        while true {
            var missing: [String]
            do {
                missing = try prepareOnce(client)
            } catch let fault as APIFault where fault.isTemporary {
                missing = ["an answer of the API server (\(fault))"]
            }
            if missing.isEmpty { return }
            guard MonotonicClock.now < deadline else {
                throw ControllerFault(
                    "not there after \(RouterAdaptor.initLimit) s: \(missing.joined(separator: ", ")); check that the "
                        + "controller runs and may write Secrets in namespace \(environment.namespace)")
            }
            usleep(500_000)
        }
    }

    private func prepareOnce(_ client: APIClient) throws -> [String] {
        let document = try client.getIfExists(.configMaps, namespace: environment.namespace, name: environment.group)
        guard let document, let map = try? Resource(document: APIResource.configMaps.completed(document)),
            let text = configurationText(map)
        else { return ["ConfigMap \(environment.group)"] }
        let secrets = try client.list(.secrets, namespace: environment.namespace)
            .compactMap { try? Resource(document: $0) }.compactMap { Secret($0) }
        let byName = Dictionary(secrets.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let configuration = try RouterConfiguration.parse(json: text)
        let missing = try files.write(configuration, secrets: byName)
        if missing.isEmpty { try Files.write("\(environment.folder)/skrouterd.json", text: text) }
        return missing
    }

    /// The configuration with this pod's folder and address; variables are left to the router.
    private func configurationText(_ map: Resource?) -> String? {
        guard let text = map?.document.value(at: ["data", "skrouterd.json"])?.stringValue else { return nil }
        let moved = text.replacing(AdaptorEnvironment.podFolder, with: environment.folder)
            .replacing(ClusterState.proxyFolder, with: environment.proxyFolder)
        return environment.bindAddress.isEmpty ? moved : RouterAdaptor.bound(moved, to: environment.bindAddress)
    }

    /// Every listener at one address.
    static func bound(_ text: String, to address: String) -> String? {
        guard let document = try? JSON.parse(text) else { return nil }
        let items = (document.listValue ?? []).map { item -> Document in
            guard let type = item[0]?.stringValue, type == "listener" || type == "tcpListener", var entity = item[1]
            else { return item }
            entity["host"] = .string(address)
            return .list([.string(type), entity])
        }
        return JSON.emit(.list(items), pretty: false, sortedKeys: false)
    }

    // MARK: While the router runs

    /// Runs until a signal says stop.
    package func run(signals: ControllerSignals) throws {
        let health = try HTTPServer(
            host: environment.bindAddress, port: environment.healthPort, tls: nil
        ) { [self] request in
            guard request.path == "/healthz" else { return .text("not found\n", status: 404) }
            let isReachable = state.withLock { $0.isReachable }
            return isReachable ? .text("ok\n") : .text("the router does not answer\n", status: 503)
        }
        defer { health.stop() }
        let watcher = try ClusterWatcher(access)
        watcher.add(.configMaps, namespace: environment.namespace, fields: "metadata.name=\(environment.group)") {
            [self] in delivered($0, kind: .configMaps)
        }
        let status = AdaptorSession.statusMap
        watcher.add(.configMaps, namespace: environment.namespace, fields: "metadata.name=\(status)") {
            [self] in lookAtReport($0)
        }
        watcher.add(.secrets, namespace: environment.namespace) { [self] in delivered($0, kind: .secrets) }
        guard watcher.start() else { throw ControllerFault("no thread can be started for the watches") }
        defer { watcher.stop() }
        let worker = Worker<Bool> { [self] in work() }
        queue.add("")
        var waiting = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
        while true {
            _ = poll(&waiting, 1, -1)
            if signals.take().isStop { break }
        }
        queue.stop()
        while worker.take() == nil { usleep(10_000) }
    }

    private func delivered(_ delivery: WatchDelivery, kind: APIResource) {
        switch delivery {
        case .changed(let object):
            guard let resource = try? Resource(document: kind.completed(object)) else { return }
            state.withLock { state in
                if let secret = Secret(resource) {
                    state.secrets[resource.name] = secret
                } else {
                    state.map = resource
                }
                state.isChanged = true
            }
            queue.add("")
        case .removed(let object):
            // A router keeps what it has: only a new configuration takes something away.
            guard let name = object.value(at: ["metadata", "name"])?.stringValue, kind.kind == "Secret" else { return }
            state.withLock { $0.secrets[name] = nil }
        case .troubled(let fault): log.warn("watch of \(kind.plural): \(fault)")
        case .synced, .recovered: break
        }
    }

    /// The report is written when it changes; somebody may have deleted it or written over it.
    private func lookAtReport(_ delivery: WatchDelivery) {
        switch delivery {
        case .changed(let object):
            let text = object.value(at: ["data", "router.\(environment.group)"])?.stringValue ?? ""
            state.withLock { $0.seenReport = text }
        case .removed: state.withLock { $0.seenReport = "" }
        case .synced, .troubled, .recovered: break
        }
    }

    private func work() -> Bool {
        var session = AdaptorSession(environment: environment, access: access, log: log)
        while let key = queue.take() {
            let (map, secrets, isChanged, seen) = state.withLock { state in
                defer {
                    state.isChanged = false
                    state.seenReport = nil
                }
                return (state.map, state.secrets, state.isChanged, state.seenReport)
            }
            if let seen, seen != session.reported["router.\(environment.group)"] ?? "" { session.forgetReport() }
            let text = configurationText(map)
            let isInSync = session.tend(text, secrets: secrets, isChanged: isChanged, files: files)
            if !isInSync { state.withLock { $0.isChanged = true } }
            let isReachable = session.isReachable
            state.withLock { $0.isReachable = isReachable }
            queue.done(key)
            queue.add("", afterMilliseconds: RouterAdaptor.interval)
        }
        return true
    }
}
