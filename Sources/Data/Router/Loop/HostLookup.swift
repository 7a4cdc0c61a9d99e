import CLibuv
import Glibc
import Threading

/// Looks up the addresses of hosts for a thread that must not wait long: while the control thread waits for a name
/// server it hears no neighbour, and a neighbour that hears nothing for 3 s takes this router for dead.
final class HostLookup {
    /// Milliseconds that all names of one entity may take together while the router runs, and before it does.
    static let patience: UInt64 = 1000
    static let patienceAtStart: UInt64 = 10_000
    /// Threads that ask at a time, those included whose answer nobody waits for any more.
    static let threadMaximum = 8
    private static let threads = Locked(0)

    private let ask: @Sendable (String) -> [SocketAddress]
    /// Milliseconds that are left.
    private var left: UInt64
    /// Names that had no answer in time.
    private(set) var unanswered: [String] = []

    /// - Parameter ask: what may take long; it runs on a thread of its own.
    init(patience: UInt64, ask: @escaping @Sendable (String) -> [SocketAddress] = HostLookup.system) {
        left = patience
        self.ask = ask
    }

    /// The addresses of a name, without a port; none when it is unknown or was not answered in time.
    func addresses(of name: String) -> [SocketAddress] {
        guard !name.isEmpty else { return [] }
        let began = EventLoop.clock()
        let answer = Handover<[SocketAddress]>()
        let addresses = start(name, answer) ? answer.wait(milliseconds: left) : nil
        left -= min(left, UInt64(max(0, EventLoop.clock() - began)))
        if addresses == nil { unanswered.append(name) }
        return addresses ?? []
    }

    /// The end of an error's text when names had no answer in time.
    var complaint: String? {
        if unanswered.isEmpty { return nil }
        return "; no name server has answered in time for \(unanswered.joined(separator: ", ")): try again, or give "
            + "numbers"
    }

    private func start(_ name: String, _ answer: Handover<[SocketAddress]>) -> Bool {
        let isFree = HostLookup.threads.withLock { count in
            guard left > 0, count < HostLookup.threadMaximum else { return false }
            count += 1
            return true
        }
        guard isFree else { return false }
        let thread = WorkThread { [ask] in
            answer.give(ask(name))
            HostLookup.threads.withLock { $0 -= 1 }
        }
        if let thread { thread.detach() } else { HostLookup.threads.withLock { $0 -= 1 } }
        return thread != nil
    }

    /// What the system's resolver says, however long it takes.
    @Sendable static func system(_ name: String) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        return SocketAddress.all(in: list)
    }
}
