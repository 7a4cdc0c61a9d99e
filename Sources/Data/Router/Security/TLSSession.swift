import COpenSSL
import Glibc

/// One TLS connection over a custom BIO: ciphertext comes from the loop's read buffer and goes to a slab queue.
///
/// No sockets here: the owner hands in what it read and writes out what is queued. Loop-confined.
final class TLSSession {
    private let ssl: OpaquePointer
    /// Ciphertext waiting for the socket.
    var output = SlabQueue()
    private let pool: SlabPool
    fileprivate var input: UnsafeRawPointer?
    fileprivate var inputCount = 0
    /// Ciphertext that came with the end of a handshake and is read later.
    fileprivate var kept: [UInt8] = []
    fileprivate var keptTaken = 0
    private(set) var isEstablished = false

    enum ReadResult {
        case bytes(Int)
        case wantMore, closed
        case failed(TLSFailure)
    }

    /// - Parameters:
    ///   - keepsBuffers: OpenSSL keeps its two record buffers, 33 KB, between records. Without that it takes and frees
    ///     them for each, which a connection between routers does some thousand times a second.
    ///   - serverName: client only: SNI and, when `verifyName`, the name the certificate must carry (DNS or IP).
    ///   - alpn: client only: the one application protocol offered.
    init(
        context: TLSContext, server: Bool, serverName: String?, verifyName: Bool, keepsBuffers: Bool = false,
        pool: SlabPool, alpn: String? = nil
    ) throws(TLSFailure) {
        guard let ssl = SSL_new(context.context), let method = bioMethod, let bio = BIO_new(method) else {
            throw TLSFailure(text: "no TLS session: \(TLSErrors.drain())")
        }
        self.ssl = ssl
        self.pool = pool
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(bio, 1)
        SSL_set_bio(ssl, bio, bio)
        if keepsBuffers { SSL_ctrl(ssl, SSL_CTRL_CLEAR_MODE, Int(SSL_MODE_RELEASE_BUFFERS), nil) }
        if server {
            SSL_set_accept_state(ssl)
        } else {
            SSL_set_connect_state(ssl)
            if let alpn { ServiceProtocols.offer(alpn, ssl) }
            if let serverName {
                let isLiteral = SocketAddress(literal: serverName, port: 0) != nil
                if !isLiteral {
                    _ = serverName.withCString {
                        SSL_ctrl(
                            ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
                            UnsafeMutableRawPointer(mutating: $0))
                    }
                }
                if verifyName {
                    let parameters = SSL_get0_param(ssl)
                    if isLiteral {
                        X509_VERIFY_PARAM_set1_ip_asc(parameters, serverName)
                    } else {
                        X509_VERIFY_PARAM_set1_host(parameters, serverName, 0)
                    }
                }
            }
        }
    }

    deinit { SSL_free(ssl) }

    /// Hands in ciphertext for the coming ``read(into:_:)`` or ``handshake()`` calls; it must stay valid until all is
    /// taken.
    func feed(_ bytes: UnsafeRawPointer, _ count: Int) {
        input = bytes
        inputCount = count
    }

    /// Takes over what is left of the input: it stays readable after the buffer is used for something else.
    func keepInput() {
        guard inputCount > 0, let input else { return }
        kept.removeFirst(keptTaken)
        keptTaken = 0
        kept += UnsafeRawBufferPointer(start: input, count: inputCount)
        self.input = nil
        inputCount = 0
    }

    /// Octets have been handed in that were not read yet.
    var hasInput: Bool { inputCount > 0 || keptTaken < kept.count || SSL_has_pending(ssl) != 0 }

    /// The application protocol both sides agreed on.
    var agreedProtocol: String? { ServiceProtocols.agreed(ssl) }

    /// Tells the peer that nothing more will be sent; the other direction stays open.
    func sendCloseNotify() {
        ERR_clear_error()
        SSL_shutdown(ssl)
        ERR_clear_error()
    }

    /// Continues the handshake. Returns nil while it needs more bytes.
    func handshake() -> Result<Void, TLSFailure>? {
        ERR_clear_error()
        let result = SSL_do_handshake(ssl)
        if result == 1 {
            isEstablished = true
            return .success(())
        }
        let code = SSL_get_error(ssl, result)
        if code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE { return nil }
        return .failure(failure())
    }

    /// Decrypts into `buffer`.
    func read(into buffer: UnsafeMutableRawPointer, _ capacity: Int) -> ReadResult {
        // Another session's leftovers must not be taken for a failure of this one. Looking costs less than clearing.
        if ERR_peek_error() != 0 { ERR_clear_error() }
        let count = SSL_read(ssl, buffer, Int32(capacity))
        if count > 0 { return .bytes(Int(count)) }
        let code = SSL_get_error(ssl, count)
        switch code {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .wantMore
        case SSL_ERROR_ZERO_RETURN: return .closed
        default: return .failed(failure())
        }
    }

