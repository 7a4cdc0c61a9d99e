import AMQPCodec
import CLibuv
import Glibc

extension AMQPConnection {
    /// Octets in our queues above which producers pause.
    static let congestedAbove = 512 * 1024
    /// Octets in our queues at which a peer that goes on asking is cut off.
    static let outputMaximum = 8 << 20
    /// Octets below which they go on.
    static let relievedBelow = 128 * 1024
    /// A TLS record's worth of small frames.
    private static let gatherLimit = 16384
    /// Encrypted octets that are written at once instead of at the end of the loop turn, so that they are still in
    /// cache: no more than a full read of a stream, or two of those that many streams get, make.
    private static let writeThrough = Worker.readCapacity

    var queuedOctets: Int { (tls?.output.count ?? 0) + plainOutput.count }
    var isCongested: Bool { queuedOctets > AMQPConnection.congestedAbove }

    /// Sends a complete control frame.
    func send(_ frame: [UInt8]) {
        guard queuedOctets < AMQPConnection.outputMaximum else {
            // Deliveries wait for their turn elsewhere: this is what a peer has asked for and does not read.
            return worker.closeSoon(self, reason: "\(queuedOctets) octets wait and the peer reads none of them")
        }
        frame.withUnsafeBytes { append($0.baseAddress!, $0.count) }
    }

    /// Queues a frame, gathering small ones into one record.
    func append(_ bytes: UnsafeRawPointer, _ count: Int) {
        guard phase != .closed else { return }
        traceSent(bytes, count)
        if gather == nil { gather = worker.pool.take() }
        let slab = gather!
        if slab.end + count > AMQPConnection.gatherLimit {
            sealGathered()
            if count > AMQPConnection.gatherLimit {
                seal(bytes, count)
                return markDirty()
            }
            gather = worker.pool.take()
        }
        let target = gather!
        (target.memory + target.end).copyMemory(from: bytes, byteCount: count)
        target.end += count
        markDirty()
    }

    /// Room for `count` octets directly in the gathering buffer, so that a frame head is written once. Commit with
    /// ``commit(_:)``.
    func reserve(_ count: Int) -> UnsafeMutableRawPointer {
        if let slab = gather, slab.end + count > AMQPConnection.gatherLimit { sealGathered() }
        if gather == nil { gather = worker.pool.take() }
        markDirty()
        return gather!.memory + gather!.end
    }

    func commit(_ count: Int) {
        let slab = gather!
        traceSent(slab.memory + slab.end, count)
        slab.end += count
    }

    /// Settles a stream that a socket has taken whole. Nobody waits for that, so it shares a record with what is sent
    /// next, or leaves soon.
    func sendAccepted(channel: UInt16, first: UInt32) {
        guard phase != .closed else { return }
        if gather == nil { gather = worker.pool.take() }
        if gather!.end + 32 > AMQPConnection.gatherLimit {
            markDirty()
            sealGathered()
            gather = worker.pool.take()
        }
        let target = gather!
        let start = target.memory + target.end
        let length = DispositionWriter.accepted(to: start, channel: channel, first: first)
        traceSent(start, length)
        target.end += length
        guard !isDirty, !isFlushDue else { return }
        isFlushDue = true
        worker.flushSoon(self)
    }

    /// Writes what has waited for other frames in vain.
    func flushWaiting() {
        isFlushDue = false
        if gather != nil { markDirty() }
    }

    /// Octets that would be copied into the gathering buffer rather than encrypted in place.
    func fitsGather(_ count: Int) -> Bool { count <= 4096 }

    /// Encrypts a frame where it lies, after what was gathered before them.
    func appendLarge(_ bytes: UnsafeRawPointer, _ count: Int) {
        guard phase != .closed else { return }
        traceSent(bytes, count)
        sealGathered()
        seal(bytes, count)
        markDirty()
        if queuedOctets >= AMQPConnection.writeThrough, !isSocketFull { writeSocket() }
    }

    private func sealGathered() {
        guard let slab = gather else { return }
        gather = nil
        if slab.end > 0 { seal(slab.memory, slab.end) }
        slab.end = 0
        worker.pool.give(slab)
    }

    private func seal(_ bytes: UnsafeRawPointer, _ count: Int) {
        octetsOut += count
        if let tls {
            if tls.isEstablished, !tls.write(bytes, count) { worker.closeSoon(self, reason: "TLS write failed") }
        } else {
            plainOutput.append(bytes, count, pool: worker.pool)
        }
    }

    func markDirty() {
        guard !isDirty else { return }
        isDirty = true
        worker.dirty.append(self)
    }

    /// End of the loop turn: encrypt what was gathered and write.
    func flush() {
        isDirty = false
        guard phase != .closed else { return }
        sealGathered()
        if queuedOctets > 0, !isSocketFull { writeSocket() }
    }

    /// Writes as much as the kernel takes; asks for writability when it does not take all.
    func writeSocket() {
        guard let descriptor = poll?.descriptor else { return }
        isSocketFull = false
        let queued = queuedOctets
        while queuedOctets > 0 {
            var offered = 0
            let written = gatherWrite(descriptor, &offered)
            if written > 0 {
                lastSent = worker.now
                if tls != nil {
                    tls!.output.drop(written, pool: worker.pool)
                } else {
                    plainOutput.drop(written, pool: worker.pool)
                }
                if written == offered { continue }
                isSocketFull = true
                break
            }
            if written < 0, errno == EINTR { continue }
            if written < 0, errno != EAGAIN {
                return worker.closeSoon(self, reason: "write: \(Sockets.text(errno))")
            }
            isSocketFull = true
            break
        }
        poll?.watch(read: !isReadingPaused, write: queuedOctets > 0)
        if queued > 0, queuedOctets < AMQPConnection.relievedBelow, !blocked.isEmpty { worker.resumeSoon(self) }
    }

    private func gatherWrite(_ descriptor: Int32, _ offered: inout Int) -> Int {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: 32) { vectors in
            var used = 0
            var total = 0
            let add = { (pointer: UnsafeMutableRawPointer, count: Int) in
                vectors[used] = iovec(iov_base: pointer, iov_len: count)
                used += 1
                total += count
            }
            if tls != nil { tls!.output.forEachRun(limit: 32, add) } else { plainOutput.forEachRun(limit: 32, add) }
            offered = total
            return writev(descriptor, vectors.baseAddress, Int32(used))
        }
    }

    /// The socket or a session has room again: blocked deliveries go on, each a quantum at a time so that none starves.
    func resumeBlocked() {
        var turn = blocked
        blocked = []
        while !turn.isEmpty {
            var again: [OutgoingDelivery] = []
            for (index, delivery) in turn.enumerated() {
                if isCongested {
                    // These are still marked as blocked. They come before those that have had a turn just now.
                    blocked = Array(turn[index...]) + again + blocked
                    return
                }
                delivery.isBlocked = false
                switch delivery.pump(quantum: 65536) {
                case .drained: break
                case .more:
                    delivery.isBlocked = true
                    again.append(delivery)
                case .noWindow: delivery.block()
                }
            }
            turn = again
        }
    }

    /// Sends a close with an error, if the AMQP layer has got that far. The caller cuts the connection afterwards.
    func sendClose(_ error: AMQPError?) {
        guard phase == .frames, machine.state == .opened || machine.state == .openSent || machine.state == .closeRcvd
        else {
            return
        }
        send(encodeFrame(channel: 0) { Close(error: error).encode(into: &$0) })
        if machine.state == .closeRcvd {
            try? machine.apply(.closeSent)
        } else {
            try? machine.apply(error == nil ? .closeSent : .discardSent)
        }
        flush()
    }
}
