import Glibc

/// The router in the background: the command that started it returns when the router is up, or has failed to come up.
enum Daemon {
    /// The two processes that come out of ``split()``.
    enum Side {
        /// The command: it has waited for the router and ends with this code.
        case command(code: Int32)
        /// The router; ``isUp(_:)`` tells the command.
        case router(report: Int32)
        /// There is only one process, for this reason.
        case failed(String)
    }

    /// Before any thread starts: only the thread that calls this lives on in the router's process.
    static func split() -> Side {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return .failed(String(cString: strerror(errno))) }
        let child = fork()
        if child < 0 { return .failed(String(cString: strerror(errno))) }
        if child > 0 {
            close(ends[1])
            return .command(code: waited(for: child, ends[0]))
        }
        close(ends[0])
        setsid()
        // Whoever does not lead a session never gets a terminal again.
        let router = fork()
        if router != 0 { _exit(router < 0 ? 1 : 0) }
        return .router(report: ends[1])
    }

    /// The router has said on our standard error what is wrong, when it ends without a word here.
    private static func waited(for child: pid_t, _ report: Int32) -> Int32 {
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        var word: UInt8 = 0
        var count = 0
        repeat { count = read(report, &word, 1) } while count < 0 && errno == EINTR
        close(report)
        return count == 1 ? 0 : 1
    }

    /// The command may return. Its terminal and pipes are let go of, so that nobody waits for their end.
    static func isUp(_ report: Int32) {
        let nothing = open("/dev/null", O_RDWR | O_CLOEXEC)
        if nothing >= 0 {
            for standard in Int32(0)...2 { dup2(nothing, standard) }
            close(nothing)
        }
        var word: UInt8 = 1
        _ = write(report, &word, 1)
        close(report)
    }
}
