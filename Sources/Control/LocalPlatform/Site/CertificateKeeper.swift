import ControlIO
import SiteModel
import SiteReconciler
import SiteTrust

/// The CAs and certificates of a namespace as files (control-plane.md §5.2 step 7): makes what is missing, renews
/// what grows old, and takes what the user brings. Used from one thread.
package struct CertificateKeeper {
    /// Name of the CA that signs for links.
    package static let siteAuthority = "skupper-site-ca"
    /// Name of the CA of the local management listener.
    package static let localAuthority = "skupper-local-ca"
    /// Name of the CA for services' clients and servers.
    package static let serviceAuthority = "skupper-service-ca"
    /// Name of the grant server's CA.
    package static let grantAuthority = "skupper-grant-server-ca"
    /// Folder of the client certificate for the local management listener.
    package static let localClient = "skupper-local-client"

    /// A certificate that the user brought and that cannot be used, or a CA that cannot sign.
    package struct Fault: Error, Hashable, Sendable, CustomStringConvertible {
        package let description: String
    }

    private let layout: NamespaceLayout
    private var generations: Generations
    /// Certificates issued since the last call of `takeNotes`, as sentences for the log.
    private var notes: [String] = []

    package init(layout: NamespaceLayout) {
        self.layout = layout
        generations = Generations.load(layout.state + "/certificates.yaml")
    }

    /// What was made or renewed since the last call, as sentences.
    package mutating func takeNotes() -> [String] {
        defer { notes = [] }
        return notes
    }

    // MARK: Authorities

    /// A CA: the user's in `input/issuers/<name>`, else ours, made when there is none or it has expired.
    package mutating func authority(_ name: String, commonName: String, now: Int64) throws -> KeyedCertificate {
        let brought = "\(layout.inputIssuers)/\(name)"
        if Files.kind(brought) == .directory {
            guard let pair = try CertificateKeeper.pair(in: brought) else {
                throw Fault(
                    description: "the CA in \(brought) is not complete: put tls.crt and tls.key there, or remove the "
                        + "folder to have one made")
            }
            return pair
        }
        let folder = "\(layout.runtimeIssuers)/\(name)"
        if let pair = try? CertificateKeeper.pair(in: folder),
            let content = try? CertificateInspection(pem: pair.certificatePEM), content.isValid(atUnix: now)
        {
            return pair
        }
        let pair = try CertificateAuthority.makeAuthority(commonName: commonName, nowUnix: now)
        try CertificateKeeper.write(pair, authority: pair.certificatePEM, to: folder)
        notes.append("made the CA \(name)")
        return pair
    }

    // MARK: Leaves

    /// A certificate in `runtime/certs/<profile>`, issued anew when it is missing, does not fit or grows old.
    ///
    /// A certificate in `input/certs/<profile>` is taken instead.
    package mutating func leaf(
        profile: String, commonName: String, hosts: [String], by authority: KeyedCertificate, now: Int64
    ) throws {
        if try takeBrought(profile) { return }
        let folder = "\(layout.runtimeCertificates)/\(profile)"
        let reason: String
        if let pair = try? CertificateKeeper.pair(in: folder) {
            guard let cause = fault(of: pair, hosts: hosts, by: authority, now: now) else {
                generations.note(profile, contents: pair.certificatePEM + authority.certificatePEM)
                return
            }
            reason = cause
        } else {
            reason = "there was none"
        }
        let pair = try CertificateAuthority.issue(
            commonName: commonName, hosts: hosts, by: authority, nowUnix: now)
        try CertificateKeeper.write(pair, authority: authority.certificatePEM, to: folder)
        generations.note(profile, contents: pair.certificatePEM + authority.certificatePEM)
        notes.append("issued the certificate \(profile): \(reason)")
    }

    /// The files of a Secret in `runtime/certs/<profile>`.
    package mutating func provide(_ secret: Secret, as profile: String, withKey: Bool) throws {
        let folder = "\(layout.runtimeCertificates)/\(profile)"
        try Files.makeDirectory(folder, mode: 0o700)
        var contents = ""
        for (key, mode) in [("tls.key", UInt32(0o600)), ("tls.crt", 0o644), ("ca.crt", 0o644)] {
            if !withKey, key != "ca.crt" { continue }
            guard let text = secret.textValue(key) else {
                try Files.remove("\(folder)/\(key)")
                continue
            }
            if key == "tls.crt", let content = try? CertificateInspection(pem: text),
                !content.isValid(atUnix: WallClock.now)
            {
                notes.append("the certificate of Secret \(secret.name) has expired")
            }
            try Files.writeIfChanged("\(folder)/\(key)", text: text, mode: mode)
            contents += text
        }
        generations.note(profile, contents: contents)
    }

    /// Takes `input/certs/<profile>` into `runtime/certs/<profile>`; false if there is no such folder.
    package mutating func takeBrought(_ profile: String) throws -> Bool {
        let brought = "\(layout.inputCertificates)/\(profile)"
        guard Files.kind(brought) == .directory else { return false }
        let folder = "\(layout.runtimeCertificates)/\(profile)"
        try Files.makeDirectory(folder, mode: 0o700)
        var contents = ""
        for (key, mode) in [("tls.key", UInt32(0o600)), ("tls.crt", 0o644), ("ca.crt", 0o644)] {
            guard let text = try Files.readTextIfPresent("\(brought)/\(key)") else { continue }
            try Files.writeIfChanged("\(folder)/\(key)", text: text, mode: mode)
            contents += text
        }
        generations.note(profile, contents: contents)
        return true
    }

    /// Removes folders of profiles that nothing needs any more.
    package mutating func removeAll(except kept: Set<String>) {
        for name in (try? Files.listIfPresent(layout.runtimeCertificates)) ?? [] where !kept.contains(name) {
            try? Files.removeTree("\(layout.runtimeCertificates)/\(name)")
            generations.forget(name)
        }
    }

    /// What of the profiles is present, for the reconciler. `priorGenerations` older ones stay valid.
    package func profiles(priorGenerations: Int64) -> [String: ProfileFiles] {
        var result: [String: ProfileFiles] = [:]
        for name in (try? Files.listIfPresent(layout.runtimeCertificates)) ?? [] {
            let folder = "\(layout.runtimeCertificates)/\(name)"
            let ordinal = generations.ordinal(of: name)
            result[name] = ProfileFiles(
                hasKeyPair: Files.exists("\(folder)/tls.crt") && Files.exists("\(folder)/tls.key"),
                hasAuthority: Files.exists("\(folder)/ca.crt"), ordinal: ordinal,
                oldestValidOrdinal: max(0, ordinal - priorGenerations))
        }
        return result
    }

    /// Writes down the generations of all profiles, if any changed.
    package mutating func save() throws(FileError) { try generations.save(layout.state + "/certificates.yaml") }

    // MARK: Parts

    /// Why a certificate has to be issued anew; nil if it does not.
    private func fault(
        of pair: KeyedCertificate, hosts: [String], by authority: KeyedCertificate, now: Int64
    ) -> String? {
        guard let content = try? CertificateInspection(pem: pair.certificatePEM),
            (try? CertificateInspection.matches(pair)) == true
        else { return "the files were damaged" }
        guard (try? CertificateInspection.isSigned(pair.certificatePEM, by: authority.certificatePEM)) == true else {
            return "its CA has changed"
        }
        guard content.isValid(atUnix: now) else { return "it had expired" }
        guard !content.shouldRenew(atUnix: now) else { return "two thirds of its time were over" }
        let missing = hosts.filter { !content.dnsNames.contains($0) }
        return missing.isEmpty ? nil : "it was not valid for \(missing.joined(separator: ", "))"
    }

    private static func pair(in folder: String) throws -> KeyedCertificate? {
        guard let certificate = try Files.readTextIfPresent("\(folder)/tls.crt"),
            let key = try Files.readTextIfPresent("\(folder)/tls.key")
        else { return nil }
        return KeyedCertificate(certificatePEM: certificate, keyPEM: key)
    }

    private static func write(_ pair: KeyedCertificate, authority: String, to folder: String) throws(FileError) {
        try Files.makeDirectory(folder, mode: 0o700)
        // The router reads these files when it is told to, which is after all three are there.
        try Files.write("\(folder)/tls.key", text: pair.keyPEM, mode: 0o600)
        try Files.write("\(folder)/tls.crt", text: pair.certificatePEM, mode: 0o644)
        try Files.write("\(folder)/ca.crt", text: authority, mode: 0o644)
    }
}

