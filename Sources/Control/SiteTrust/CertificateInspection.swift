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
    /// Subject alternative names of type IP, as text.
    package let ipAddresses: [String]
    /// Serial number, lower-case hexadecimal.
    package let serial: String
    /// SHA-256 of the DER form, lower-case hexadecimal.
    package let fingerprint: String
    /// Whether basic constraints say CA.
    package let isAuthority: Bool

    /// Reads the first certificate of a PEM text.
    package init(pem: String) throws(TrustError) { throw .invalidRequest(detail: "declared only") }

    /// Whether the certificate is valid at a time.
    package func isValid(atUnix now: Int64) -> Bool { notBefore <= now && now <= notAfter }

    /// Whether two thirds of the validity are over, the time for renewal.
    package func shouldRenew(atUnix now: Int64) -> Bool { now >= notBefore + (notAfter - notBefore) / 3 * 2 }

    /// Whether a PEM certificate's signature was made by the key of another (dates are not looked at).
    package static func isSigned(_ certificatePEM: String, by authorityPEM: String) throws(TrustError) -> Bool {
        throw .invalidRequest(detail: "declared only")
    }

    /// Whether a private key belongs to a certificate.
    package static func matches(_ pair: KeyedCertificate) throws(TrustError) -> Bool {
        throw .invalidRequest(detail: "declared only")
    }
}
