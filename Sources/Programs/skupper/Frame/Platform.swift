/// Where a site runs. Spec: control-plane §2.1.
enum Platform: String {
    case kubernetes
    case linux
    case podman
    case docker

    /// Chooses the platform before the command line is parsed, because the flags depend on it:
    /// `--platform` (or `-p`) first, then `SKUPPER_PLATFORM`, then kubernetes. An unknown word counts as kubernetes
    /// here; the frame refuses it afterwards when it was given as a flag.
    static func resolve(arguments: [String], environment: String?) -> Platform {
        if let word = flagValue(arguments) { return Platform(rawValue: word) ?? .kubernetes }
        if let word = environment { return Platform(rawValue: word) ?? .kubernetes }
        return .kubernetes
    }

    /// The last value of `--platform X`, `--platform=X`, `-p X`, `-p=X` or `-pX`.
    private static func flagValue(_ arguments: [String]) -> String? {
        var found: String?
        var index = arguments.startIndex
        while index < arguments.endIndex {
            let argument = arguments[index]
            if argument == "--" { break }
            if argument == "--platform" || argument == "-p" {
                index += 1
                if index < arguments.endIndex { found = arguments[index] }
            } else if argument.hasPrefix("--platform=") {
                found = String(argument.dropFirst("--platform=".count))
            } else if argument.hasPrefix("-p"), !argument.hasPrefix("--") {
                let value = argument.dropFirst(2)
                found = String(value.first == "=" ? value.dropFirst() : value)
            }
            index += 1
        }
        return found
    }
}
