import Synchronization

/// The memory that streams may hold, when `--max-memory` sets a limit. Shared by all loops.
///
/// A stream is only accepted when all it may ever hold, in both directions, fits beside what the others may hold.
/// Nobody who was accepted is cut off later.
final class MemoryLimit: Sendable {
    /// Octets; 0 = no limit.
    let octets: Int
    private let committed = Atomic<Int>(0)
    /// What a router holds without any stream, under load: code, tables, loops' buffers.
    private static let base = 20 << 20
    /// The smallest limit that leaves room for streams.
    static let least = 32 << 20
    /// What a stream holds besides its queues.
    private static let perStream = 8 << 10
    /// What we let a far end of ours have under way on one stream when memory is limited.
    private static let smallWindow: UInt64 = 16 << 10

    /// Why a stream is refused.
    static let refusal = "the streams there are may need all of --max-memory"

    init(octets: Int) { self.octets = octets }

    var isLimited: Bool { octets > 0 }

    /// Octets that a far end of ours may have under way on one stream.
    var offeredWindow: UInt64 { isLimited ? MemoryLimit.smallWindow : SendWindow.largest }

    /// The same as part of a stream's head.
    ///
    /// - Parameter isCautious: streams hold much in this router already.
    func offer(isCautious: Bool) -> WindowOffer {
        WindowOffer(most: offeredWindow, first: isCautious && !isLimited ? WindowOffer.little : nil)
    }

    /// Octets of one slab: a queue's last one is rarely full, so small windows want small slabs.
    var slabCapacity: Int { isLimited ? 17 << 10 : Slab.usualCapacity }

    /// What one stream may hold: both windows, each with a slab begun at either end.
    ///
    /// - Parameter farEndIsOurs: it keeps to ``offeredWindow``; any other uses ``SendWindow/usual``.
    func share(farEndIsOurs: Bool) -> Int {
        let incoming = farEndIsOurs ? MemoryLimit.smallWindow : SendWindow.usual
        return MemoryLimit.perStream + Int(incoming) + Int(MemoryLimit.smallWindow) + 2 * slabCapacity
    }

    /// Sets `count` octets aside; false when they are not there.
    func admit(_ count: Int) -> Bool {
        guard isLimited else { return true }
        let before = committed.wrappingAdd(count, ordering: .relaxed).oldValue
        if MemoryLimit.base + before + count <= octets { return true }
        committed.wrappingSubtract(count, ordering: .relaxed)
        return false
    }

    func giveBack(_ count: Int) {
        if isLimited { committed.wrappingSubtract(count, ordering: .relaxed) }
    }
}
