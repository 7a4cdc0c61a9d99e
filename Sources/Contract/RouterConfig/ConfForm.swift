/// The .conf form of the configuration: `type { attribute: value … }` (router-protocol.md §6.5).
///
/// One attribute a line; `#` begins a comment at the start of a line or after white space. Maps (`openProperties`,
/// vhost `groups`) are nested braces over several lines, or a JSON object on one line.
struct ConfForm {
    private let file: String
    private var entities: [RouterConfiguration.Unchecked] = []
    /// The braces open at this point: the entity first, then maps within it.
    private var open: [Level] = []
    private var line = 0
    /// A map being read, which may turn out to be JSON; taken line by line only if it is not.
    private var pending: PendingMap?
    private var isReplaying = false

    private struct PendingMap {
        let name: String
        var lines: [(number: Int, text: String)]
        /// Braces open, quoted ones aside.
        var depth = 1
    }

    private struct Level {
        let name: String
        let line: Int
        var values: [String: AttributeValue] = [:]
    }

    /// Reads all entities. `file` stands in errors only.
    static func read(_ text: String, file: String) throws(ConfigError) -> [RouterConfiguration.Unchecked] {
        var parser = ConfForm(file: file)
        for line in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            parser.line += 1
            try parser.read(line: String(Substring(line)))
        }
        try parser.replayPending()
        if let unclosed = parser.open.last {
            parser.line = unclosed.line
            throw parser.syntax("\"\(unclosed.name) {\" is never closed", "add the missing }")
        }
        return parser.entities
    }

    private init(file: String) {
        self.file = file
    }

    private mutating func read(line raw: String) throws(ConfigError) {
        var text = Schema.trimmed(ConfForm.withoutComment(raw))
        if pending != nil { return try addToPending(text) }
        // A line may hold an opening, an attribute and a closing; each turn takes one of them.
        while !text.isEmpty {
            if text.first == "}" {
                try close()
                text = Schema.trimmed(String(text.dropFirst()))
                // Maps written in the manner of JSON have commas between their members.
                if text.first == "," { text = Schema.trimmed(String(text.dropFirst())) }
            } else if let (name, rest) = ConfForm.opening(text), !isInlineMap(rest) {
                if !open.isEmpty, !isReplaying {
                    pending = PendingMap(name: name, lines: [])
                    return try addToPending(rest)
                }
                try begin(name)
                text = rest
            } else {
                text = try attribute(text)
            }
        }
    }

    /// `name {` or `name: {` at the start of `text`, with what follows.
    private static func opening(_ text: String) -> (name: String, rest: String)? {
        guard let brace = text.firstIndex(of: "{") else { return nil }
        var name = Schema.trimmed(String(text[..<brace]))
        if name.last == ":" { name = Schema.trimmed(String(name.dropLast())) }
        name = unquoted(name)
        guard !name.isEmpty, !name.contains(where: { $0.isWhitespace || $0 == ":" }), name.last != "$" else {
            return nil
        }
        return (name, Schema.trimmed(String(text[text.index(after: brace)...])))
    }

    /// Whether an attribute's map begins and ends on this line.
    private func isInlineMap(_ rest: String) -> Bool {
        !open.isEmpty && !rest.isEmpty && rest.contains("}")
    }

    /// Adds a line to the map being read, and takes the map when its last brace is there.
    private mutating func addToPending(_ text: String) throws(ConfigError) {
        guard var map = pending else { return }
        map.lines.append((line, text))
        map.depth -= ConfForm.surplusClosings(text)
        pending = map
        guard map.depth <= 0 else { return }
        let body = map.lines.map(\.text).joined(separator: "\n")
        let json = "{" + ConfForm.withoutLastCommas(body)
        if map.depth == 0, case .map(let values)? = try? JSONForm.value(json) {
            pending = nil
            try set(map.name, .map(values))
        } else {
            try replayPending()
        }
    }

    /// `body` without the commas behind the last member of a map, which JSON has not and files have.
    private static func withoutLastCommas(_ body: String) -> String {
        var result = ""
        var isQuoted = false
        var previous: Character = " "
        // A comma and the white space after it, until it is known what follows.
        var held = ""
        for character in body {
            if !isQuoted, character == "}" {
                held = ""
            } else if !held.isEmpty, !character.isWhitespace {
                result += held
                held = ""
            }
            if character == "\"", previous != "\\" { isQuoted.toggle() }
            if !isQuoted, character == "," || !held.isEmpty {
                held.append(character)
            } else {
                result.append(character)
            }
            previous = character
        }
        return result
    }

    /// Takes the lines of a map that is not JSON in the manner of an entity's lines.
    private mutating func replayPending() throws(ConfigError) {
        guard let map = pending else { return }
        pending = nil
        isReplaying = true
        let current = line
        line = map.lines.first?.number ?? line
        try begin(map.name)
        for (number, text) in map.lines {
            line = number
            try read(line: text)
        }
        line = current
        isReplaying = false
    }

    private mutating func begin(_ name: String) throws(ConfigError) {
        guard open.count <= JSONForm.depthLimit else {
            throw syntax("braces are nested more than \(JSONForm.depthLimit) deep", "flatten the values")
        }
        open.append(Level(name: name, line: line))
    }

    private mutating func close() throws(ConfigError) {
        guard let level = open.popLast() else {
            throw syntax("} without a { before it", "remove it, or write the entity's type before the braces")
        }
        if open.isEmpty {
            entities.append(
                .init(
                    type: level.name, attributes: level.values,
                    location: ConfigLocation(file: file, line: level.line)))
        } else {
            try set(level.name, .map(level.values))
        }
    }

    /// Takes one `name: value`; gives back what follows a value on the same line: nothing, or closing braces.
    private mutating func attribute(_ text: String) throws(ConfigError) -> String {
        guard let colon = text.firstIndex(of: ":") else {
            throw syntax("\"\(text)\" is neither an attribute nor a brace", "write \"attribute: value\" or \"type {\"")
        }
        guard !open.isEmpty else {
            throw syntax("attribute \"\(text)\" stands outside an entity", "put it inside \"type { … }\"")
        }
        let name = ConfForm.unquoted(Schema.trimmed(String(text[..<colon])))
        guard !name.isEmpty else { throw syntax("\"\(text)\" has no attribute name", "write \"attribute: value\"") }
        var value = Schema.trimmed(String(text[text.index(after: colon)...]))
        var rest = ""
        while value.last == "}", ConfForm.surplusClosings(value) > 0 {
            value = Schema.trimmed(String(value.dropLast()))
            rest += "}"
        }
        let isNested = open.count > 1
        if isNested, value.last == "," { value = Schema.trimmed(String(value.dropLast())) }
        if value.first == "{" {
            try set(name, try inlineMap(value))
        } else if isNested, value.first == "[", let list = try? JSONForm.value(value) {
            try set(name, list)
        } else {
            try set(name, ConfForm.scalar(value, isNested: isNested))
        }
        return rest
    }

    private mutating func set(_ name: String, _ value: AttributeValue) throws(ConfigError) {
        guard open[open.count - 1].values.updateValue(value, forKey: name) == nil else {
            throw syntax("\"\(name)\" is given twice in \(open[open.count - 1].name)", "remove one of the two")
        }
    }

    private func inlineMap(_ text: String) throws(ConfigError) -> AttributeValue {
        guard let value = try? JSONForm.value(text), case .map = value else {
            throw syntax(
                "\"\(text)\" is not a JSON object", "put names and texts into double quotes, or use several lines")
        }
        return value
    }

    /// Values of entities are texts, which validation brings to their kinds; those of maps keep the kind they show.
    private static func scalar(_ text: String, isNested: Bool) -> AttributeValue {
        if text.count >= 2, let quote = text.first, quote == "\"" || quote == "'", text.last == quote {
            return .string(unquoted(text))
        }
        guard isNested else { return .string(text) }
        if let number = Int64(text) { return .integer(number) }
        if text == "true" || text == "false" { return .boolean(text == "true") }
        return .string(text)
    }

    private static func unquoted(_ text: String) -> String {
        guard text.count >= 2, let quote = text.first, quote == "\"" || quote == "'", text.last == quote else {
            return text
        }
        if quote == "\"", case .string(let decoded)? = try? JSONForm.value(text) { return decoded }
        return String(text.dropFirst().dropLast())
    }

    /// Closing braces less opening ones, those in double quotes aside.
    private static func surplusClosings(_ text: String) -> Int {
        var surplus = 0
        var isQuoted = false
        var previous: Character = " "
        for character in text {
            if character == "\"", previous != "\\" { isQuoted.toggle() }
            if !isQuoted, character == "}" { surplus += 1 }
            if !isQuoted, character == "{" { surplus -= 1 }
            previous = character
        }
        return surplus
    }

    /// `line` up to its comment. A # in double quotes begins none, nor one at the start of a value: there it is a
    /// wildcard of an address pattern.
    private static func withoutComment(_ line: String) -> String {
        var previous: Character = " "
        var lastVisible: Character?
        var isQuoted = false
        for index in line.indices {
            let character = line[index]
            if character == "\"", previous != "\\" { isQuoted.toggle() }
            if character == "#", !isQuoted, previous.isWhitespace, lastVisible != ":" { return String(line[..<index]) }
            if !character.isWhitespace { lastVisible = character }
            previous = character
        }
        return line
    }

    private func syntax(_ problem: String, _ remedy: String) -> ConfigError {
        ConfigError.syntax(problem: problem, remedy: remedy).at(ConfigLocation(file: file, line: line))
    }
}
