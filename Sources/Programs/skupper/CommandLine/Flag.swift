import SiteModel

/// One flag of a command: how it is spelled, what kind of value it takes, and what it is for.
struct Flag {
    /// What may stand as the value.
    enum Kind {
        /// `--flag`, `--flag=true`, `--flag=false`.
        case toggle
        case text
        case integer
        /// A Go duration such as `90s` or `1h30m`.
        case duration
    }

    let name: String
    let short: Character?
    let kind: Kind
    /// The value when the flag is not given, as the user would type it.
    let defaultValue: String
    let purpose: String
    /// Hidden flags are accepted but not listed by `--help`.
    let isHidden: Bool

    private init(
        _ name: String, _ short: Character?, _ kind: Kind, _ defaultValue: String, _ purpose: String, hidden: Bool
    ) {
        self.name = name
        self.short = short
        self.kind = kind
        self.defaultValue = defaultValue
        self.purpose = purpose
        self.isHidden = hidden
    }

    static func toggle(
        _ name: String, short: Character? = nil, default value: Bool = false, _ purpose: String
    ) -> Flag {
        Flag(name, short, .toggle, value ? "true" : "false", purpose, hidden: false)
    }

    static func text(
        _ name: String, short: Character? = nil, default value: String = "", hidden: Bool = false, _ purpose: String
    ) -> Flag {
        Flag(name, short, .text, value, purpose, hidden: hidden)
    }

    static func integer(_ name: String, default value: Int, _ purpose: String) -> Flag {
        Flag(name, nil, .integer, String(value), purpose, hidden: false)
    }

    static func duration(_ name: String, default value: String, _ purpose: String) -> Flag {
        Flag(name, nil, .duration, value, purpose, hidden: false)
    }

    /// The word that stands for the value in help texts; empty for a toggle.
    var placeholder: String {
        switch kind {
        case .toggle: ""
        case .text: "string"
        case .integer: "int"
        case .duration: "duration"
        }
    }
}

/// The flags of one invocation: values given by the user over the defaults.
struct FlagValues {
    private var given: [String: String] = [:]
    private var defaults: [String: String] = [:]

    /// Makes a flag known, with its default.
    mutating func declare(_ flag: Flag) {
        if defaults[flag.name] == nil { defaults[flag.name] = flag.defaultValue }
    }

    /// Records what the user gave; the last one wins.
    mutating func set(_ name: String, to value: String) {
        given[name] = value
    }

    /// Whether the user gave the flag.
    func isGiven(_ name: String) -> Bool {
        given[name] != nil
    }

    /// The value given, or the default; empty for a flag this command does not have.
    func text(_ name: String) -> String {
        given[name] ?? defaults[name] ?? ""
    }

    /// The value given, or nil when the flag was left out.
    func givenText(_ name: String) -> String? {
        given[name]
    }

    /// The value of a toggle.
    func isOn(_ name: String) -> Bool {
        FlagValues.truth(text(name)) ?? false
    }

    /// The value of an integer flag (the parser has checked its form).
    func integer(_ name: String) -> Int {
        Int(text(name)) ?? 0
    }

    /// The value of a duration flag in whole seconds (the parser has checked its form).
    func seconds(_ name: String) -> Int64 {
        GoDuration.parseSeconds(text(name)) ?? 0
    }

    /// Reads the spellings of true and false that scripts use; nil for anything else.
    static func truth(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": true
        case "0", "f", "F", "false", "FALSE", "False": false
        default: nil
        }
    }
}
