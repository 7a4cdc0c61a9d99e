/// A fixed-size block of raw memory, part of a singly linked queue while it holds bytes.
///
/// Slabs belong to the pool of one loop and are never shared between loops.
final class Slab {
    /// Usable octets in each slab where memory is not limited.
    static let usualCapacity = 65536 - 64

    let memory: UnsafeMutableRawPointer
    private let capacity: Int
    /// First octet not yet taken out.
    var start = 0
    /// One past the last octet put in.
    var end = 0
    var next: Slab?

    init(capacity: Int) {
        self.capacity = capacity
        memory = .allocate(byteCount: capacity, alignment: 64)
    }

    deinit { memory.deallocate() }

    var count: Int { end - start }
    var room: Int { capacity - end }
}

/// Free list of slabs for one loop. Keeps at most `keep` idle slabs; the rest go back to the system.
final class SlabPool {
    private var free: Slab?
    /// Slabs that wait for use.
    private(set) var freeCount = 0
    let keep: Int
    /// Octets of one slab.
    let slabCapacity: Int
    /// Slabs taken from the system and given back to it, since start.
    private(set) var made = 0
    private(set) var released = 0

    /// - Parameter slabCapacity: octets of each slab.
    init(keep: Int, slabCapacity: Int = Slab.usualCapacity) {
        self.keep = keep
        self.slabCapacity = slabCapacity
    }

    func take() -> Slab {
        guard let slab = free else {
            made += 1
            return Slab(capacity: slabCapacity)
        }
        free = slab.next
        freeCount -= 1
        slab.next = nil
        slab.start = 0
        slab.end = 0
        return slab
    }

    func give(_ slab: Slab) {
        guard freeCount < keep else {
            released += 1
            return
        }
        slab.next = free
        free = slab
        freeCount += 1
    }

    /// Frees what is kept beyond `count`, called when the loop has been quiet.
    func trim(to count: Int) {
        while freeCount > count, let slab = free {
            free = slab.next
            freeCount -= 1
            released += 1
        }
    }
}

/// A byte queue made of slabs: append at the tail, write out from the head with gather writes.
struct SlabQueue: ~Copyable {
    private(set) var count = 0
    private var head: Slab?
    private var tail: Slab?

    var isEmpty: Bool { count == 0 }

    /// Copies octets in.
    mutating func append(_ bytes: UnsafeRawPointer, _ length: Int, pool: SlabPool) {
        var source = bytes
        var left = length
        while left > 0 {
            if tail == nil || tail!.room == 0 {
                let slab = pool.take()
                if let tail { tail.next = slab } else { head = slab }
                tail = slab
            }
            let slab = tail!
            let part = min(left, slab.room)
            (slab.memory + slab.end).copyMemory(from: source, byteCount: part)
            slab.end += part
            source += part
            left -= part
        }
        count += length
    }

    /// Drops the first `length` octets; emptied slabs go back to the pool.
    mutating func drop(_ length: Int, pool: SlabPool) {
        var left = length
        count -= length
        while left > 0, let slab = head {
            let part = min(left, slab.count)
            slab.start += part
            left -= part
            if slab.count == 0 {
                head = slab.next
                if head == nil { tail = nil }
                slab.next = nil
                pool.give(slab)
            }
        }
    }

    mutating func removeAll(pool: SlabPool) { drop(count, pool: pool) }

    /// The first contiguous run of octets.
    var first: UnsafeRawBufferPointer? {
        guard let head, head.count > 0 else { return nil }
        return UnsafeRawBufferPointer(start: head.memory + head.start, count: head.count)
    }

    /// Calls `body` with each contiguous run, at most `limit` of them.
    func forEachRun(limit: Int, _ body: (UnsafeMutableRawPointer, Int) -> Void) {
        var slab = head
        var left = limit
        while left > 0, let current = slab {
            if current.count > 0 { body(current.memory + current.start, current.count) }
            slab = current.next
            left -= 1
        }
    }
}
