import CLibuv
import Glibc
import Synchronization
import Threading

/// A libuv loop on its own thread with an inbox for work from other threads.
///
/// Everything a loop owns is touched by its thread only. Other threads reach it through ``post(_:)``; the loop is woken
/// once per batch. Subclasses: ``Worker`` (connections and streams) and ``Core`` (routing and management).
class EventLoop: @unchecked Sendable {  // the inbox is the only part other threads touch
    /// Shown in logs and as the thread name.
    let name: String
    let loop: UnsafeMutablePointer<uv_loop_t>
    private let wakeUp: UnsafeMutablePointer<uv_async_t>
    private let before: UnsafeMutablePointer<uv_prepare_t>
    private let after: UnsafeMutablePointer<uv_check_t>
    private let timer: UnsafeMutablePointer<uv_timer_t>
    private let inbox = Locked<[@Sendable () -> Void]>([])
    private var thread = pthread_t()
    private var stopping = false
    private let waitingWork = Atomic<Int>(0)
    /// Milliseconds between ticks.
    private(set) var tickMilliseconds: Int64 = 0

    init(name: String) {
        self.name = name
        loop = .allocate(capacity: 1)
        wakeUp = .allocate(capacity: 1)
        before = .allocate(capacity: 1)
        after = .allocate(capacity: 1)
        timer = .allocate(capacity: 1)
        precondition(uv_loop_init(loop) == 0, "no event loop: out of memory or descriptors")
        precondition(uv_async_init(loop, wakeUp, onWakeUp) == 0, "no wake-up handle")
        uv_prepare_init(loop, before)
        uv_check_init(loop, after)
        uv_timer_init(loop, timer)
        let me = Unmanaged.passUnretained(self).toOpaque()
        wakeUp.pointee.data = me
        before.pointee.data = me
        after.pointee.data = me
        timer.pointee.data = me
    }

    /// Milliseconds on the monotonic clock, as of this loop turn.
    var now: Int64 { Int64(bitPattern: uv_now(loop)) }

    /// Starts the thread. The loop must outlive it: call ``stop()`` first.
    func start(tickMilliseconds: Int64) {
        self.tickMilliseconds = tickMilliseconds
        uv_prepare_start(before, onPrepare)
        uv_check_start(after, onCheck)
        uv_timer_start(timer, onTimer, UInt64(tickMilliseconds), UInt64(tickMilliseconds))
        startThread(self, &thread)
    }

    /// Changes the time between ticks. Only for the loop itself.
    func setTick(_ milliseconds: Int64) {
        tickMilliseconds = milliseconds
        uv_timer_start(timer, onTimer, UInt64(milliseconds), UInt64(milliseconds))
    }

    /// Pieces of work posted and not done, about. Callable from any thread.
    var backlog: Int { waitingWork.load(ordering: .relaxed) }

    /// Runs `work` on the loop's thread, in the order posted. Callable from any thread.
    func post(_ work: @escaping @Sendable () -> Void) {
        waitingWork.wrappingAdd(1, ordering: .relaxed)
        let wake = inbox.withLock { queue in
            queue.append(work)
            return queue.count == 1
        }
        if wake { uv_async_send(wakeUp) }
    }

    /// Ends the loop after the work already posted and joins its thread. Not callable from the loop itself.
    func stop() {
        post { self.stopping = true }
        pthread_join(thread, nil)
    }

    /// Called before the loop sleeps and after it wakes with events handled: flush what became dirty.
    func turnEnded() {}

    /// Called every tick.
    func tick() {}

    /// Called once on the loop's thread when it is about to end.
    func willStop() {}

    fileprivate func run() {
        pthread_setname_np(pthread_self(), name)
        uv_run(loop, UV_RUN_DEFAULT)
    }

    fileprivate func drainInbox() {
        let work = inbox.withLock { queue -> [@Sendable () -> Void] in
            let taken = queue
            queue = []
            return taken
        }
        for item in work { item() }
        waitingWork.wrappingSubtract(work.count, ordering: .relaxed)
        if stopping {
            willStop()
            turnEnded()
            uv_stop(loop)
        }
    }
}

/// Thread entry points are made outside any actor, so that Swift does not bind them to the main actor.
private func startThread(_ loop: EventLoop, _ thread: inout pthread_t) {
    let argument = Unmanaged.passRetained(loop).toOpaque()
    let result = pthread_create(
        &thread, nil,
        { argument in
            guard let argument else { return nil }
            Unmanaged<EventLoop>.fromOpaque(argument).takeRetainedValue().run()
            return nil
        }, argument)
    precondition(result == 0, "cannot start a thread: \(String(cString: strerror(result)))")
}

private func eventLoop(_ data: UnsafeMutableRawPointer?) -> EventLoop? {
    data.map { Unmanaged<EventLoop>.fromOpaque($0).takeUnretainedValue() }
}

private let onWakeUp: uv_async_cb = { handle in eventLoop(handle?.pointee.data)?.drainInbox() }
private let onPrepare: uv_prepare_cb = { handle in eventLoop(handle?.pointee.data)?.turnEnded() }
private let onCheck: uv_check_cb = { handle in eventLoop(handle?.pointee.data)?.turnEnded() }
private let onTimer: uv_timer_cb = { handle in eventLoop(handle?.pointee.data)?.tick() }
