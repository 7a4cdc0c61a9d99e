/// A file operation that failed.
package struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried.
    package enum Operation: String, Hashable, Sendable {
        case read, write, create, remove, list, rename, inspect
    }

    /// What was tried.
    package let operation: Operation
    /// The file or folder.
    package let path: String
    /// `errno`, or 0 when the fault is not from the system (file larger than the limit, not UTF-8).
    package let code: Int32
    /// The fault in words.
    package let reason: String

    /// A fault.
    package init(operation: Operation, path: String, code: Int32, reason: String) {
        self.operation = operation
        self.path = path
        self.code = code
        self.reason = reason
    }

    /// True when the file or folder does not exist.
    package var isNotFound: Bool { code == 2 }

    /// What to do about it.
    package var remedy: String { "" }

    /// Operation, path, reason and remedy.
    package var description: String { "" }
}

/// Blocking file operations of the control programs. Every function throws `FileError` with the path in it.
package enum Files {
    /// Largest file that `read` accepts unless told otherwise, bytes.
    package static let defaultLimitBytes = 4 * 1024 * 1024

    /// What kind of thing a path is.
    package enum Kind: Hashable, Sendable { case file, directory, other }

    /// The bytes of a file not larger than `limit`.
    package static func read(_ path: String, limit: Int = defaultLimitBytes) throws(FileError) -> [UInt8] { [] }
    /// The UTF-8 text of a file not larger than `limit`.
    package static func readText(_ path: String, limit: Int = defaultLimitBytes) throws(FileError) -> String { "" }
    /// Replaces a file in one step: temporary file beside it, sync, rename. Readers see the old or the new content.
    package static func write(_ path: String, bytes: [UInt8], mode: UInt32 = 0o644) throws(FileError) {}
    /// As `write(_:bytes:mode:)` for text.
    package static func write(_ path: String, text: String, mode: UInt32 = 0o644) throws(FileError) {}
    /// Makes a folder and all folders above it that are missing; an existing folder is fine.
    package static func makeDirectory(_ path: String, mode: UInt32 = 0o755) throws(FileError) {}
    /// Names in a folder, sorted, without `.` and `..`; at most 100,000.
    package static func list(_ path: String) throws(FileError) -> [String] { [] }
    /// Removes a file; an absent one is fine.
    package static func remove(_ path: String) throws(FileError) {}
    /// Removes a file or a folder with all that is in it (symbolic links are not followed); absent is fine.
    package static func removeTree(_ path: String) throws(FileError) {}
    /// Renames within a file system.
    package static func rename(_ from: String, to: String) throws(FileError) {}
    /// What a path is (symbolic links followed); nil when nothing is there or it cannot be seen.
    package static func kind(_ path: String) -> Kind? { nil }
    /// True when something is at the path.
    package static func exists(_ path: String) -> Bool { kind(path) != nil }
}
