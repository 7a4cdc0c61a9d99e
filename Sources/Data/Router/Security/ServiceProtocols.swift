import COpenSSL
import Glibc

/// Application protocols agreed on in a TLS handshake (ALPN, RFC 7301), as services use them.
enum ServiceProtocols {
    /// Lets a server choose http/1.1 before h2: which of them the service behind it speaks is not known yet, and nearly
    /// all speak HTTP/1.1. A client that offers neither is refused, as RFC 7301 has it; one that offers nothing is
    /// served. skupper-router chooses in the same way.
    static func choose(_ context: OpaquePointer) {
        SSL_CTX_set_alpn_select_cb(
            context,
            { _, chosen, chosenCount, offered, offeredCount, _ in
                var pointer: UnsafeMutablePointer<UInt8>?
                let result = SSL_select_next_proto(
                    &pointer, chosenCount, served.pointer, UInt32(served.count), offered, offeredCount)
                guard result == OPENSSL_NPN_NEGOTIATED, let pointer else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                chosen?.pointee = UnsafePointer(pointer)
                return SSL_TLSEXT_ERR_OK
            }, nil)
    }

    /// A client offers one protocol. A name that cannot be one is not offered.
    static func offer(_ name: String, _ ssl: OpaquePointer) {
        let bytes = Array(name.utf8)
        guard !bytes.isEmpty, bytes.count < 256 else { return }
        SSL_set_alpn_protos(ssl, [UInt8(bytes.count)] + bytes, UInt32(bytes.count + 1))
    }

    static func agreed(_ ssl: OpaquePointer) -> String? {
        var pointer: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &pointer, &count)
        guard let pointer, count > 0 else { return nil }
        return String(decoding: UnsafeBufferPointer(start: pointer, count: Int(count)), as: UTF8.self)
    }
}

/// http/1.1 and h2 in the form of the wire: OpenSSL answers with pointers into it, so it lives for ever.
nonisolated(unsafe) private let served: (pointer: UnsafeMutablePointer<UInt8>, count: Int) = {
    let bytes: [UInt8] = [8] + Array("http/1.1".utf8) + [2] + Array("h2".utf8)
    let pointer = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count)
    pointer.initialize(from: bytes, count: bytes.count)
    return (pointer, bytes.count)
}()
