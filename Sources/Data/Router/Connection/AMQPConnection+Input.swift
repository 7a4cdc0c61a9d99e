import AMQPCodec
import AMQPEndpoints
import CLibuv
import Glibc

extension AMQPConnection {
    /// Reads once from the socket and works off what came.
    func readSocket() {
        guard let descriptor = poll?.descriptor else { return }
        let buffer = worker.cipherBuffer
        // Without TLS the socket is read where plaintext is expected, behind what was left over.
        defer { worker.restIfCoreIsBusy(self) }
        if tls == nil, !(phase == .tls) { return readPlain(descriptor) }
        let count = read(descriptor, buffer, Worker.cipherCapacity)
        guard checkRead(count) else { return }
        if tls == nil {
            // First octets on a listener that takes TLS and clear text: a TLS record of type handshake starts with
            // 0x16.
            if buffer.load(as: UInt8.self) == 0x16, let context = settings.tls {
                startTLS(context)
            } else {
                phase = .saslHeader
                serverSASL = SASLServer(
                    mechanisms: settings.saslMechanisms.isEmpty
                        ? ["ANONYMOUS"] : settings.saslMechanisms.filter { $0 == "ANONYMOUS" },
                    hasVerifiedCertificate: false)
                (worker.plainBuffer).copyMemory(from: buffer, byteCount: count)
                return process(count)
            }
        }
        decrypt(buffer, count)
        worker.flushStreams()
    }

    private func readPlain(_ descriptor: Int32) {
        let start = worker.plainBuffer
        restoreResidue(start)
        let used = residueCount
        let count = read(descriptor, start + used, Worker.plainCapacity - used)
        guard checkRead(count) else { return }
        residue.removeAll(keepingCapacity: true)
        process(used + count)
        worker.flushStreams()
    }

    private func checkRead(_ count: Int) -> Bool {
        if count > 0 {
            lastReceived = worker.now
            octetsIn += count
            worker.octetsFromPeers &+= count
            worker.noteRead(count)
            return true
        }
        if count == 0 {
            close(
                phase == .frames
                    ? "peer closed the connection" : "peer closed the connection before it was up (in \(phase))")
        } else if errno != EAGAIN, errno != EINTR {
            close("read: \(Sockets.text(errno))")
        }
        return false
    }

    private var residueCount: Int { residue.count }

    private func restoreResidue(_ target: UnsafeMutableRawPointer) {
        guard !residue.isEmpty else { return }
        residue.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    }

    /// Runs ciphertext through TLS, filling the loop's plaintext buffer and working it off.
    private func decrypt(_ bytes: UnsafeRawPointer, _ count: Int) {
        guard let tls else { return }
        tls.feed(bytes, count)
        if !tls.isEstablished {
            continueHandshake()
            if phase == .closed || !tls.isEstablished { return }
        }
        while phase != .closed {
            let start = worker.plainBuffer
            restoreResidue(start)
            var used = residueCount
            residue.removeAll(keepingCapacity: true)
            let before = used
            var ended: String?
            var drained = false
            fill: while used + 16384 <= Worker.plainCapacity {
                switch tls.read(into: start + used, Worker.plainCapacity - used) {
                case .bytes(let count):
                    used += count
                    if !tls.hasInput {
                        drained = true
                        break fill
                    }
                case .wantMore:
                    drained = true
                    break fill
                case .closed:
                    ended = "peer ended the TLS session"
                    break fill
                case .failed(let failure):
                    ended = "TLS: \(failure.text)"
                    break fill
                }
            }
            if used > before { process(used) } else if used > 0 { keepResidue(start, used) }
            if let ended {
                worker.flushStreams()
                return close(ended)
            }
            if drained { return }
            worker.flushStreams()  // the buffer is used again: streams must have let go of it
        }
    }

    private func keepResidue(_ bytes: UnsafeRawPointer, _ count: Int) {
        residue.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
    }

    /// Works off `count` octets of plaintext at the start of the loop's buffer; keeps what is incomplete.
    private func process(_ count: Int) {
        let start = worker.plainBuffer
        var offset = 0
        do {
            while offset < count, phase != .closed {
                let used = try step(start + offset, count - offset)
                if used == 0 { break }
                offset += used
            }
        } catch let error as EndpointError {
            return fail(error)
        } catch let error as DecodeError {
            return fail(error)
        } catch {
            return close("unexpected error \(error)")
        }
        if offset < count, phase != .closed { keepResidue(start + offset, count - offset) }
    }

    /// One protocol header, frame or piece of payload. Returns 0 when more octets are needed.
    private func step(_ bytes: UnsafeMutableRawPointer, _ count: Int) throws -> Int {
        switch phase {
        case .frames:
            return payloadLeft > 0 ? payload(bytes, count) : try frame(bytes, count)
        case .saslHeader, .amqpHeader:
            return try protocolHeader(bytes, count)
        case .sasl:
            return try saslFrame(bytes, count)
        case .connecting, .proxy, .tls, .closed:
            return 0
        }
    }

