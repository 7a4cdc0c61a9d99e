import COpenSSL

/// Values from the system's cryptographic random generator.
package enum RandomValues {
    /// Random bytes.
    package static func bytes(_ count: Int) throws(TrustError) -> [UInt8] { throw .keyMismatch }
    /// A token code: 24 alphanumerics, each equally likely.
    package static func code() throws(TrustError) -> String { throw .keyMismatch }
    /// A version 4 UUID in lower case.
    package static func uuid4() throws(TrustError) -> String { throw .keyMismatch }
}

/// Comparison of secrets.
package enum ConstantTime {
    /// Whether two byte strings are equal; the time taken depends on the lengths only.
    package static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        var difference: UInt8 = 0
        for index in left.indices { difference |= left[index] ^ right[index] }
        return difference == 0
    }
}
