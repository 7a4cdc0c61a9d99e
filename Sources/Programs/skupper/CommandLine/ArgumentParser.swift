import SiteModel

/// Why a command line could not be read. `description` is what the user sees.
enum ParseFailure: Error, CustomStringConvertible {
    case unknownFlag(String, suggestion: String?)
    case unknownShorthand(Character, in: String)
    case missingValue(String)
    case badSyntax(String)
    case badValue(String, flag: String, reason: String)
    case unknownCommand(String, under: String, suggestions: [String])

    var description: String {
        switch self {
        case .unknownFlag(let flag, let suggestion):
            let hint = suggestion.map { "\n\nDid you mean this?\n\t\($0)\n" } ?? ""
            return "unknown flag: \(flag)" + hint
        case .unknownShorthand(let letter, let argument):
            return "unknown shorthand flag: '\(letter)' in \(argument)"
        case .missingValue(let flag):
            return "flag needs an argument: \(flag)"
        case .badSyntax(let argument):
            return "bad flag syntax: \(argument)"
        case .badValue(let value, let flag, let reason):
            return "invalid argument \"\(value)\" for \"\(flag)\" flag: \(reason)"
        case .unknownCommand(let name, let parent, let suggestions):
            var text = "unknown command \"\(name)\" for \"\(parent)\""
            if !suggestions.isEmpty {
                text += "\n\nDid you mean this?\n"
                for suggestion in suggestions { text += "\t\(suggestion)\n" }
            }
            return text
        }
    }
}

/// What a command line says: the way down the command tree, the arguments and the flags.
struct ParsedLine {
    /// From the root to the command (or to the group where the line ended).
    var path: [CommandNode]
    var arguments: [String] = []
    var flags = FlagValues()
    var wantsHelp = false

    /// `skupper site create`.
    var commandPath: String {
        path.map(\.name).joined(separator: " ")
    }
}

/// Reads a command line against a command tree. Flags and arguments may be mixed; `--` ends the flags.
/// Accepted: `--name=value`, `--name value`, `-n value`, `-n=value`, `-nvalue`, `--toggle`, `--toggle=false`.
struct ArgumentParser {
    let root: CommandNode
    let globalFlags: [Flag]

    private var line: ParsedLine
    private var rest: ArraySlice<String>

    init(root: CommandNode, globalFlags: [Flag]) {
        self.root = root
        self.globalFlags = globalFlags
        line = ParsedLine(path: [root])
        rest = []
    }

    /// The path walked so far; after a failure it tells whose usage to show.
    var pathSoFar: [CommandNode] { line.path }

    /// Reads the arguments that follow the program's name.
    mutating func parse(_ arguments: [String]) throws(ParseFailure) -> ParsedLine {
        rest = arguments[...]
        for flag in globalFlags { line.flags.declare(flag) }
        var flagsEnded = false
        while let token = rest.popFirst() {
            if !flagsEnded, token == "--" {
                flagsEnded = true
            } else if !flagsEnded, token.hasPrefix("--") {
                try readLong(token)
            } else if !flagsEnded, token.hasPrefix("-"), token != "-" {
                try readShort(token)
            } else {
                try readWord(token)
            }
        }
        for flag in current.flags { line.flags.declare(flag) }
        return line
    }

    private var current: CommandNode { line.path[line.path.count - 1] }

    private mutating func readWord(_ word: String) throws(ParseFailure) {
        guard case .group(let children) = current.content else {
            line.arguments.append(word)
            return
        }
        if word == "help" {
            line.wantsHelp = true
            return
        }
        guard let child = children.first(where: { $0.name == word }) else {
            // After `help`, a word that is no command is just not there to be explained.
            let names = children.filter { !$0.isHidden }.map(\.name)
            throw .unknownCommand(
                word, under: line.commandPath, suggestions: Suggestions.nearest(to: word, among: names))
        }
        line.path.append(child)
    }

    private mutating func readLong(_ token: String) throws(ParseFailure) {
        let body = token.dropFirst(2)
        let parts = body.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        if name.isEmpty || name.hasPrefix("-") { throw .badSyntax(token) }
        if name == "help" {
            line.wantsHelp = true
            return
        }
        guard let flag = known.first(where: { $0.name == name }) else {
            let near = Suggestions.nearest(to: name, among: known.filter { !$0.isHidden }.map(\.name)).first
            throw .unknownFlag("--" + name, suggestion: near.map { "--" + $0 })
        }
        let value: String
        if parts.count == 2 {
            value = String(parts[1])
        } else if flag.kind == .toggle {
            value = "true"
        } else if let next = rest.popFirst() {
            value = next
        } else {
            throw .missingValue("--" + name)
        }
        try store(value, for: flag)
    }

    private mutating func readShort(_ token: String) throws(ParseFailure) {
        var letters = token.dropFirst()
        while let letter = letters.popFirst() {
            if letter == "h" {
                line.wantsHelp = true
                continue
            }
            guard let flag = known.first(where: { $0.short == letter }) else {
                throw .unknownShorthand(letter, in: token)
            }
            if flag.kind == .toggle {
                if letters.first == "=" {
                    try store(String(letters.dropFirst()), for: flag)
                    return
                }
                try store("true", for: flag)
                continue
            }
            if !letters.isEmpty {
                if letters.first == "=" { letters.removeFirst() }
                try store(String(letters), for: flag)
            } else if let next = rest.popFirst() {
                try store(next, for: flag)
            } else {
                throw .missingValue("'\(letter)' in \(token)")
            }
            return
        }
    }

    private var known: [Flag] { current.flags + globalFlags }

    private mutating func store(_ value: String, for flag: Flag) throws(ParseFailure) {
        let shown = flag.short.map { "-\($0), --\(flag.name)" } ?? "--\(flag.name)"
        switch flag.kind {
        case .toggle where FlagValues.truth(value) == nil:
            throw .badValue(value, flag: shown, reason: "strconv.ParseBool: parsing \"\(value)\": invalid syntax")
        case .integer where Int(value) == nil:
            throw .badValue(value, flag: shown, reason: "strconv.ParseInt: parsing \"\(value)\": invalid syntax")
        case .duration where GoDuration.parse(value) == nil:
            throw .badValue(value, flag: shown, reason: "time: invalid duration \"\(value)\"")
        default:
            line.flags.set(flag.name, to: value)
        }
    }
}
