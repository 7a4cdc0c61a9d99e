import Glibc
import Synchronization

/// The writing end of the pipe that signal handlers write to; -1 while there is none.
private let signalPipe = Atomic<Int32>(-1)

/// Turns signals into octets on a pipe, so that the controller's loop can wait for them with `poll`.
package final class ControllerSignals {
    /// What has arrived.
    package struct Received: Hashable, Sendable {
        /// SIGTERM, SIGINT or SIGQUIT.
        package var isStop = false
        /// SIGHUP.
        package var isReload = false
        /// SIGCHLD.
        package var isChild = false
    }

    /// The reading end, for `poll`.
    package let descriptor: Int32

    /// Installs the handlers; there can be one object at a time in a process.
    package init() throws(LocalError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw .system("cannot make a pipe for", path: "signals", error: errno)
        }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        descriptor = ends[0]
        signalPipe.store(ends[1], ordering: .sequentiallyConsistent)
        signal(SIGPIPE, SIG_IGN)
        for number in [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGCHLD] {
            signal(number) { number in
                // Only what may be called in a handler; a full pipe holds a wake-up already.
                let saved = errno
                var octet = UInt8(truncatingIfNeeded: number)
                _ = write(signalPipe.load(ordering: .relaxed), &octet, 1)
                errno = saved
            }
        }
    }

    /// Empties the pipe.
    package func take() -> Received {
        var result = Received()
        var buffer = [UInt8](repeating: 0, count: 256)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return result }
            for octet in buffer[..<count] {
                switch Int32(octet) {
                case SIGHUP: result.isReload = true
                case SIGCHLD: result.isChild = true
                default: result.isStop = true
                }
            }
        }
    }
}
