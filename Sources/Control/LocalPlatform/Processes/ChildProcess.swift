import Glibc

/// What to start: a program, its arguments and where its output goes.
package struct ChildCommand: Hashable, Sendable {
    /// Path of the program.
    package var executable: String
    /// Arguments after the program's name.
    package var arguments: [String]
    /// Variables set on top of this process's environment.
    package var environment: [String: String]
    /// File to which standard output and error are appended; nil leaves them as they are.
    package var logFile: String?

    package init(
        executable: String, arguments: [String], environment: [String: String] = [:], logFile: String? = nil
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.logFile = logFile
    }
}

/// A process by number and start time, so that a number used again is not taken for the old process.
package struct ProcessIdentity: Hashable, Sendable {
    /// Process number.
    package let pid: pid_t
    /// Start time in clock ticks since boot, as the kernel tells it.
    package let startTicks: UInt64

    package init(pid: pid_t, startTicks: UInt64) {
        self.pid = pid
        self.startTicks = startTicks
    }

    /// The running process with this number; nil if there is none, or only a zombie.
    package init?(running pid: pid_t) {
        guard pid > 0, let fields = ProcessIdentity.statusFields(pid), let state = fields.first, state != "Z",
            state != "X", fields.count > 19, let ticks = UInt64(fields[19])
        else { return nil }
        self.init(pid: pid, startTicks: ticks)
    }

    /// Whether this very process still runs (a zombie does not).
    package var isRunning: Bool { ProcessIdentity(running: pid) == self }

    /// Whether the process with this number was ended and the kernel has not yet taken all from it: its open files and
    /// locks go last.
    package static func isEnding(_ pid: pid_t) -> Bool {
        guard let fields = statusFields(pid), fields.count > 6, let state = fields.first else { return false }
        let exiting: UInt64 = 0x4  // PF_EXITING, see proc(5), "flags"
        return state == "Z" || state == "X" || UInt64(fields[6]).map { $0 & exiting != 0 } ?? false
    }

    /// The command line of the process; empty if it is gone.
    package var commandLine: [String] {
        guard let text = ProcessIdentity.contents("/proc/\(pid)/cmdline") else { return [] }
        return text.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Fields of /proc/<pid>/stat from the third (state) on; the second may hold blanks and is skipped.
    private static func statusFields(_ pid: pid_t) -> [Substring]? {
        guard let bytes = contents("/proc/\(pid)/stat") else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.lastIndex(of: ")") else { return nil }
        return text[text.index(after: end)...].split(separator: " ")
    }

    private static func contents(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while result.count < 1 << 16 {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            result += buffer[..<count]
        }
        return result
    }
}

/// Starting processes.
package enum ChildProcess {
    /// Starts a program in a session of its own, with default signal handling and no input.
    ///
    /// A session of its own keeps the terminal's Ctrl-C and hang-up away: whoever started it ends it. Throws
    /// `LocalError` if the program cannot be started.
    package static func start(_ command: ChildCommand) throws(LocalError) -> ProcessIdentity {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        if let log = command.logFile {
            posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o640)
            posix_spawn_file_actions_adddup2(&actions, 1, 2)
        }
        var defaults = sigset_t()
        var none = sigset_t()
        sigfillset(&defaults)
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setsigmask(&attributes, &none)
        // glibc shows POSIX_SPAWN_SETSID to GNU sources only.
        let newSession: Int32 = 0x80
        let flags = Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK) | newSession
        posix_spawnattr_setflags(&attributes, Int16(flags))

        let arguments = CStringArray([command.executable] + command.arguments)
        let environment = CStringArray(merged(command.environment))
        var pid: pid_t = 0
        let failure = posix_spawn(
            &pid, command.executable, &actions, &attributes, arguments.pointers, environment.pointers)
        guard failure == 0 else {
            throw LocalError(
                what: "cannot start \(command.executable)", cause: errorText(failure),
                remedy: failure == ENOENT || failure == EACCES
                    ? "Check that it is installed and executable"
                    : "Check the limits of this user and the memory of this host")
        }
        return ProcessIdentity(running: pid) ?? ProcessIdentity(pid: pid, startTicks: 0)
    }

    /// How a child of this process ended; nil while it runs or if it is no child.
    static func reap(_ pid: pid_t) -> String? {
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
        let signal = status & 0x7f
        if signal == 0 { return "exited with status \((status >> 8) & 0xff)" }
        return "was ended by signal \(signal)"
    }

    private static func merged(_ extra: [String: String]) -> [String] {
        var result: [String] = []
        var entry = environ
        while let text = entry.pointee {
            let line = String(cString: text)
            let name = line.prefix { $0 != "=" }
            if extra[String(name)] == nil { result.append(line) }
            entry += 1
        }
        return result + extra.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    }
}

/// A null-terminated array of C strings that lives as long as this object.
private final class CStringArray {
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointers = .allocate(capacity: count + 1)
        for (index, string) in strings.enumerated() { pointers[index] = strdup(string) }
        pointers[count] = nil
    }

    deinit {
        for index in 0..<count { free(pointers[index]) }
        pointers.deallocate()
    }
}
