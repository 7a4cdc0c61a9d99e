import COpenSSL

/// An X509 that is freed with its owner.
final class CertificateObject {
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { self.pointer = pointer }

    /// The first certificate of a PEM text.
    convenience init(pem: String) throws(TrustError) {
        let found: OpaquePointer? = try withReadBuffer(pem) { PEM_read_bio_X509($0, nil, refusePassphrase, nil) }
        guard let found else { throw .unreadable(what: "certificate", detail: libraryFault()) }
        self.init(owning: found)
    }

    deinit { X509_free(pointer) }

    func pem() throws(TrustError) -> String {
        try writtenText("write a certificate") { PEM_write_bio_X509($0, pointer) }
    }
}

/// An EVP_PKEY that is freed with its owner.
final class KeyObject {
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { self.pointer = pointer }

    /// A private key of a PEM text: PKCS#1, PKCS#8 or EC, without passphrase.
    convenience init(pem: String) throws(TrustError) {
        let found: OpaquePointer? = try withReadBuffer(pem) { PEM_read_bio_PrivateKey($0, nil, refusePassphrase, nil) }
        guard let found else { throw .unreadable(what: "private key", detail: libraryFault()) }
        self.init(owning: found)
    }

    deinit { EVP_PKEY_free(pointer) }

    /// A new RSA key of 2048 bits.
    static func makeRSA() throws(TrustError) -> KeyObject {
        guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, nil) else {
            throw .library(operation: "make a key", detail: libraryFault())
        }
        defer { EVP_PKEY_CTX_free(context) }
        var made: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048) == 1,
            EVP_PKEY_generate(context, &made) == 1, let made
        else { throw .library(operation: "make a key", detail: libraryFault()) }
        return KeyObject(owning: made)
    }

    /// `RSA PRIVATE KEY` (PKCS#1): upstream reads CA keys in no other form.
    func pem() throws(TrustError) -> String {
        try writtenText("write a private key") {
            PEM_write_bio_PrivateKey_traditional($0, pointer, nil, nil, 0, nil, nil)
        }
    }
}

/// Answers OpenSSL's question for a passphrase with "none"; the default would ask on the terminal.
private func refusePassphrase(
    _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int32, _ forWriting: Int32, _ context: UnsafeMutableRawPointer?
) -> Int32 { -1 }

/// Calls `read` with a memory BIO over the text.
private func withReadBuffer<Value>(_ text: String, _ read: (OpaquePointer) -> Value?) throws(TrustError) -> Value? {
    guard text.utf8.count <= 1_048_576 else { throw .unreadable(what: "PEM text", detail: "larger than 1 MiB") }
    let bytes = Array(text.utf8)
    return bytes.withUnsafeBufferPointer { buffer in
        guard let bio = BIO_new_mem_buf(buffer.baseAddress, Int32(buffer.count)) else { return nil }
        defer { BIO_free(bio) }
        return read(bio)
    }
}

/// What `write` puts into a memory BIO, as text.
func writtenText(_ operation: String, _ write: (OpaquePointer) -> Int32) throws(TrustError) -> String {
    guard let bio = BIO_new(BIO_s_mem()) else { throw .library(operation: operation, detail: libraryFault()) }
    defer { BIO_free(bio) }
    guard write(bio) > 0 else { throw .library(operation: operation, detail: libraryFault()) }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = BIO_read(bio, &chunk, Int32(chunk.count))
        guard count > 0 else { break }
        output += chunk[0..<Int(count)]
    }
    return String(decoding: output, as: UTF8.self)
}

/// The first fault in OpenSSL's queue in words; empties the queue.
func libraryFault() -> String {
    let code = ERR_get_error()
    defer { ERR_clear_error() }
    guard code != 0, let reason = ERR_reason_error_string(code) else { return "no reason given" }
    return String(cString: reason)
}
