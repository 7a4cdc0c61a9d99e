/// How to reach one API server and as whom: what a context of a kubeconfig says, or what a pod finds in itself.
package struct ClusterAccess: Sendable {
    /// How requests prove who makes them.
    package enum Credentials: Sendable {
        /// Not at all, or by the client certificate of the access alone.
        case none
        /// A bearer token.
        case token(String)
        /// A file with a bearer token, which its owner renews.
        case tokenFile(String)
        /// HTTP basic authentication.
        case basic(user: String, password: String)
        /// A program that prints credentials.
        case plugin(CredentialPlugin)
    }

    /// The name of the context; empty in a pod.
    package var contextName = ""
    /// The address of the server: scheme, host, port and a path in front of the API's, without a slash at the end.
    package var server: String
    /// The namespace to use unless another is named; never empty.
    package var namespace = "default"
    /// The CA certificates to trust, PEM; nil trusts those of the system.
    package var authorityPEM: String?
    /// Whether the server's certificate is not looked at. Nobody should want this.
    package var skipsVerification = false
    /// The name that the server's certificate is for, where it is not that of the address.
    package var serverName: String?
    /// The proxy to go through; nil takes the environment's.
    package var proxy: String?
    package var clientCertificatePEM: String?
    package var clientKeyPEM: String?
    package var credentials = Credentials.none
    /// Whom to act as, and the groups; empty for oneself.
    package var impersonatedUser = ""
    package var impersonatedGroups: [String] = []

    /// - Parameter server: see the property.
    package init(server: String) { self.server = server }
}

/// A program that prints credentials for a cluster, as kubeconfig files name it (client authentication API).
package struct CredentialPlugin: Sendable {
    package var command: String
    package var arguments: [String] = []
    package var environment: [(name: String, value: String)] = []
    /// The version of the exchange, for example `client.authentication.k8s.io/v1`.
    package var apiVersion: String
    /// Whether it may ask its user.
    package var mayAsk = false
    /// What to tell the user when the program is not there.
    package var installHint = ""

    package init(command: String, apiVersion: String) {
        self.command = command
        self.apiVersion = apiVersion
    }
}

/// Why no cluster could be chosen. `description` says what happened, the likely cause and what to do.
package struct ClusterAccessFault: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// There is no kubeconfig, and this is no pod.
        case nothingConfigured
        /// A file cannot be read or is no kubeconfig.
        case unreadable
        /// A context, cluster or user that is named does not exist.
        case unknownName
        /// Something needed is missing or malformed, or not supported.
        case unusable
    }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
