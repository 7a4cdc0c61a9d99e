/// Where a command can work, which decides what happens on the kubernetes platform.
enum CommandScope {
    /// Needs a site's resources: files of a namespace on linux, a cluster on kubernetes.
    case site
    /// Runs sites on this host; has no meaning on kubernetes.
    case system
    /// Needs neither: works everywhere.
    case offline
}

/// What the parser and `--help` need to know about one command.
struct CommandSpecification {
    let name: String
    /// The arguments as shown after the command's name, for example `<name> <port>`.
    let arguments: String
    let summary: String
    let details: String
    /// One line or more, each starting with `skupper`.
    let example: String
    let scope: CommandScope
    let flags: [Flag]

    init(
        _ name: String, arguments: String = "", summary: String, details: String = "", example: String,
        scope: CommandScope = .site, flags: [Flag] = []
    ) {
        self.name = name
        self.arguments = arguments
        self.summary = summary
        self.details = details
        self.example = example
        self.scope = scope
        self.flags = flags
    }
}

/// One command: parse (`init`), validate, run, wait. Each is a small value made for one invocation.
protocol Command {
    /// How the command looks on the given platform.
    static func specification(on platform: Platform) -> CommandSpecification

    init(_ invocation: Invocation)

    /// Checks everything that can be checked before acting.
    /// - Returns: every complaint, in the order the user should read them; empty when all is well.
    mutating func validate() throws -> [String]

    /// Does the work.
    mutating func run() throws

    /// Waits until the work has taken effect, where that makes sense.
    mutating func wait() throws

    /// Whether standard output carries data for another program, so that messages must go to standard error.
    var reservesStandardOutput: Bool { get }
}

extension Command {
    mutating func wait() throws {}
    var reservesStandardOutput: Bool { false }
}

/// One node of the command tree: a group of commands, or a command.
struct CommandNode {
    enum Content {
        case group([CommandNode])
        case command(CommandSpecification, any Command.Type)
    }

    let name: String
    let summary: String
    let content: Content
    let isHidden: Bool

    static func group(_ name: String, _ summary: String, _ children: [CommandNode]) -> CommandNode {
        CommandNode(name: name, summary: summary, content: .group(children), isHidden: false)
    }

    static func command(_ type: any Command.Type, on platform: Platform, hidden: Bool = false) -> CommandNode {
        let specification = type.specification(on: platform)
        return CommandNode(
            name: specification.name, summary: specification.summary, content: .command(specification, type),
            isHidden: hidden)
    }

    /// The sub-commands of a group; empty for a command.
    var children: [CommandNode] {
        if case .group(let children) = content { return children }
        return []
    }

    /// The flags of a command; empty for a group.
    var flags: [Flag] {
        if case .command(let specification, _) = content { return specification.flags }
        return []
    }
}
