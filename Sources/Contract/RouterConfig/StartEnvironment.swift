/// The two forms of configuration text (router-protocol.md §6.5).
package enum ConfigurationForm: Hashable, Sendable {
    case json
    /// `type { attribute: value … }`
    case conf

    /// The form that a file's name tells.
    package init(path: String) { self = path.hasSuffix(".json") ? .json : .conf }
}

/// What the variables of a container say about the start, as the image of skupper-router understands them
/// (router-protocol.md §6.6).
package struct StartEnvironment: Sendable {
    /// Where a configuration comes from.
    package enum Source: Hashable, Sendable {
        /// The text itself.
        case inline(String, ConfigurationForm)
        /// Files and folders, one after the other. Without a form, each file's name tells it.
        case places([String], ConfigurationForm?)
    }

    private let variables: [String: String]

    /// - Parameter variables: the environment of the process.
    package init(_ variables: [String: String]) { self.variables = variables }

    /// What `QDROUTERD_CONF` names, in the form that `QDROUTERD_CONF_TYPE` names; nil if it is not set.
    ///
    /// A text with a brace and a closing one behind it is the configuration itself, anything else a list of paths with
    /// colons or commas between them.
    package var source: Source? {
        guard let text = variables["QDROUTERD_CONF"], !text.isEmpty else { return nil }
        // Any other word means the text form, for the image too.
        let type = variables["QDROUTERD_CONF_TYPE"] ?? ""
        let form: ConfigurationForm? = type.isEmpty ? nil : type == "json" ? .json : .conf
        if let brace = text.firstIndex(of: "{"), text[brace...].contains("}") { return .inline(text, form ?? .conf) }
        let line = text.prefix { !$0.isNewline }
        return .places(line.split { $0 == ":" || $0 == "," }.map(String.init), form)
    }

    /// The octets of `SKUPPER_ROUTER_MEMORY_CEILING`; nil without a number above 0 at its beginning.
    package var memoryCeiling: Int? {
        let text = variables["SKUPPER_ROUTER_MEMORY_CEILING"]?.drop { $0.isWhitespace } ?? ""
        guard let octets = Int(text.prefix { $0.isASCII && $0.isNumber }), octets > 0 else { return nil }
        return octets
    }

    /// What is asked for and not there, as full sentences for the log.
    package var warnings: [String] {
        [
            ("QDROUTERD_AUTO_MESH_DISCOVERY", "configure connectors to the other routers"),
            ("QDROUTERD_AUTO_CREATE_SASLDB_SOURCE", "make the database of users with saslpasswd2"),
        ].compactMap { name, remedy in
            variables[name].flatMap { $0.isEmpty ? nil : "\(name) has no effect in this router; \(remedy)" }
        }
    }

    /// The value that `$NAME` or `${NAME}` in a configuration stands for; nil if the variable is not set.
    ///
    /// `POD_ID`, what follows the last hyphen of the host's name, and `HOSTNAME_IP_ADDRESS` need not be set: they are
    /// made when they are asked for.
    ///
    /// - Parameters:
    ///   - hostName: tells this host's name.
    ///   - hostAddresses: tells the addresses of that name, with spaces between them.
    package func value(of name: String, hostName: () -> String, hostAddresses: () -> String) -> String? {
        if let value = variables[name] { return value }
        switch name {
        case "HOSTNAME_IP_ADDRESS": return hostAddresses()
        case "POD_ID":
            let host = variables["HOSTNAME"] ?? hostName()
            return host.split(separator: "-", omittingEmptySubsequences: false).last.map(String.init) ?? ""
        default: return nil
        }
    }
}
