import SiteModel

/// The end of every deletion: wait where a controller is there to act, and say that it is done. On a cluster nothing is
/// said of a deletion that was not waited for.
enum DeletionWait {
    static func finish(_ invocation: Invocation, _ kind: ResourceKind, _ name: String, done: String) throws {
        if invocation.flags.isOn("wait") {
            if invocation.resources.expectsController() {
                try Waiting(invocation, .deletion).disappear(kind, name)
            }
        } else if invocation.isOnCluster {
            return
        }
        Console.print(done)
    }
}
