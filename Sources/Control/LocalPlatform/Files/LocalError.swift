import Glibc

/// Why something on this host failed, as one paragraph: what happened, the likely cause, what to do.
package struct LocalError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What happened, naming the value concerned; no final stop.
    package let what: String
    /// The likely cause; no final stop.
    package let cause: String
    /// What the user can do about it; a sentence without final stop.
    package let remedy: String

    /// Texts are given without capital first letter (except `remedy`) and without final stop.
    package init(what: String, cause: String, remedy: String) {
        self.what = what
        self.cause = cause
        self.remedy = remedy
    }

    package var description: String { "\(what): \(cause). \(remedy)." }

    /// A failed system call on `path`, with a remedy that fits the error number.
    static func system(_ what: String, path: String, error: Int32) -> LocalError {
        let remedy =
            switch error {
            case EACCES, EPERM, EROFS:
                "Run as a user who may write there, or set SKUPPER_OUTPUT_PATH to a directory of your own"
            case ENOSPC, EDQUOT: "Free some space on that file system and try again"
            case ENOENT: "Check that the path is right"
            case EMFILE, ENFILE: "Raise the limit of open files (ulimit -n) and try again"
            default: "Check the file system and try again"
            }
        return LocalError(what: "\(what) \(path)", cause: errorText(error), remedy: remedy)
    }
}

/// The system's text for an error number, first letter small as inside a sentence.
func errorText(_ number: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
    let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return text.prefix(1).lowercased() + text.dropFirst()
}
