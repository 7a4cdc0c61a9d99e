import Glibc

/// A password as configuration gives it: the text itself, or where it is (router-protocol.md section 1.2).
enum Password {
    /// Octets of a password file that are read.
    private static let fileMaximum = 4096

    /// The password that `text` stands for: after `env:` the name of a variable, after `file:` a path, after
    /// `literal:` or `pass:` the password; without any of these the password itself.
    ///
    /// Throws when the variable is not set or the file cannot be read; the text never holds the password.
    static func resolve(_ text: String) throws(TLSFailure) -> String {
        if let name = rest(of: text, after: "env:") {
            guard let value = getenv(String(name.drop { $0 == " " })) else {
                throw TLSFailure(text: "password: the environment has no variable \(name); set it or use file:")
            }
            return String(cString: value)
        }
        if let path = rest(of: text, after: "file:") { return try firstLine(of: path) }
        return rest(of: text, after: "literal:") ?? rest(of: text, after: "pass:") ?? text
    }

    private static func rest(of text: String, after prefix: String) -> String? {
        text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : nil
    }

    private static func firstLine(of path: String) throws(TLSFailure) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw TLSFailure(
                text: "password: cannot read \(path): \(String(cString: strerror(errno))); name a file this user may "
                    + "read")
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: fileMaximum)
        let count = read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)).prefix { $0 != 10 && $0 != 13 }, as: UTF8.self)
    }
}
