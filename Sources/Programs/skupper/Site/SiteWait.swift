import SiteModel

/// The end of `site create` and `site update`: wait where a controller is there to act.
enum SiteWait {
    static func finish(
        _ invocation: Invocation, site: Resource, done: (Waiting.Goal) -> String
    ) throws {
        let goal = Waiting.Goal(rawValue: invocation.flags.text("wait")) ?? .none
        guard goal != .none, invocation.files.isControllerRunning() else { return }
        try Waiting(invocation).reach(goal, written: site)
        Console.print(done(goal))
    }
}
