import ControlIO
import Glibc
import SiteModel

/// Starts, stops and watches the controller of a namespace: what `skupper system …` does on this platform.
package struct LocalSystem: Sendable {
    /// How a namespace fares.
    package struct Status: Hashable, Sendable {
        /// Pid of the controller; nil if none runs.
        package let controller: pid_t?
        /// Pid of the router; nil if none runs.
        package let router: pid_t?
        /// Name of the site; nil if there is none.
        package let site: String?
        /// Status word of the site.
        package let status: String
        /// Message of the site.
        package let message: String
    }

    private let store: NamespaceStore
    private var layout: NamespaceLayout { store.layout }

    /// The system of a namespace.
    package init(store: NamespaceStore) { self.store = store }

    /// The system of a namespace of a data home.
    package init(namespace: String, home: DataHome = .current()) throws(LocalError) {
        store = try NamespaceStore(namespace: namespace, home: home)
    }

    /// Starts the controller, as a systemd unit where systemd runs, else in the background, and waits until its
    /// router runs as the input asks. Returns what could not be done, as sentences.
    ///
    /// Throws `LocalError` if there is no site, one runs already, or it is not up within `timeoutSeconds`; the last
    /// lines of its log are part of the text then, and the controller goes on trying.
    @discardableResult
    package func start(timeoutSeconds: Int = 30) throws -> [String] {
        try prepare()
        let command = try controllerCommand()
        if SystemdUnit.isAvailable {
            try SystemdUnit(layout: layout).start(command, namespace: layout.namespace)
            return try wait(for: nil, timeoutSeconds: timeoutSeconds)
        }
        var background = command
        background.logFile = layout.controllerLog
        let process = try ChildProcess.start(background)
        return try wait(for: process, timeoutSeconds: timeoutSeconds)
    }

    /// Stops controller and router and forgets what they reported. Input, certificates and ports are kept, so that
    /// links made to the site are valid again after the next start. False if nothing ran.
    @discardableResult
    package func stop() throws -> Bool {
        let unit = SystemdUnit(layout: layout)
        var didRun = store.isStarted
        if SystemdUnit.isAvailable, unit.isInstalled {
            try unit.remove()
            didRun = true
        }
        if let pid = store.controller, let process = ProcessIdentity(running: pid) {
            // The controller ends its router first, which may take the router's grace.
            RouterSupervisor.end(process, grace: RouterSupervisor.stopGrace + 5_000)
            didRun = true
        }
        if let router = RouterSupervisor.recorded(layout.routerProcess) {
            RouterSupervisor.end(router, grace: RouterSupervisor.stopGrace)
            didRun = true
        }
        try Files.remove(layout.routerProcess)
        try Files.removeTree(layout.runtimeResources)
        try Files.remove(layout.reportFile)
        try Files.remove(layout.platformFile)
        return didRun
    }

    /// Has the controller look at its input now and waits until it has; returns what could not be done.
    @discardableResult
    package func reload(timeoutSeconds: Int = 30) throws -> [String] {
        guard let pid = store.controller else {
            throw LocalError(
                what: "namespace \(layout.namespace) is not running", cause: "no controller runs for it",
                remedy: "Start it with \"skupper system start -n \(layout.namespace)\"")
        }
        let before = ReconcileReport.load(layout)?.pass ?? 0
        kill(pid, SIGHUP)
        let deadline = MonotonicClock.now + Int64(timeoutSeconds) * 1000
        while MonotonicClock.now < deadline {
            if let report = ReconcileReport.load(layout), report.pass > before, report.isApplied {
                return report.problems
            }
            usleep(20_000)
        }
        throw notReady("has not applied its input", timeoutSeconds: timeoutSeconds)
    }

    /// How the namespace fares.
    package func status() -> Status {
        let site = (try? store.list(Site.self, in: .runtime))?.first ?? (try? store.list(Site.self, in: .input))?.first
        return Status(
            controller: store.controller, router: RouterSupervisor.recorded(layout.routerProcess)?.pid,
            site: site?.name, status: site?.resource.statusWord ?? "", message: site?.resource.statusMessage ?? "")
    }

    /// Stops the namespace and removes all of it, input included. Throws `LocalError` if it runs and `force` is
    /// false.
    package func uninstall(force: Bool) throws {
        if !force, store.controller != nil {
            throw LocalError(
                what: "namespace \(layout.namespace) is running", cause: "its site has not been stopped",
                remedy: "Stop it with \"skupper system stop -n \(layout.namespace)\", or use --force")
        }
        try stop()
        try Files.removeTree(layout.root)
    }

    // MARK: Parts

    private func prepare() throws {
        guard let sites = try? store.list(.site, in: .input), !sites.isEmpty else {
            throw LocalError(
                what: "no site is defined in namespace \(layout.namespace) (\(layout.inputResources))",
                cause: "none was created, or it belongs to another user's or SKUPPER_OUTPUT_PATH's data home",
                remedy: "Create one with \"skupper site create NAME -n \(layout.namespace)\"")
        }
        if let pid = store.controller {
            throw LocalError(
                what: "namespace \(layout.namespace) is running already",
                cause: "its controller is process \(pid)",
                remedy: "Changes take effect by themselves; to start anew, use \"skupper system stop\" first")
        }
        do {
            try layout.makeDirectories()
            // Reports of an earlier run are not about this one.
            try Files.removeTree(layout.runtimeResources)
            try Files.makeDirectory(layout.runtimeResources)
            try Files.remove(layout.reportFile)
            try Files.write(layout.platformFile, text: "platform: linux\n")
        } catch {
            throw LocalError(
                what: "the data home \(layout.home.path) cannot be written: \(error)",
                cause: "it belongs to another user, or its file system is full or read-only",
                remedy: "Run as the user who owns it, or set SKUPPER_OUTPUT_PATH to a directory of your own")
        }
    }

    private func controllerCommand() throws(LocalError) -> ChildCommand {
        let router = try RouterLocator.router()
        return ChildCommand(
            executable: try RouterLocator.controller(),
            arguments: ["--platform", "linux", "--namespace", layout.namespace],
            environment: ["SKUPPER_OUTPUT_PATH": layout.home.path, "SKUPPER_ROUTER": router])
    }

    private func wait(for process: ProcessIdentity?, timeoutSeconds: Int) throws(LocalError) -> [String] {
        let deadline = MonotonicClock.now + Int64(timeoutSeconds) * 1000
        while MonotonicClock.now < deadline {
            if let report = ReconcileReport.load(layout), report.isApplied { return report.problems }
            if let process, let end = ChildProcess.reap(process.pid) {
                throw notReady("could not be started: its controller \(end)", timeoutSeconds: timeoutSeconds)
            }
            usleep(20_000)
        }
        throw notReady("is not up", timeoutSeconds: timeoutSeconds)
    }

    private func notReady(_ what: String, timeoutSeconds: Int) -> LocalError {
        var causes = ReconcileReport.load(layout)?.problems ?? []
        causes += BoundedLog(path: layout.controllerLog).lastLines(5)
        causes += BoundedLog(path: layout.routerLog).lastLines(3)
        return LocalError(
            what: "namespace \(layout.namespace) \(what) (waited up to \(timeoutSeconds) s)",
            cause: causes.isEmpty
                ? "its controller wrote nothing" : "its logs end with \(causes.joined(separator: " | "))",
            remedy: "Remove the cause; the logs are \(layout.controllerLog) and \(layout.routerLog)")
    }
}
