import RouterConfig

/// The sslProfile entities: what they say becomes TLS contexts, and names of peers.
extension Core {
    func profile(_ name: String?) throws(EntityFailure) -> TLSProfile? {
        guard let name, !name.isEmpty else { return nil }
        guard let entity = sslProfiles[name] else {
            throw EntityFailure(status: 400, text: "sslProfile '\(name)' not found; create it first")
        }
        return TLSProfile(
            name: name, caCertFile: entity[string: "caCertFile"], certFile: entity[string: "certFile"],
            privateKeyFile: entity[string: "privateKeyFile"], password: entity[string: "password"],
            ciphers: entity[string: "ciphers"], protocols: entity[string: "protocols"],
            ordinal: entity.integer("ordinal") ?? 0, oldestValidOrdinal: entity.integer("oldestValidOrdinal") ?? 0,
            userNames: userNames[name])
    }

    func context(_ entity: Entity, server: Bool) throws(EntityFailure) -> TLSContext? {
        guard let profile = try profile(entity[string: "sslProfile"]) else { return nil }
        let mechanisms = entity[string: "saslMechanisms"] ?? ""
        // Who may come in by password needs no certificate.
        let wantsPeer = entity.boolean("authenticatePeer") == true && !mechanisms.contains("PLAIN")
        let requirePeer = server && (wantsPeer || mechanisms.contains("EXTERNAL"))
        do {
            return try TLSContext(profile: profile, server: server, requirePeer: requirePeer)
        } catch {
            throw EntityFailure(status: 400, text: error.text)
        }
    }

    /// Files may have changed: new connections use them; connections older than oldestValidOrdinal are closed.
    private func reloadProfile(_ profile: Entity, old: Entity) throws(EntityFailure) {
        for state in amqpListeners.values where state.entity[string: "sslProfile"] == profile.name {
            if let http = state.http {
                try renewIdentity(of: http, state.entity)
                continue
            }
            let settings = try listenerSettings(state.entity)
            guard let worker = workers.first else { continue }
            let name = state.entity.name
            worker.post { worker.acceptors[name]?.settings = settings }
        }
        for (name, state) in amqpConnectors where state.entity[string: "sslProfile"] == profile.name {
            let context = try context(state.entity, server: false)
            updateConnector(name) { $0.settings.tls = context }
        }
        try reloadServices(profile.name)
        if (profile.integer("ordinal") ?? 0) > (old.integer("ordinal") ?? 0) {
            for (name, state) in amqpConnectors where state.entity[string: "sslProfile"] == profile.name {
                dialNewGeneration(name)
            }
        }
        closeExpired(profile: profile.name, oldest: profile.integer("oldestValidOrdinal") ?? 0)
    }

    func updateProfile(_ entity: Entity, from old: Entity) throws(EntityFailure) {
        let oldNames = userNames[entity.name]
        userNames[entity.name] = try certificateUserNames(entity)
        sslProfiles[entity.name] = entity
        do throws(EntityFailure) {
            try reloadProfile(entity, old: old)
        } catch {
            sslProfiles[entity.name] = old
            userNames[entity.name] = oldNames
            throw error
        }
    }

    /// How a profile makes user names; nil if it leaves them to be the subjects of certificates. Its file of names is
    /// read here: when the profile is made or updated.
    func certificateUserNames(_ profile: Entity) throws(EntityFailure) -> CertificateUserNames? {
        let path = profile[string: "uidNameMappingFile"] ?? ""
        guard let format = profile[string: "uidFormat"] else {
            if !path.isEmpty {
                Log.write(
                    .agent, .warning,
                    "sslProfile '\(profile.name)': uidNameMappingFile has no effect without uidFormat")
            }
            return nil
        }
        guard let names = CertificateUserNames(format: format) else {
            // As in skrouterd the profile is used all the same; who watches its log knows these words.
            Log.write(
                .agent, .error,
                "Invalid format for uidFormat field in sslProfile '\(profile.name)': \(format); user names are the "
                    + "subjects of certificates; give up to seven of c s l o u n 1 2 5, and one digit at most")
            return nil
        }
        guard !path.isEmpty else { return names }
        do throws(ConfigError) {
            return CertificateUserNames(format: format, names: try UserNamesFile.load(path: path))
        } catch {
            throw EntityFailure(
                status: 400, text: "sslProfile '\(profile.name)': uidNameMappingFile: \(error.description)")
        }
    }
}
