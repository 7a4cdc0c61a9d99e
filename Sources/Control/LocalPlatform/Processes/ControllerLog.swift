import Glibc
import SiteModel

/// The controller's log: one line per event with time and namespace, on standard error.
package struct ControllerLog: Sendable {
    private let namespace: String
    private let bound: BoundedLog?

    /// - Parameter file: the file that standard error goes to, kept within its limit; nil for a terminal or journal.
    package init(namespace: String, file: String? = nil) {
        self.namespace = namespace
        bound = file.map { BoundedLog(path: $0) }
    }

    /// Writes a line.
    package func note(_ text: String) { line("info", text) }
    /// Writes a line about something that needs somebody's attention.
    package func warn(_ text: String) { line("warning", text) }

    private func line(_ level: String, _ text: String) {
        bound?.rotateIfNeeded()
        let flat = text.map { $0 == "\n" ? " " : String($0) }.joined()
        let line = "\(Timestamp.format(unix: WallClock.now)) \(level) [\(namespace)] \(flat)\n"
        _ = writeAll(2, Array(line.utf8))
    }
}
