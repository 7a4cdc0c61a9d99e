import AMQPEndpoints
import Glibc
import RouterConfig

/// SASL PLAIN: who may come in with a password, and with which one a connector goes out.
extension Core {
    /// The user database of a listener that offers PLAIN; what it names and cannot offer is said.
    func users(for listener: ConnectionSettings) throws(EntityFailure) -> UserDatabase? {
        let known: Set<String> = ["EXTERNAL", "ANONYMOUS", "PLAIN"]
        let others = listener.saslMechanisms.filter { !known.contains($0) }
        if !others.isEmpty {
            Log.write(
                .connectionManager, .warning,
                "listener '\(listener.entity)': saslMechanisms: \(others.joined(separator: " ")) is not offered: this "
                    + "router knows EXTERNAL, PLAIN and ANONYMOUS")
        }
        guard listener.saslMechanisms.contains("PLAIN") else { return nil }
        let users = try userDatabase()
        if !users.mechanisms.contains("PLAIN") {
            Log.write(
                .connectionManager, .warning,
                "listener '\(listener.entity)': PLAIN is not offered: the SASL library has no such mechanism, or its "
                    + "configuration does not list it; install the library's modules and look at mech_list")
        } else if listener.tls == nil {
            Log.write(
                .connectionManager, .warning,
                "listener '\(listener.entity)' takes passwords (PLAIN) in clear text; give it an sslProfile")
        }
        return users
    }

    private func userDatabase() throws(EntityFailure) -> UserDatabase {
        if let users { return users }
        let directory = routerEntity[string: "saslConfigDir"]
        let name = routerEntity[string: "saslConfigName"] ?? "skrouterd"
        if let directory, !directory.isEmpty, access("\(directory)/\(name).conf", R_OK) != 0 {
            Log.write(
                .connectionManager, .warning,
                "cannot read \(directory)/\(name).conf: \(Sockets.text(errno)); the SASL library uses its defaults")
        }
        let made = try UserDatabase(directory: directory, name: name)
        users = made
        return made
    }

    /// The user name and password of a connector, read anew each time so that a changed file counts; nil for none.
    func credentials(of connector: Entity) throws(EntityFailure) -> SASLCredentials? {
        guard let user = connector[string: "saslUsername"], !user.isEmpty else { return nil }
        let text = connector[string: "saslPassword"] ?? ""
        do {
            // Here, unlike for keys, literal: is part of the password, as for skrouterd.
            let password = text.hasPrefix("literal:") ? text : try Password.resolve(text)
            return SASLCredentials(user: user, password: password)
        } catch {
            throw EntityFailure(status: 400, text: "connector '\(connector.name)': sasl \(error.text)")
        }
    }

    /// A password that anybody on the way can read.
    func warnOfPassword(_ connector: Entity, _ settings: ConnectionSettings) {
        guard connector[string: "saslUsername"]?.isEmpty == false, settings.tls == nil else { return }
        Log.write(
            .connectionManager, .warning,
            "connector '\(connector.name)' gives its password in clear text if it is asked for PLAIN; give it an "
                + "sslProfile")
    }
}
