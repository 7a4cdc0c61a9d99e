import ControlIO
import Glibc
import KubernetesAPI
import LocalPlatform
import ManagementClient
import RouterConfig
import SiteModel
import SiteReconciler

/// The adaptor's hold on its router: brings it to the configuration and reports what it says. Used from one thread.
struct AdaptorSession {
    private static let scanInterval: Int64 = 3_000
    /// Added to the time between two scans by every router, milliseconds: all ask all.
    private static let scanIntervalOfRouter: Int64 = 200
    /// Where the routers of a site say what they see.
    static let statusMap = "skupper-network-status"
    private static let networkKey = "NetworkStatus"

    private let environment: AdaptorEnvironment
    private let log: ControllerLog
    private let client: APIClient?
    private let address: ManagementAddress
    private let management: RouterManagement
    private var applied: RouterConfiguration?
    private var lastFault = ""
    /// What was tried last and not done.
    private var lastSteps: [String] = []
    /// What was written last, by key; empty when it has to be written whatever it is.
    private(set) var reported: [String: String] = [:]
    private var scan = NetworkScan()
    private var scanWorker: Worker<NetworkScan>?
    private var nextScan: Int64 = 0
    private var scanStart: Int64 = 0
    private var lastLinkErrors: [String: String] = [:]
    /// The router answered when it was last asked.
    private(set) var isReachable = false

    init(environment: AdaptorEnvironment, access: ClusterAccess, log: ControllerLog) {
        self.environment = environment
        self.log = log
        client = try? APIClient(access)
        address = ManagementAddress(
            host: environment.bindAddress.isEmpty ? "127.0.0.1" : environment.bindAddress, port: 5672)
        management = RouterManagement(address: address)
    }

    /// One round; false if the router is not what `text` says, so that it has to be compared again.
    mutating func tend(_ text: String?, secrets: [String: Secret], isChanged: Bool, files: ProfileWriter) -> Bool {
        let wasReachable = isReachable
        var isInSync = true
        if let text, isChanged || !wasReachable || applied == nil {
            isInSync = synchronize(text, secrets: secrets, files: files)
        }
        observe()
        return isInSync
    }

    // MARK: Configuration

    private mutating func synchronize(_ text: String, secrets: [String: Secret], files: ProfileWriter) -> Bool {
        let now = MonotonicClock.now
        do {
            let name = getenv("HOSTNAME").map { String(cString: $0) } ?? ""
            let wanted = try RouterConfiguration.parse(json: text, environment: ["HOSTNAME": name])
            let missing = try files.write(wanted, secrets: secrets)
            if !missing.isEmpty {
                // Configuration and files must agree, so nothing is done until both are there.
                note("waiting for \(missing.joined(separator: ", "))")
                return false
            }
            guard let current = management.configuration(startedWith: wanted, now: now) else {
                note(management.lastError)
                return false
            }
            let plan = plan(from: current, to: wanted)
            // What the router refuses is tried each second; the log has it once.
            let steps = plan.steps.map { "\($0)" }
            if steps != lastSteps { steps.forEach { log.note($0) } }
            lastSteps = steps
            guard management.apply(plan, now: now) else {
                note(management.lastError)
                return false
            }
            applied = wanted
            lastSteps = []
            if !plan.steps.isEmpty { nextScan = now }
            note("")
            return true
        } catch {
            note("\(error)")
            return false
        }
    }

    private mutating func note(_ fault: String) {
        if fault != lastFault, !fault.isEmpty { log.warn(fault) }
        lastFault = fault
    }

    // MARK: Report

    /// Makes the next round write its report although nothing changed.
    mutating func forgetReport() { reported = [:] }

