import CLibuv
import Glibc

/// A TCP listener's socket on one loop. Every loop has its own on the same port, so that accepting needs no hand-over.
final class TCPListenerSocket: EventTarget {
    unowned(unsafe) let worker: Worker  // loops live as long as the process
    let target: TCPListenerTarget
    private var poll: SocketPoll?
    /// Accepts per wake-up, so that a burst of clients does not keep the streams waiting.
    private static let batch = 16
    /// Clients to accept before epoll is asked for more. Nearly always it is one; an attempt that finds none would be
    /// one system call of twenty.
    private var expected = 1
    private var lastTurn = 0

    init(worker: Worker, target: TCPListenerTarget) {
        self.worker = worker
        self.target = target
    }

    func open(_ descriptor: Int32) {
        poll = SocketPoll(loop: worker, descriptor: descriptor, target: self)
        poll?.watch(read: true, write: false)
    }

    func close() { poll.take()?.close() }

    override func socketReady(readable: Bool, writable: Bool, failed: Bool) {
        let isBurst = worker.turns == lastTurn + 1
        lastTurn = worker.turns
        expected = isBurst ? min(2 * expected, TCPListenerSocket.batch) : max(1, expected / 2)
        for _ in 0..<expected {
            guard let listener = poll?.descriptor else { return }
            let descriptor = Sockets.accept(listener)
            if descriptor < 0 {
                if errno == EMFILE || errno == ENFILE {
                    Log.write(
                        .tcp, .error,
                        "listener \(target.name): cannot accept: \(Sockets.text(errno)); raise the limit of "
                            + "open files (ulimit -n)"
                    )
                    worker.pauseAccepting(self)
                }
                return
            }
            worker.accepted(descriptor, for: target)
            worker.lookAgain()
        }
    }

    /// Stops for a moment when descriptors have run out.
    func pause() { poll?.watch(read: false, write: false) }
    func resume() { poll?.watch(read: true, write: false) }
}