/// The generation of each profile's files: grows by one whenever they change.
struct Generations: Hashable, Sendable {
    private var entries: [String: (ordinal: Int64, digest: String)] = [:]
    private var isChanged = false

    static func == (left: Generations, right: Generations) -> Bool {
        left.entries.mapValues { [String($0.ordinal), $0.digest] }
            == right.entries.mapValues { [String($0.ordinal), $0.digest] }
    }

    func hash(into hasher: inout Hasher) { hasher.combine(entries.count) }

    static func load(_ path: String) -> Generations {
        var result = Generations()
        guard let text = try? Files.readText(path), let document = try? YAML.parse(text).first else { return result }
        for (name, entry) in document["profiles"]?.mapValue?.entries ?? [] {
            guard let ordinal = entry["ordinal"]?.intValue, let digest = entry["digest"]?.scalarText else { continue }
            result.entries[name] = (ordinal, digest)
        }
        return result
    }

    mutating func save(_ path: String) throws(FileError) {
        guard isChanged else { return }
        var profiles = DocumentMap()
        for (name, entry) in entries.sorted(by: { $0.key < $1.key }) {
            profiles[name] = ["ordinal": .int(entry.ordinal), "digest": .string(entry.digest)]
        }
        try Files.write(path, text: YAML.emit(["profiles": .map(profiles)]))
        isChanged = false
    }

    mutating func note(_ profile: String, contents: String) {
        let digest = Generations.digest(contents)
        guard let old = entries[profile] else {
            entries[profile] = (0, digest)
            isChanged = true
            return
        }
        guard old.digest != digest else { return }
        entries[profile] = (old.ordinal + 1, digest)
        isChanged = true
    }

    mutating func forget(_ profile: String) {
        if entries.removeValue(forKey: profile) != nil { isChanged = true }
    }

    func ordinal(of profile: String) -> Int64 { entries[profile]?.ordinal ?? 0 }

    /// FNV-1a of 64 bits: tells versions of a file apart; it guards nothing.
    private static func digest(_ text: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return "x" + String(hash, radix: 16)
    }
}
