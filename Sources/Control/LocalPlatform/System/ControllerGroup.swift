import ControlIO
import Glibc

/// Runs a controller process for each started namespace of a data home, for hosts where one service serves all.
package final class ControllerGroup {
    /// Time between two looks for new and removed namespaces, milliseconds.
    private static let lookInterval: Int64 = 1_000

    private let home: DataHome
    private let program: String
    private let log = ControllerLog(namespace: "all")
    private var members: [String: RouterSupervisor] = [:]
    private let lock: FileLock

    /// Throws `LocalError` if another group serves this data home or it cannot be written.
    package init(home: DataHome, program: String) throws {
        self.home = home
        self.program = program
        try Files.makeDirectory("\(home.path)/namespaces")
        guard let lock = try FileLock.acquire("\(home.path)/controller.lock") else {
            throw LocalError(
                what: "a controller for all namespaces of \(home.path) runs already",
                cause: "another process holds \(home.path)/controller.lock", remedy: "Nothing is to be done")
        }
        self.lock = lock
    }

    /// Runs until SIGTERM, then stops all members.
    package func run(signals: ControllerSignals) {
        log.note("serving the namespaces of \(home.path)")
        var nextLook: Int64 = 0
        while true {
            let now = MonotonicClock.now
            if now >= nextLook {
                look(now: now)
                nextLook = now + ControllerGroup.lookInterval
            }
            for (name, member) in members.sorted(by: { $0.key < $1.key }) {
                for event in member.tick(now: now) {
                    if case .ended(_, let how, let wait) = event {
                        log.warn("the controller of \(name) \(how); starting it again in \(wait) ms")
                    }
                }
            }
            var entries = [pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)]
            let wake = members.values.compactMap(\.nextWake).reduce(nextLook) { min($0, $1) }
            _ = poll(&entries, 1, Int32(clamping: max(0, wake - MonotonicClock.now)))
            if signals.take().isStop { break }
        }
        for member in members.values { member.terminate() }
        for member in members.values { member.stop() }
        log.note("stopped")
    }

    private func look(now: Int64) {
        let wanted = Set((try? home.startedNamespaces()) ?? [])
        for name in members.keys where !wanted.contains(name) {
            members.removeValue(forKey: name)?.stop()
        }
        for name in wanted.sorted() where members[name] == nil {
            guard let layout = try? home.layout(of: name), FileLock.owner(of: layout.controllerLock) == nil else {
                continue
            }
            let member = RouterSupervisor(
                command: ChildCommand(
                    executable: program, arguments: ["--platform", "linux", "--namespace", name],
                    environment: ["SKUPPER_OUTPUT_PATH": home.path], logFile: layout.controllerLog),
                pidFile: "\(layout.state)/controller.pid")
            if case .started(let pid) = member.start(now: now) { log.note("\(name): controller is process \(pid)") }
            members[name] = member
        }
    }
}
