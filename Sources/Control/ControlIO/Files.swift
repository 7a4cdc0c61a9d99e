import Glibc

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

    init(_ operation: Operation, _ path: String, code: Int32 = errno) {
        self.init(operation: operation, path: path, code: code, reason: String(cString: strerror(code)))
    }

    /// True when the file or folder does not exist.
    package var isNotFound: Bool { code == ENOENT }

    /// What to do about it.
    package var remedy: String {
        switch code {
        case ENOENT: "check that the path is right and that the folder exists"
        case EACCES, EPERM: "run as the owner of the folder, or change its permissions"
        case ENOSPC, EDQUOT: "free space on the disk"
        case EROFS: "choose a place that is not mounted read-only"
        case EISDIR: "name a file, not a folder"
        case ENOTDIR: "a part of the path is a file: name another place"
        case ENOTEMPTY, EEXIST: "something is already there: remove it or choose another name"
        case EMFILE, ENFILE: "raise the limit of open files"
        case ELOOP: "remove the loop of symbolic links"
        case 0: "put a file of the right kind in place"
        default: "check the disk and try again"
        }
    }

    /// Operation, path, reason and remedy.
    package var description: String { "cannot \(operation.rawValue) \(path): \(reason) (\(remedy))" }
}

/// Blocking file operations of the control programs. Every function throws `FileError` with the path in it.
package enum Files {
    /// Largest file that `read` accepts unless told otherwise, bytes.
    package static let defaultLimitBytes = 4 * 1024 * 1024
    private static let maximumEntries = 100_000
    private static let maximumTreeDepth = 64

    /// What kind of thing a path is.
    package enum Kind: Hashable, Sendable { case file, directory, other }

    /// The bytes of a file not larger than `limit`.
    package static func read(_ path: String, limit: Int = defaultLimitBytes) throws(FileError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(.read, path) }
        defer { _ = close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError(.read, path)
            }
            if count == 0 { return content }
            content += chunk[0..<count]
            if content.count > limit {
                throw FileError(
                    operation: .read, path: path, code: 0, reason: "the file is larger than \(limit) bytes")
            }
        }
    }

    /// The UTF-8 text of a file not larger than `limit`.
    package static func readText(_ path: String, limit: Int = defaultLimitBytes) throws(FileError) -> String {
        guard let text = String(validating: try read(path, limit: limit), as: UTF8.self) else {
            throw FileError(operation: .read, path: path, code: 0, reason: "the file is not UTF-8 text")
        }
        return text
    }

    /// Replaces a file in one step: temporary file beside it, sync, rename. Readers see the old or the new content.
    package static func write(_ path: String, bytes: [UInt8], mode: UInt32 = 0o644) throws(FileError) {
        let (temporary, descriptor) = try openTemporary(beside: path)
        do throws(FileError) {
            defer { _ = close(descriptor) }
            guard fchmod(descriptor, mode) == 0 else { throw FileError(.write, path) }
            try writeAll(descriptor, bytes, path: path)
            guard fsync(descriptor) == 0 else { throw FileError(.write, path) }
        } catch {
            unlink(temporary)
            throw error
        }
        guard Glibc.rename(temporary, path) == 0 else {
            let error = FileError(.write, path)
            unlink(temporary)
            throw error
        }
        syncFolder(of: path)
    }

    /// As `write(_:bytes:mode:)` for text.
    package static func write(_ path: String, text: String, mode: UInt32 = 0o644) throws(FileError) {
        try write(path, bytes: Array(text.utf8), mode: mode)
    }

    /// Makes a folder and all folders above it that are missing; an existing folder is fine.
    package static func makeDirectory(_ path: String, mode: UInt32 = 0o755) throws(FileError) {
        var made = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            made += "/" + part
            if mkdir(made, mode) == 0 { continue }
            let code = errno
            // Anything else than "exists" may be a folder above the one we may write to; what is there decides.
            guard kind(made) == .directory else {
                throw FileError(.create, made, code: code == EEXIST ? ENOTDIR : code)
            }
        }
    }

    /// Names in a folder, sorted, without `.` and `..`; at most 100,000.
    package static func list(_ path: String) throws(FileError) -> [String] {
        guard let folder = opendir(path) else { throw FileError(.list, path) }
        defer { closedir(folder) }
        var names: [String] = []
        errno = 0
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
            if names.count > maximumEntries {
                throw FileError(
                    operation: .list, path: path, code: 0, reason: "the folder has more than \(maximumEntries) entries")
            }
            errno = 0
        }
        guard errno == 0 else { throw FileError(.list, path) }
        return names.sorted()
    }

    /// Removes a file; an absent one is fine.
    package static func remove(_ path: String) throws(FileError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw FileError(.remove, path) }
    }

    /// Removes a file or a folder with all that is in it (symbolic links are not followed); absent is fine.
    package static func removeTree(_ path: String) throws(FileError) { try removeTree(path, depth: 0) }

    private static func removeTree(_ path: String, depth: Int) throws(FileError) {
        guard depth < maximumTreeDepth else {
            throw FileError(
                operation: .remove, path: path, code: 0, reason: "nested deeper than \(maximumTreeDepth) folders")
        }
        var information = stat()
        guard lstat(path, &information) == 0 else {
            if errno == ENOENT { return }
            throw FileError(.remove, path)
        }
        guard information.st_mode & S_IFMT == S_IFDIR else { return try remove(path) }
        for name in try list(path) { try removeTree(path + "/" + name, depth: depth + 1) }
        guard rmdir(path) == 0 || errno == ENOENT else { throw FileError(.remove, path) }
    }

    /// Renames within a file system.
    package static func rename(_ from: String, to target: String) throws(FileError) {
        guard Glibc.rename(from, target) == 0 else { throw FileError(.rename, from) }
        syncFolder(of: target)
    }

    /// What a path is (symbolic links followed); nil when nothing is there or it cannot be seen.
    package static func kind(_ path: String) -> Kind? {
        var information = stat()
        guard stat(path, &information) == 0 else { return nil }
        switch information.st_mode & S_IFMT {
        case S_IFREG: return .file
        case S_IFDIR: return .directory
        default: return .other
        }
    }

    /// True when something is at the path.
    package static func exists(_ path: String) -> Bool { kind(path) != nil }

    /// A new file in the folder of `path`, readable by its owner only until the caller sets the mode.
    private static func openTemporary(beside path: String) throws(FileError) -> (String, Int32) {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let folder = slash.map { String(path[...$0]) } ?? ""
        let name = slash.map { String(path[path.utf8.index(after: $0)...]) } ?? path
        for attempt in 0..<1000 {
            let temporary = "\(folder).\(name).\(getpid()).\(attempt).tmp"
            let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            if descriptor >= 0 { return (temporary, descriptor) }
            // Another thread, or an earlier process of this number that was killed, has the name.
            guard errno == EEXIST else { throw FileError(.write, path) }
        }
        throw FileError(.write, path, code: EEXIST)
    }

    private static func writeAll(_ descriptor: Int32, _ bytes: [UInt8], path: String) throws(FileError) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                let rest = buffer[offset...]
                return Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError(.write, path)
            }
            offset += count
        }
    }

    /// Makes a rename durable. Some file systems cannot sync folders; the rename itself has succeeded then.
    private static func syncFolder(of path: String) {
        let folder = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[...$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        _ = fsync(descriptor)
        _ = close(descriptor)
    }
}
