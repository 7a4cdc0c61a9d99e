import ControlIO
import LocalPlatform
import SiteModel

/// Picks from a namespace what helps to find a fault and gives no secret away: private keys, codes and passwords stay
/// where they are.
struct NamespaceDump {
    /// The most that is taken of one file, octets; of logs the end, of others the start.
    private static let fileLimit = 2 << 20
    /// The most files that are taken.
    private static let countLimit = 5_000

    let layout: NamespaceLayout
    private(set) var files: [(path: String, bytes: [UInt8])] = []
    private var listing = ""

    init(_ layout: NamespaceLayout) {
        self.layout = layout
    }

    /// Reads the namespace; files that cannot be read are named in `files.txt`.
    mutating func collect() {
        walk("", depth: 6)
        files.append(("files.txt", Array(listing.utf8)))
    }

    private mutating func walk(_ folder: String, depth: Int) {
        let path = folder.isEmpty ? layout.root : "\(layout.root)/\(folder)"
        guard depth > 0, let names = try? Files.list(path) else {
            listing += "\(folder)/ cannot be read\n"
            return
        }
        for name in names where files.count < Self.countLimit {
            let relative = folder.isEmpty ? name : "\(folder)/\(name)"
            switch Files.kind("\(layout.root)/\(relative)") {
            case .directory: walk(relative, depth: depth - 1)
            case .file: take(relative, folder: folder, name: name)
            case .other, nil: listing += "\(relative) is no file\n"
            }
        }
    }

    private mutating func take(_ relative: String, folder: String, name: String) {
        guard let isResources = Self.treatment(folder: folder, name: name) else {
            listing += "\(relative) left out: it may hold secrets\n"
            return
        }
        do {
            let path = "\(layout.root)/\(relative)"
            let all = try Files.read(path, limit: 64 << 20)
            let bytes: [UInt8]
            if isResources {
                bytes = try Self.redacted(all)
            } else if name.hasSuffix(".json") {
                let configuration = try JSON.parse(String(decoding: all, as: UTF8.self))
                bytes = Array(JSON.emit(Redaction.withoutPasswords(configuration)).utf8)
            } else {
                bytes = Array(name.hasSuffix(".log") ? all.suffix(Self.fileLimit) : all.prefix(Self.fileLimit))
            }
            listing += "\(relative) \(all.count) octets\n"
            files.append((relative, bytes))
        } catch {
            listing += "\(relative) left out: \(error)\n"
        }
    }

    /// Whether a file is taken, and then whether as resources whose secrets are blotted out. What is not known to be
    /// harmless is left out.
    private static func treatment(folder: String, name: String) -> Bool? {
        if ["input/resources", "runtime/resources", "runtime/links"].contains(folder) { return true }
        if name.hasSuffix(".crt") { return false }
        if folder == "runtime/router", name.hasSuffix(".json") || name.hasSuffix(".log") { return false }
        let harmless = ["platform.yaml", "ports.yaml", "site.yaml", "report.yaml"]
        if folder == "internal", harmless.contains(name) || name.hasSuffix(".log") { return false }
        return nil
    }

    /// The resources of a file without what only their owner may know.
    private static func redacted(_ bytes: [UInt8]) throws -> [UInt8] {
        let resources = try Resource.parseAll(yaml: String(decoding: bytes, as: UTF8.self))
        let plain = resources.map { Redaction.object($0.document) }
        return Array(YAML.emit(documents: plain, leadingSeparator: true).utf8)
    }
}
