import ControlIO
import KubernetesReconciler
import RouterConfig
import SiteModel

/// Writes the files of TLS profiles from Secrets (control-plane.md §4.8).
struct ProfileWriter: Sendable {
    let folder: String
    /// Where the passwords of proxies go.
    let proxyFolder: String

    /// Writes what a configuration names; gives the profiles whose Secret is not there, or not yet of the generation
    /// that the configuration means.
    func write(_ configuration: RouterConfiguration, secrets: [String: Secret]) throws(FileError) -> [String] {
        let sources = ProfileWriter.sources(secrets)
        var missing = try writePasswords(configuration, secrets: secrets)
        for profile in configuration.entities(ofType: "sslProfile") {
            let name = profile.name
            let wanted = Int64(profile.integer("ordinal") ?? 0)
            let source = sources[name]
            let secret = source?.secret ?? secrets[name] ?? plain(name).flatMap { secrets[$0] }
            guard let secret, source.map({ $0.ordinal >= wanted }) ?? true else {
                missing.append("Secret for sslProfile \(name)")
                continue
            }
            var keys = ["ca.crt"]
            if profile[string: "certFile"] != nil { keys += ["tls.crt", "tls.key"] }
            guard keys.allSatisfy({ $0 == "ca.crt" || secret.value($0) != nil }) else {
                missing.append("tls.crt and tls.key in Secret \(secret.name)")
                continue
            }
            try Files.makeDirectory("\(folder)/\(name)")
            // The key last: it and the certificate are read together when the profile is made or updated.
            for key in keys {
                guard let value = secret.value(key) else { continue }
                let path = "\(folder)/\(name)/\(key)"
                if let old = try? Files.read(path), old == value { continue }
                try Files.write(path, bytes: value, mode: key == "tls.key" ? 0o600 : 0o644)
            }
        }
        return missing
    }

    /// The passwords of proxies, each in the file that its profile names; a profile has the name of its Secret.
    private func writePasswords(
        _ configuration: RouterConfiguration, secrets: [String: Secret]
    ) throws(FileError) -> [String] {
        var missing: [String] = []
        for profile in configuration.entities(ofType: "proxyProfile") {
            let prefix = "file:\(proxyFolder)/\(profile.name)/"
            guard let text = profile[string: "password"], text.hasPrefix(prefix) else { continue }
            guard let password = secrets[profile.name]?.value("password") else {
                missing.append("password in Secret \(profile.name)")
                continue
            }
            try Files.makeDirectory("\(proxyFolder)/\(profile.name)")
            let path = String(text.dropFirst("file:".count))
            if let old = try? Files.read(path), old == password { continue }
            try Files.write(path, bytes: password, mode: 0o600)
        }
        return missing
    }

    private func plain(_ name: String) -> String? {
        name.hasSuffix("-profile") ? String(name.dropLast("-profile".count)) : nil
    }

    /// Secrets by the profile that the controller says they are for, with their generation.
    private static func sources(_ secrets: [String: Secret]) -> [String: (secret: Secret, ordinal: Int64)] {
        var result: [String: (secret: Secret, ordinal: Int64)] = [:]
        for (_, secret) in secrets.sorted(by: { $0.key < $1.key }) {
            guard let text = secret.resource.annotation(Marks.profileContext), let list = try? JSON.parse(text) else {
                continue
            }
            for item in list.listValue ?? [] {
                guard let name = item["profileName"]?.stringValue else { continue }
                result[name] = (secret, item["ordinal"]?.intValue ?? 0)
            }
        }
        return result
    }
}
