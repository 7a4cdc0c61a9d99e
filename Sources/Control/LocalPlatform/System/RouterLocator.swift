import ControlIO
import Glibc

/// Finds the programs that belong together.
package enum RouterLocator {
    /// Path of the router: `$SKUPPER_ROUTER`, else `skupper-router` beside the running program, else in PATH.
    package static func router() throws(LocalError) -> String {
        try find("skupper-router", variable: "SKUPPER_ROUTER")
    }

    /// Path of the controller: `$SKUPPER_CONTROLLER`, else `skupper-controller` beside the running program, else
    /// in PATH.
    package static func controller() throws(LocalError) -> String {
        try find("skupper-controller", variable: "SKUPPER_CONTROLLER")
    }

    /// Path of the running program.
    package static func thisProgram() throws(LocalError) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { throw .system("cannot read", path: "/proc/self/exe", error: errno) }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func find(_ name: String, variable: String) throws(LocalError) -> String {
        if let value = getenv(variable).map({ String(cString: $0) }), !value.isEmpty {
            guard isProgram(value) else {
                throw LocalError(
                    what: "\(variable) is \"\(value)\"", cause: "there is no program that this user may run",
                    remedy: "Set it to the path of \(name), or unset it")
            }
            return value
        }
        var folders: [String] = []
        if let own = ownFolder() { folders.append(own) }
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
        folders += path.split(separator: ":").map(String.init)
        if let folder = folders.first(where: { isProgram("\($0)/\(name)") }) { return "\(folder)/\(name)" }
        throw LocalError(
            what: "the program \(name) was not found",
            cause: "it is neither beside this program nor in PATH (\(path))",
            remedy: "Install it, or set \(variable) to its path")
    }

    private static func isProgram(_ path: String) -> Bool {
        Files.kind(path) == .file && access(path, X_OK) == 0
    }

    private static func ownFolder() -> String? {
        guard let path = try? thisProgram() else { return nil }
        return path.lastIndex(of: "/").map { String(path[..<$0]) }
    }
}
