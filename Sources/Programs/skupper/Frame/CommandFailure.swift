/// A failure with the text the user reads and the exit code a script reads.
struct CommandFailure: Error {
    let message: String
    let exitCode: Int32

    /// Anything that goes wrong while running or waiting.
    static func failed(_ message: String) -> CommandFailure {
        CommandFailure(message: message, exitCode: 1)
    }

    /// What was asked for cannot be done as it was asked.
    static func invalid(_ message: String) -> CommandFailure {
        CommandFailure(message: message, exitCode: 2)
    }
}
