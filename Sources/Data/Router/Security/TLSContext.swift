import COpenSSL
import Glibc

/// What an sslProfile asks of TLS, read once from its files.
struct TLSProfile: Sendable, Equatable {
    var name: String
    var caCertFile: String?
    var certFile: String?
    var privateKeyFile: String?
    var password: String?
    var ciphers: String?
    var protocols: String?
    var ordinal: Int
    var oldestValidOrdinal: Int
    /// How the user names of peers are made from their certificates; nil for their subjects.
    var userNames: CertificateUserNames?
}

/// Why a TLS context could not be made or a handshake failed; the text carries the cause.
struct TLSFailure: Error, Sendable {
    var text: String
    /// OpenSSL's own word for it, where `text` says it for people.
    var reason = ""
}

/// An `SSL_CTX` for one profile and role. Immutable once made; `SSL_CTX` counts its own references atomically.
final class TLSContext: @unchecked Sendable {
    let context: OpaquePointer
    let profile: TLSProfile
    /// The profile names a certificate, so SASL EXTERNAL can be used.
    let hasCertificate: Bool
    /// The key's password, for OpenSSL; never nil, so that OpenSSL does not ask for one on the terminal.
    private let password: UnsafeMutablePointer<CChar>

    /// - Parameters:
    ///   - server: accepts connections; needs a certificate and key.
    ///   - requirePeer: server only: ask for and verify a client certificate.
    ///   - offersHTTP: server only: choose between http/1.1 and h2 when a client offers protocols (ALPN).
    init(profile: TLSProfile, server: Bool, requirePeer: Bool, offersHTTP: Bool = false) throws(TLSFailure) {
        self.profile = profile
        guard let context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()) else {
            throw TLSFailure(text: "no TLS context: \(TLSErrors.drain())")
        }
        self.context = context
        var secret = ""
        var failure: TLSFailure?
        do {
            if let text = profile.password { secret = try Password.resolve(text) }
        } catch {
            failure = TLSFailure(text: "sslProfile \(profile.name): \(error.text)")
        }
        password = secret.withCString { strdup($0) }
        hasCertificate = profile.certFile != nil
        if let failure { throw failure }
        SSL_CTX_set_default_passwd_cb_userdata(context, password)
        SSL_CTX_set_default_passwd_cb(context) { buffer, size, _, userdata in
            guard let buffer, let userdata else { return 0 }
            let length = min(Int(size), strlen(userdata.assumingMemoryBound(to: CChar.self)))
            memcpy(buffer, userdata, length)
            return Int32(length)
        }
        try setVersions()
        if offersHTTP { ServiceProtocols.choose(context) }
        SSL_CTX_set_options(context, noRenegotiation | noTicketResumption)
        SSL_CTX_ctrl(
            context, SSL_CTRL_MODE,
            Int(SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS), nil)
        // One pass over a read's worth of ciphertext instead of two BIO reads (header, body) for each record.
        SSL_CTX_ctrl(context, SSL_CTRL_SET_READ_AHEAD, 1, nil)
        SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        SSL_CTX_set_num_tickets(context, 0)
        // AES-128-GCM first: the cheapest strong cipher where the CPU has AES instructions.
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256")
        if let ciphers = profile.ciphers, !ciphers.isEmpty, SSL_CTX_set_cipher_list(context, ciphers) != 1 {
            throw TLSFailure(text: "sslProfile \(profile.name): ciphers '\(ciphers)' select nothing OpenSSL knows")
        }
        try loadFiles(server: server, requirePeer: requirePeer)
    }

    deinit {
        SSL_CTX_free(context)
        memset(password, 0, strlen(password))
        free(password)
    }

    /// TLS 1.2 and 1.3, or exactly those that the profile names.
    private func setVersions() throws(TLSFailure) {
        let names = (profile.protocols ?? "").split(whereSeparator: { $0 == " " || $0 == "," })
        var chosen: Set<Int> = []
        for name in names {
            guard let version = tlsVersions.first(where: { $0.name == name }) else {
                throw TLSFailure(
                    text: "sslProfile \(profile.name): protocols: '\(name)' is no TLS version; use some of "
                        + tlsVersions.map(\.name).joined(separator: " "))
            }
            chosen.insert(version.number)
        }
        let lowest = chosen.min() ?? Int(TLS1_2_VERSION)
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, lowest, nil)
        guard let highest = chosen.max() else { return }
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, highest, nil)
        for version in tlsVersions where !chosen.contains(version.number) {
            SSL_CTX_set_options(context, version.without)
        }
    }

    private func loadFiles(server: Bool, requirePeer: Bool) throws(TLSFailure) {
        let name = profile.name
        if let certFile = profile.certFile {
            guard SSL_CTX_use_certificate_chain_file(context, certFile) == 1 else {
                throw TLSFailure(
                    text:
                        "sslProfile \(name): Failed to configure TLS certFile \(certFile): \(TLSErrors.drain()); "
                            + "give a PEM file that this user may read"
                )
            }
            guard let keyFile = profile.privateKeyFile else {
                throw TLSFailure(
                    text: "Missing Private Keyfile (sslProfile: \(name)): certFile is set but privateKeyFile is not; "
                        + "name the key's file")
            }
            guard SSL_CTX_use_PrivateKey_file(context, keyFile, SSL_FILETYPE_PEM) == 1 else {
                throw TLSFailure(
                    text:
                        "sslProfile \(name): cannot use privateKeyFile \(keyFile): \(TLSErrors.drain()); give "
                            + "the PEM key of certFile"
                )
            }
        } else if server {
            throw TLSFailure(text: "sslProfile \(name): a listener needs certFile and privateKeyFile")
        }
        if let caFile = profile.caCertFile {
            guard SSL_CTX_load_verify_locations(context, caFile, nil) == 1 else {
                throw TLSFailure(
                    text:
                        "sslProfile \(name): Failed to configure TLS caCertFile \(caFile): \(TLSErrors.drain()); give "
                            + "a PEM file that this user may read"
                )
            }
            if server { SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(caFile)) }
        } else if !server || requirePeer {
            throw TLSFailure(text: "sslProfile \(name): caCertFile is needed to verify the peer")
        }
        if !server {
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        } else if requirePeer {
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        }
    }
}

/// TLS versions by their configuration words, with OpenSSL's options that leave them out (SSL_OP_NO_TLSv1 and others).
private let tlsVersions: [(name: String, number: Int, without: UInt64)] = [
    ("TLSv1", Int(TLS1_VERSION), 1 << 26), ("TLSv1.1", Int(TLS1_1_VERSION), 1 << 28),
    ("TLSv1.2", Int(TLS1_2_VERSION), 1 << 27), ("TLSv1.3", Int(TLS1_3_VERSION), 1 << 29),
]

/// SSL_OP_NO_RENEGOTIATION and SSL_OP_NO_TICKET: cast macros, which do not reach Swift.
private let noRenegotiation: UInt64 = 1 << 30
private let noTicketResumption: UInt64 = 1 << 14

/// The thread's OpenSSL error queue.
enum TLSErrors {
    /// Empties the queue and returns the first reason, or a fallback.
    static func drain() -> String {
        var text: String?
        while true {
            let code = ERR_get_error()
            if code == 0 { break }
            if text == nil {
                if let reason = ERR_reason_error_string(code) {
                    text = String(cString: reason)
                } else if code >> 23 & 0xff == 2 || code & 0x8000_0000 != 0 {
                    text = String(cString: strerror(Int32(code & 0x7fff_ffff)))
                } else {
                    text = "error \(code)"
                }
            }
        }
        return text ?? "no reason given by OpenSSL"
    }
}
