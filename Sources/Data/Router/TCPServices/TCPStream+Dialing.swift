import Glibc

/// Connector side: from a host name to a connected socket.
extension TCPStream {
    /// Milliseconds for one address when others are left to try, and for the last one.
    private static let oneOfSeveral: Int64 = 3000
    private static let lastOne: Int64 = 30_000

    /// The server's name is being resolved; what arrives meanwhile waits.
    ///
    /// - Parameters:
    ///   - farWindow: what the client's router takes of us, if it is one of ours.
    ///   - alpn: what the client and its listener agreed to speak.
    func hold(source: DeliveryEnd, replyTo: String, arrival: ConnectionRef?, farWindow: WindowOffer?, alpn: String?) {
        if let farWindow { window.farEndTakes(farWindow) }
        isFarEndOurs = farWindow != nil
        self.source = source
        self.replyTo = replyTo
        self.arrival = arrival
        self.alpn = alpn
    }

    /// After ``hold(source:replyTo:arrival:farWindow:alpn:)``: dials the server's addresses, one after the other until
    /// one answers.
    func dial(_ addresses: [SocketAddress]) {
        guard !isClosed else { return }
        untried = addresses
        dialNext(lastFailure: "the name has no address")
    }

    func dialNext(lastFailure: String) {
        guard case .connector(let target) = side else { return }
        var reason = lastFailure
        poll.take()?.close()
        while !untried.isEmpty {
            let address = untried.removeFirst()
            switch Sockets.connect(address) {
            case .failure(let failure):
                reason = "\(address.text): \(failure.text)"
            case .success(let socket):
                poll = SocketPoll(loop: worker, descriptor: socket.descriptor, target: self)
                dialled = address
                mayBeDelayed = target.tls == nil
                if target.tls != nil { Sockets.sendAtOnce(socket.descriptor) }
                if socket.connected { return connected() }
                if target.tls != nil || !worker.writesFirst(self) { poll?.watch(read: false, write: true) }
                return worker.limit(self, milliseconds: untried.isEmpty ? TCPStream.lastOne : TCPStream.oneOfSeveral)
            }
        }
        deadline = 0
        flow?.failure = "cannot connect to \(target.host):\(target.port): \(reason)"
        Log.write(
            .tcp, .info,
            "connector \(target.name): cannot connect to \(target.host):\(target.port): \(reason); the client's "
                + "connection is closed")
        fail()
    }

    /// The turn in which the server was dialled is over: a server on this host is connected by now, and takes what the
    /// client has said without an event that tells so.
    func writeFirst() {
        guard !isClosed, !isConnected, let descriptor = poll?.descriptor else { return }
        if let run = queue.first {
            let written = write(descriptor, run.baseAddress, run.count)
            if written > 0 {
                queue.drop(written, pool: worker.pool)
                countWritten(written)
                return connected()
            }
            if errno != EAGAIN, errno != EINTR {
                return dialNext(lastFailure: "\(dialled?.text ?? ""): \(Sockets.text(errno))")
            }
            worker.firstWriteCameTooEarly()
        }
        poll?.watch(read: false, write: true)
    }

    /// The socket is connected, or it failed.
    func connectEnded(failed: Bool) {
        guard let descriptor = poll?.descriptor else { return }
        let code = failed ? Sockets.pendingError(descriptor) : 0
        if code == 0 { return connected() }
        dialNext(lastFailure: "\(dialled?.text ?? ""): \(Sockets.text(code))")
    }

    /// The name could not be resolved.
    func dialFailed(_ reason: String) {
        if case .connector(let target) = side {
            flow?.failure = "cannot resolve host \(target.host): \(reason)"
            Log.write(.tcp, .warning, "connector \(target.name): cannot resolve host \(target.host): \(reason)")
        }
        fail()
    }

    private func connected() {
        guard case .connector(let target) = side else { return }
        isConnected = true
        deadline = 0
        untried = []
        if let dialled { target.prefer(dialled) }
        if let flow, let descriptor = poll?.descriptor { flow.noteEnd(Sockets.local(of: descriptor)) }
        isReplyDue = true
        // The listener side may read nothing from its client before it sees the reply stream. But octets of the client
        // are here already: the server is likely to answer them soon, and the reply stream shares a record with that.
        let hasOctets = octetsWritten > 0 || !queue.isEmpty
        let maySpare = hasOctets && isFarEndOurs && target.tls == nil
        if maySpare { worker.replySoon(self) } else { openReply() }
        if isClosed { return }
        if let context = target.tls {
            startTLS(context, serverName: target.host, verifyName: target.verifyHostname)
        } else {
            takesOctets = true
            writeQueued()
        }
        if !isClosed { updateWatch() }
    }

    /// Opens the stream that carries what the server sends.
    func openReply() {
        guard isReplyDue, !isClosed else { return }
        isReplyDue = false
        guard let replyTo else { return fail() }
        guard let out = worker.openReply(to: replyTo, producer: self) else {
            // What tells the path to the client's router may still be on its way here: the client was quicker.
            return worker.mayBeLearnt(replyTo) ? worker.awaitPath(self) : fail()
        }
        worker.counters.ingress += 1
        self.out = out
        boundUnsent()
        if !isClosed { updateWatch() }
    }

    /// The tables never showed a path to the client's router.
    func pathNotLearnt() {
        guard out == nil, !isClosed else { return }
        let reason = "no path back to the client's router (\(replyTo ?? "")) in \(Worker.pathPatience / 1000) s"
        flow?.failure = reason
        Log.write(.tcp, .info, "\(title): \(reason); the client's connection is closed")
        fail()
    }

    /// A connect, a handshake or a link that was to take the last octets took too long.
    func deadlinePassed() {
        deadline = 0
        if isLeaving { return fail() }
        if isConnected { return handshakeFailed(TLSFailure(text: "the peer did not finish the handshake in time")) }
        dialNext(lastFailure: "\(dialled?.text ?? ""): no answer in time")
    }
}
