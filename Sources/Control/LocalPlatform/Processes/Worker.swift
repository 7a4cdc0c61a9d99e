import Glibc
import Threading

/// A piece of work on a thread of its own, whose result is fetched by whoever started it.
package final class Worker<Result: Sendable>: Sendable {
    private let result = Locked<Result?>(nil)

    /// Starts the work; without a thread to be had it is done at once.
    package init(_ work: @escaping @Sendable () -> Result) {
        let box = Unmanaged.passRetained(WorkBox { [self] in finish(work()) })
        var thread = pthread_t()
        let failure = pthread_create(&thread, nil, runWork, box.toOpaque())
        if failure == 0 {
            pthread_detach(thread)
        } else {
            box.takeRetainedValue().work()
        }
    }

    private func finish(_ value: Result) { result.withLock { $0 = value } }

    /// The result, once; nil while the work goes on and after the result was taken.
    package func take() -> Result? {
        result.withLock { value in
            defer { value = nil }
            return value
        }
    }
}

private final class WorkBox: Sendable {
    let work: @Sendable () -> Void
    init(_ work: @escaping @Sendable () -> Void) { self.work = work }
}

private let runWork: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { pointer in
    if let pointer { Unmanaged<WorkBox>.fromOpaque(pointer).takeRetainedValue().work() }
    return nil
}
