import ControlIO
import Glibc

/// A log file that other processes append to, kept from growing without end.
package struct BoundedLog: Sendable {
    /// The file; the one before it is at `path` + `.1`.
    package let path: String
    /// Octets at which the file is moved aside.
    package let limit: Int

    package init(path: String, limit: Int = 4 << 20) {
        self.path = path
        self.limit = limit
    }

    /// Copies a file that has reached its limit aside and empties it.
    ///
    /// Copying, not renaming: the writer keeps its descriptor, and appends to the emptied file. Lines written between
    /// the copy and the emptying are lost, which is a few at most.
    package func rotateIfNeeded() {
        var status = stat()
        guard stat(path, &status) == 0, Int(status.st_size) >= limit else { return }
        if let bytes = try? Files.read(path, limit: max(limit * 4, 64 << 20)) {
            try? Files.write(path + ".1", bytes: bytes, mode: 0o640)
        }
        truncate(path, 0)
    }

    /// The last lines of the file, at most `count` and at most 8 KiB.
    package func lastLines(_ count: Int) -> [String] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        let size = lseek(descriptor, 0, SEEK_END)
        lseek(descriptor, max(0, size - 8192), SEEK_SET)
        var buffer = [UInt8](repeating: 0, count: 8192)
        let length = read(descriptor, &buffer, buffer.count)
        guard length > 0 else { return [] }
        return String(decoding: buffer[..<length], as: UTF8.self).split(separator: "\n").suffix(count).map(String.init)
    }
}
