import Glibc
import Threading

/// What the commands have written, for a test that runs them inside its own process.
final class ConsoleRecorder: Sendable {
    private let texts = Locked<(output: String, notes: String)>(("", ""))

    /// What went to standard output.
    var output: String { texts.withLock { $0.output } }
    /// What went to standard error.
    var notes: String { texts.withLock { $0.notes } }

    fileprivate func add(_ text: String, isOutput: Bool) {
        texts.withLock { if isOutput { $0.output += text } else { $0.notes += text } }
    }
}

/// Standard output, standard error and standard input, written whole and without buffering surprises.
enum Console {
    /// Takes what is written to standard output and standard error; nil in the program.
    @TaskLocal static var recorder: ConsoleRecorder?

    /// Prints a line on standard output.
    static func print(_ line: String) {
        write(line + "\n", to: STDOUT_FILENO)
    }

    /// Prints a line on standard error.
    static func note(_ line: String) {
        write(line + "\n", to: STDERR_FILENO)
    }

    /// Writes the whole text, going on after interruptions and short writes. A closed pipe ends the writing in silence.
    static func write(_ text: String, to descriptor: Int32) {
        if let recorder, descriptor == STDOUT_FILENO || descriptor == STDERR_FILENO {
            return recorder.add(text, isOutput: descriptor == STDOUT_FILENO)
        }
        var text = text
        text.withUTF8 { bytes in
            var done = 0
            while done < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                if count > 0 {
                    done += count
                } else if errno != EINTR {
                    return
                }
            }
        }
    }

    /// Reads standard input to its end.
    /// - Throws: `CommandFailure` when it cannot be read, is no UTF-8, or is longer than `limit` octets.
    static func readInput(limit: Int = 4 << 20) throws -> String {
        var content: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = Glibc.read(STDIN_FILENO, &block, block.count)
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw CommandFailure.failed("standard input cannot be read: \(String(cString: strerror(errno)))")
            }
            content += block[0..<count]
            if content.count > limit {
                throw CommandFailure.failed("standard input is longer than \(limit) octets")
            }
        }
        guard let text = String(validating: content, as: UTF8.self) else {
            throw CommandFailure.failed("standard input is not UTF-8 text")
        }
        return text
    }

    /// Whether standard output is a terminal, where a spinner or a hint is welcome.
    static var isTerminal: Bool { recorder == nil && isatty(STDOUT_FILENO) == 1 }

    /// The value of an environment variable; nil when unset or empty.
    static func environment(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        return text.isEmpty ? nil : text
    }
}
