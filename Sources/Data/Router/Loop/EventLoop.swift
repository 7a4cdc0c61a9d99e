import CLibuv
import Glibc
import Synchronization
import Threading

/// An epoll loop on its own thread with an inbox for work from other threads.
///
/// Everything a loop owns is touched by its thread only. Other threads reach it through ``post(_:)``; the loop is woken
/// once per batch. Sockets are watched by epoll itself; libuv, whose `uv_poll_t` costs seven system calls for each
/// connection, only resolves names here. Subclasses: ``Worker`` (connections and streams) and ``Core`` (routing and
/// management).
class EventLoop: @unchecked Sendable {  // the inbox is the only part other threads touch
    /// Shown in logs and as the thread name.
    let name: String
    /// For name resolution; see ``resolutionStarted()``.
    let resolver: UnsafeMutablePointer<uv_loop_t>
    /// What ``SocketPoll`` registers descriptors with.
    let epoll: Int32
    private let wakeUp: Int32
    private let inbox = Locked<[@Sendable () -> Void]>([])
    private var thread = pthread_t()
    private var stopping = false
    private var isResolving = false
    private let waitingWork = Atomic<Int>(0)
    /// Work that all other work overtakes; see ``postPatiently(_:)``.
    private var patient = Fifo<@Sendable () -> Void>()
    /// Nanoseconds of a turn that patient work may take.
    private static let patientShare: UInt64 = 20_000_000
    /// Registrations closed in this turn: an event of the same turn may still name them.
    private var closed: [UnsafeMutablePointer<SocketPoll.Registration>] = []
    /// Registrations that epoll refused.
    private var unwatched: [UnsafeMutablePointer<SocketPoll.Registration>] = []
    /// Milliseconds between ticks.
    private(set) var tickMilliseconds: Int64 = 0
    private var nextTick: Int64 = .max
    /// When ``soon()`` is due, or never.
    private var soonAt: Int64 = .max
    /// Milliseconds on the monotonic clock, as of this loop turn.
    private(set) var now: Int64
    /// Turns of the loop since it started.
    private(set) var turns = 0
    private var looksAgain = false
    private var polling: BriefPolling
    /// This turn has read more than a few small messages.
    private var movesMuch = false
    /// Octets of one read that are much.
    private static let much = 16_384
    private static let eventsAtOnce = 256

    /// - Parameter pollFor: nanoseconds to look for events before sleeping while they come fast; 0 = none.
    init(name: String, pollFor: UInt64 = 0) {
        self.name = name
        polling = BriefPolling(window: pollFor)
        resolver = .allocate(capacity: 1)
        now = EventLoop.clock()
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeUp = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        precondition(epoll >= 0 && wakeUp >= 0, "no event loop: \(String(cString: strerror(errno)))")
        precondition(uv_loop_init(resolver) == 0, "no resolver loop: out of memory or descriptors")
        watch(wakeUp, tag: EventLoop.wakeUpTag)
        watch(uv_backend_fd(resolver), tag: EventLoop.resolverTag)
    }

    /// Event data that is no registration's address.
    private static let wakeUpTag: UInt64 = 0
    private static let resolverTag: UInt64 = 1

