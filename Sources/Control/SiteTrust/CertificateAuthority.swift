import COpenSSL

/// A certificate with its private key, both PEM; the key is PKCS#1 (`RSA PRIVATE KEY`).
package struct KeyedCertificate: Hashable, Sendable {
    /// Certificate, PEM.
    package let certificatePEM: String
    /// Private key, PEM. Secret: never log it.
    package let keyPEM: String

    /// A pair as read from storage; nothing is checked.
    package init(certificatePEM: String, keyPEM: String) {
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
    }
}

/// Makes certificates after sheet §3.7: RSA 2048, random 128-bit serial, CN only, five years, both key purposes.
package enum CertificateAuthority {
    /// Validity of everything issued, seconds: 5 × 365 days.
    package static let validitySeconds: Int64 = 5 * 365 * 86_400
    /// Most subject alternative names, before IP literals count twice.
    package static let maximumHosts = 1000

    /// A new self-signed CA. Its `ca.crt` is its own certificate.
    /// - Parameter previous: a CA of the same name whose key is kept while its certificate is valid: what it signed is
    ///   valid under the new certificate too, and what the new one signs under the old.
    package static func makeAuthority(
        commonName: String, nowUnix: Int64, renewing previous: KeyedCertificate? = nil
    ) throws(TrustError) -> KeyedCertificate {
        let kept = previous.flatMap { keptKey($0, commonName: commonName, nowUnix: nowUnix) }
        let key = if let kept { kept } else { try KeyObject.makeRSA() }
        let certificate = try blank(
            commonName: commonName, key: key, notBefore: nowUnix, notAfter: nowUnix + validitySeconds)
        try check(
            X509_set_issuer_name(certificate.pointer, X509_get_subject_name(certificate.pointer)), "set the issuer")
        try addExtension(certificate, NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign")
        try addExtension(certificate, NID_ext_key_usage, "serverAuth,clientAuth")
        try addExtension(certificate, NID_basic_constraints, "critical,CA:TRUE")
        try addExtension(certificate, NID_subject_key_identifier, "hash")
        try sign(certificate, key)
        return KeyedCertificate(certificatePEM: try certificate.pem(), keyPEM: try key.pem())
    }

    private static func keptKey(_ pair: KeyedCertificate, commonName: String, nowUnix: Int64) -> KeyObject? {
        guard let inspection = try? CertificateInspection(pem: pair.certificatePEM), inspection.isAuthority,
            inspection.commonName == commonName, inspection.isValid(atUnix: nowUnix),
            (try? CertificateInspection.matches(pair)) == true
        else { return nil }
        return try? KeyObject(pem: pair.keyPEM)
    }

    /// A new key and certificate signed by an authority.
    /// - Parameters:
    ///   - hosts: each becomes a DNS name, an IP literal an IP address as well; trimmed, empty and repeated ones
    ///     left out.
    ///   - validitySeconds: shorter for tests and renewals.
    package static func issue(
        commonName: String, hosts: [String], by authority: KeyedCertificate, nowUnix: Int64,
        validitySeconds: Int64 = validitySeconds
    ) throws(TrustError) -> KeyedCertificate {
        let issuer = try CertificateObject(pem: authority.certificatePEM)
        let issuerKey = try KeyObject(pem: authority.keyPEM)
        guard X509_check_private_key(issuer.pointer, issuerKey.pointer) == 1 else {
            ERR_clear_error()
            throw .keyMismatch
        }
        let inspection = try CertificateInspection(pem: authority.certificatePEM)
        guard inspection.isAuthority else {
            throw .unusableIssuer(
                detail: "the certificate \"\(inspection.commonName)\" is not a CA; name a Secret that holds one")
        }
        guard inspection.isValid(atUnix: nowUnix) else {
            throw .unusableIssuer(
                detail: "the CA \"\(inspection.commonName)\" has expired or is not valid yet; check the clock of this "
                    + "machine, or delete the CA to have a new one made")
        }
        let key = try KeyObject.makeRSA()
        let certificate = try blank(
            commonName: commonName, key: key, notBefore: nowUnix, notAfter: nowUnix + validitySeconds)
        try check(X509_set_issuer_name(certificate.pointer, X509_get_subject_name(issuer.pointer)), "set the issuer")
        try addExtension(certificate, NID_key_usage, "critical,digitalSignature,keyEncipherment")
        try addExtension(certificate, NID_ext_key_usage, "serverAuth,clientAuth")
        try addExtension(certificate, NID_basic_constraints, "critical,CA:FALSE")
        try addAuthorityKeyIdentifier(certificate, issuer: issuer)
        try addAlternativeNames(certificate, hosts: hosts)
        try sign(certificate, issuerKey)
        return KeyedCertificate(certificatePEM: try certificate.pem(), keyPEM: try key.pem())
    }

    private static func blank(
        commonName: String, key: KeyObject, notBefore: Int64, notAfter: Int64
    ) throws(TrustError) -> CertificateObject {
        guard let pointer = X509_new() else { throw .library(operation: "make a certificate", detail: libraryFault()) }
        let certificate = CertificateObject(owning: pointer)
        try check(X509_set_version(pointer, 2), "set the version")
        try setSerial(certificate)
        try setSubject(certificate, commonName)
        try setTime(X509_getm_notBefore(pointer), notBefore)
        try setTime(X509_getm_notAfter(pointer), notAfter)
        try check(X509_set_pubkey(pointer, key.pointer), "set the public key")
        return certificate
    }

    private static func setSerial(_ certificate: CertificateObject) throws(TrustError) {
        var bytes = try RandomValues.bytes(16)
        // Positive and of full length: the top bit clear, the next set (RFC 5280 §4.1.2.2).
        bytes[0] = bytes[0] & 0x7f | 0x40
        guard let number = BN_bin2bn(bytes, Int32(bytes.count), nil) else {
            throw .library(operation: "make a serial number", detail: libraryFault())
        }
        defer { BN_free(number) }
        guard BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.pointer)) != nil else {
            throw .library(operation: "set the serial number", detail: libraryFault())
        }
    }

    private static func setSubject(_ certificate: CertificateObject, _ commonName: String) throws(TrustError) {
        let text = Array(commonName.utf8)
        // The common name's upper bound of X.520 is 64; longer names are refused by OpenSSL, so say it here.
        guard !text.isEmpty, commonName.unicodeScalars.count <= 64, !text.contains(0) else {
            throw .invalidRequest(detail: "the common name \"\(commonName)\" must have 1 to 64 characters")
        }
        let name = X509_get_subject_name(certificate.pointer)
        try check(
            X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, text, Int32(text.count), -1, 0),
            "set the common name")
    }

    private static func setTime(_ field: UnsafeMutablePointer<ASN1_TIME>?, _ unix: Int64) throws(TrustError) {
        guard field != nil, ASN1_TIME_set(field, Int(unix)) != nil else {
            throw .invalidRequest(detail: "the time \(unix) cannot be written")
        }
    }

    private static func addExtension(
        _ certificate: CertificateObject, _ kind: Int32, _ value: String
    ) throws(TrustError) {
        var context = X509V3_CTX()
        X509V3_set_ctx(&context, certificate.pointer, certificate.pointer, nil, nil, 0)
        guard let made = X509V3_EXT_conf_nid(nil, &context, kind, value) else {
            throw .library(operation: "make a certificate extension", detail: libraryFault())
        }
        defer { X509_EXTENSION_free(made) }
        try check(X509_add_ext(certificate.pointer, made, -1), "add a certificate extension")
    }

    private static func addAuthorityKeyIdentifier(
        _ certificate: CertificateObject, issuer: CertificateObject
    ) throws(TrustError) {
        // A CA of another make may have no subject key identifier to point to.
        guard X509_get0_subject_key_id(issuer.pointer) != nil else { return }
        var context = X509V3_CTX()
        X509V3_set_ctx(&context, issuer.pointer, certificate.pointer, nil, nil, 0)
        guard let made = X509V3_EXT_conf_nid(nil, &context, NID_authority_key_identifier, "keyid") else {
            throw .library(operation: "make a certificate extension", detail: libraryFault())
        }
        defer { X509_EXTENSION_free(made) }
        try check(X509_add_ext(certificate.pointer, made, -1), "add a certificate extension")
    }

    /// Names go in as values, never through OpenSSL's configuration language, where a comma would begin a new one.
    private static func addAlternativeNames(
        _ certificate: CertificateObject, hosts: [String]
    ) throws(TrustError) {
        var known: Set<String> = []
        let names = hosts.map(trimmed).filter { !$0.isEmpty && known.insert($0).inserted }
        guard !names.isEmpty else { return }
        guard names.count <= maximumHosts else {
            throw .invalidRequest(detail: "\(names.count) hosts are more than \(maximumHosts)")
        }
        guard let stack = OPENSSL_sk_new_null() else {
            throw .library(operation: "make a list of names", detail: libraryFault())
        }
        defer {
            OPENSSL_sk_pop_free(stack) { GENERAL_NAME_free($0?.assumingMemoryBound(to: GENERAL_NAME.self)) }
        }
        for name in names {
            let text = Array(name.utf8)
            guard text.count <= 255, text.allSatisfy({ (0x21...0x7e).contains($0) }) else {
                throw .invalidRequest(detail: "the host \"\(name)\" has characters that a certificate cannot carry")
            }
            try push(stack, GEN_DNS) {
                ASN1_STRING_type_new(V_ASN1_IA5STRING)
            } bytes: {
                text
            }
            if let address = addressBytes(name) {
                try push(stack, GEN_IPADD) {
                    ASN1_STRING_type_new(V_ASN1_OCTET_STRING)
                } bytes: {
                    address
                }
            }
        }
        try check(
            X509_add1_ext_i2d(
                certificate.pointer, NID_subject_alt_name, UnsafeMutableRawPointer(stack), 0,
                UInt(X509V3_ADD_APPEND)), "add the subject alternative names")
    }

    private static func push(
        _ stack: OpaquePointer, _ type: Int32, make: () -> UnsafeMutablePointer<ASN1_STRING>?, bytes: () -> [UInt8]
    ) throws(TrustError) {
        guard let value = make(), let name = GENERAL_NAME_new() else {
            throw .library(operation: "make a name", detail: libraryFault())
        }
        let content = bytes()
        _ = ASN1_STRING_set(value, content, Int32(content.count))
        // The name owns the value from here, the stack the name.
        GENERAL_NAME_set0_value(name, type, value)
        guard OPENSSL_sk_push(stack, name) > 0 else {
            GENERAL_NAME_free(name)
            throw .library(operation: "make a list of names", detail: libraryFault())
        }
    }

    /// 4 or 16 bytes of an IP literal.
    static func addressBytes(_ text: String) -> [UInt8]? {
        guard let octets = a2i_IPADDRESS(text) else {
            ERR_clear_error()
            return nil
        }
        defer { ASN1_OCTET_STRING_free(octets) }
        return Array(UnsafeBufferPointer(start: ASN1_STRING_get0_data(octets), count: Int(ASN1_STRING_length(octets))))
    }

    private static func trimmed(_ text: String) -> String {
        var part = Substring(text)
        while let first = part.first, first.isWhitespace { part.removeFirst() }
        while let last = part.last, last.isWhitespace { part.removeLast() }
        return String(part)
    }

    private static func sign(_ certificate: CertificateObject, _ key: KeyObject) throws(TrustError) {
        try check(X509_sign(certificate.pointer, key.pointer, EVP_sha256()), "sign a certificate")
    }

    private static func check(_ result: Int32, _ operation: String) throws(TrustError) {
        guard result > 0 else { throw .library(operation: operation, detail: libraryFault()) }
    }
}
