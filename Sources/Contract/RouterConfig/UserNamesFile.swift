/// The file of an sslProfile's `uidNameMappingFile`: a JSON object whose members give user names other names.
package enum UserNamesFile {
    /// The names by the names that they stand for.
    ///
    /// Throws `ConfigError`, whose text begins with the file, if it cannot be read, is larger than
    /// `RouterConfiguration.fileSizeLimit`, or is no object of texts.
    package static func load(path: String) throws(ConfigError) -> [String: String] {
        try parse(RouterConfiguration.readText(path), file: path)
    }

    /// The same from the file's text.
    static func parse(_ text: String, file: String) throws(ConfigError) -> [String: String] {
        let remedy = "write {\"user name\": \"other name\", …}"
        let place = ConfigLocation(file: file, line: nil)
        guard case .map(let members) = try JSONForm.value(text, file: file) else {
            throw ConfigError.syntax(problem: "the file is no JSON object", remedy: remedy).at(place)
        }
        var names: [String: String] = [:]
        for (name, value) in members {
            guard case .string(let other) = value else {
                throw ConfigError.syntax(problem: "what stands for \"\(name)\" is no text", remedy: remedy).at(place)
            }
            names[name] = other
        }
        return names
    }
}
