import SiteModel
import Glibc

/// Waits for the controller to take up what a command has written.
struct Waiting {
    /// What is waited for.
    enum Goal: String {
        case ready
        case configured
        case none

        /// The condition that must be true.
        var condition: ConditionType { self == .ready ? .ready : .configured }
    }

    let files: SiteFiles
    /// Milliseconds.
    let timeout: Int64

    init(_ invocation: Invocation) {
        files = invocation.files
        timeout = invocation.flags.seconds("timeout") * 1000
    }

    /// Waits until the controller reports the goal for the resource as it was written.
    /// - Throws: `CommandFailure` when the time is up, with the message of the condition that is missing.
    func reach(_ goal: Goal, written: Resource) throws {
        guard goal != .none else { return }
        guard let kind = written.knownKind else { return }
        let name = written.name
        var last: Condition?
        let reached = try until {
            // The status of an earlier version of the resource says nothing about this one.
            guard let seen = try files.observed(kind, name), seen.spec() == written.spec() else { return false }
            last = seen.condition(goal.condition)
            // The Ready condition can be that of the requirements before the change; the aggregate is computed anew.
            return last?.isTrue == true && (goal != .ready || seen.aggregatedStatus().status == "Ready")
        }
        guard !reached else { return }
        if let last, !last.isTrue, !last.message.isEmpty {
            throw CommandFailure.failed("\(kind.rawValue) \"\(name)\" is not yet \(goal.rawValue): \(last.message)")
        }
        throw CommandFailure.failed(
            "\(kind.rawValue) \"\(name)\" is not yet \(goal.rawValue), check the status for more information")
    }

    /// Waits until the controller has dropped a deleted resource.
    func disappear(_ kind: ResourceKind, _ name: String) throws {
        let gone = try until { try files.observed(kind, name) == nil }
        if !gone {
            throw CommandFailure.failed(
                "\(kind.rawValue) \"\(name)\" not deleted yet, check the status for more information")
        }
    }

    /// Asks again and again until the answer is yes or the time is up.
    func until(_ isDone: () throws -> Bool) rethrows -> Bool {
        let end = Waiting.now() + timeout
        while true {
            if try isDone() { return true }
            if Waiting.now() >= end { return false }
            usleep(100_000)
        }
    }

    /// Milliseconds on a clock that is never set back.
    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
