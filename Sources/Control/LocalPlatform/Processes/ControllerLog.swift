import Glibc
import SiteModel
import Threading

/// The controller's log: one line per event with time and namespace, on standard error.
package struct ControllerLog: Sendable {
    /// What is written: lines of the level and above.
    package enum Level: String, Comparable, Sendable, CaseIterable {
        case debug, info, warn, error

        package static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
        private var rank: Int { Level.allCases.firstIndex(of: self) ?? 0 }
    }

    private let namespace: String
    private let threshold = Locked(Level.info)
    private let bound: BoundedLog?

    /// - Parameter file: the file that standard error goes to, kept within its limit; nil for a terminal or journal.
    package init(namespace: String, file: String? = nil) {
        self.namespace = namespace
        bound = file.map { BoundedLog(path: $0) }
    }

    /// Writes a line that only somebody who looks for a fault wants to see.
    package func debug(_ text: @autoclosure () -> String) { line(.debug, "debug", text) }
    /// Writes a line.
    package func note(_ text: String) { line(.info, "info") { text } }
    /// Writes a line about something that needs somebody's attention.
    package func warn(_ text: String) { line(.warn, "warning") { text } }

    /// What is written from now on, by all copies of this log.
    package var level: Level {
        get { threshold.withLock { $0 } }
        nonmutating set { threshold.withLock { $0 = newValue } }
    }

    private func line(_ rank: Level, _ level: String, _ makeText: () -> String) {
        guard rank >= self.level else { return }
        let text = makeText()
        bound?.rotateIfNeeded()
        let flat = text.map { $0 == "\n" ? " " : String($0) }.joined()
        let line = "\(Timestamp.format(unix: WallClock.now)) \(level) [\(namespace)] \(flat)\n"
        _ = writeAll(2, Array(line.utf8))
    }
}
