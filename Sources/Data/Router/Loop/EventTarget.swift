import CLibuv
import Glibc

/// Something that owns a file descriptor watched by its loop. Loop-confined: never touched by another thread.
class EventTarget {
    /// The descriptor became readable or writable, or failed.
    func socketReady(readable: Bool, writable: Bool, failed: Bool) {}
    /// The peer ended its direction or both directions are over, while nothing is read. It is told again at every turn
    /// for as long as the watch asks for it.
    func peerEnded() {}
}

/// One watched descriptor and the target its events go to.
///
/// The registration keeps its target alive until the turn in which it was closed has ended, and nothing else does that
/// job. A descriptor for which nothing is watched is not with epoll at all: an error or hang-up would be reported turn
/// after turn.
struct SocketPoll: ~Copyable {
    /// What is noticed of the peer's end on a socket that is not read. Where it is read, the read tells.
    enum Ends {
        case nothing
        /// The end of its direction, and a reset.
        case finAndReset
        /// A reset; told as a failure of the socket.
        case reset
    }

    /// What an epoll event points at.
    struct Registration {
        let target: Unmanaged<EventTarget>
        /// Watched now, as EPOLLIN, EPOLLOUT, EPOLLRDHUP and EPOLLERR; 0 = not with epoll.
        var events: UInt32
        var isClosed: Bool
    }

    private static let readable: UInt32 = EPOLLIN.rawValue
    private static let writable: UInt32 = EPOLLOUT.rawValue
    /// The peer ends its direction.
    private static let ended: UInt32 = EPOLLRDHUP.rawValue
    /// epoll tells of errors whatever it is asked for; asking keeps the socket with epoll.
    private static let failed: UInt32 = EPOLLERR.rawValue

    private unowned(unsafe) let loop: EventLoop  // loops live as long as the process
    private let registration: UnsafeMutablePointer<Registration>
    let descriptor: Int32

    /// Nothing is watched yet.
    init(loop: EventLoop, descriptor: Int32, target: EventTarget) {
        self.loop = loop
        self.descriptor = descriptor
        registration = .allocate(capacity: 1)
        registration.initialize(to: Registration(target: .passRetained(target), events: 0, isClosed: false))
    }

    /// Sets what is watched; does nothing when it is so already. Where the system can watch no further descriptor, the
    /// target is told that this one failed, after the current call chain.
    func watch(read: Bool, write: Bool, ends: Ends = .nothing) {
        var wanted = (read ? SocketPoll.readable : 0) | (write ? SocketPoll.writable : 0)
        switch ends {
        case .nothing: break
        case .finAndReset: wanted |= SocketPoll.ended
        case .reset: wanted |= SocketPoll.failed
        }
        let before = registration.pointee.events
        if wanted == before { return }
        registration.pointee.events = wanted
        let operation = wanted == 0 ? EPOLL_CTL_DEL : before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD
        var event = epoll_event(events: wanted, data: epoll_data_t(ptr: UnsafeMutableRawPointer(registration)))
        if epoll_ctl(loop.epoll, operation, descriptor, &event) != 0 { loop.cannotWatch(registration) }
    }

    var isReading: Bool { registration.pointee.events & SocketPoll.readable != 0 }
    var isWriting: Bool { registration.pointee.events & SocketPoll.writable != 0 }

    /// Ends watching and closes the descriptor, which takes it out of epoll.
    consuming func close() {
        registration.pointee.isClosed = true
        registration.pointee.events = 0
        Glibc.close(descriptor)
        loop.retire(registration)
    }

    /// An event of epoll. What is not watched is not told, even when it was when the event arose.
    static func handle(_ registration: UnsafeMutablePointer<Registration>, _ events: UInt32) {
        let watched = registration.pointee.events
        guard !registration.pointee.isClosed, watched != 0 else { return }
        let target = registration.pointee.target.takeUnretainedValue()
        if events & EPOLLERR.rawValue != 0 { return target.socketReady(readable: false, writable: false, failed: true) }
        let hungUp = events & EPOLLHUP.rawValue != 0
        let isReadable = watched & readable != 0 && (hungUp || events & readable != 0)
        let isWritable = watched & writable != 0 && (hungUp || events & writable != 0)
        if isReadable || isWritable { target.socketReady(readable: isReadable, writable: isWritable, failed: false) }
        let isEnded = watched & ended != 0 && events & ended != 0 || watched & (ended | failed) != 0 && hungUp
        if isEnded { target.peerEnded() }
    }

    static func release(_ registration: UnsafeMutablePointer<Registration>) {
        registration.pointee.target.release()
        registration.deinitialize(count: 1)
        registration.deallocate()
    }
}
