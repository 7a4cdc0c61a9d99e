import Threading

/// A piece of work on a thread of its own, whose result is fetched by whoever started it.
package final class Worker<Result: Sendable>: Sendable {
    private let result = Locked<Result?>(nil)

    /// Starts the work; without a thread to be had it is done at once.
    package init(_ work: @escaping @Sendable () -> Result) {
        let finished: @Sendable () -> Void = { [self] in finish(work()) }
        if let thread = WorkThread(finished) { thread.detach() } else { finished() }
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
