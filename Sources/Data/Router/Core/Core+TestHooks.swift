/// What the option --test-hooks adds, for tests that want a certain line in the log; skrouterd has the same address.
extension Core {
    private static let logAddress = "io.skupper.router.router/test/log"

    /// The address exists only after this.
    func startTestHooks() {
        changeAddress("M" + Core.logAddress) { record in
            record.treatment = .closest
            record.inProcess = true
        }
    }

    /// A message whose subject names the level of the line; false for another address.
    func receivedTest(_ context: MessageContext) -> Bool {
        guard context.key == "M" + Core.logAddress else { return false }
        let level = context.head.properties?.subject.flatMap { LogLevel(name: $0.lowercased()) }
        Log.write(.router, level ?? .debug, "a line that a test asked for")
        return true
    }
}