    private func watch(_ descriptor: Int32, tag: UInt64) {
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: tag))
        precondition(epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0, "cannot watch a wake-up descriptor")
    }

    /// Milliseconds of the clock that nobody sets.
    static func clock() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Starts the thread. The loop must outlive it: call ``stop()`` first.
    func start(tickMilliseconds: Int64) {
        setTick(tickMilliseconds)
        startThread(self, &thread)
    }

    /// Changes the time between ticks. Only for the loop itself.
    func setTick(_ milliseconds: Int64) {
        tickMilliseconds = milliseconds
        nextTick = EventLoop.clock() + milliseconds
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
        if wake { eventfd_write(wakeUp, 1) }
    }

    /// Runs `work` on the loop's thread after what was posted here before, a little of it each turn: what comes by
    /// ``post(_:)`` and through sockets, and the ticks, never wait for more than a piece. Callable from any thread.
    func postPatiently(_ work: @escaping @Sendable () -> Void) {
        post { [self] in
            waitingWork.wrappingAdd(1, ordering: .relaxed)
            patient.append(work)
        }
    }

    /// A resolution was handed to libuv: it wants a turn of its own to begin to listen for the answer.
    func resolutionStarted() { isResolving = true }

    /// epoll is out of memory or watches: the target is told at the end of the turn.
    func cannotWatch(_ registration: UnsafeMutablePointer<SocketPoll.Registration>) { unwatched.append(registration) }

    /// Keeps a closed registration until no event of this turn can name it.
    func retire(_ registration: UnsafeMutablePointer<SocketPoll.Registration>) { closed.append(registration) }

    /// Ends the loop after the work already posted and joins its thread. Not callable from the loop itself.
    func stop() {
        post { self.stopping = true }
        pthread_join(thread, nil)
    }

    /// Called after events were handled and before the loop sleeps: flush what became dirty.
    func turnEnded() {}

    /// So many octets were read at once.
    @inline(__always)
    final func noteRead(_ count: Int) { if count > EventLoop.much { movesMuch = true } }

    /// Looks for events once more before this turn's output leaves.
    func lookAgain() { looksAgain = true }

    /// Called every tick.
    func tick() {}

    /// Has ``soon()`` called in a millisecond or two.
    func callSoon() { if soonAt == .max { soonAt = now + 1 } }

    /// Called after ``callSoon()``: do what has waited for company and has had none.
    func soon() {}

    /// Called once on the loop's thread when it is about to end.
    func willStop() {}

    fileprivate func run() {
        pthread_setname_np(pthread_self(), name)
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: EventLoop.eventsAtOnce)
        defer { events.deallocate() }
        turnEnded()
        while true {
            let wait = patient.isEmpty ? max(0, min(nextTick - now, soonAt - now, 60_000)) : 0
            let count = nextEvents(events, Int32(wait))
            now = EventLoop.clock()
            turns &+= 1
            for index in 0..<max(0, Int(count)) { handle(events[index]) }
            if looksAgain {
                looksAgain = false
                let more = epoll_wait(epoll, events, Int32(EventLoop.eventsAtOnce), 0)
                for index in 0..<max(0, Int(more)) { handle(events[index]) }
            }
            if now >= nextTick {
                nextTick = now + tickMilliseconds
                tick()
            }
            if now >= soonAt {
                soonAt = .max
                soon()
            }
            if !patient.isEmpty { servePatient() }
            turnEnded()
            if isResolving { resolve() }
            if !unwatched.isEmpty { tellUnwatched() }
            releaseClosed()
            if stopping { break }
        }
        willStop()
        turnEnded()
        releaseClosed()
    }

    /// The next events, or none after `wait` milliseconds.
    private func nextEvents(_ events: UnsafeMutablePointer<epoll_event>, _ wait: Int32) -> Int32 {
        let most = Int32(EventLoop.eventsAtOnce)
        guard wait > 0, polling.window > 0 else { return epoll_wait(epoll, events, most, wait) }
        let began = uv_hrtime()
        let movedMuch = movesMuch
        movesMuch = false
        let looks = polling.isDue && !movedMuch
        if looks {
            repeat {
                let count = epoll_wait(epoll, events, most, 0)
                if count != 0 {
                    polling.waited(from: began, to: uv_hrtime(), lookedInVain: false, movedMuch: movedMuch)
                    return count
                }
                sched_yield()
            } while uv_hrtime() - began < polling.window
        }
        let count = epoll_wait(epoll, events, most, wait)
        polling.waited(from: began, to: uv_hrtime(), lookedInVain: looks, movedMuch: movedMuch)
        return count
    }

    private func handle(_ event: epoll_event) {
        switch event.data.u64 {
        case EventLoop.wakeUpTag:
            var count: eventfd_t = 0
            eventfd_read(wakeUp, &count)
            drainInbox()
        case EventLoop.resolverTag:
            isResolving = true
        default:
            guard let address = event.data.ptr else { return }
            SocketPoll.handle(address.assumingMemoryBound(to: SocketPoll.Registration.self), event.events)
        }
    }

    /// Lets libuv start or finish resolutions, and what they lead to.
    private func resolve() {
        isResolving = false
        uv_run(resolver, UV_RUN_NOWAIT)
        turnEnded()
    }

    private func tellUnwatched() {
        while let registration = unwatched.popLast() { SocketPoll.handle(registration, EPOLLERR.rawValue) }
        turnEnded()
    }

    private func releaseClosed() {
        guard !closed.isEmpty else { return }
        for registration in closed { SocketPoll.release(registration) }
        closed.removeAll(keepingCapacity: closed.count <= EventLoop.eventsAtOnce)
    }

    private func servePatient() {
        let end = uv_hrtime() + EventLoop.patientShare
        while let work = patient.popFirst() {
            work()
            waitingWork.wrappingSubtract(1, ordering: .relaxed)
            if uv_hrtime() >= end { break }
        }
    }

    private func drainInbox() {
        let work = inbox.withLock { queue -> [@Sendable () -> Void] in
            let taken = queue
            queue = []
            return taken
        }
        for item in work { item() }
        waitingWork.wrappingSubtract(work.count, ordering: .relaxed)
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
