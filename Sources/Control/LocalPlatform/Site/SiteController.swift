import ControlIO
import Glibc
import ManagementClient
import RouterConfig
import SiteModel
import SiteReconciler

/// The controller of one namespace on this host: resources to router configuration, router truth to statuses.
///
/// One thread does all of it, in a loop over `poll`; what may take long (redeeming, probing, asking other routers)
/// is done by workers, and grants are served on the HTTP server's thread.
package final class SiteController {
    /// Version told to other sites.
    package static let version = "0.1.0"

    /// Wait after a change of the input before it is read, milliseconds: several files may come together.
    private static let settle: Int64 = 50
    /// Longest time between two looks at the input, milliseconds.
    private static let inputInterval: Int64 = 1_000
    /// Time between two looks at the router, milliseconds: short while something is to become ready.
    private static let busyInterval: Int64 = 250
    private static let calmInterval: Int64 = 500
    /// Time between full passes without any change, for certificates and addresses of the host, milliseconds.
    private static let fullInterval: Int64 = 60_000
    /// Time between two questions to the other routers, milliseconds.
    private static let scanInterval: Int64 = 3_000
    /// Time between two probes of the connectors' servers, milliseconds.
    private static let probeInterval: Int64 = 10_000
    /// How long the last observation stands when the router does not answer, milliseconds.
    private static let observationLife: Int64 = 3_000

    let store: NamespaceStore
    let log: ControllerLog
    let layout: NamespaceLayout
    private let routerPath: String
    private let lock: FileLock

    // What the input asks for.
    var resources: [Resource] = []
    var problems: [String] = []
    var reconciliation: Reconciliation?
    var ports: PortBook
    var certificates: CertificateKeeper
    let grants: GrantDesk
    let tokens: TokenDesk
    private var stamps: [String: FileStamp] = [:]
    private var reconcileAt: Int64 = 0
    private var nextInputLook: Int64 = 0
    private var nextFullPass: Int64 = 0

    // The router.
    private var supervisor: RouterSupervisor?
    private var management: RouterManagement?
    private var managementPort: UInt16 = 0
    /// What the running process was started with.
    private var started: RouterConfiguration?
    /// What an earlier controller wrote for a router that may still run.
    private let earlier: RouterConfiguration?
    /// What the running process runs, as far as it is known.
    private var applied: RouterConfiguration?
    private var routerFault = ""
    private var applyFault = ""
    private var nextApply: Int64 = 0

    // The truth.
    private var observation = RouterObservation(isRunning: false)
    private var observedAt: Int64 = -observationLife
    private var nextObservation: Int64 = 0
    private var publisher: StatusPublisher
    private var lastLinkErrors: [String: String] = [:]
    private var scan = NetworkScan()
    private var scanWorker: Worker<NetworkScan>?
    private var nextScan: Int64 = 0
    private var probeFaults: [ResourceKey: String] = [:]
    private var probeWorker: Worker<[ResourceKey: String]>?
    private var nextProbe: Int64 = 0
    private var report = ReconcileReport(controller: Int64(getpid()), pass: 0, isApplied: false, problems: [])
    private var isReportDue = false

    /// Takes the lock of the namespace; throws `LocalError` if another controller has it, or the data home cannot
    /// be written.
    package init(store: NamespaceStore, routerPath: String, log: ControllerLog) throws {
        self.store = store
        self.log = log
        self.routerPath = routerPath
        layout = store.layout
        do {
            try layout.makeDirectories()
            if !store.isStarted { try Files.write(layout.platformFile, text: "platform: linux\n") }
        } catch {
            throw LocalError(
                what: "the data home \(layout.home.path) cannot be written: \(error)",
                cause: "it belongs to another user, or its file system is full or read-only",
                remedy: "Run as the user who owns it, or set SKUPPER_OUTPUT_PATH to a directory of your own")
        }
        guard let lock = try FileLock.acquire(layout.controllerLock) else {
            let owner = FileLock.owner(of: layout.controllerLock).map { "process \($0)" } ?? "another process"
            throw LocalError(
                what: "a controller runs already for namespace \(layout.namespace)",
                cause: "\(owner) holds \(layout.controllerLock)",
                remedy: "Nothing is to be done; to replace it, use \"skupper system stop -n \(layout.namespace)\" first"
            )
        }
        self.lock = lock
        earlier = try? RouterConfiguration.load(path: layout.routerConfiguration, environment: [:])
        ports = PortBook.load(layout.portsFile)
        certificates = CertificateKeeper(layout: layout)
        grants = GrantDesk(path: layout.grantsFile)
        tokens = TokenDesk(store: store)
        publisher = StatusPublisher(store: store)
        report.pass = ReconcileReport.load(layout)?.pass ?? 0
    }

    /// Runs until SIGTERM, then stops the router.
    package func run(signals: ControllerSignals) {
        log.note("controller \(SiteController.version) started, process \(getpid())")
        let watcher = InputWatcher(layout)
        var isStopping = false
        while !isStopping {
            step(now: MonotonicClock.now)
            var entries = [
                pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: watcher.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            let wait = max(0, nextWake - MonotonicClock.now)
            _ = poll(&entries, nfds_t(entries.count), Int32(clamping: wait))
            if entries[1].revents != 0 {
                watcher.drain()
                reconcileAt = min(reconcileAt, MonotonicClock.now + SiteController.settle)
            }
            let received = signals.take()
            if received.isReload {
                reconcileAt = 0
                nextFullPass = 0
            }
            isStopping = received.isStop
        }
        log.note("stopping")
        grants.serve(at: nil, issuing: nil, log: log)
        management?.disconnect()
        supervisor?.stop()
        try? Files.remove(layout.reportFile)
        log.note("stopped")
    }

    private var nextWake: Int64 {
        var wake = min(nextObservation, nextInputLook, reconcileAt)
        if let restart = supervisor?.nextWake { wake = min(wake, restart) }
        return wake
    }

    /// Everything that is due.
    private func step(now: Int64) {
        if now >= nextInputLook {
            nextInputLook = now + SiteController.inputInterval
            if store.inputStamps() != stamps { reconcileAt = min(reconcileAt, now) }
            if now >= nextFullPass { reconcileAt = min(reconcileAt, now) }
        }
        if now >= reconcileAt {
            reconcileAt = .max
            nextFullPass = now + SiteController.fullInterval
            stamps = store.inputStamps()
            reconcile()
            // Before a router that ended is started again: it is to read the latest.
            _ = writeConfiguration()
            isReportDue = true
            nextApply = 0
            nextObservation = 0
        }
        watchRouter(now: now)
        if now >= nextApply { apply(now: now) }
        if now >= nextObservation {
            observe(now: now)
            lookAround(now: now)
            publish(now: now)
            nextObservation = now + (isCalm ? SiteController.calmInterval : SiteController.busyInterval)
        }
    }

    /// Whether every link is as it should be, so that nobody waits for news.
    private var isCalm: Bool {
        observation.isRunning && observation.links.values.allSatisfy(\.isNeighbourUp)
            && observation.links.count == reconciliation?.configuration.entities(ofType: "connector").count ?? 0
    }

    // MARK: Router

    private func watchRouter(now: Int64) {
        for event in supervisor?.tick(now: now) ?? [] { routerEvent(event) }
    }

    private func routerEvent(_ event: RouterSupervisor.Event) {
        switch event {
        case .started(let pid):
            log.note("router started, process \(pid)")
            // It read the file, which holds the latest configuration.
            (started, applied) = (reconciliation?.configuration, reconciliation?.configuration)
            management?.disconnect()
        case .takenOver(let pid):
            log.note("router taken over, process \(pid)")
        case .ended(let pid, let how, let wait):
            let lines = BoundedLog(path: layout.routerLog).lastLines(2).joined(separator: " | ")
            routerFault = "router \(how)" + (lines.isEmpty ? "" : ": \(lines)")
            log.warn("router (process \(pid)) \(how); starting it again in \(wait) ms; its log ends: \(lines)")
            routerIsGone()
            // A port may have been taken meanwhile.
            reconcileAt = 0
        case .failed(let text, let wait):
            routerFault = text
            log.warn("\(text); trying again in \(wait) ms")
            routerIsGone()
        }
    }

    private func routerIsGone() {
        management?.disconnect()
        applied = nil
        observation = RouterObservation(isRunning: false, fault: routerFault)
        nextObservation = 0
        isReportDue = true
    }

    /// Brings the router to what the input asks for.
    private func apply(now: Int64) {
        guard let desired = reconciliation?.configuration else {
            if let supervisor {
                supervisor.stop()
                log.note("router stopped: there is no site")
            }
            (supervisor, started, applied) = (nil, nil, nil)
            routerIsGone()
            nextApply = .max
            return
        }
        guard applied != desired || supervisor == nil else {
            nextApply = .max
            return
        }
        nextApply = now + SiteController.busyInterval
        guard writeConfiguration() else { return }
        guard let supervisor else {
            startRouter(now: now)
            return
        }
        guard supervisor.process != nil else { return }
        change(to: desired, supervisor: supervisor, now: now)
    }

    /// Writes what the router reads when it starts; false if it cannot be written.
    private func writeConfiguration() -> Bool {
        guard let desired = reconciliation?.configuration else { return true }
        do {
            try Files.writeIfChanged(layout.routerConfiguration, text: desired.renderJSON(), mode: 0o640)
            return true
        } catch {
            applyFailed("\(error)")
            return false
        }
    }

    private func startRouter(now: Int64) {
        let new = RouterSupervisor(
            command: ChildCommand(
                executable: routerPath, arguments: ["-c", layout.routerConfiguration],
                environment: ["SKUPPER_SITE_ID": siteID], logFile: layout.routerLog),
            pidFile: layout.routerProcess)
        supervisor = new
        let event = new.start(now: now)
        if case .takenOver = event { started = earlier ?? reconciliation?.configuration }
        routerEvent(event)
    }

    private func change(to desired: RouterConfiguration, supervisor: RouterSupervisor, now: Int64) {
        guard let management, let started else { return }
        guard let current = management.configuration(startedWith: started, now: now) else {
            applyFailed(management.lastError)
            return
        }
        let plan = plan(from: current, to: desired)
        if !plan.needsRestart.isEmpty {
            log.note("router is restarted for \(plan.needsRestart.joined(separator: ", "))")
            management.disconnect()
            supervisor.restart(now: now)
            routerIsGone()
            return
        }
        guard plan.isEmpty || management.apply(plan, now: now) else {
            applyFailed(management.lastError)
            return
        }
        if !plan.isEmpty { log.note("router changed: \(SiteController.summary(plan))") }
        (applied, applyFault, isReportDue) = (desired, "", true)
    }

    private func applyFailed(_ text: String) {
        guard !text.isEmpty, text != applyFault else { return }
        applyFault = text
        isReportDue = true
        log.warn("the router's configuration cannot be brought up to date: \(text)")
    }

    private static func summary(_ plan: ConfigurationPlan) -> String {
        let texts = plan.steps.prefix(8).map { step in
            switch step {
            case .create(let entity): "+\(entity.type) \(entity.name)"
            case .update(let entity, _): "~\(entity.type) \(entity.name)"
            case .delete(let entity): "-\(entity.type) \(entity.name)"
            }
        }
        return texts.joined(separator: ", ") + (plan.steps.count > 8 ? " and \(plan.steps.count - 8) more" : "")
    }

    /// Points management at the port chosen for it.
    func setManagementPort(_ port: UInt16) {
        guard port != managementPort || management == nil else { return }
        managementPort = port
        management?.disconnect()
        management = RouterManagement(address: managementAddress)
    }

    private var managementAddress: ManagementAddress {
        let folder = "\(layout.runtimeCertificates)/\(CertificateKeeper.localClient)"
        return ManagementAddress(
            host: "127.0.0.1", port: managementPort,
            credentials: .init(
                caFile: "\(folder)/ca.crt", certificateFile: "\(folder)/tls.crt", keyFile: "\(folder)/tls.key"))
    }

    // MARK: Truth

    private func observe(now: Int64) {
        guard supervisor?.process != nil, let management else { return }
        guard var seen = management.observe(now: now) else {
            if now - observedAt > SiteController.observationLife {
                observation = RouterObservation(isRunning: false, fault: management.lastError)
            }
            return
        }
        if !observation.isRunning { isReportDue = true }
        routerFault = ""
        observedAt = now
        seen.complete(with: scan, lastLinkErrors: &lastLinkErrors)
        observation = seen
    }

    /// Starts and collects what workers do.
    private func lookAround(now: Int64) {
        if let result = scanWorker?.take() {
            scan = result
            scanWorker = nil
        }
        let own = reconciliation?.configuration.router[string: "id"] ?? ""
        let ids = observation.routers.map(\.id)
        if scanWorker == nil, observation.isRunning,
            now >= nextScan || ids.contains(where: { $0 != own && scan.metadata[$0] == nil }) && now >= nextScan - 2_500
        {
            nextScan = now + SiteController.scanInterval
            if ids.contains(where: { $0 != own }) {
                let address = managementAddress
                scanWorker = Worker { NetworkScan.run(address, own: own, routers: ids) }
            } else {
                scan = NetworkScan()
            }
        }
        if let result = probeWorker?.take() {
            probeFaults = result
            probeWorker = nil
        }
        if probeWorker == nil, now >= nextProbe {
            nextProbe = now + SiteController.probeInterval
            let targets = resources.compactMap { Connector($0) }.filter { !$0.host.isEmpty }
            if targets.isEmpty { probeFaults = [:] } else { probeWorker = SiteController.probe(targets) }
        }
        let subject = siteID.isEmpty ? layout.namespace : siteID
        if tokens.tend(resources.compactMap { AccessToken($0) }, subject: subject, now: now, log: log) {
            reconcileAt = 0
        }
    }

    private static func probe(_ targets: [Connector]) -> Worker<[ResourceKey: String]> {
        Worker {
            var faults: [ResourceKey: String] = [:]
            for target in targets {
                guard let port = UInt16(exactly: target.port), port > 0 else { continue }
                if let fault = BackendProbe.fault(host: target.host, port: port) {
                    faults[target.resource.key] = "the server \(target.host):\(port) cannot be reached: \(fault)"
                }
            }
            return faults
        }
    }

    private func publish(now: Int64) {
        tendGrants()
        let current = publisher.withStatus(resources)
        var statuses = SiteReconciler.statuses(
            current, reconciliation: reconciliation, observation: observation, fault: siteFault)
        statuses += tokens.statuses()
        statuses += grants.statuses(
            resources.compactMap { AccessGrant($0) }, hasLinkAccess: !linkEndpoints.isEmpty)
        var remarks = probeFaults
        if !siteFault.isEmpty, let site = resources.first(where: { $0.knownKind == .site }) {
            remarks[site.key] = siteFault
        }
        do {
            try publisher.publish(
                resources, statuses: statuses, remarks: remarks, leftOut: leftOut, now: WallClock.now)
        } catch {
            log.warn("statuses cannot be written: \(error)")
        }
        let isApplied = reconciliation == nil || applied == reconciliation?.configuration && observation.isRunning
        let texts = [routerFault, isApplied ? "" : applyFault, isApplied ? "" : observation.fault]
        let found = texts.reduce(into: problems) { if !$1.isEmpty, !$0.contains($1) { $0.append($1) } }
        guard isReportDue || isApplied != report.isApplied || found != report.problems else { return }
        isReportDue = false
        report.pass += 1
        report.isApplied = isApplied
        report.problems = found
        try? report.save(layout)
    }

    // MARK: Shared with the reconciling part

    /// Why the site as a whole cannot be brought up to date; empty if it can.
    var siteFault = ""
    /// Resources that this version cannot serve, with the reason.
    var leftOut: [ResourceKey: String] = [:]
    /// The site's id; empty before there is a site.
    var siteID = ""
    /// Where links of other sites go to; empty without link access.
    var linkEndpoints: [Endpoint] = []
    /// Time of the last word about a problem, so that each is logged once.
    var loggedProblems: Set<String> = []
    /// Whether the router runs, so that its own ports are not taken for somebody else's.
    var isRouterRunning: Bool {
        supervisor?.process != nil || RouterSupervisor.recorded(layout.routerProcess) != nil
    }
}
