import CJansson

/// The JSON form of the configuration: an array of `[type, {attributes}]` pairs (router-protocol.md §6.5).
enum JSONForm {
    /// Nesting allowed inside attribute values; vhost groups need three.
    static let depthLimit = 16

    /// Reads the pairs. `file` stands in errors only.
    static func read(_ text: String, file: String) throws(ConfigError) -> [RouterConfiguration.Unchecked] {
        let stripped = withoutComments(text)
        let root = try decode(stripped, file: file)
        defer { json_decref(root) }
        let whole = ConfigLocation(file: file, line: nil)
        guard json_is(root, JSON_ARRAY) else {
            throw ConfigError.syntax(
                problem: "the outermost JSON value is not an array", remedy: "write [[\"router\", {…}], …]"
            ).at(whole)
        }
        let lines = entityLines(stripped)
        var result: [RouterConfiguration.Unchecked] = []
        for index in 0..<json_array_size(root) {
            let location = ConfigLocation(file: file, line: index < lines.count ? lines[index] : nil)
            guard let pair = json_array_get(root, index), json_is(pair, JSON_ARRAY), json_array_size(pair) == 2,
                let name = json_array_get(pair, 0), json_is(name, JSON_STRING),
                let attributes = json_array_get(pair, 1), json_is(attributes, JSON_OBJECT)
            else {
                throw ConfigError.syntax(
                    problem: "entry \(index + 1) is not a pair of a type name and an object",
                    remedy: "write [\"type\", {\"attribute\": value, …}]"
                ).at(location)
            }
            let values = try mapValue(attributes, depth: 0, at: location)
            result.append(.init(type: string(name), attributes: values, location: location))
        }
        return result
    }

    /// Reads one value of any kind. `file` stands in errors only.
    static func value(_ text: String, file: String = "value") throws(ConfigError) -> AttributeValue {
        let root = try decode(text, file: file, flags: JSON_DECODE_ANY)
        defer { json_decref(root) }
        return try attributeValue(root, depth: 0, at: ConfigLocation(file: file, line: nil))
    }

    private static func decode(
        _ text: String, file: String, flags: Int32 = 0
    ) throws(ConfigError) -> UnsafeMutablePointer<json_t> {
        var error = json_error_t()
        var text = text
        let root = text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                json_loadb($0.baseAddress, $0.count, Int(JSON_REJECT_DUPLICATES | flags), &error)
            }
        }
        if let root { return root }
        let problem = withUnsafeBytes(of: &error.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        throw ConfigError.syntax(
            problem: "not valid JSON: \(problem)", remedy: "correct it; look for a missing comma, quote or bracket"
        ).at(ConfigLocation(file: file, line: error.line > 0 ? Int(error.line) : nil))
    }

    private static func json_is(_ value: UnsafeMutablePointer<json_t>, _ type: json_type) -> Bool {
        value.pointee.type == type
    }

    private static func string(_ value: UnsafeMutablePointer<json_t>) -> String {
        guard let start = json_string_value(value) else { return "" }
        let bytes = UnsafeRawBufferPointer(start: start, count: json_string_length(value))
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func mapValue(
        _ object: UnsafeMutablePointer<json_t>, depth: Int, at location: ConfigLocation
    ) throws(ConfigError) -> [String: AttributeValue] {
        var result: [String: AttributeValue] = [:]
        var position = json_object_iter(object)
        while let current = position {
            if let key = json_object_iter_key(current), let value = json_object_iter_value(current) {
                result[String(cString: key)] = try attributeValue(value, depth: depth + 1, at: location)
            }
            position = json_object_iter_next(object, current)
        }
        return result
    }

    private static func attributeValue(
        _ value: UnsafeMutablePointer<json_t>, depth: Int, at location: ConfigLocation
    ) throws(ConfigError) -> AttributeValue {
        guard depth <= depthLimit else {
            throw ConfigError.syntax(
                problem: "values are nested more than \(depthLimit) deep", remedy: "flatten them"
            ).at(location)
        }
        switch value.pointee.type {
        case JSON_STRING: return .string(string(value))
        case JSON_INTEGER: return .integer(Int64(json_integer_value(value)))
        case JSON_TRUE: return .boolean(true)
        case JSON_FALSE: return .boolean(false)
        case JSON_REAL:
            let number = json_real_value(value)
            return Int64(exactly: number).map { .integer($0) } ?? .real(number)
        case JSON_OBJECT: return .map(try mapValue(value, depth: depth, at: location))
        case JSON_ARRAY:
            var items: [AttributeValue] = []
            for index in 0..<json_array_size(value) {
                guard let item = json_array_get(value, index) else { continue }
                items.append(try attributeValue(item, depth: depth + 1, at: location))
            }
            return .list(items)
        default: return .null
        }
    }

    /// `text` with lines that begin with # emptied; the count of lines stays, so places in errors are right.
    private static func withoutComments(_ text: String) -> String {
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return lines.map { line in
            let first = line.first { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
            return first == UInt8(ascii: "#") ? "" : String(Substring(line))
        }.joined(separator: "\n")
    }

    /// The line at which each pair begins. Only read when the text is known to be JSON.
    private static func entityLines(_ text: String) -> [Int] {
        var lines: [Int] = []
        var line = 1
        var depth = 0
        var insideString = false
        var escaped = false
        for byte in text.utf8 {
            if byte == UInt8(ascii: "\n") { line += 1 }
            if insideString {
                if escaped {
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else if byte == UInt8(ascii: "\"") {
                    insideString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): insideString = true
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                if depth == 1 { lines.append(line) }
                depth += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
            default: break
            }
        }
        return lines
    }
}

extension RouterConfiguration {
    /// The JSON form that skrouterd reads: one pair a line, in processing order, attributes in schema order.
    ///
    /// Only attributes that were given are written. Equal configurations give equal text. Passwords are part of it,
    /// so the file must not be readable by others.
    package func renderJSON() -> String {
        let lines = entities.map { entity in
            let pairs = entity.entityType.attributes.compactMap { attribute in
                entity.attributes[attribute.name].map {
                    AttributeValue.quoted(attribute.name) + ": "
                        + Self.fileValue($0, of: attribute.name, in: entity.type).json
                }
            }
            return "  [" + AttributeValue.quoted(Self.fileName(of: entity.type)) + ", {"
                + pairs.joined(separator: ", ") + "}]"
        }
        return "[\n" + lines.joined(separator: ",\n") + "\n]\n"
    }

    /// The value as other readers of the file want it: they take a number for a text, or the reverse, as an error.
    static func fileValue(_ value: AttributeValue, of attribute: String, in type: String) -> AttributeValue {
        switch (type, attribute, value) {
        case ("listener", "port", .string(let text)): Int64(text).map { .integer($0) } ?? value
        case ("connector", "port", .integer(let number)), ("tcpListener", "port", .integer(let number)),
            ("tcpConnector", "port", .integer(let number)), ("proxyProfile", "port", .integer(let number)),
            ("router", "helloMaxAgeSeconds", .integer(let number)),
            ("router", "dataConnectionCount", .integer(let number)):
            .string(String(number))
        default: value
        }
    }

    /// The name of a type in files, where the two configuration types have shorter names.
    static func fileName(of type: String) -> String {
        switch type {
        case "router.config.address": "address"
        case "router.config.autoLink": "autoLink"
        default: type
        }
    }
}
