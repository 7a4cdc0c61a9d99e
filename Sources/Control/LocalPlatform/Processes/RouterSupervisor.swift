import ControlIO
import Glibc

/// Keeps one process running: starts it, starts it again when it ends, stops it. Used from one thread.
///
/// The process survives a controller that crashes; the next controller takes it over by the pid file.
package final class RouterSupervisor {
    /// What `tick` found or did, for the log and for whoever watches the router.
    package enum Event: Hashable, Sendable {
        /// A process was started.
        case started(pid_t)
        /// A process started by an earlier controller is watched from now on.
        case takenOver(pid_t)
        /// The process ended by itself; it is started again after `wait` milliseconds.
        case ended(pid_t, how: String, wait: Int64)
        /// The process could not be started; tried again after `wait` milliseconds.
        case failed(String, wait: Int64)
    }

    private enum State {
        case idle
        case running(ProcessIdentity, since: Int64, isChild: Bool)
        case waiting(until: Int64)
    }

    /// Longest wait for an orderly end before the process is killed, milliseconds.
    package static let stopGrace: Int64 = 5_000

    private let command: ChildCommand
    private let pidFile: String
    private let log: BoundedLog?
    private var state = State.idle
    private var backoff = RestartBackoff()

    /// - Parameters:
    ///   - command: what to run.
    ///   - pidFile: where the number of the running process is kept.
    package init(command: ChildCommand, pidFile: String) {
        self.command = command
        self.pidFile = pidFile
        log = command.logFile.map { BoundedLog(path: $0) }
    }

    /// The process that runs now; nil between two runs.
    package var process: ProcessIdentity? {
        if case .running(let identity, _, _) = state { return identity }
        return nil
    }

    /// Time at which `tick` has something to do by itself; nil if only the process's end matters.
    package var nextWake: Int64? {
        if case .waiting(let until) = state { return until }
        return nil
    }

    /// Takes over the process of the pid file if it runs the same program with the same arguments; else starts one.
    package func start(now: Int64) -> Event {
        if let old = RouterSupervisor.recorded(pidFile) {
            let wanted = [command.executable] + command.arguments
            // A script's interpreter stands in front of it.
            if old.commandLine.suffix(wanted.count).elementsEqual(wanted) {
                state = .running(old, since: now, isChild: false)
                return .takenOver(old.pid)
            }
            // Ours by the pid file, but another program or configuration: it holds what the new one needs.
            RouterSupervisor.end(old, grace: RouterSupervisor.stopGrace)
        }
        return launch(now: now)
    }

    /// Looks whether the process still runs, and starts it again when its wait is over. To be called when a child
    /// ended and a few times a second.
    package func tick(now: Int64) -> [Event] {
        log?.rotateIfNeeded()
        switch state {
        case .idle: return []
        case .waiting(let until): return now >= until ? [launch(now: now)] : []
        case .running(let identity, let since, let isChild):
            let how: String
            if isChild {
                guard let end = ChildProcess.reap(identity.pid) else { return [] }
                how = end
            } else {
                guard !identity.isRunning else { return [] }
                how = "ended"
            }
            let wait = backoff.wait(afterRunning: now - since)
            state = .waiting(until: now + wait)
            return [.ended(identity.pid, how: how, wait: wait)]
        }
    }

    /// Ends the process in order and starts it anew at the next `tick`.
    package func restart(now: Int64) {
        stop()
        state = .waiting(until: now)
    }

    /// Ends the process: SIGTERM, and SIGKILL after `stopGrace`. Blocks until it is gone.
    package func stop() {
        if case .running(let identity, _, _) = state {
            RouterSupervisor.end(identity, grace: RouterSupervisor.stopGrace)
        }
        state = .idle
        unlink(pidFile)
    }

    /// Asks the process to end, without waiting; `stop` is to follow.
    package func terminate() {
        if case .running(let identity, _, _) = state, identity.isRunning { kill(identity.pid, SIGTERM) }
    }

    /// Leaves the process running for the next controller.
    package func release() { state = .idle }

    private func launch(now: Int64) -> Event {
        do {
            let identity = try ChildProcess.start(command)
            state = .running(identity, since: now, isChild: true)
            try? Files.write(pidFile, text: "\(identity.pid) \(identity.startTicks)\n")
            return .started(identity.pid)
        } catch {
            let wait = backoff.wait(afterRunning: 0)
            state = .waiting(until: now + wait)
            return .failed("\(error)", wait: wait)
        }
    }

    /// The process recorded in a pid file, if it still runs.
    package static func recorded(_ pidFile: String) -> ProcessIdentity? {
        guard let text = try? Files.readText(pidFile) else { return nil }
        let parts = text.split { $0 == " " || $0 == "\n" }
        guard parts.count == 2, let pid = pid_t(parts[0]), let ticks = UInt64(parts[1]) else { return nil }
        let identity = ProcessIdentity(pid: pid, startTicks: ticks)
        return identity.isRunning ? identity : nil
    }

    /// Ends a process, child or not, and waits until it is gone: SIGTERM, after `grace` milliseconds SIGKILL.
    package static func end(_ identity: ProcessIdentity, grace: Int64) {
        let deadline = MonotonicClock.now + grace
        var isKilled = false
        guard identity.isRunning else {
            _ = ChildProcess.reap(identity.pid)
            return
        }
        kill(identity.pid, SIGTERM)
        // A killed process can only linger in the kernel; after two more seconds there is nothing left to try.
        while MonotonicClock.now < deadline + 2_000 {
            _ = ChildProcess.reap(identity.pid)
            guard identity.isRunning else { return }
            if !isKilled, MonotonicClock.now >= deadline {
                kill(identity.pid, SIGKILL)
                isKilled = true
            }
            usleep(10_000)
        }
    }
}
