/// Builds the texts of `--help`: what the command does, its usage, an example, and its flags with their defaults.
enum HelpText {
    /// The whole help of a command or group.
    static func full(_ path: [CommandNode], globalFlags: [Flag]) -> String {
        guard let node = path.last else { return "" }
        var text = ""
        switch node.content {
        case .group:
            text += node.summary + "\n\n"
        case .command(let specification, _):
            text += specification.details.isEmpty ? specification.summary : specification.details
            text += "\n\n"
        }
        return text + usage(path, globalFlags: globalFlags)
    }

    /// The help from `Usage:` on, which also follows a line that could not be read.
    static func usage(_ path: [CommandNode], globalFlags: [Flag]) -> String {
        guard let node = path.last else { return "" }
        let commandPath = path.map(\.name).joined(separator: " ")
        var text = "Usage:\n"
        switch node.content {
        case .group(let children):
            text += "  \(commandPath) [command]\n\nExample:\n  \(commandPath) \(firstWords(children)) --help\n"
            text += "\nAvailable Commands:\n"
            let shown = children.filter { !$0.isHidden }
            let width = (shown.map(\.name.count).max() ?? 0) + 2
            for child in shown {
                text += "  " + padded(child.name, to: width) + child.summary + "\n"
            }
        case .command(let specification, _):
            let arguments = specification.arguments.isEmpty ? "" : " " + specification.arguments
            text += "  \(commandPath)\(arguments) [flags]\n\nExample:\n"
            for line in specification.example.split(separator: "\n") { text += "  \(line)\n" }
        }
        text += "\nFlags:\n" + list(node.flags + [.toggle("help", short: "h", "show this help")])
        text += "\nGlobal Flags:\n" + list(globalFlags)
        if case .group = node.content {
            text += "\nUse \"\(commandPath) [command] --help\" for more about a command.\n"
        }
        return text
    }

    private static func firstWords(_ children: [CommandNode]) -> String {
        guard let first = children.first(where: { !$0.isHidden }) else { return "" }
        return first.name
    }

    private static func list(_ flags: [Flag]) -> String {
        let shown = flags.filter { !$0.isHidden }
        let heads = shown.map { flag in
            let short = flag.short.map { "-\($0), " } ?? "    "
            let value = flag.placeholder.isEmpty ? "" : " " + flag.placeholder
            return "  \(short)--\(flag.name)\(value)"
        }
        let width = (heads.map(\.count).max() ?? 0) + 3
        var text = ""
        for (head, flag) in zip(heads, shown) {
            text += padded(head, to: width) + flag.purpose + defaultNote(flag) + "\n"
        }
        return text
    }

    private static func defaultNote(_ flag: Flag) -> String {
        switch flag.kind {
        case .toggle: flag.defaultValue == "true" ? " (default true)" : ""
        case .text: flag.defaultValue.isEmpty ? "" : " (default \"\(flag.defaultValue)\")"
        case .integer, .duration: " (default \(flag.defaultValue))"
        }
    }

    private static func padded(_ text: String, to width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}
