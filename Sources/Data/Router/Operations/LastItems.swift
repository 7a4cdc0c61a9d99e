/// The last items of a sequence, up to a number; an older one gives way to each further one.
struct LastItems<Element: Sendable>: Sendable {
    let capacity: Int
    private var items: [Element] = []
    /// Where the oldest item lies once all places are taken.
    private var oldest = 0
    /// Items that gave way since the last ``takeAll()``.
    private(set) var lost = 0

    /// - Parameter capacity: items kept; at least one.
    init(capacity: Int) { self.capacity = max(1, capacity) }

    mutating func append(_ item: Element) {
        guard items.count == capacity else { return items.append(item) }
        items[oldest] = item
        oldest = (oldest + 1) % capacity
        lost += 1
    }

    /// Oldest first.
    var ordered: [Element] { Array(items[oldest...] + items[..<oldest]) }

    /// Takes everything out, oldest first, and tells how many gave way before it.
    mutating func takeAll() -> (items: [Element], lost: Int) {
        defer { self = LastItems(capacity: capacity) }
        return (ordered, lost)
    }
}
