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
                bytes = Array(JSON.emit(Self.withoutPasswords(configuration)).utf8)
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
        var resources = try Resource.parseAll(yaml: String(decoding: bytes, as: UTF8.self))
        for index in resources.indices { redact(&resources[index]) }
        return Array(YAML.emit(documents: resources.map(\.document), leadingSeparator: true).utf8)
    }

    /// A router configuration without the passwords of proxies and keys.
    private static func withoutPasswords(_ node: Document) -> Document {
        switch node {
        case .list(let items):
            return .list(items.map(withoutPasswords))
        case .map(let map):
            var result = DocumentMap()
            for (key, value) in map.entries {
                result[key] = key.lowercased().hasSuffix("password") ? "left out" : withoutPasswords(value)
            }
            return .map(result)
        default:
            return node
        }
    }

    private static func redact(_ resource: inout Resource) {
        for path in [["spec", "code"], ["status", "code"]] where resource.document.value(at: path) != nil {
            resource.document.set("left out", at: path)
        }
        guard resource.kind == "Secret" else { return }
        for field in ["data", "stringData"] {
            for key in resource.document[field]?.mapValue?.keys ?? [] where !key.hasSuffix(".crt") {
                resource.document.set("left out", at: [field, key])
            }
        }
        // Tools that keep a copy of what was applied keep the keys with it.
        resource.document.set(nil, at: ["metadata", "annotations"])
    }
}
