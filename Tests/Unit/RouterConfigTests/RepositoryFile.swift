import Glibc

/// Files of the repository that tests compare or write.
enum RepositoryFile {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    static var isRewriteRequested: Bool { getenv("SKUPPER_WRITE_PAGES") != nil }

    /// The path of a file given from the root of the repository.
    static func path(_ relative: String, from source: String = #filePath) -> String {
        // Tests/Unit/RouterConfigTests/<this file>: four components below the root.
        source.split(separator: "/").dropLast(4).map { "/" + $0 }.joined() + "/" + relative
    }

    static func read(_ path: String) throws -> String {
        guard let file = fopen(path, "r") else { throw Failure(description: "cannot open \(path)") }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func write(_ text: String, to path: String) throws {
        guard let file = fopen(path, "w") else { throw Failure(description: "cannot write \(path)") }
        defer { fclose(file) }
        let bytes = Array(text.utf8)
        guard fwrite(bytes, 1, bytes.count, file) == bytes.count else { throw Failure(description: "short write") }
    }

    /// Runs `body` with the path of a file that holds `bytes` and is removed afterwards.
    static func withTemporary<Result>(
        _ bytes: [UInt8], suffix: String, _ body: (String) throws -> Result
    ) throws -> Result {
        var template = Array(("/tmp" + "/router-config-" + String(repeating: "X", count: 6) + suffix).utf8CString)
        let descriptor = mkstemps(&template, Int32(suffix.utf8.count))
        guard descriptor >= 0 else { throw Failure(description: "no temporary file") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { unlink(path) }
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw Failure(description: "short write")
        }
        close(descriptor)
        return try body(path)
    }
}
