import CLibuv
import Glibc

/// Gives memory back to the system that a burst of traffic, or the start, needed and a quiet router does not.
///
/// Two thirds of a router's resident memory are pages of code and constants that ran once: reading configuration,
/// certificates, OpenSSL's tables. They are clean pages of files; the kernel maps them again, out of its cache, when
/// they are needed.
struct IdleMemory: Sendable {
    private struct Range: Sendable, Hashable {
        var start: UInt
        var end: UInt
    }

    /// Files mapped before the first thread started. Mappings made later could be under construction by the dynamic
    /// linker while we look at them.
    private let files: Set<Range>

    /// Looks at what is mapped. Call it while the process has one thread.
    init() {
        var found: Set<Range> = []
        IdleMemory.forEachMapping(in: "/proc/self/smaps") { range, isReadOnlyFile, _ in
            if isReadOnlyFile { found.insert(range) }
        }
        files = found
    }

    /// Returns free heap and unused pages of files. Takes a millisecond or two.
    func release() {
        IdleMemory.forEachMapping(in: "/proc/self/smaps") { range, isReadOnlyFile, anonymous in
            // Anonymous pages of a read-only mapping are relocated constants: they exist nowhere else.
            guard isReadOnlyFile, anonymous == 0, files.contains(range) else { return }
            madvise(UnsafeMutableRawPointer(bitPattern: range.start), Int(range.end - range.start), MADV_DONTNEED)
        }
        malloc_trim(0)
    }

    /// Forgets the contents of a scratch buffer's whole pages.
    static func forget(_ buffer: UnsafeMutableRawPointer, _ count: Int) {
        let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
        let start = (UInt(bitPattern: buffer) + page - 1) / page * page
        let end = (UInt(bitPattern: buffer) + UInt(count)) / page * page
        guard end > start else { return }
        madvise(UnsafeMutableRawPointer(bitPattern: start), Int(end - start), MADV_DONTNEED)
    }

    /// Calls `body` with each mapping, whether it is a file that cannot be written, and its anonymous kilobytes.
    private static func forEachMapping(in path: String, _ body: (Range, Bool, Int) -> Void) {
        guard let file = fopen(path, "re") else { return }
        defer { fclose(file) }
        var range: Range?
        var isReadOnlyFile = false
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1024) { line in
            guard let base = line.baseAddress else { return }
            while fgets(base, 1024, file) != nil {
                if strncmp(base, "Anonymous:", 10) == 0 {
                    if let range { body(range, isReadOnlyFile, Int(strtol(base + 10, nil, 10))) }
                    range = nil
                } else if let found = mapping(base) {
                    range = found
                    let isReadOnly = strstr(base, " r--p ") != nil || strstr(base, " r-xp ") != nil
                    isReadOnlyFile = isReadOnly && strchr(base, 0x2f) != nil
                }
            }
        }
    }

    /// A line that begins a mapping: `start-end rights offset device inode path`.
    private static func mapping(_ line: UnsafePointer<CChar>) -> Range? {
        var rest: UnsafeMutablePointer<CChar>?
        let start = strtoul(line, &rest, 16)
        guard let dash = rest, dash.pointee == 0x2d else { return nil }
        let end = strtoul(dash + 1, &rest, 16)
        guard let space = rest, space.pointee == 0x20, end > start else { return nil }
        return Range(start: start, end: end)
    }
}
