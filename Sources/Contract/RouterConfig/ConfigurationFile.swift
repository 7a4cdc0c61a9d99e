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
        try load(path: path) { environment[$0] }
    }

    /// The same with `value`, which tells what a variable stands for; nil if it is not set.
    package static func load(path: String, value: (String) -> String?) throws(ConfigError) -> RouterConfiguration {
        let entities = try unchecked(readText(path), ConfigurationForm(path: path), file: path, value: value)
        return try RouterConfiguration(unchecked: entities).checkedForStart(file: path)
    }

    /// Reads what a container's environment names: a text, or files and folders, all together one configuration.
    ///
    /// Of a folder, the files whose names end in `.conf` or `.json` are taken, in the order of their names.
    ///
    /// - Parameters:
    ///   - warnings: what stands before those about the configuration.
    ///   - value: what a variable stands for; nil if it is not set.
    package static func load(
        from source: StartEnvironment.Source, warnings: [String] = [], value: (String) -> String?
    ) throws(ConfigError) -> RouterConfiguration {
        var entities: [Unchecked] = []
        switch source {
        case .inline(let text, let form):
            entities = try unchecked(text, form, file: "QDROUTERD_CONF", value: value)
        case .places(let paths, let form):
            var octets = 0
            for path in paths {
                for file in try configurationFiles(at: path) {
                    let text = try readText(file)
                    octets += text.utf8.count
                    guard octets <= fileSizeLimit else { throw .tooLarge(path: file, limitBytes: fileSizeLimit) }
                    entities += try unchecked(text, form ?? ConfigurationForm(path: file), file: file, value: value)
                }
            }
        }
        let router = entities.first { Schema.type(named: $0.type)?.shortName == "router" }
        return try RouterConfiguration(unchecked: entities, warnings: warnings)
            .checkedForStart(file: router?.location?.file ?? "configuration")
    }

    private static func unchecked(
        _ text: String, _ form: ConfigurationForm, file: String, value: (String) -> String?
    ) throws(ConfigError) -> [Unchecked] {
        let expanded = Substitution.expand(text, form: form, value: value)
        return switch form {
        case .json: try JSONForm.read(expanded, file: file)
        case .conf: try ConfForm.read(expanded, file: file)
        }
    }

    /// `path` itself, or the files of the folder that it is.
    private static func configurationFiles(at path: String) throws(ConfigError) -> [String] {
        var facts = stat()
        guard stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR else { return [path] }
        // What begins with a dot is hidden from the shell, and so from the image's scripts.
        return try files(in: path, endings: [".conf", ".json"]).filter { $0.first != "." }
            .map { RouterConfiguration.path($0, in: path) }
    }

    /// Reads the JSON form. `file` stands in errors only.
    ///
    /// With `environment` nil, nothing is replaced and the router's id may contain `${NAME}`: a template.
    package static func parse(
        json text: String, file: String = "configuration", environment: [String: String]? = nil
    ) throws(ConfigError) -> RouterConfiguration {
        try parse(text, .json, file: file, environment: environment)
    }

    /// Reads the .conf form. `file` stands in errors only; `environment` as with JSON.
    package static func parse(
        conf text: String, file: String = "configuration", environment: [String: String]? = nil
    ) throws(ConfigError) -> RouterConfiguration {
        try parse(text, .conf, file: file, environment: environment)
    }

    private static func parse(
        _ text: String, _ form: ConfigurationForm, file: String, environment: [String: String]?
    ) throws(ConfigError) -> RouterConfiguration {
        let configuration = try RouterConfiguration(
            unchecked: unchecked(text, form, file: file) { environment?[$0] })
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

    /// Files that a folder of policies or configurations may have.
    package static let folderLimit = 10_000

    /// The vhosts of the files in the policy's folder, in the order of the files' names; empty if it names none.
    ///
    /// No variables are replaced in them: `${user}` has a meaning there. Files that do not end in `.json`, and entities
    /// of other types, are passed over. Throws `ConfigError`, whose text begins with the file, if one cannot be read or
    /// a vhost is there twice.
    package func policyVhosts() throws(ConfigError) -> [Entity] {
        guard let folder = singleton("policy")[string: "policyDir"], !folder.isEmpty else { return [] }
        var known = Set(entities(ofType: "vhost").map(\.name))
        var vhosts: [Entity] = []
        for name in try RouterConfiguration.files(in: folder, endings: [".json"]) {
            let path = RouterConfiguration.path(name, in: folder)
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

    private static func path(_ name: String, in folder: String) -> String {
        folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
    }

    /// The names of the files in a folder that end in one of `endings`, sorted.
    private static func files(in folder: String, endings: [String]) throws(ConfigError) -> [String] {
        guard let directory = opendir(folder) else {
            throw .unreadable(path: folder, reason: String(cString: strerror(errno)))
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard endings.contains(where: { name.hasSuffix($0) }) else { continue }
            names.append(name)
            guard names.count <= folderLimit else {
                throw .unreadable(path: folder, reason: "it has more than \(folderLimit) files")
            }
        }
        return names.sorted()
    }
}
