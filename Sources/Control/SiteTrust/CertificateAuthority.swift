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

    /// A new self-signed CA. Its `ca.crt` is its own certificate.
    package static func makeAuthority(commonName: String, nowUnix: Int64) throws(TrustError) -> KeyedCertificate {
        throw .invalidRequest(detail: "declared only")
    }

    /// A new key and certificate signed by an authority.
    /// - Parameters:
    ///   - hosts: each becomes a DNS name, an IP literal an IP address as well; trimmed, empty and repeated ones
    ///     left out.
    ///   - validitySeconds: shorter for tests and renewals.
    package static func issue(
        commonName: String, hosts: [String], by authority: KeyedCertificate, nowUnix: Int64,
        validitySeconds: Int64 = validitySeconds
    ) throws(TrustError) -> KeyedCertificate { throw .invalidRequest(detail: "declared only") }
}
