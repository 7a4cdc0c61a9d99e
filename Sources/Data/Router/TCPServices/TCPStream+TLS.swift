import Glibc

/// TLS on a service's socket. Streams without TLS never come here: it is decided when they open.
extension TCPStream {
    /// Milliseconds for a handshake.
    private static let handshakeLimit: Int64 = 10_000
    /// Octets OpenSSL may hold of a record that has not arrived whole, above what the window counts.
    private static let recordMaximum = 17_000

    /// Plaintext the window takes, less what OpenSSL may hold already.
    var tlsRoom: Int {
        window.size > 4 * UInt64(TCPStream.recordMaximum) ? max(0, window.room - TCPStream.recordMaximum) : window.room
    }

    /// Listener side: a client was accepted; its stream opens when the handshake is done.
    func accepted(_ descriptor: Int32, context: TLSContext) {
        poll = SocketPoll(loop: worker, descriptor: descriptor, target: self)
        isConnected = true
        startTLS(context, serverName: nil, verifyName: false)
        if !isClosed { updateWatch() }
    }

    /// Listener side, after the handshake: the octets go to `out`.
    func opened(out: DeliveryEnd) {
        if isClosed { return }
        if let descriptor = poll?.descriptor { flow?.noteEnd(Sockets.peer(of: descriptor)) }
        self.out = out
        boundUnsent()
        updateWatch()
    }

    /// - Parameter serverName: nil = this side is the server.
    func startTLS(_ context: TLSContext, serverName: String?, verifyName: Bool) {
        do {
            tls = try TLSSession(
                context: context, server: serverName == nil, serverName: serverName, verifyName: verifyName,
                pool: worker.pool, alpn: serverName == nil ? nil : alpn)
        } catch {
            return handshakeFailed(error)
        }
        worker.limit(self, milliseconds: TCPStream.handshakeLimit)
        if serverName != nil { continueHandshake() }
    }

    private func continueHandshake() {
        guard let tls else { return }
        switch tls.handshake() {
        case nil: break
        case .failure(let failure): return handshakeFailed(failure)
        case .success:
            deadline = 0
            takesOctets = true
            encryptQueued()
            if isClosed { return }
            if case .listener = side {
                tls.keepInput()
                alpn = tls.agreedProtocol
                worker.handshakeDone(self)
            }
        }
        if !isClosed { writeCiphertext() }
    }

    /// Says why; an alert for the peer still goes out.
    func handshakeFailed(_ failure: TLSFailure) {
        let cause = failure.reason.isEmpty ? failure.text : "\(failure.text) (\(failure.reason))"
        let descriptor = poll?.descriptor ?? -1
        let peer = Sockets.peer(of: descriptor)?.text ?? "a peer that is gone"
        flow?.failure = "TLS: \(cause)"
        Log.write(.tcp, .warning, "\(title): TLS connection failed with \(peer): \(cause)")
        if descriptor >= 0 { _ = writeSome(descriptor) }
        fail(reset: false)
    }

    // MARK: From the socket

    /// Listener side: octets came in the same packet as the end of the handshake.
    func readKeptInput() {
        guard tls?.hasInput == true else { return }
        let ref = ref
        worker.post { [worker] in
            guard let stream = worker.stream(ref) else { return }
            stream.decrypt()
            worker.flushStreams()
        }
    }

    func readTLS() {
        guard let tls, let descriptor = poll?.descriptor, !isOutFinished else { return updateWatch() }
        // Plaintext is never longer than its ciphertext.
        let room = tls.isEstablished ? min(tlsRoom, Worker.readCapacity) : Worker.readCapacity
        guard room > 0 else { return updateWatch() }
        let count = read(descriptor, worker.cipherBuffer, room)
        if count > 0 {
            worker.noteRead(count)
            tls.feed(worker.cipherBuffer, count)
            if !tls.isEstablished { continueHandshake() }
            if !isClosed, tls.isEstablished, out != nil { decrypt() }
            if !isClosed { tls.keepInput() }
        } else if count == 0 {
            if tls.isEstablished { return finishOut() }
            handshakeFailed(TLSFailure(text: "the peer closed the connection during the handshake"))
        } else if errno != EAGAIN, errno != EINTR {
            if tls.isEstablished { return fail() }
            handshakeFailed(TLSFailure(text: "the peer reset the connection during the handshake"))
        }
    }

