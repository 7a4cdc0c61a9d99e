import COpenSSL

/// The value of the request header `Idempotency-Key` of redemptions: who sends it again is answered again, and its use
/// counts once. A redeemer that was killed, or whose answer was lost, does not lose its token by that.
package enum RedemptionKey {
    /// The request header.
    package static let header = "Idempotency-Key"
    /// The longest key that a server takes, octets.
    static let limit = 128

    /// The key of a token for a redeemer that keeps nothing but a secret: the same each time, and known to nobody else
    /// who has the token (HMAC-SHA-256, RFC 2104).
    package static func derived(secret: String, token: String) -> String {
        let (key, data) = (Array(secret.utf8), Array("redemption of \(token)".utf8))
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        _ = HMAC(EVP_sha256(), key, Int32(key.count), data, data.count, &digest, &count)
        return digest.prefix(Int(count)).hexadecimal
    }

    /// What a server keeps of a key (SHA-256): it finds the key again, and does not tell it. Nil for what is no key.
    package static func claim(_ key: String) -> String? {
        let data = Array(key.utf8)
        guard (1...limit).contains(data.count) else { return nil }
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        guard EVP_Digest(data, data.count, &digest, &count, EVP_sha256(), nil) == 1 else { return nil }
        return digest.prefix(Int(count)).hexadecimal
    }
}
