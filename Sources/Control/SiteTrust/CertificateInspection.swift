import COpenSSL

/// What a certificate says.
package struct CertificateInspection: Hashable, Sendable {
    /// Common name of the subject, "" when there is none.
    package let commonName: String
    /// Common name of the issuer, "" when there is none.
    package let issuerCommonName: String
    /// Unix seconds from which it is valid.
    package let notBefore: Int64
    /// Unix seconds until which it is valid.
    package let notAfter: Int64
    /// Subject alternative names of type DNS.
    package let dnsNames: [String]
    /// Subject alternative names of type IP: dotted decimal, or eight hexadecimal groups.
    package let ipAddresses: [String]
    /// Serial number, lower-case hexadecimal.
    package let serial: String
    /// SHA-256 of the DER form, lower-case hexadecimal.
    package let fingerprint: String
    /// Whether basic constraints say CA.
    package let isAuthority: Bool

    /// Reads the first certificate of a PEM text.
    package init(pem: String) throws(TrustError) {
        let certificate = try CertificateObject(pem: pem)
        let pointer = certificate.pointer
        commonName = Self.commonName(X509_get_subject_name(pointer))
        issuerCommonName = Self.commonName(X509_get_issuer_name(pointer))
        notBefore = try Self.unix(X509_get0_notBefore(pointer))
        notAfter = try Self.unix(X509_get0_notAfter(pointer))
        (dnsNames, ipAddresses) = Self.alternativeNames(pointer)
        serial = Self.serial(pointer)
        fingerprint = Self.fingerprint(pointer)
        isAuthority = X509_check_ca(pointer) > 0
    }

    /// Whether the certificate is valid at a time.
    package func isValid(atUnix now: Int64) -> Bool { notBefore <= now && now <= notAfter }

    /// When two thirds of the validity are over, the time for renewal, Unix seconds.
    package var renewalTime: Int64 { notBefore + (notAfter - notBefore) / 3 * 2 }

    /// Whether it is time for renewal.
    package func shouldRenew(atUnix now: Int64) -> Bool { now >= renewalTime }

    /// Whether a PEM certificate's signature was made by the key of another (dates are not looked at).
    package static func isSigned(_ certificatePEM: String, by authorityPEM: String) throws(TrustError) -> Bool {
        let certificate = try CertificateObject(pem: certificatePEM)
        let authority = try CertificateObject(pem: authorityPEM)
        defer { ERR_clear_error() }
        return X509_check_issued(authority.pointer, certificate.pointer) == X509_V_OK
            && X509_verify(certificate.pointer, X509_get0_pubkey(authority.pointer)) == 1
    }

    /// Whether a private key belongs to a certificate.
    package static func matches(_ pair: KeyedCertificate) throws(TrustError) -> Bool {
        let certificate = try CertificateObject(pem: pair.certificatePEM)
        let key = try KeyObject(pem: pair.keyPEM)
        defer { ERR_clear_error() }
        return X509_check_private_key(certificate.pointer, key.pointer) == 1
    }

    private static func commonName(_ name: OpaquePointer?) -> String {
        let index = X509_NAME_get_index_by_NID(name, NID_commonName, -1)
        guard index >= 0, let value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)) else { return "" }
        var text: UnsafeMutablePointer<UInt8>?
        let count = ASN1_STRING_to_UTF8(&text, value)
        guard count >= 0, let text else { return "" }
        defer { CRYPTO_free(text, #file, 0) }
        return String(decoding: UnsafeBufferPointer(start: text, count: Int(count)), as: UTF8.self)
    }

    private static func unix(_ time: UnsafePointer<ASN1_TIME>?) throws(TrustError) -> Int64 {
        guard let epoch = ASN1_TIME_set(nil, 0) else {
            throw .library(operation: "read a time", detail: libraryFault())
        }
        defer { ASN1_TIME_free(epoch) }
        var days: Int32 = 0
        var seconds: Int32 = 0
        guard ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else {
            throw .unreadable(what: "certificate", detail: "its validity is not a time")
        }
        return Int64(days) * 86_400 + Int64(seconds)
    }

    private static func alternativeNames(_ certificate: OpaquePointer) -> (dns: [String], ip: [String]) {
        guard let raw = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return ([], []) }
        let stack = OpaquePointer(raw)
        defer {
            OPENSSL_sk_pop_free(stack) { GENERAL_NAME_free($0?.assumingMemoryBound(to: GENERAL_NAME.self)) }
        }
        var (dns, ip): ([String], [String]) = ([], [])
        for index in 0..<OPENSSL_sk_num(stack) {
            guard let item = OPENSSL_sk_value(stack, index) else { continue }
            var type: Int32 = 0
            guard let value = GENERAL_NAME_get0_value(item.assumingMemoryBound(to: GENERAL_NAME.self), &type),
                type == GEN_DNS || type == GEN_IPADD
            else { continue }
            let string = value.assumingMemoryBound(to: ASN1_STRING.self)
            let bytes = Array(
                UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string))))
            if type == GEN_DNS {
                dns.append(String(decoding: bytes, as: UTF8.self))
            } else if let text = addressText(bytes) {
                ip.append(text)
            }
        }
        return (dns, ip)
    }

    private static func addressText(_ bytes: [UInt8]) -> String? {
        switch bytes.count {
        case 4: bytes.map { String($0) }.joined(separator: ".")
        case 16:
            stride(from: 0, to: 16, by: 2).map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }
                .joined(separator: ":")
        default: nil
        }
    }

    private static func serial(_ certificate: OpaquePointer) -> String {
        let value = X509_get0_serialNumber(certificate)
        return UnsafeBufferPointer(start: ASN1_STRING_get0_data(value), count: Int(ASN1_STRING_length(value)))
            .hexadecimal
    }

    private static func fingerprint(_ certificate: OpaquePointer) -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        var count: UInt32 = 0
        guard X509_digest(certificate, EVP_sha256(), &digest, &count) == 1 else { return "" }
        return digest.prefix(Int(count)).hexadecimal
    }
}

extension Sequence<UInt8> {
    /// Two lower-case digits an octet.
    var hexadecimal: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
