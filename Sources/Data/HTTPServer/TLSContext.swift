import COpenSSL
import Glibc

/// The certificate a TLS server shows, and what it asks of clients.
package struct TLSIdentity: Hashable, Sendable {
    package enum Version: Hashable, Sendable {
        case tls12
        case tls13
    }

    /// The server's certificate, then its chain, in PEM.
    package var certificatePEM: String
    /// The private key in PEM.
    package var privateKeyPEM: String
    /// What the key is encrypted with; nil for a key in clear.
    package var privateKeyPassword: String?
    /// The oldest TLS version accepted.
    package var minimumVersion: Version
    /// The newest TLS version accepted.
    package var maximumVersion = Version.tls13
    /// Ciphers for TLS 1.2 in OpenSSL's list form; nil for OpenSSL's own choice.
    package var ciphers: String?
    /// If given, clients must have a certificate that leads to one of these.
    package var clientCAPEM: String?

    package init(
        certificatePEM: String, privateKeyPEM: String, minimumVersion: Version = .tls13, clientCAPEM: String? = nil
    ) {
        self.certificatePEM = certificatePEM
        self.privateKeyPEM = privateKeyPEM
        self.minimumVersion = minimumVersion
        self.clientCAPEM = clientCAPEM
    }

    /// The same from PEM files of at most 1 MiB. Throws `HTTPServerError.unreadableFile`.
    package init(
        certificateFile: String, privateKeyFile: String, minimumVersion: Version = .tls13, clientCAFile: String? = nil
    ) throws(HTTPServerError) {
        var clientCA: String?
        if let clientCAFile { clientCA = try TLSIdentity.readText(clientCAFile) }
        self.init(
            certificatePEM: try TLSIdentity.readText(certificateFile),
            privateKeyPEM: try TLSIdentity.readText(privateKeyFile), minimumVersion: minimumVersion,
            clientCAPEM: clientCA)
    }

    private static func readText(_ path: String) throws(HTTPServerError) -> String {
        let limit = 1_048_576
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .unreadableFile(path: path, reason: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .unreadableFile(path: path, reason: String(cString: strerror(errno))) }
            bytes += chunk[..<count]
            guard bytes.count <= limit else { throw .unreadableFile(path: path, reason: "it is larger than 1 MiB") }
        }
    }
}

/// An OpenSSL server context.
///
/// `@unchecked Sendable`: it does not change once made, and OpenSSL lets several threads make sessions from one
/// context. Sessions hold a reference of their own to it.
final class TLSContext: @unchecked Sendable {
    private let context: OpaquePointer

    /// Throws `HTTPServerError` if a PEM text does not hold what it should.
    init(_ identity: TLSIdentity) throws(HTTPServerError) {
        ERR_clear_error()
        guard let context = SSL_CTX_new(TLS_server_method()) else { throw .unavailable(TLSContext.lastError()) }
        do {
            try TLSContext.configure(context, identity)
        } catch {
            SSL_CTX_free(context)
            throw error
        }
        self.context = context
    }

    deinit {
        SSL_CTX_free(context)
    }

    /// A session for one accepted connection; the caller frees it. Nil when memory is short.
    func makeSession() -> OpaquePointer? {
        SSL_new(context)
    }

    private static func configure(_ context: OpaquePointer, _ identity: TLSIdentity) throws(HTTPServerError) {
        func number(_ version: TLSIdentity.Version) -> Int { Int(version == .tls13 ? TLS1_3_VERSION : TLS1_2_VERSION) }
        _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, number(identity.minimumVersion), nil)
        _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, number(identity.maximumVersion), nil)
        if let ciphers = identity.ciphers, !ciphers.isEmpty, SSL_CTX_set_cipher_list(context, ciphers) != 1 {
            ERR_clear_error()
            throw .badCiphers(ciphers)
        }
        // SSL_OP_NO_RENEGOTIATION, a cast macro that Swift does not see: renegotiation is work at the client's will.
        _ = SSL_CTX_set_options(context, UInt64(1) << 30)
        // Requests are few and far between: sessions are not worth their memory.
        _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        _ = SSL_CTX_set_num_tickets(context, 0)

        let chain = certificates(identity.certificatePEM)
        defer { chain.forEach { X509_free($0) } }
        guard let own = chain.first else { throw .badCertificate(reason: "it holds no PEM certificate") }
        guard SSL_CTX_use_certificate(context, own) == 1 else { throw .badCertificate(reason: lastError()) }
        for issuer in chain.dropFirst() {
            // SSL_CTX_add1_chain_cert: the context takes a reference of its own.
            guard SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, UnsafeMutableRawPointer(issuer)) == 1 else {
                throw .badCertificate(reason: lastError())
            }
        }
        guard let key = privateKey(identity.privateKeyPEM, identity.privateKeyPassword) else {
            throw .badPrivateKey(reason: lastError())
        }
        defer { EVP_PKEY_free(key) }
        guard SSL_CTX_use_PrivateKey(context, key) == 1, SSL_CTX_check_private_key(context) == 1 else {
            throw .badPrivateKey(reason: "it is not the key of the certificate (\(lastError()))")
        }
        if let clientCA = identity.clientCAPEM { try requireClientCertificate(context, clientCA) }
    }

    private static func requireClientCertificate(_ context: OpaquePointer, _ pem: String) throws(HTTPServerError) {
        let authorities = certificates(pem)
        defer { authorities.forEach { X509_free($0) } }
        guard !authorities.isEmpty, let store = SSL_CTX_get_cert_store(context) else {
            throw .badClientCA(reason: "it holds no PEM certificate")
        }
        for authority in authorities {
            guard X509_STORE_add_cert(store, authority) == 1, SSL_CTX_add_client_CA(context, authority) == 1 else {
                throw .badClientCA(reason: lastError())
            }
        }
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
    }

    /// The certificates of a PEM text, in their order; the caller frees them.
    private static func certificates(_ pem: String) -> [OpaquePointer] {
        var result: [OpaquePointer] = []
        withMemoryBIO(pem) { bio in
            while result.count < 32, let certificate = PEM_read_bio_X509(bio, nil, refusePassword, nil) {
                result.append(certificate)
            }
        }
        // The end of the text shows as an error of the last read.
        ERR_clear_error()
        return result
    }

    private static func privateKey(_ pem: String, _ password: String?) -> OpaquePointer? {
        var key: OpaquePointer?
        withMemoryBIO(pem) { bio in
            guard let password else {
                key = PEM_read_bio_PrivateKey(bio, nil, refusePassword, nil)
                return
            }
            // Without a callback OpenSSL takes the text that it is given for the password.
            var octets = Array(password.utf8CString)
            key = octets.withUnsafeMutableBytes { PEM_read_bio_PrivateKey(bio, nil, nil, $0.baseAddress) }
        }
        return key
    }

    private static func withMemoryBIO(_ text: String, _ body: (OpaquePointer) -> Void) {
        var text = text
        text.withUTF8 { bytes in
            guard let bio = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return }
            defer { BIO_free(bio) }
            body(bio)
        }
    }

    private static func lastError() -> String {
        let code = ERR_get_error()
        defer { ERR_clear_error() }
        guard code != 0, let reason = ERR_reason_error_string(code) else { return "not valid PEM" }
        return String(cString: reason)
    }
}

/// Without it, OpenSSL asks for the password of an encrypted key on the terminal.
private func refusePassword(
    _: UnsafeMutablePointer<CChar>?, _: Int32, _: Int32, _: UnsafeMutableRawPointer?
) -> Int32 {
    -1
}
