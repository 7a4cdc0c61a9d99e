import CLibuv
import Glibc

/// Something that owns a file descriptor watched by its loop. Loop-confined: never touched by another thread.
class EventTarget {
    /// The descriptor became readable or writable, or failed.
    func socketReady(readable: Bool, writable: Bool, failed: Bool) {}
}

/// One watched descriptor: a `uv_poll_t` and the target its events go to.
///
/// The handle keeps its target alive until libuv's close callback has run, and nothing else does that job.
struct SocketPoll: ~Copyable {
    private let handle: UnsafeMutablePointer<uv_poll_t>
    private var events: Int32 = 0
    let descriptor: Int32

    /// - Returns: nil when the loop cannot watch the descriptor (out of memory or descriptors).
    init?(loop: UnsafeMutablePointer<uv_loop_t>, descriptor: Int32, target: EventTarget) {
        self.descriptor = descriptor
        handle = .allocate(capacity: 1)
        guard uv_poll_init(loop, handle, descriptor) == 0 else {
            handle.deallocate()
            return nil
        }
        handle.pointee.data = Unmanaged.passRetained(target).toOpaque()
    }

    /// Sets what is watched; does nothing when it is so already.
    mutating func watch(read: Bool, write: Bool) {
        let wanted = (read ? Int32(UV_READABLE.rawValue) : 0) | (write ? Int32(UV_WRITABLE.rawValue) : 0)
        if wanted == events { return }
        events = wanted
        if wanted == 0 { uv_poll_stop(handle) } else { uv_poll_start(handle, wanted, onPoll) }
    }

    var isReading: Bool { events & Int32(UV_READABLE.rawValue) != 0 }
    var isWriting: Bool { events & Int32(UV_WRITABLE.rawValue) != 0 }

    /// Ends watching and closes the descriptor.
    consuming func close() {
        uv_poll_stop(handle)
        Glibc.close(descriptor)
        UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self).withClose(onPollClosed)
    }
}

extension UnsafeMutablePointer where Pointee == uv_handle_t {
    fileprivate func withClose(_ callback: uv_close_cb) { uv_close(self, callback) }
}

private let onPoll: uv_poll_cb = { handle, status, events in
    guard let data = handle?.pointee.data else { return }
    let target = Unmanaged<EventTarget>.fromOpaque(data).takeUnretainedValue()
    target.socketReady(
        readable: events & Int32(UV_READABLE.rawValue) != 0,
        writable: events & Int32(UV_WRITABLE.rawValue) != 0,
        failed: status < 0)
}

private let onPollClosed: uv_close_cb = { handle in
    guard let handle, let data = handle.pointee.data else { return }
    Unmanaged<EventTarget>.fromOpaque(data).release()
    UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_poll_t.self).deallocate()
}