    /// Passes on all that OpenSSL can decrypt.
    private func decrypt() {
        guard let tls else { return }
        while !isClosed, !isOutFinished, let out {
            switch tls.read(into: worker.readBuffer, Worker.readCapacity) {
            case .bytes(let count):
                window.send(count, now: worker.now)
                flow?.noteRead(worker.readBuffer, count)
                worker.counters.octetsIn += count
                out.deliver(worker.readBuffer, count, headroom: true)
                worker.flushStreams()
                if !isClosed, !out.isReady { isPaused = true }
            case .wantMore:
                // A key update or another message of TLS itself may have made an answer.
                if !tls.output.isEmpty { writeCiphertext() }
                return updateWatch()
            case .closed:
                return finishOut()
            case .failed(let failure):
                return handshakeFailed(failure)
            }
        }
    }

    // MARK: To the socket

    /// Plaintext that came before the handshake was done.
    private func encryptQueued() {
        while let run = queue.first, let start = run.baseAddress {
            let count = run.count
            guard write(start, count) else { return }
            queue.drop(count, pool: worker.pool)
        }
    }

    private func write(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        guard let tls, tls.write(bytes, count) else {
            handshakeFailed(TLSFailure(text: "TLS takes no more octets"))
            return false
        }
        octetsEncrypted &+= UInt64(count)
        return true
    }

    /// Encrypts this turn's spans.
    func encrypt(_ spans: [Worker.Span], from start: Int32) {
        var index = start
        while index >= 0 {
            let span = spans[Int(index)]
            guard write(span.bytes, span.count) else { return }
            index = span.next
        }
        guard let tls, tls.output.count <= TCPStream.queueMaximum else { return senderIgnoresWindow() }
        writeCiphertext()
    }

    /// Writes ciphertext until the socket takes no more; ends the direction when all of a finished stream is out.
    func writeCiphertext() {
        guard let tls, let descriptor = poll?.descriptor else { return }
        guard writeSome(descriptor) else { return fail() }
        if isSourceFinished, takesOctets, queue.isEmpty, firstSpan < 0, !isCloseNotified {
            isCloseNotified = true
            tls.sendCloseNotify()
            guard writeSome(descriptor) else { return fail() }
        }
        // Octets whose ciphertext may still wait are not reported: ciphertext is longer than its plaintext.
        let waiting = UInt64(tls.output.count)
        let written = octetsEncrypted > waiting ? octetsEncrypted - waiting : 0
        if written > octetsWritten {
            worker.counters.octetsOut += Int(written - octetsWritten)
            octetsWritten = written
            if let flow, flow.firstWritten == 0 { flow.firstWritten = Clock.microseconds }
            reportWritten()
        }
        if isClosed { return }
        if isCloseNotified, tls.output.isEmpty { shutWrite() }
        if !isClosed { updateWatch() }
    }

    /// False when the socket failed.
    private func writeSome(_ descriptor: Int32) -> Bool {
        guard let tls else { return true }
        while !tls.output.isEmpty {
            let written = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 16) { vectors in
                var used = 0
                tls.output.forEachRun(limit: 16) { pointer, count in
                    vectors[used] = iovec(iov_base: pointer, iov_len: count)
                    used += 1
                }
                return writev(descriptor, vectors.baseAddress, Int32(used))
            }
            if written > 0 {
                tls.output.drop(written, pool: worker.pool)
            } else if written < 0, errno == EAGAIN {
                return true
            } else if written < 0, errno != EINTR {
                return false
            }
        }
        return true
    }
}
