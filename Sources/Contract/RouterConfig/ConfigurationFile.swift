import Glibc

extension RouterConfiguration {
    /// Octets of the largest file that is read.
    package static let fileSizeLimit = 16 * 1_048_576

    /// Reads a configuration file: JSON if its name ends in `.json`, the .conf form otherwise.
    ///
    /// `$NAME` and `${NAME}` are replaced from `environment`; unset variables stay as they are.
    /// Throws `ConfigError`, whose text begins with the file and, where known, the line.
    package static func load(
        path: String, environment: [String: String]
    ) throws(ConfigError) -> RouterConfiguration {
        let text = try readText(path)
        return path.hasSuffix(".json")
            ? try parse(json: text, file: path, environment: environment)
            : try parse(conf: text, file: path, environment: environment)
    }

    /// Reads the JSON form. `file` stands in errors only.
    ///
    /// With `environment` nil, nothing is replaced and the router's id may contain `${NAME}`: a template.
    package static func parse(
        json text: String, file: String = "configuration", environment: [String: String]? = nil
    ) throws(ConfigError) -> RouterConfiguration {
        let expanded = environment.map { Substitution.expand(text, from: $0, syntax: .json) } ?? text
        let configuration = try RouterConfiguration(unchecked: JSONForm.read(expanded, file: file))
        return environment == nil ? configuration : try configuration.checkedForStart(file: file)
    }

    /// Reads the .conf form. `file` stands in errors only; `environment` as with JSON.
    package static func parse(
        conf text: String, file: String = "configuration", environment: [String: String]? = nil
    ) throws(ConfigError) -> RouterConfiguration {
        let expanded = environment.map { Substitution.expand(text, from: $0, syntax: .plain) } ?? text
        let configuration = try RouterConfiguration(unchecked: ConfForm.read(expanded, file: file))
        return environment == nil ? configuration : try configuration.checkedForStart(file: file)
    }

    /// A router cannot start with a variable left in its id: two routers of one template would share it.
    private func checkedForStart(file: String) throws(ConfigError) -> RouterConfiguration {
        if let id = router[string: "id"], !Schema.isRouterID(id) {
            throw ConfigError.badValue(
                type: "router", attribute: "id", value: id,
                expected: "\(Schema.routerIDExpectation); if it has a variable, set that in the environment"
            ).at(ConfigLocation(file: file, line: nil))
        }
        return self
    }

    static func readText(_ path: String) throws(ConfigError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .unreadable(path: path, reason: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw .unreadable(path: path, reason: String(cString: strerror(errno)))
            }
            bytes += chunk[..<count]
            guard bytes.count <= fileSizeLimit else { throw .tooLarge(path: path, limitBytes: fileSizeLimit) }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigError.syntax(problem: "the text is not UTF-8", remedy: "save the file as UTF-8")
                .at(ConfigLocation(file: path, line: nil))
        }
        return text
    }

    // MARK: Policy folder

    /// Files that a policy folder may have.
    package static let policyFileLimit = 10_000

    /// The vhosts of the files in the policy's folder, in the order of the files' names; empty if it names none.
    ///
    /// No variables are replaced in them: `${user}` has a meaning there. Files that do not end in `.json`, and entities
    /// of other types, are passed over. Throws `ConfigError`, whose text begins with the file, if one cannot be read or
    /// a vhost is there twice.
    package func policyVhosts() throws(ConfigError) -> [Entity] {
        guard let folder = singleton("policy")[string: "policyDir"], !folder.isEmpty else { return [] }
        var known = Set(entities(ofType: "vhost").map(\.name))
        var vhosts: [Entity] = []
        for name in try RouterConfiguration.policyFiles(in: folder) {
            let path = folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
            let text = try RouterConfiguration.readText(path)
            let items = try JSONForm.read(text, file: path)
            for item in items where Schema.type(named: item.type)?.shortName == "vhost" {
                do throws(ConfigError) {
                    let vhost = try Schema.validate(type: item.type, attributes: item.attributes, for: .file)
                    guard known.insert(vhost.name).inserted else {
                        throw ConfigError.duplicate(type: vhost.type, name: vhost.name)
                    }
                    vhosts.append(vhost)
                } catch {
                    throw item.location.map { error.at($0) } ?? error
                }
            }
        }
        return vhosts
    }

    private static func policyFiles(in folder: String) throws(ConfigError) -> [String] {
        guard let directory = opendir(folder) else {
            throw .unreadable(path: folder, reason: String(cString: strerror(errno)))
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name.hasSuffix(".json") else { continue }
            names.append(name)
            guard names.count <= policyFileLimit else {
                throw .unreadable(path: folder, reason: "it has more than \(policyFileLimit) files")
            }
        }
        return names.sorted()
    }
}
