/// Calls `body` for every place where `octets` can be cut in two, both ends included: first part, second part.
package func withEverySplit(_ octets: [UInt8], _ body: ([UInt8], [UInt8]) throws -> Void) rethrows {
    for cut in 0...octets.count { try body(Array(octets[..<cut]), Array(octets[cut...])) }
}

/// Calls `body` with every prefix that lacks at least one octet, the empty one included, each in memory of exactly its
/// size, so that a read behind its end is one behind the allocation.
package func withEveryTruncation(_ octets: [UInt8], _ body: (UnsafeRawBufferPointer) throws -> Void) rethrows {
    for length in 0..<octets.count { try withExactMemory(octets[..<length], body) }
}

/// Calls `body` with a copy of `octets` in memory of exactly their size.
package func withExactMemory<Result>(
    _ octets: some Collection<UInt8>, _ body: (UnsafeRawBufferPointer) throws -> Result
) rethrows -> Result {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: octets.count, alignment: 1)
    defer { memory.deallocate() }
    memory.copyBytes(from: octets)
    return try body(UnsafeRawBufferPointer(memory))
}
