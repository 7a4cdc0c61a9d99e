import CLibnghttp2

/// The headers of one direction of an HTTP/2 connection, uncompressed (HPACK, RFC 7541) by nghttp2.
///
/// Holds a table of at most ``tableMaximum`` octets and one field, whose name and value may come as that many octets
/// each. For Huffman code nghttp2 takes twice the room of what comes: 256 KiB for the field, and up to 480 KiB for a
/// table of characters whose codes are the longest.
final class HeaderInflater {
    /// Octets of the table, unless the reader allows more.
    private static let tableUsual = 4096
    static let tableMaximum = 65_536

    private let inflater: OpaquePointer
    private var table = HeaderInflater.tableUsual
    private var allowed = HeaderInflater.tableUsual

    /// Nil without memory.
    init?() {
        var made: OpaquePointer?
        guard nghttp2_hd_inflate_new(&made) == 0, let made else { return nil }
        inflater = made
    }

    deinit { nghttp2_hd_inflate_del(inflater) }

    /// The reader of this direction lets its writer use a larger table. A smaller one the writer tells of itself.
    func allow(_ octets: UInt32) { allowed = max(allowed, min(Int(octets), HeaderInflater.tableMaximum)) }

    /// A header block begins.
    func begin() -> Bool {
        guard allowed > table else { return true }
        table = allowed
        return nghttp2_hd_inflate_change_table_size(inflater, table) == 0
    }

    /// A piece of the block; false when it is not valid.
    func feed(
        _ octets: UnsafeRawBufferPointer, isLast: Bool = false,
        _ field: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        var nothing: UInt8 = 0
        return withUnsafePointer(to: &nothing) { empty in
            var next = octets.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? empty
            var left = octets.count
            while true {
                var pair = nghttp2_nv()
                var flags: Int32 = 0
                let used = nghttp2_hd_inflate_hd2(inflater, &pair, &flags, next, left, isLast ? 1 : 0)
                guard used >= 0, used <= left else { return false }
                next += used
                left -= used
                if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
                    field(
                        UnsafeRawBufferPointer(start: pair.name, count: pair.namelen),
                        UnsafeRawBufferPointer(start: pair.value, count: pair.valuelen))
                } else if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 {
                    return nghttp2_hd_inflate_end_headers(inflater) == 0
                } else if left == 0 {
                    return true
                }
            }
        }
    }

    /// The block is complete.
    func end(_ field: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) -> Bool {
        feed(UnsafeRawBufferPointer(start: nil, count: 0), isLast: true, field)
    }
}
