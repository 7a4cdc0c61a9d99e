/// A stream whose socket or far end has failed: what was said before the failure still gets through.
extension TCPStream {
    /// What the peer said before it left, an answer or an alert perhaps, can still be read, as far as the window goes.
    func socketFailed() {
        if let tls, !tls.isEstablished { return socketFailedInHandshake(tls) }
        var before: UInt64
        repeat {
            before = octetsSent
            if poll?.isReading == true { readSocket() }
        } while !isClosed && octetsSent != before
        if isClosed { return }
        guard isPaused || awaitsReply else { return fail() }
        return isLeaving ? updateWatch() : leaveSoon()
    }

    private func socketFailedInHandshake(_ tls: TLSSession) {
        readTLS()
        if isClosed { return }
        if tls.isEstablished { return fail() }
        handshakeFailed(TLSFailure(text: "the peer reset the connection during the handshake"))
    }

    /// The socket has failed, and what can still be read of it has nowhere to go as yet.
    var isStuckLeaving: Bool { isLeaving && (isPaused || awaitsReply) }

    /// Connector side: the reply stream is not open, for want of a path to the client so far.
    private var awaitsReply: Bool { out == nil && !isOutFinished }

    /// The link takes nothing just now, a new one perhaps, or there is no path yet: what can still be read waits for
    /// it, but not for long.
    private func leaveSoon() {
        isLeaving = true
        worker.limit(self, milliseconds: 1000)
        updateWatch()
    }

    /// A reset, after what the far end had said before in this turn: the answer of a server that then resets.
    func farEndFailed() {
        if firstSpan >= 0 { flushSpans() }
        fail()
    }
}
