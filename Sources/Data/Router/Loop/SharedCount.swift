import Synchronization

/// Counts down the loops, or the answers, that something waits for; captured by closures of several threads.
final class SharedCount: Sendable {
    private let left: Atomic<Int>
    init(left: Int) { self.left = Atomic(left) }
    /// True for the last one.
    func countDown() -> Bool { left.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
}
