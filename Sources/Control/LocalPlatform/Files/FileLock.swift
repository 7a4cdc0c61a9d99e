import Glibc

/// An exclusive lock on a file, held until this object goes or the process ends; the file holds the owner's pid.
package final class FileLock: Sendable {
    private let descriptor: Int32
    /// Path of the lock file. It stays behind: removing it would let two owners lock two different files.
    package let path: String

    /// Takes the lock; nil if another process has it. Somebody who looks for the owner, and an owner that was killed
    /// and is not yet gone, are waited for.
    package static func acquire(_ path: String) throws(LocalError) -> FileLock? {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .system("cannot open the lock file", path: path, error: errno) }
        let deadline = MonotonicClock.now + patience
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let failure = errno
            if failure == EWOULDBLOCK, MonotonicClock.now < deadline, owner(of: path) == nil {
                usleep(1000)
                continue
            }
            close(descriptor)
            if failure == EWOULDBLOCK { return nil }
            throw .system("cannot lock", path: path, error: failure)
        }
        ftruncate(descriptor, 0)
        _ = writeAll(descriptor, Array("\(getpid())\n".utf8))
        return FileLock(descriptor: descriptor, path: path)
    }

    /// Takes the lock, waiting for its owner up to `seconds`.
    package static func acquire(_ path: String, within seconds: Double) throws(LocalError) -> FileLock {
        let deadline = MonotonicClock.now + Int64(seconds * 1000)
        while true {
            if let lock = try acquire(path) { return lock }
            guard MonotonicClock.now < deadline else {
                throw LocalError(
                    what: "cannot lock \(path) within \(Int(seconds)) s",
                    cause: "process \(owner(of: path).map(String.init) ?? "of another user") holds it",
                    remedy: "Wait until that process is done, or end it if it hangs")
            }
            usleep(20_000)
        }
    }

    /// The process that holds the lock; nil if nobody does. An owner that was killed and still has its files open is
    /// waited for, 2 s at most: on a loaded machine a killed process is seen gone before its locks are free. So is one
    /// that has taken the lock and not yet written its number.
    package static func owner(of path: String) -> pid_t? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let deadline = MonotonicClock.now + patience
        var gone: pid_t?
        // A shared lock, so that those who look do not take one another for the owner.
        while flock(descriptor, LOCK_SH | LOCK_NB) != 0 {
            var buffer = [UInt8](repeating: 0, count: 32)
            let count = Glibc.pread(descriptor, &buffer, buffer.count, 0)
            let digits = buffer[..<max(0, count)].prefix { $0 >= 0x30 && $0 <= 0x39 }
            let owner = pid_t(String(decoding: digits, as: UTF8.self))
            guard MonotonicClock.now < deadline else { return owner }
            if let owner, !ProcessIdentity.isEnding(owner) {
                // It may have gone between the two looks, or been followed by one that has not written its number. An
                // owner that cannot be seen, for it is in another container, is taken at its word the second time.
                guard gone != owner, ProcessIdentity(running: owner) == nil else { return owner }
                gone = owner
            }
            usleep(5_000)
        }
        return nil
    }

    /// Milliseconds that an owner gets to be gone, or to tell its number.
    private static let patience: Int64 = 2000

    private init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }
}
