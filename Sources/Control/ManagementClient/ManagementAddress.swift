/// Where and how to reach a router's management.
package struct ManagementAddress: Hashable, Sendable, CustomStringConvertible {
    /// Files in PEM form for mutual TLS.
    package struct Credentials: Hashable, Sendable {
        /// CA that signed the router's certificate.
        package let caFile: String
        /// This client's certificate.
        package let certificateFile: String
        /// Its private key.
        package let keyFile: String

        package init(caFile: String, certificateFile: String, keyFile: String) {
            self.caFile = caFile
            self.certificateFile = certificateFile
            self.keyFile = keyFile
        }
    }

    /// IPv4 or IPv6 address, or a name.
    package let host: String
    package let port: UInt16
    /// TLS with SASL EXTERNAL when given, else plain TCP with SASL ANONYMOUS.
    package let credentials: Credentials?

    package init(host: String, port: UInt16, credentials: Credentials? = nil) {
        self.host = host
        self.port = port
        self.credentials = credentials
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
