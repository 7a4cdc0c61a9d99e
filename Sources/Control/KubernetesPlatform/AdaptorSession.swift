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
    /// Where the routers of a site say what they see.
    static let statusMap = "skupper-network-status"

    private let environment: AdaptorEnvironment
    private let log: ControllerLog
    private let client: APIClient?
    private let address: ManagementAddress
    private let management: RouterManagement
    private var applied: RouterConfiguration?
    private var lastFault = ""
    /// What was written last, "" when it has to be written whatever it is.
    private(set) var reported = ""
    private var scan = NetworkScan()
    private var scanWorker: Worker<NetworkScan>?
    private var nextScan: Int64 = 0
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
            for step in plan.steps { log.note("\(step)") }
            guard management.apply(plan, now: now) else {
                note(management.lastError)
                return false
            }
            applied = wanted
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
    mutating func forgetReport() { reported = "" }

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
            scan = result
            scanWorker = nil
        }
        let own = applied?.router[string: "id"] ?? ""
        let ids = seen.routers.map(\.id).filter { $0 != own }
        let hasNew = ids.contains { scan.metadata[$0] == nil } && now >= nextScan - 2_000
        guard scanWorker == nil, now >= nextScan || hasNew else { return }
        nextScan = now + AdaptorSession.scanInterval
        if ids.isEmpty {
            scan = NetworkScan()
        } else {
            let address = address
            scanWorker = Worker { NetworkScan.run(address, own: own, routers: ids) }
        }
    }

    /// Writes the observation when it differs from what was written.
    private mutating func report(_ observation: RouterObservation) {
        let text = observation.json()
        guard text != reported, let client else { return }
        let key = "router.\(environment.group)"
        do {
            do throws(APIFault) {
                _ = try client.merge(
                    .configMaps, namespace: environment.namespace, name: AdaptorSession.statusMap,
                    ["data": .map(DocumentMap([(key, .string(text))]))])
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
                map["data"] = .map(DocumentMap([(key, .string(text))]))
                _ = try client.create(.configMaps, namespace: environment.namespace, map)
            }
            reported = text
        } catch {
            note("status cannot be written: \(error)")
        }
    }
}
