import ControlIO
import Glibc

/// What tells two versions of a file apart without reading them.
struct FileStamp: Hashable, Sendable {
    private let seconds: Int
    private let nanoseconds: Int
    private let size: Int
    private let inode: UInt

    /// The stamp of the file at `path`; nil if there is none.
    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        seconds = status.st_mtim.tv_sec
        nanoseconds = status.st_mtim.tv_nsec
        size = Int(status.st_size)
        inode = UInt(status.st_ino)
    }
}

extension Files {
    /// The text of a file; nil if there is none.
    static func readTextIfPresent(_ path: String) throws(FileError) -> String? {
        do {
            return try readText(path)
        } catch {
            if error.isNotFound { return nil }
            throw error
        }
    }

    /// Names in a folder that do not begin with a dot; none if there is no such folder.
    static func listIfPresent(_ path: String) throws(FileError) -> [String] {
        do {
            return try list(path).filter { !$0.hasPrefix(".") }
        } catch {
            if error.isNotFound { return [] }
            throw error
        }
    }

    /// Writes a file only if its contents differ, so that watchers are not woken for nothing; true if it did.
    @discardableResult
    static func writeIfChanged(_ path: String, text: String, mode: UInt32 = 0o644) throws(FileError) -> Bool {
        if let old = try? readText(path), old == text { return false }
        try write(path, text: text, mode: mode)
        return true
    }
}

/// Writes all of `bytes` to a descriptor; 0, or the error number.
func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) -> Int32 {
    var offset = 0
    while offset < bytes.count {
        let count = bytes[offset...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            return errno
        }
        offset += count
    }
    return 0
}
