import CLibevent

/// A file on its way to a client, read piece by piece as the client takes it, so that its size does not matter.
///
/// Neither mapped nor left to `sendfile`: a file that is cut short meanwhile would end the process with SIGBUS, or the
/// answer never. Used on the server's thread only; it owns itself until the answer or the connection ends.
final class FileTransfer {
    /// Octets in memory at a time.
    private static let piece = 65_536
    /// Octets a client may send ahead while it is answered.
    private static let inputLimit = 65_536

    private let request: UnsafeMutablePointer<evhttp_request>
    private let connection: OpaquePointer
    private let file: OpenFile
    private let idleSeconds: Int
    private var offset = 0

    private init(
        _ request: UnsafeMutablePointer<evhttp_request>, _ connection: OpaquePointer, _ file: OpenFile, idleSeconds: Int
    ) {
        self.request = request
        self.connection = connection
        self.file = file
        self.idleSeconds = idleSeconds
    }

    /// Sends the answer whose fields, its length among them, `request` has already.
    static func start(
        _ request: UnsafeMutablePointer<evhttp_request>, status: Int, _ file: OpenFile, idleSeconds: Int
    ) {
        guard let connection = evhttp_request_get_connection(request) else {
            return evhttp_send_error(request, 500, nil)
        }
        let transfer = FileTransfer(request, connection, file, idleSeconds: idleSeconds)
        let context = Unmanaged.passRetained(transfer).toOpaque()
        evhttp_connection_set_closecb(connection, transferLost, context)
        evhttp_send_reply_start(request, Int32(clamping: status), nil)
        transfer.waitForClient(true)
        transfer.sendPiece()
    }

    fileprivate func sendPiece() {
        let wanted = min(FileTransfer.piece, file.size - offset)
        guard wanted > 0 else { return finish() }
        guard let buffer = evbuffer_new() else { return abandon() }
        defer { evbuffer_free(buffer) }
        let octets = [UInt8](unsafeUninitializedCapacity: wanted) { bytes, count in
            count = file.read(from: offset, into: UnsafeMutableRawBufferPointer(rebasing: bytes.raw[..<wanted]))
        }
        // The file is shorter by now: only the end of the connection can still say so.
        guard !octets.isEmpty else { return abandon() }
        offset += octets.count
        evbuffer_add(buffer, octets, octets.count)
        evhttp_send_reply_chunk_with_cb(
            request, buffer, pieceSent, Unmanaged.passUnretained(self).toOpaque())
    }

    private func finish() {
        waitForClient(false)
        evhttp_connection_set_closecb(connection, nil, nil)
        evhttp_send_reply_end(request)
        Unmanaged.passUnretained(self).release()
    }

    /// The end of the connection releases this object.
    private func abandon() {
        evhttp_connection_free(connection)
    }

    /// While the client takes the file it need not send anything, and what it sends waits in the system.
    private func waitForClient(_ isSending: Bool) {
        guard let buffer = evhttp_connection_get_bufferevent(connection) else { return }
        var idle = timeval(tv_sec: max(1, idleSeconds), tv_usec: 0)
        if isSending {
            bufferevent_set_timeouts(buffer, nil, &idle)
        } else {
            var reading = idle
            bufferevent_set_timeouts(buffer, &reading, &idle)
        }
        bufferevent_setwatermark(buffer, Int16(EV_READ), 0, isSending ? FileTransfer.inputLimit : 0)
    }

    fileprivate func connectionEnded() {
        // libevent gives a request back that was not answered to its end.
        if evhttp_request_get_connection(request) == nil { evhttp_request_free(request) }
        Unmanaged.passUnretained(self).release()
    }
}

extension UnsafeMutableBufferPointer<UInt8> {
    fileprivate var raw: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(self) }
}

private func pieceSent(_: OpaquePointer?, _ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<FileTransfer>.fromOpaque(context).takeUnretainedValue().sendPiece()
}

private func transferLost(_: OpaquePointer?, _ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<FileTransfer>.fromOpaque(context).takeUnretainedValue().connectionEnded()
}
