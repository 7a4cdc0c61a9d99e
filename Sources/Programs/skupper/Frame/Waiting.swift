import SiteModel

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

    /// What is shown on a terminal meanwhile, after upstream.
    enum Prefix: String {
        case status = "Waiting for status..."
        case create = "Waiting for create to complete..."
        case update = "Waiting for update to complete..."
        case deletion = "Waiting for deletion to complete..."
        case token = "Waiting for token status ..."
    }

    let resources: any SiteResources
    /// Milliseconds.
    let timeout: Int64
    private let prefix: Prefix
    private let mayDraw: Bool
    private let pace: Pace

    init(_ invocation: Invocation, _ prefix: Prefix, mayDraw: Bool = true) {
        resources = invocation.resources
        timeout = invocation.flags.seconds("timeout") * 1000
        self.prefix = prefix
        self.mayDraw = mayDraw
        pace = invocation.pace
    }

    /// Waits until the controller reports the goal for the resource as it was written.
    /// - Throws: `CommandFailure` when the time is up, with the message of the condition that is missing.
    func reach(_ goal: Goal, written: Resource) throws {
        guard goal != .none else { return }
        guard let kind = written.knownKind else { return }
        let name = written.name
        var last: Condition?
        var wasTouched = false
        let reached = try until { reason in
            // The status of an earlier version of the resource says nothing about this one.
            guard let seen = try resources.observed(kind, name), resources.isCurrent(seen, written: written) else {
                return false
            }
            wasTouched = wasTouched || !seen.conditions.isEmpty
            last = seen.condition(goal.condition)
            reason = last?.isTrue == false ? last?.message ?? "" : ""
            // The Ready condition can be that of the requirements before the change; the aggregate is computed anew.
            return last?.isTrue == true && (goal != .ready || seen.aggregatedStatus().status == "Ready")
        }
        guard !reached else { return }
        if let last, !last.isTrue, !last.message.isEmpty {
            throw CommandFailure.failed("\(kind.rawValue) \"\(name)\" is not yet \(goal.rawValue): \(last.message)")
        }
        let advice = wasTouched ? nil : resources.adviceWhenUntouched(kind, name)
        throw CommandFailure.failed(
            "\(kind.rawValue) \"\(name)\" is not yet \(goal.rawValue), check the status for more information"
                + (advice.map { "\nWaited \(span) for the controller to take it up. \($0)" } ?? ""))
    }

    /// Waits until the controller has dropped a deleted resource.
    func disappear(_ kind: ResourceKind, _ name: String) throws {
        let gone = try until { _ in try resources.observed(kind, name) == nil }
        if !gone {
            throw CommandFailure.failed(
                "\(kind.rawValue) \"\(name)\" not deleted yet, check the status for more information")
        }
    }

    /// Asks again and again until the answer is yes or the time is up. What `isDone` writes into its argument is shown
    /// as the reason for the waiting. A cluster that cannot be asked for a moment is asked again.
    /// - Throws: what `isDone` throws; the fault of a cluster that could not be asked up to the end.
    func until(_ isDone: (inout String) throws -> Bool) throws -> Bool {
        let end = pace.now() + timeout
        var spinner = Spinner(prefix.rawValue, isWelcome: mayDraw)
        defer { spinner.clear() }
        var reason = ""
        while true {
            var lastFault: ClusterFault?
            do {
                if try isDone(&reason) { return true }
            } catch let fault as ClusterFault where fault.mayPass {
                lastFault = fault
                reason = "(the API server does not answer)"
            }
            if pace.now() >= end {
                if let lastFault { throw lastFault }
                return false
            }
            spinner.turn(reason: reason)
            pace.pause(resources.pollMicroseconds)
        }
    }

    /// The time limit as the user would write it.
    var span: String { GoDuration.format(seconds: timeout / 1000) }
}
