/// Why a certificate, key or random value could not be made or read.
package enum TrustError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Text that is no PEM certificate or key.
    case unreadable(what: String, detail: String)
    /// The key does not belong to the certificate.
    case keyMismatch
    /// The certificate of an issuer is not a CA or has expired.
    case unusableIssuer(detail: String)
    /// A subject, host or validity that cannot stand in a certificate.
    case invalidRequest(detail: String)
    /// OpenSSL reported a fault of its own.
    case library(operation: String, detail: String)

    /// What happened, the likely cause and what to do.
    package var description: String {
        switch self {
        case .unreadable(let what, let detail):
            "the \(what) cannot be read (\(detail)): a PEM text is expected; put the right file in place or delete it "
                + "to have a new one made"
        case .keyMismatch:
            "the private key does not belong to the certificate: the two files come from different certificates; "
                + "put both files of one certificate in place"
        case .unusableIssuer(let detail):
            "the issuer cannot sign certificates: \(detail)"
        case .invalidRequest(let detail):
            "the certificate cannot be made: \(detail)"
        case .library(let operation, let detail):
            "OpenSSL failed to \(operation) (\(detail)): likely too little memory or a restricted OpenSSL configuration"
        }
    }
}
