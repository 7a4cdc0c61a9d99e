import SiteModel

/// The end of `site create` and `site update`: wait where a controller is there to act.
enum SiteWait {
    static func finish(
        _ invocation: Invocation, _ prefix: Waiting.Prefix, site: Resource, done: (Waiting.Goal) -> String
    ) throws {
        let goal = Waiting.Goal(rawValue: invocation.flags.text("wait")) ?? .none
        guard goal != .none, invocation.resources.expectsController() else { return }
        try Waiting(invocation, prefix).reach(goal, written: site)
        Console.print(done(goal))
    }
}