    /// Encrypts `count` octets into the output queue. False when TLS refuses (the connection is broken).
    func write(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        var offset = 0
        while offset < count {
            let written = SSL_write(ssl, bytes + offset, Int32(min(count - offset, 1 << 20)))
            if written <= 0 {
                ERR_clear_error()
                return false
            }
            offset += Int(written)
        }
        return true
    }

    /// The verified peer certificate's subject, RFC 2253 form; nil without a certificate.
    var peerSubject: String? {
        withVerifiedPeer { certificate in
            guard let memory = BIO_new(BIO_s_mem()) else { return nil }
            defer { BIO_free(memory) }
            X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, rfc2253Form)
            var buffer = [UInt8](repeating: 0, count: 512)
            let count = BIO_read(memory, &buffer, 512)
            return count > 0 ? String(decoding: buffer[0..<Int(count)], as: UTF8.self) : nil
        }
    }

    /// The name that `names` makes of the verified peer certificate; nil without a certificate, or if it makes none.
    func peerName(_ names: CertificateUserNames) -> String? { withVerifiedPeer { names.name(of: $0) } }

    private func withVerifiedPeer(_ body: (OpaquePointer) -> String?) -> String? {
        guard let certificate = SSL_get1_peer_certificate(ssl) else { return nil }
        defer { X509_free(certificate) }
        return SSL_get_verify_result(ssl) == Int(X509_V_OK) ? body(certificate) : nil
    }

    var cipherName: String { SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)).map { String(cString: $0) } ?? "" }
    var protocolName: String { SSL_get_version(ssl).map { String(cString: $0) } ?? "" }

    private func failure() -> TLSFailure {
        let reason = TLSErrors.drain()
        return TLSFailure(text: failureText(reason), reason: reason)
    }

    private func failureText(_ reason: String) -> String {
        let verify = SSL_get_verify_result(ssl)
        guard verify != Int(X509_V_OK), let words = X509_verify_cert_error_string(verify) else { return reason }
        switch verify {
        case Int(X509_V_ERR_CERT_HAS_EXPIRED): return "peer certificate has expired"
        case Int(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY), Int(X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN),
            Int(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT), Int(X509_V_ERR_CERT_SIGNATURE_FAILURE),
            Int(X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE):
            return "peer certificate is not signed by this link's CA"
        case Int(X509_V_ERR_HOSTNAME_MISMATCH), Int(X509_V_ERR_IP_ADDRESS_MISMATCH):
            return "peer certificate is not valid for this host name"
        default: return "\(reason) (\(String(cString: words)))"
        }
    }

    fileprivate func takeInput(_ buffer: UnsafeMutablePointer<CChar>, _ capacity: Int) -> Int {
        if keptTaken < kept.count {
            let count = min(capacity, kept.count - keptTaken)
            kept.withUnsafeBytes { _ = memcpy(buffer, $0.baseAddress! + keptTaken, count) }
            keptTaken += count
            if keptTaken == kept.count {
                kept = []
                keptTaken = 0
            }
            return count
        }
        guard inputCount > 0, let input else { return 0 }
        let count = min(capacity, inputCount)
        memcpy(buffer, input, count)
        self.input = input + count
        inputCount -= count
        return count
    }

    fileprivate func queueOutput(_ bytes: UnsafePointer<CChar>, _ count: Int) {
        output.append(bytes, count, pool: pool)
    }
}

/// XN_FLAG_RFC2253 without the escapes for control characters: a macro of casts, which does not reach Swift.
private let rfc2253Form: UInt = 1 | 2 | 4 | 0x10 | 0x100 | 1 << 16 | 1 << 20 | 1 << 24

private let retryRead = Int32(BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)

private func session(_ bio: OpaquePointer?) -> TLSSession? {
    BIO_get_data(bio).map { Unmanaged<TLSSession>.fromOpaque($0).takeUnretainedValue() }
}

/// The BIO type shared by all sessions; made once. `OpaquePointer` is not Sendable, but the method table never changes.
nonisolated(unsafe) private let bioMethod: OpaquePointer? = {
    guard let method = BIO_meth_new(BIO_get_new_index() | Int32(BIO_TYPE_SOURCE_SINK), "skupper slabs") else {
        return nil
    }
    BIO_meth_set_write(method) { bio, bytes, count in
        guard let session = session(bio), let bytes, count > 0 else { return 0 }
        session.queueOutput(bytes, Int(count))
        return count
    }
    BIO_meth_set_read(method) { bio, buffer, capacity in
        guard let session = session(bio), let buffer, capacity > 0 else { return 0 }
        let count = session.takeInput(buffer, Int(capacity))
        if count > 0 { return Int32(count) }
        BIO_set_flags(bio, retryRead)
        return -1
    }
    BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
    BIO_meth_set_create(method) { _ in 1 }
    return method
}()
