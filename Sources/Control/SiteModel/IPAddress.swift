/// IP address literals without the C library, so that pure modules can tell them from names.
package enum IPAddress {
    /// 4 or 16 network-order bytes of a literal; nil when the text is not one. Zones (`%eth0`) are refused.
    package static func parse(_ text: String) -> [UInt8]? { parseV4(Substring(text)) ?? parseV6(text) }

    private static func parseV4(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard !part.isEmpty, part.count <= 3, part.utf8.allSatisfy({ (48...57).contains($0) }),
                part == "0" || part.first != "0", let byte = UInt8(part)
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static func parseV6(_ text: String) -> [UInt8]? {
        guard text.contains(":") else { return nil }
        let halves = splitAtGap(text)
        guard let halves, let head = groups(halves.head, v4Allowed: halves.tail == nil) else { return nil }
        guard let tailText = halves.tail else { return head.count == 16 ? head : nil }
        guard let tail = groups(tailText, v4Allowed: true), head.count + tail.count <= 14 else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    /// The text before and after `::`; no tail without one; nil when there are two.
    private static func splitAtGap(_ text: String) -> (head: Substring, tail: Substring?)? {
        let bytes = text.utf8
        var index = bytes.startIndex
        var gap: String.Index?
        while index < bytes.endIndex {
            let next = bytes.index(after: index)
            if bytes[index] == UInt8(ascii: ":"), next < bytes.endIndex, bytes[next] == UInt8(ascii: ":") {
                if gap != nil { return nil }
                gap = index
                index = next
            }
            index = bytes.index(after: index)
        }
        guard let gap else { return (Substring(text), nil) }
        return (text[..<gap], text[bytes.index(gap, offsetBy: 2)...])
    }

    private static func groups(_ text: Substring, v4Allowed: Bool) -> [UInt8]? {
        guard !text.isEmpty else { return [] }
        var bytes: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1, v4Allowed, let v4 = parseV4(part) {
                bytes += v4
                continue
            }
            guard !part.isEmpty, part.count <= 4, part.utf8.allSatisfy({ isHexDigit($0) }),
                let group = UInt16(part, radix: 16)
            else { return nil }
            bytes += [UInt8(group >> 8), UInt8(group & 255)]
        }
        return bytes.count <= 16 ? bytes : nil
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (97...102).contains(byte | 0x20)
    }
}
