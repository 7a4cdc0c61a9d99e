import COpenSSL

/// Values from the system's cryptographic random generator.
package enum RandomValues {
    private static let alphanumerics = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)

    /// Random bytes; `count` must not be negative.
    package static func bytes(_ count: Int) throws(TrustError) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        guard RAND_bytes(&result, Int32(count)) == 1 else {
            throw .library(operation: "make random bytes", detail: libraryFault())
        }
        return result
    }

    /// A token code: 24 alphanumerics, each equally likely.
    package static func code() throws(TrustError) -> String {
        var text: [UInt8] = []
        while text.count < 24 {
            // 248 is the greatest multiple of 62 in a byte: what is above would favour the first letters.
            for byte in try bytes(32) where byte < 248 && text.count < 24 {
                text.append(alphanumerics[Int(byte) % alphanumerics.count])
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// A version 4 UUID in lower case (RFC 9562 §5.4).
    package static func uuid4() throws(TrustError) -> String {
        var value = try bytes(16)
        value[6] = value[6] & 0x0f | 0x40
        value[8] = value[8] & 0x3f | 0x80
        var text = ""
        for (index, byte) in value.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return text
    }
}

/// Comparison of secrets.
package enum ConstantTime {
    /// Whether two byte strings are equal; the time taken depends on the lengths only.
    package static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        return CRYPTO_memcmp(left, right, left.count) == 0
    }
}
