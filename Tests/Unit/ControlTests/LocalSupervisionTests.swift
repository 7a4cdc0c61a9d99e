import ControlIO
import Foundation
import Testing

@testable import LocalPlatform

@Suite struct LocalSupervisionTests {
    private func supervisor(_ home: TemporaryHome, _ script: String) -> RouterSupervisor {
        RouterSupervisor(
            command: ChildCommand(
                executable: "/bin/sh", arguments: ["-c", script], logFile: "\(home.path)/log"),
            pidFile: "\(home.path)/pid")
    }

    @Test func waitsGrowAndBeginAnew() {
        var backoff = RestartBackoff()
        let waits = (0..<8).map { _ in backoff.wait(afterRunning: 5) }
        #expect(waits == [100, 200, 400, 800, 1600, 3200, 5000, 5000])
        #expect(backoff.wait(afterRunning: 10_000) == 100)
    }

    @Test func aKilledProcessIsStartedAgain() throws {
        let home = try TemporaryHome()
        let supervisor = supervisor(home, "exec sleep 100")
        guard case .started(let first) = supervisor.start(now: MonotonicClock.now) else {
            Issue.record("not started")
            return
        }
        kill(first, SIGKILL)
        var ends: [String] = []
        let isBack = holds(within: 5) {
            for event in supervisor.tick(now: MonotonicClock.now) {
                if case .ended(_, let how, let wait) = event { ends.append("\(how) \(wait)") }
            }
            return supervisor.process.map { $0.pid != first } ?? false
        }
        #expect(isBack)
        #expect(ends == ["was ended by signal 9 100"])
        let second = try #require(supervisor.process)
        #expect(second.isRunning)
        supervisor.stop()
        #expect(!second.isRunning)
        #expect(supervisor.process == nil)
        #expect(supervisor.tick(now: MonotonicClock.now + 60_000).isEmpty)
        #expect(!FileManager.default.fileExists(atPath: "\(home.path)/pid"))
    }

    @Test func aProcessThatIgnoresTheTermSignalIsKilled() throws {
        let home = try TemporaryHome()
        let process = try ChildProcess.start(
            ChildCommand(
                executable: "/bin/sh", arguments: ["-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"],
                logFile: "\(home.path)/log"))
        #expect(try holds(within: 5) { try Files.readTextIfPresent("\(home.path)/log") == "ready\n" })
        let start = MonotonicClock.now
        RouterSupervisor.end(process, grace: 200)
        #expect(!process.isRunning)
        #expect(MonotonicClock.now - start >= 200)
    }

    @Test func theNextControllerTakesTheProcessOver() throws {
        let home = try TemporaryHome()
        let first = supervisor(home, "while :; do sleep 0.05; done")
        guard case .started(let pid) = first.start(now: 0) else {
            Issue.record("not started")
            return
        }
        #expect(holds(within: 5) { ProcessIdentity(running: pid)?.commandLine.first == "/bin/sh" })
        first.release()
        let second = supervisor(home, "while :; do sleep 0.05; done")
        #expect(second.start(now: 0) == .takenOver(pid))
        // With other arguments it is replaced.
        let third = supervisor(home, "while :; do sleep 0.06; done")
        guard case .started(let other) = third.start(now: 0) else {
            Issue.record("not replaced")
            return
        }
        #expect(other != pid)
        #expect(ProcessIdentity(running: pid) == nil)
        third.stop()
        #expect(ProcessIdentity(running: other) == nil)
    }

    @Test func aProcessThatEndedAndWasNotReapedIsEnding() throws {
        let home = try TemporaryHome()
        let process = try ChildProcess.start(
            ChildCommand(executable: "/bin/sh", arguments: ["-c", "exec sleep 100"], logFile: "\(home.path)/log"))
        #expect(!ProcessIdentity.isEnding(process.pid))
        kill(process.pid, SIGKILL)
        #expect(holds(within: 5) { ProcessIdentity.isEnding(process.pid) })
        #expect(holds(within: 5) { ChildProcess.reap(process.pid) != nil })
        #expect(!ProcessIdentity.isEnding(process.pid))
    }

    @Test func aProgramThatCannotBeStartedIsTriedAgain() throws {
        let home = try TemporaryHome()
        let supervisor = RouterSupervisor(
            command: ChildCommand(executable: "\(home.path)/none", arguments: []), pidFile: "\(home.path)/pid")
        guard case .failed(let text, let wait) = supervisor.start(now: 0) else {
            Issue.record("started")
            return
        }
        #expect(text.contains("cannot start") && text.contains("none"))
        #expect(wait == 100)
        #expect(supervisor.nextWake == 100)
    }

    @Test func aLogIsKeptWithinItsLimit() throws {
        let home = try TemporaryHome()
        let log = BoundedLog(path: "\(home.path)/log", limit: 100)
        try Files.write(log.path, text: String(repeating: "x", count: 99))
        log.rotateIfNeeded()
        #expect(try Files.readTextIfPresent(log.path + ".1") == nil)
        try Files.write(log.path, text: "first\nsecond\n" + String(repeating: "x", count: 100))
        #expect(log.lastLines(2) == ["second", String(repeating: "x", count: 100)])
        log.rotateIfNeeded()
        #expect(try Files.readText(log.path).isEmpty)
        #expect(try Files.readText(log.path + ".1").hasPrefix("first\n"))
    }

    @Test func workersGiveTheirResultOnce() {
        let worker = Worker { 42 }
        var result: Int?
        #expect(
            holds(within: 5) {
                result = result ?? worker.take()
                return result != nil
            })
        #expect(result == 42)
        #expect(worker.take() == nil)
    }
}
