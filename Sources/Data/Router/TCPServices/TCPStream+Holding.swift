/// Octets that a kernel may hold of one stream before it has sent them.
///
/// Those under way to the reader are not counted, so a long path is filled all the same. What a reader that has stopped
/// leaves in the kernel's queue, up to 4 MB otherwise, counts against a limit of all sockets of the machine
/// (`net.ipv4.tcp_mem`): when that is reached every connection of the machine stands still, links between routers too.
enum UnsentOctets {
    /// For most streams.
    static let ordinary: UInt64 = 128 << 10
    /// For a cautious stream, until its reader has shown that it reads.
    static let little: UInt64 = 16 << 10
}

/// What a stream holds because its socket takes no more.
extension TCPStream {
    /// Tells the loop how many octets wait for the socket.
    func countHeld() {
        let held = queue.count + (tls?.output.count ?? 0)
        guard held != heldCounted else { return }
        worker.streamHolds(held - heldCounted)
        heldCounted = held
    }

    /// The stream has said what it takes: from a cautious one the kernel takes little as well.
    func boundUnsent() {
        guard isCautious, let descriptor = poll?.descriptor else { return }
        Sockets.boundUnsent(descriptor, UnsentOctets.little)
        boundsUnsentAt = WindowOffer.provenAfter
    }

    /// A long stream whose socket has no bound as yet, or a small one. Short ones go without, which saves a call.
    func boundUnsentAsUsual() {
        boundsUnsentAt = .max
        if let descriptor = poll?.descriptor { Sockets.boundUnsent(descriptor, UnsentOctets.ordinary) }
    }
}
