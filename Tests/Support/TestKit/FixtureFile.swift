import Glibc

/// A fixture that could not be read.
package struct FixtureError: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}

/// The octets of a file that stands beside a test's source.
///
/// - Parameters:
///   - name: path below the folder of `source`, for example `Fixtures/plain-1.bin`.
///   - source: leave it out; the calling source file.
package func fixture(_ name: String, beside source: String = #filePath) throws -> [UInt8] {
    let folder = source.lastIndex(of: "/").map { String(source[...$0]) } ?? ""
    let path = folder + name
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw FixtureError(description: "cannot open \(path): \(String(cString: strerror(errno)))") }
    defer { close(file) }
    var octets: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(file, &chunk, chunk.count)
        if count == 0 { return octets }
        if count < 0 {
            if errno == EINTR { continue }
            throw FixtureError(description: "cannot read \(path): \(String(cString: strerror(errno)))")
        }
        octets += chunk[..<count]
    }
}