    private mutating func observe() {
        let now = MonotonicClock.now
        guard var seen = management.observe(now: now) else {
            isReachable = false
            management.disconnect()
            report(RouterObservation(isRunning: false, fault: management.lastError))
            return
        }
        isReachable = true
        lookAround(seen, now: now)
        seen.complete(with: scan, lastLinkErrors: &lastLinkErrors)
        let keys = routingKeys
        // Pods by name have the routing key, a dot and their name.
        seen.addresses = seen.addresses.filter { item in
            keys.contains(item.key)
                || item.key.lastIndex(of: ".").map { keys.contains(String(item.key[..<$0])) } ?? false
        }
        // Counts of consumers come and go with traffic; whether there are any is what matters.
        for (key, address) in seen.addresses {
            seen.addresses[key] = AddressObservation(
                localConsumers: min(1, address.localConsumers), remoteConsumers: min(1, address.remoteConsumers),
                remoteListeners: min(1, address.remoteListeners))
        }
        if let own = applied?.router, let index = seen.routers.firstIndex(where: { $0.id == own[string: "id"] }) {
            seen.routers[index].metadata = own[string: "metadata"] ?? ""
        }
        seen.routers.sort { $0.id < $1.id }
        report(seen)
    }

    /// Routing keys of this site's services: no others are reported.
    private var routingKeys: Set<String> {
        var keys: Set<String> = []
        for type in ["tcpListener", "tcpConnector", "listenerAddress"] {
            for entity in applied?.entities(ofType: type) ?? [] {
                if let key = entity[string: "address"] { keys.insert(key) }
            }
        }
        return keys
    }

    private mutating func lookAround(_ seen: RouterObservation, now: Int64) {
        if let result = scanWorker?.take() {
            scan = result.keeping(scan, of: Set(seen.routers.map(\.id)))
            scanWorker = nil
            // A tenth of the time at most is spent on asking, however large the network is.
            nextScan = max(nextScan, now + 9 * (now - scanStart))
        }
        let own = applied?.router[string: "id"] ?? ""
        let ids = seen.routers.map(\.id).filter { $0 != own }
        let hasNew = ids.contains { scan.metadata[$0] == nil } && now >= scanStart + 1_000
        guard scanWorker == nil, !own.isEmpty, now >= nextScan || hasNew else { return }
        scanStart = now
        nextScan = now + max(AdaptorSession.scanInterval, Int64(ids.count) * AdaptorSession.scanIntervalOfRouter)
        let address = address
        scanWorker = Worker { NetworkScan.run(address, own: own, routers: ids, includesOwn: true) }
    }

    /// Writes what differs from what was written: the own router's observation, and the network in upstream's form.
    /// Two routers of a site see one network, so either may write that.
    private mutating func report(_ observation: RouterObservation) {
        var texts = ["router.\(environment.group)": observation.json()]
        let own = applied?.router[string: "id"] ?? ""
        if scan.reports.contains(where: { $0.id == own }) {
            texts[AdaptorSession.networkKey] = NetworkStatus(reports: scan.reports).json(near: environment.siteID)
        }
        texts = texts.filter { reported[$0.key] != $0.value }
        guard !texts.isEmpty, let client else { return }
        let data = Document.map(DocumentMap(texts.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
        do {
            do throws(APIFault) {
                _ = try client.merge(
                    .configMaps, namespace: environment.namespace, name: AdaptorSession.statusMap, ["data": data])
            } catch {
                guard error.isNotFound else { throw error }
                var map: Document = [
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": .string(AdaptorSession.statusMap)],
                ]
                if !environment.siteID.isEmpty, !environment.siteName.isEmpty {
                    map.set(
                        [
                            [
                                "apiVersion": "skupper.io/v2alpha1", "kind": "Site",
                                "name": .string(environment.siteName), "uid": .string(environment.siteID),
                            ]
                        ], at: ["metadata", "ownerReferences"])
                }
                map["data"] = data
                _ = try client.create(.configMaps, namespace: environment.namespace, map)
            }
            reported.merge(texts) { $1 }
        } catch {
            note("status cannot be written: \(error)")
        }
    }
}
