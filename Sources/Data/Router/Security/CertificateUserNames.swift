import COpenSSL

/// How the user name of a peer is made from its certificate: an sslProfile's `uidFormat` and `uidNameMappingFile`.
struct CertificateUserNames: Sendable, Equatable {
    /// A part of the certificate, by its letter in `uidFormat`.
    enum Part: Character, Sendable {
        case country = "c"
        case state = "s"
        case locality = "l"
        case organization = "o"
        case unit = "u"
        case commonName = "n"
        case sha1 = "1"
        case sha256 = "2"
        case sha512 = "5"

        var isFingerprint: Bool { self == .sha1 || self == .sha256 || self == .sha512 }
    }

    /// What one part contributes.
    private enum Value {
        case text(String)
        /// The certificate has no such part.
        case absent
        /// It has one that must not become part of a name.
        case unusable
    }

    /// Parts that a format may have.
    static let partMaximum = 7
    /// Octets of a name; longer than what the parts of a certificate may have by X.520.
    static let nameMaximum = 2048

    let parts: [Part]
    /// Names to be used instead of those that the parts make.
    let names: [String: String]

    /// Nil if `format` has more than seven letters, one that stands for no part, or two fingerprints: what skrouterd
    /// refuses. An empty format is one, and makes no names.
    init?(format: String, names: [String: String] = [:]) {
        let parts = format.compactMap { Part(rawValue: $0) }
        guard parts.count == format.count, parts.count <= CertificateUserNames.partMaximum,
            parts.filter(\.isFingerprint).count <= 1
        else { return nil }
        self.parts = parts
        self.names = names
    }

    /// The user name of the owner of `certificate`, an `X509`: the parts that it has, in the format's order, with
    /// semicolons between, or what the mapping has instead. Nil if it has none of them, or if one has a zero octet or
    /// is no text: two users could share what is left of it.
    func name(of certificate: OpaquePointer) -> String? {
        var found: [String] = []
        for part in parts {
            switch CertificateUserNames.value(of: part, in: certificate) {
            case .text(let text): found.append(text)
            case .absent: continue
            case .unusable: return nil
            }
        }
        let made = found.joined(separator: ";")
        guard !made.isEmpty, made.utf8.count <= CertificateUserNames.nameMaximum else { return nil }
        guard let other = names[made], !other.isEmpty else { return made }
        return other
    }

    private static func value(of part: Part, in certificate: OpaquePointer) -> Value {
        switch part {
        case .country: subject(NID_countryName, certificate)
        case .state: subject(NID_stateOrProvinceName, certificate)
        case .locality: subject(NID_localityName, certificate)
        case .organization: subject(NID_organizationName, certificate)
        case .unit: subject(NID_organizationalUnitName, certificate)
        case .commonName: subject(NID_commonName, certificate)
        case .sha1: fingerprint(EVP_sha1(), certificate)
        case .sha256: fingerprint(EVP_sha256(), certificate)
        case .sha512: fingerprint(EVP_sha512(), certificate)
        }
    }

    /// The first attribute of this kind in the subject.
    private static func subject(_ kind: Int32, _ certificate: OpaquePointer) -> Value {
        let subject = X509_get_subject_name(certificate)
        let index = X509_NAME_get_index_by_NID(subject, kind, -1)
        guard index >= 0, let entry = X509_NAME_get_entry(subject, index) else { return .absent }
        var octets: UnsafeMutablePointer<UInt8>?
        let count = ASN1_STRING_to_UTF8(&octets, X509_NAME_ENTRY_get_data(entry))
        guard count >= 0, let octets else { return .unusable }
        defer { CRYPTO_free(octets, #file, 0) }
        let bytes = UnsafeBufferPointer(start: octets, count: Int(count))
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else { return .unusable }
        return text.isEmpty ? .absent : .text(text)
    }

    /// The digest of the whole certificate, in hexadecimal digits.
    private static func fingerprint(_ algorithm: OpaquePointer?, _ certificate: OpaquePointer) -> Value {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        guard X509_digest(certificate, algorithm, &digest, &count) == 1 else { return .unusable }
        let digits = Array("0123456789abcdef")
        return .text(String(digest.prefix(Int(count)).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }))
    }
}
