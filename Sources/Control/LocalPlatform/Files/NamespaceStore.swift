import ControlIO
import Glibc
import SiteModel

/// The resources of one namespace as files (control-plane.md §5.1). Functions block on the disk and may be called
/// from any thread and from several programs at once: each file is replaced in one step.
package struct NamespaceStore: Sendable {
    /// Which of the two sets of resources is meant.
    package enum Area: Hashable, Sendable {
        /// What the user asked for.
        case input
        /// What the controller made of it, with status.
        case runtime
    }

    /// A file of the input that cannot be used, with the reason.
    package struct Problem: Hashable, Sendable {
        /// Path of the file.
        package let path: String
        /// What is wrong and what to do.
        package let reason: String
    }

    /// Most resource files read of one namespace; more are reported as a problem.
    package static let fileLimit = 10_000

    /// Where the files are.
    package let layout: NamespaceLayout

    /// The store of a namespace, which need not exist yet. Throws `LocalError` if the name cannot be one.
    package init(namespace: String, home: DataHome = .current()) throws(LocalError) {
        layout = try home.layout(of: namespace)
    }

    /// The store in a layout.
    package init(layout: NamespaceLayout) { self.layout = layout }

    /// Whether the namespace has a directory.
    package var exists: Bool { Files.kind(layout.root) == .directory }

    /// Whether the namespace has been started on this platform and not been removed since.
    package var isStarted: Bool { Files.exists(layout.platformFile) }

    /// Pid of the controller that runs for this namespace; nil if none does.
    package var controller: pid_t? { FileLock.owner(of: layout.controllerLock) }

    /// The resources of one area and the files that cannot be used, both in the order of file names.
    package func load(_ area: Area) throws(FileError) -> (resources: [Resource], problems: [Problem]) {
        var resources: [Resource] = []
        var problems: [Problem] = []
        let names = try resourceFiles(area)
        for name in names.prefix(NamespaceStore.fileLimit) {
            let path = "\(directory(area))/\(name)"
            do {
                resources += try parse(path)
            } catch {
                problems.append(Problem(path: path, reason: "\(error)"))
            }
        }
        if names.count > NamespaceStore.fileLimit {
            problems.append(
                Problem(
                    path: directory(area),
                    reason: "holds \(names.count) files; only the first \(NamespaceStore.fileLimit) are read"))
        }
        return (resources, problems)
    }

    /// The resources of one kind, sorted by name. Files that cannot be used are left out; `load` tells them.
    package func list(_ kind: ResourceKind, in area: Area) throws(FileError) -> [Resource] {
        try load(area).resources.filter { $0.knownKind == kind }.sorted { $0.name < $1.name }
    }

    /// The views of one kind, sorted by name.
    package func list<View: ResourceView>(_ view: View.Type, in area: Area) throws(FileError) -> [View] {
        try list(View.kind, in: area).compactMap { View($0) }
    }

    /// One resource; nil if there is none of that name.
    package func get(_ kind: ResourceKind, _ name: String, in area: Area) throws(FileError) -> Resource? {
        let path = path(of: ResourceKey(kind: kind.rawValue, name: name), in: area)
        if let found = try? parse(path).first(where: { $0.knownKind == kind && $0.name == name }) { return found }
        // Users may name their files as they like and put several resources into one.
        return try list(kind, in: area).first { $0.name == name }
    }

    /// One resource as the view of its kind; nil if there is none of that name.
    package func get<View: ResourceView>(_ view: View.Type, _ name: String, in area: Area) throws(FileError) -> View? {
        try get(View.kind, name, in: area).flatMap { View($0) }
    }

    /// `status.status` and `status.message` of a resource at run time; nil if the controller does not know it.
    package func status(_ kind: ResourceKind, _ name: String) throws(FileError) -> (status: String, message: String)? {
        guard let resource = try get(kind, name, in: .runtime) else { return nil }
        return (
            resource.status("status")?.scalarText ?? "Pending", resource.status("message")?.scalarText ?? ""
        )
    }

    /// Writes a resource, in place of one of the same kind and name, and returns the path of its file.
    ///
    /// Secrets, tokens and grants can be read by their owner only. If a file of another name holds the resource, it
    /// is taken out there, so that there is one of it.
    @discardableResult
    package func put(_ resource: Resource, in area: Area = .input) throws -> String {
        try checkName(resource.key)
        try Files.makeDirectory(directory(area))
        let path = path(of: resource.key, in: area)
        try Files.write(path, text: resource.yaml(), mode: NamespaceStore.mode(of: resource.kind))
        if area == .input { try takeOut(resource.key, exceptFrom: path) }
        return path
    }

    /// Writes several resources so that all of them appear, or, if one cannot be written, none.
    @discardableResult
    package func putAll(_ resources: [Resource], in area: Area = .input) throws -> [String] {
        for resource in resources { try checkName(resource.key) }
        try Files.makeDirectory(directory(area))
        var staged: [(temporary: String, path: String)] = []
        var done: [(path: String, old: [UInt8]?)] = []
        do {
            for resource in resources {
                let path = path(of: resource.key, in: area)
                let temporary = "\(directory(area))/.\(resource.kind)-\(resource.name).\(getpid()).new"
                try Files.write(temporary, text: resource.yaml(), mode: NamespaceStore.mode(of: resource.kind))
                staged.append((temporary, path))
            }
            for item in staged {
                let old = try? Files.read(item.path)
                try Files.rename(item.temporary, to: item.path)
                done.append((item.path, old))
            }
        } catch {
            for item in staged { try? Files.remove(item.temporary) }
            for item in done {
                if let old = item.old { try? Files.write(item.path, bytes: old) } else { try? Files.remove(item.path) }
            }
            throw error
        }
        return staged.map(\.path)
    }

    /// Removes a resource; false if there was none of that kind and name.
    @discardableResult
    package func delete(_ kind: ResourceKind, _ name: String, in area: Area = .input) throws -> Bool {
        let key = ResourceKey(kind: kind.rawValue, name: name)
        let path = path(of: key, in: area)
        if let held = try? parse(path), held.map(\.key) == [key] {
            try Files.remove(path)
            return true
        }
        return try takeOut(key, exceptFrom: nil)
    }

    /// Path of the file that `put` writes for a resource.
    package func path(of key: ResourceKey, in area: Area = .input) -> String {
        "\(directory(area))/\(key.kind)-\(key.name).yaml"
    }

    /// What tells whether anything of the input has changed since an earlier look.
    func inputStamps() -> [String: FileStamp] {
        var result: [String: FileStamp] = [:]
        for folder in [
            layout.inputResources, layout.inputCertificates, layout.inputIssuers, layout.inputProxies,
        ] {
            collectStamps(folder, depth: 2, into: &result)
        }
        return result
    }

    private func collectStamps(_ folder: String, depth: Int, into result: inout [String: FileStamp]) {
        for name in ((try? Files.listIfPresent(folder)) ?? []).prefix(NamespaceStore.fileLimit) {
            let path = "\(folder)/\(name)"
            guard let stamp = FileStamp(path) else { continue }
            result[path] = stamp
            if depth > 1, Files.kind(path) == .directory { collectStamps(path, depth: depth - 1, into: &result) }
        }
    }

    private func directory(_ area: Area) -> String {
        area == .input ? layout.inputResources : layout.runtimeResources
    }

    private func resourceFiles(_ area: Area) throws(FileError) -> [String] {
        try Files.listIfPresent(directory(area)).filter {
            $0.hasSuffix(".yaml") || $0.hasSuffix(".yml") || $0.hasSuffix(".json")
        }
    }

    private func parse(_ path: String) throws -> [Resource] {
        try Resource.parseAll(yaml: try Files.readText(path))
    }

    /// Removes a resource from every input file but one; true if it was anywhere.
    @discardableResult
    private func takeOut(_ key: ResourceKey, exceptFrom kept: String?) throws -> Bool {
        var isFound = false
        for area in [Area.input] {
            for name in try resourceFiles(area) {
                let path = "\(directory(area))/\(name)"
                guard path != kept, let held = try? parse(path), held.contains(where: { $0.key == key }) else {
                    continue
                }
                isFound = true
                let rest = held.filter { $0.key != key }
                if rest.isEmpty {
                    try Files.remove(path)
                } else {
                    let text = rest.map { $0.yaml() }.joined(separator: "---\n")
                    let mode = rest.map { NamespaceStore.mode(of: $0.kind) }.min() ?? 0o644
                    try Files.write(path, text: text, mode: mode)
                }
            }
        }
        return isFound
    }

    private func checkName(_ key: ResourceKey) throws(LocalError) {
        let parts = key.name.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 1, !key.name.hasPrefix("."), !key.kind.contains("/"), key.name.utf8.count <= 253 else {
            throw LocalError(
                what: "\"\(key.name)\" cannot name a \(key.kind)", cause: "it cannot be part of a file name",
                remedy: "Name it with small letters, digits and hyphens")
        }
    }

    /// Secrets and codes are nobody else's business.
    private static func mode(of kind: String) -> UInt32 {
        let secretKinds = [ResourceKind.secret, .accessToken, .accessGrant].map(\.rawValue)
        return secretKinds.contains(kind) ? 0o600 : 0o644
    }
}