    private func protocolHeader(_ bytes: UnsafeRawPointer, _ count: Int) throws -> Int {
        let known = min(count, 8)
        let got = Array(UnsafeRawBufferPointer(start: bytes, count: known))
        let sasl = Array(saslHeader.prefix(known))
        let amqp = Array(amqpHeader.prefix(known))
        if phase == .saslHeader, got == sasl {
            if known < 8 { return 0 }
            traceReceived(bytes, 8)
            phase = .sasl
            perform(settings.isConnector ? clientSASL!.headerReceived() : serverSASL!.headerReceived())
            return 8
        }
        // A client may skip SASL where no authentication is asked for.
        let maySkip = phase == .saslHeader && !settings.isConnector && !settings.authenticatePeer
        if phase == .amqpHeader || maySkip, got == amqp {
            if known < 8 { return 0 }
            traceReceived(bytes, 8)
            phase = .frames
            try machine.apply(.headerReceived)
            // Answered at once: some clients wait for it before they open. Our open follows theirs.
            if !settings.isConnector { try sendHeader() }
            return 8
        }
        let shown = got.map { byte in (0x20...0x7e).contains(byte) ? String(UnicodeScalar(byte)) : "." }.joined()
        throw EndpointError(
            .connection, "amqp:connection:framing-error", "expected an AMQP protocol header, got \"\(shown)\"")
    }

    private func saslFrame(_ bytes: UnsafeRawPointer, _ count: Int) throws -> Int {
        guard count >= FrameHeader.size else { return 0 }
        let header = FrameHeader.decode(bytes)
        guard header.size >= 8, header.size <= 8192, header.type == 1, header.doff >= 2,
            Int(header.doff) * 4 <= Int(header.size)
        else {
            throw EndpointError(.connection, "amqp:connection:framing-error", "malformed SASL frame")
        }
        guard count >= Int(header.size) else { return 0 }
        traceReceived(bytes, Int(header.size))
        let head = Int(header.doff) * 4
        var reader = ByteReader(bytes + head, count: Int(header.size) - head)
        let frame = try SASLFrame.decode(from: &reader)
        perform(settings.isConnector ? clientSASL!.received(frame) : serverSASL!.received(frame))
        return Int(header.size)
    }

    /// One AMQP frame; a transfer's payload may still be on its way.
    private func frame(_ bytes: UnsafeMutableRawPointer, _ count: Int) throws -> Int {
        guard count >= FrameHeader.size else { return 0 }
        let header = FrameHeader.decode(bytes)
        let size = Int(header.size)
        guard size >= 8, size <= settings.maxFrameSize, header.doff >= 2, Int(header.doff) * 4 <= size else {
            throw EndpointError(
                .connection, "amqp:connection:framing-error",
                "frame of \(size) octets (limit \(settings.maxFrameSize)), data offset \(header.doff)")
        }
        guard header.type == 0 else {
            throw EndpointError(.connection, "amqp:connection:framing-error", "frame type \(header.type) after SASL")
        }
        let head = Int(header.doff) * 4
        if size == head {  // heartbeat
            guard count >= size else { return 0 }
            traceReceived(bytes, size)
            return size
        }
        let available = min(count, size)
        let isTransfer =
            available >= head + 3 && (bytes + head).load(as: UInt8.self) == 0x00
            && (bytes + head + 1).load(as: UInt8.self) == 0x53 && (bytes + head + 2).load(as: UInt8.self) == 0x14
        if isTransfer {
            var reader = ByteReader(bytes + head + 3, count: available - head - 3)
            guard let transfer = try transferHead(&reader, isWhole: available == size) else { return 0 }
            let used = head + 3 + reader.offset
            traceReceived(bytes, used)
            try received(transfer, channel: header.channel, payload: size - used)
            return used
        }
        guard count >= size else { return 0 }
        traceReceived(bytes, size)
        var reader = ByteReader(bytes + head, count: size - head)
        try received(Performative.decode(from: &reader), channel: header.channel)
        return size
    }

    /// A transfer's fields; nil when they have not all arrived.
    private func transferHead(_ reader: inout ByteReader, isWhole: Bool) throws(DecodeError) -> Transfer? {
        do throws(DecodeError) {
            return try decodeTransfer(&reader)
        } catch {
            if error == .truncated, !isWhole { return nil }
            throw error
        }
    }

    /// Payload of the current transfer frame, handed on in place.
    private func payload(_ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
        let part = min(count, payloadLeft)
        payloadLeft -= part
        payloadDelivery?.receive(bytes, part)
        if payloadLeft == 0 { endOfTransferFrame() }
        return part
    }

    func perform(_ effects: [SASLEffect]) {
        for effect in effects {
            switch effect {
            case .sendHeader:
                send(saslHeader)
            case .send(let frame):
                send(encodeFrame(channel: 0, type: 1) { frame.encode(into: &$0) })
            case .check(let mechanism, let response):
                worker.check(mechanism: mechanism, response: response, for: self)
            case .succeeded(let mechanism):
                self.mechanism = mechanism
                phase = .amqpHeader
                if settings.isConnector { sendOpen() }
            case .failed(let reason):
                flush()
                close("SASL: \(reason)")
            }
        }
    }
}
