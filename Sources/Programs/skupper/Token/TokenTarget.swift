import ControlIO
import Glibc
import SiteModel

/// Where an issued token goes: a file, or `-` for standard output.
struct TokenTarget {
    let name: String

    var isStandardOutput: Bool { name == "-" }

    /// Checks that a token can be written there.
    /// - Returns: the complaint, or nil.
    func complaint() -> String? {
        if isStandardOutput { return nil }
        if name.isEmpty { return "file name must not be empty" }
        if let reason = Self.pathComplaint(name) { return "token file name is not valid: \(reason)" }
        switch Files.kind(name) {
        case .directory: return "token file name is a directory"
        case .other: return nil
        case .file, nil: break
        }
        // The file replaces an older one in one step, so the folder is what must allow writing.
        guard access(folder, W_OK | X_OK) == 0 else {
            return "invalid token file name: \(folder): \(String(cString: strerror(errno)).lowercased())"
        }
        return nil
    }

    /// Why a path is not accepted; nil when it is. Upstream's rule has no underscore, but temporary directories and
    /// users have: it is let through.
    static func pathComplaint(_ path: String) -> String? {
        FieldRules.filePath(String(path.map { $0 == "_" ? "-" : $0 }))
    }

    /// Whether a new file takes the place of whatever has the name; a stream, a pipe or a terminal is written into.
    var isReplaceable: Bool {
        !isStandardOutput && Files.kind(name) != .other
    }

    /// Writes the token: as a new file that only its owner can read, or into what cannot be replaced.
    func write(_ text: String) throws {
        guard isReplaceable else { return try writeThrough(text) }
        try Files.write(name, text: text, mode: 0o600)
    }

    /// Writes the token into what cannot be replaced.
    func writeThrough(_ text: String) throws {
        if isStandardOutput { return Console.write(text, to: STDOUT_FILENO) }
        let descriptor = open(name, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw CommandFailure.failed("could not write to file \(name): \(String(cString: strerror(errno)))")
        }
        Console.write(text, to: descriptor)
        close(descriptor)
    }

    private var folder: String {
        guard let slash = name.lastIndex(of: "/") else { return "." }
        return slash == name.startIndex ? "/" : String(name[..<slash])
    }
}
