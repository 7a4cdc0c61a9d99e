import Glibc

/// A thread that does one piece of work and ends. Either ``join()`` or ``detach()`` must follow, once.
package struct WorkThread: Sendable {
    private let thread: pthread_t

    /// Starts the thread; nil when none is to be had.
    package init?(_ work: @escaping @Sendable () -> Void) {
        let box = Unmanaged.passRetained(WorkBox(work))
        var started = pthread_t()
        guard pthread_create(&started, nil, runWork, box.toOpaque()) == 0 else {
            box.release()
            return nil
        }
        thread = started
    }

    /// Waits until the work is done.
    package func join() { pthread_join(thread, nil) }

    /// Lets the thread go when the work is done.
    package func detach() { pthread_detach(thread) }
}

private final class WorkBox: Sendable {
    let work: @Sendable () -> Void
    init(_ work: @escaping @Sendable () -> Void) { self.work = work }
}

private let runWork: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { pointer in
    if let pointer { Unmanaged<WorkBox>.fromOpaque(pointer).takeRetainedValue().work() }
    return nil
}
