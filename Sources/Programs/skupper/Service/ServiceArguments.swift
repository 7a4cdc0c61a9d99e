import SiteModel

/// Checks the arguments of commands on connectors and listeners.
enum ServiceArguments {
    /// `<name> <port>` of create and generate.
    static func nameAndPort(
        _ noun: ServiceNoun, _ arguments: [String], _ complaints: inout Complaints
    ) -> (name: String, port: Int) {
        guard arguments.count >= 2 else {
            complaints.add("\(noun.word) name and port must be configured")
            return ("", 0)
        }
        guard arguments.count == 2 else {
            complaints.add("only two arguments are allowed for this command")
            return ("", 0)
        }
        if arguments[0].isEmpty {
            complaints.add("\(noun.word) name must not be empty")
        } else {
            complaints.check("\(noun.word) name is not valid", FieldRules.name(arguments[0]))
        }
        if arguments[1].isEmpty {
            complaints.add("\(noun.word) port must not be empty")
        } else {
            complaints.check("\(noun.word) port is not valid", FieldRules.number(arguments[1]))
        }
        return (arguments[0], Int(arguments[1]) ?? 0)
    }

    /// `<name>` of update and delete; nil after a complaint.
    static func name(
        _ noun: ServiceNoun, _ arguments: [String], missing: String, _ complaints: inout Complaints
    ) -> String? {
        guard let name = arguments.first else {
            complaints.add(missing)
            return nil
        }
        return checked(noun, name, arguments, &complaints)
    }

    /// `[name]` of status; nil when there is none or after a complaint.
    static func optionalName(_ noun: ServiceNoun, _ arguments: [String], _ complaints: inout Complaints) -> String? {
        arguments.first.flatMap { checked(noun, $0, arguments, &complaints) }
    }

    private static func checked(
        _ noun: ServiceNoun, _ name: String, _ arguments: [String], _ complaints: inout Complaints
    ) -> String? {
        if arguments.count > 1 {
            complaints.add("only one argument is allowed for this command")
        } else if name.isEmpty {
            complaints.add("\(noun.word) name must not be empty")
        } else if let reason = FieldRules.name(name) {
            complaints.add("\(noun.word) name is not valid: \(reason)")
        } else {
            return name
        }
        return nil
    }
}
