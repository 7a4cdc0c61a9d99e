import COpenSSL
import Glibc

/// A blocking TCP or TLS client that fails by itself: every read and write ends after `deadlineSeconds`.
final class RawClient {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    static let deadlineSeconds = 10
    let descriptor: Int32
    private var session: OpaquePointer?
    private var context: OpaquePointer?

    init(port: UInt16) throws {
        // For this thread only: OpenSSL writes without MSG_NOSIGNAL, and the server must cope without help.
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &pipe, nil)
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(description: "no socket") }
        var wait = timeval(tv_sec: RawClient.deadlineSeconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait, size)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else {
            throw Failure(description: "connect \(port): \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        if let session { SSL_free(session) }
        if let context { SSL_CTX_free(context) }
        close(descriptor)
    }

    /// Does the TLS handshake, with a certificate of its own if one is given.
    func startTLS(newest version: Int32 = TLS1_3_VERSION, identity: TestCertificate? = nil) throws {
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw Failure(description: "no context") }
        self.context = context
        _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version), nil)
        if let identity {
            SSL_CTX_use_certificate(context, identity.certificate)
            SSL_CTX_use_PrivateKey(context, identity.key)
        }
        session = SSL_new(context)
        SSL_set_fd(session, descriptor)
        guard SSL_connect(session) == 1 else { throw Failure(description: "TLS handshake failed") }
    }

    var tlsVersion: String {
        session.flatMap { SSL_get_version($0) }.map { String(cString: $0) } ?? "none"
    }

    /// Common name of the server's certificate.
    var peerCommonName: String {
        guard let session, let certificate = SSL_get1_peer_certificate(session) else { return "none" }
        defer { X509_free(certificate) }
        var text = [CChar](repeating: 0, count: 256)
        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, &text, 256)
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { buffer in
                session.map { Int(SSL_write($0, buffer.baseAddress, Int32(buffer.count))) }
                    ?? Glibc.send(descriptor, buffer.baseAddress, buffer.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure(description: "send: \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
    }

    /// Some octets; empty at the end of the stream, after a reset too.
    func receive() throws -> [UInt8] {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count =
            session.map { Int(SSL_read($0, &chunk, Int32(chunk.count))) } ?? recv(descriptor, &chunk, chunk.count, 0)
        if count > 0 { return Array(chunk[..<count]) }
        if count < 0, session == nil, errno == EAGAIN || errno == EWOULDBLOCK {
            throw Failure(description: "nothing received for \(RawClient.deadlineSeconds) s")
        }
        return []
    }

    /// Everything up to the end of the stream.
    func receiveAll() throws -> String {
        var all: [UInt8] = []
        while true {
            let chunk = try receive()
            if chunk.isEmpty { return String(decoding: all, as: UTF8.self) }
            all += chunk
        }
    }

    /// One response with a Content-Length.
    func receiveResponse(hasBody: Bool = true) throws -> (status: Int, head: String, body: String) {
        var all: [UInt8] = []
        while true {
            let text = String(decoding: all, as: UTF8.self)
            if let split = text.range(of: "\r\n\r\n") {
                let head = String(text[..<split.lowerBound])
                let status = head.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
                let length =
                    head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
                    .flatMap { Int($0.dropFirst(15).drop { $0 == " " }) } ?? 0
                let body = text[split.upperBound...]
                if !hasBody || body.utf8.count >= length { return (status, head, String(body)) }
            }
            let chunk = try receive()
            guard !chunk.isEmpty else { throw Failure(description: "end of stream after \"\(text)\"") }
            all += chunk
        }
    }

    /// Closes with a reset at once.
    func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }
}

extension String {
    func range(of needle: String) -> Range<String.Index>? {
        // By octets: a line break of two is one Character.
        let bytes = utf8
        let wanted = Array(needle.utf8)
        var start = bytes.startIndex
        while start < bytes.endIndex {
            if bytes[start...].starts(with: wanted) {
                return start..<bytes.index(start, offsetBy: wanted.count)
            }
            start = bytes.index(after: start)
        }
        return nil
    }
}

/// A self-signed certificate with a new EC key.
final class TestCertificate {
    let certificate: OpaquePointer
    let key: OpaquePointer

    init(commonName: String) throws {
        guard let key = makeECKey("P-256"), let certificate = X509_new() else {
            throw RawClient.Failure(description: "no key")
        }
        self.key = key
        self.certificate = certificate
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1)
        X509_gmtime_adj(X509_getm_notBefore(certificate), -60)
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600)
        X509_set_pubkey(certificate, key)
        let name = X509_get_subject_name(certificate)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_FLAG | 1, commonName, -1, -1, 0)
        X509_set_issuer_name(certificate, name)
        guard X509_sign(certificate, key, EVP_sha256()) > 0 else {
            throw RawClient.Failure(description: "not signed")
        }
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
    }

    var certificatePEM: String { TestCertificate.text { PEM_write_bio_X509($0, certificate) } }
    var keyPEM: String {
        TestCertificate.text { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    }

    private static func text(_ write: (OpaquePointer?) -> Int32) -> String {
        let bio = BIO_new(BIO_s_mem())
        defer { BIO_free(bio) }
        guard write(bio) == 1 else { return "" }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = BIO_read(bio, &bytes, 8192)
        return String(decoding: bytes[..<Int(max(0, count))], as: UTF8.self)
    }
}

func makeECKey(_ curve: String) -> OpaquePointer? {
    let context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil)
    defer { EVP_PKEY_CTX_free(context) }
    guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_CTX_set_group_name(context, curve) == 1 else { return nil }
    var key: OpaquePointer?
    return EVP_PKEY_keygen(context, &key) == 1 ? key : nil
}
