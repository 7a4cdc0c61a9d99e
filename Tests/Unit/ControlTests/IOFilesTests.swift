import ControlIO
import Glibc
import Testing

/// Files: atomic writes, modes, limits, and errors that name their path.
@Suite struct IOFilesTests {
    @Test func writesReplaceAndKeepNothingBehind() throws {
        let folder = try ControlTestFolder()
        let path = folder.path + "/a/b/token.yaml"
        try Files.makeDirectory(folder.path + "/a/b")
        try Files.makeDirectory(folder.path + "/a/b")
        try Files.write(path, text: "one", mode: 0o600)
        try Files.write(path, text: "two", mode: 0o640)
        #expect(try Files.readText(path) == "two")
        #expect(try Files.list(folder.path + "/a/b") == ["token.yaml"])
        var information = stat()
        #expect(stat(path, &information) == 0)
        #expect(information.st_mode & 0o777 == 0o640)
    }

    @Test func aLinkIsReplacedNotFollowed() throws {
        let folder = try ControlTestFolder()
        try Files.write(folder.path + "/target", text: "kept")
        #expect(symlink("target", folder.path + "/link") == 0)
        try Files.write(folder.path + "/link", text: "new")
        #expect(try Files.readText(folder.path + "/target") == "kept")
        #expect(try Files.readText(folder.path + "/link") == "new")
    }

    @Test func limitsAndFaults() throws {
        let folder = try ControlTestFolder()
        try Files.write(folder.path + "/big", bytes: [UInt8](repeating: 65, count: 100_000))
        #expect(try Files.read(folder.path + "/big").count == 100_000)
        #expect(fault { _ = try Files.read(folder.path + "/big", limit: 99_999) }?.reason.contains("99999") == true)
        try Files.write(folder.path + "/latin", bytes: [0xff, 0xfe])
        #expect(fault { _ = try Files.readText(folder.path + "/latin") }?.reason == "the file is not UTF-8 text")
        let missing = fault { _ = try Files.read(folder.path + "/none") }
        #expect(missing?.isNotFound == true)
        #expect(missing?.path == folder.path + "/none")
        #expect(
            missing.map { "\($0)" }?.hasPrefix("cannot read \(folder.path)/none: No such file or directory (") == true)
        #expect(fault { try Files.write(folder.path + "/no/file", text: "x") }?.operation == .write)
        #expect(fault { try Files.makeDirectory(folder.path + "/big/sub") }?.code == ENOTDIR)
        #expect(fault { _ = try Files.list(folder.path + "/none") }?.operation == .list)
    }

    @Test func treesAreRemovedWithoutFollowingLinks() throws {
        let folder = try ControlTestFolder()
        try Files.makeDirectory(folder.path + "/tree/in")
        try Files.write(folder.path + "/outside", text: "kept")
        try Files.write(folder.path + "/tree/in/f", text: "x")
        #expect(symlink("../outside", folder.path + "/tree/link") == 0)
        try Files.removeTree(folder.path + "/tree")
        try Files.removeTree(folder.path + "/tree")
        try Files.remove(folder.path + "/never")
        #expect(Files.kind(folder.path + "/tree") == nil)
        #expect(Files.kind(folder.path + "/outside") == .file)
        try Files.rename(folder.path + "/outside", to: folder.path + "/moved")
        #expect(try Files.list(folder.path) == ["moved"])
        #expect(Files.kind(folder.path) == .directory)
        #expect(Files.kind("/dev/null") == .other)
    }

    private func fault(_ body: () throws -> Void) -> FileError? {
        do {
            try body()
            return nil
        } catch {
            return error as? FileError
        }
    }
}

/// A folder that is removed with its owner.
final class ControlTestFolder {
    let path: String

    init() throws {
        var template = Array(("/tmp" + "/skupper-control-" + String(repeating: "X", count: 6)).utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        path = try #require(made)
    }

    deinit { try? Files.removeTree(path) }
}
