/// A tar archive in the POSIX ustar format (IEEE Std 1003.1, pax), regular files only, inside a gzip file.
struct TarArchive {
    private var content: [UInt8] = []
    private let time: Int64

    /// - Parameter time: seconds since 1970, for all files.
    init(time: Int64) {
        self.time = time
    }

    /// Adds a file. A path that does not fit the format's 255 octets is left out.
    mutating func add(_ path: String, _ bytes: [UInt8]) {
        guard let (prefix, name) = Self.split(path) else { return }
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: [UInt8], at offset: Int) { header.replaceSubrange(offset..<offset + text.count, with: text) }
        put(name, at: 0)
        put(Self.octal(0o600, digits: 7), at: 100)
        put(Self.octal(0, digits: 7), at: 108)
        put(Self.octal(0, digits: 7), at: 116)
        put(Self.octal(Int64(bytes.count), digits: 11), at: 124)
        put(Self.octal(time, digits: 11), at: 136)
        // The checksum counts its own field as blanks.
        put([UInt8](repeating: 0x20, count: 8), at: 148)
        put(Array("0".utf8), at: 156)
        put(Array("ustar\u{0}00".utf8), at: 257)
        put(prefix, at: 345)
        let sum = header.reduce(Int64(0)) { $0 + Int64($1) }
        put(Self.octal(sum, digits: 6) + [0, 0x20], at: 148)
        content += header + bytes
        content += [UInt8](repeating: 0, count: (512 - bytes.count % 512) % 512)
    }

    /// The archive as a gzip file (RFC 1952) with stored blocks (RFC 1951 §3.2.4): no compression, but every tool
    /// that takes a `.tar.gz` reads it.
    func gzipped() -> [UInt8] {
        let data = content + [UInt8](repeating: 0, count: 1024)
        var result: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]
        var start = 0
        repeat {
            let end = min(start + 65535, data.count)
            let length = UInt16(end - start)
            result.append(end == data.count ? 1 : 0)
            result += Self.littleEndian(UInt32(length), octets: 2) + Self.littleEndian(UInt32(~length), octets: 2)
            result += data[start..<end]
            start = end
        } while start < data.count
        return result + Self.littleEndian(Self.crc32(data), octets: 4)
            + Self.littleEndian(UInt32(truncatingIfNeeded: data.count), octets: 4)
    }

    /// Splits a path at a slash so that the last part fits 100 octets and the first 155.
    private static func split(_ path: String) -> (prefix: [UInt8], name: [UInt8])? {
        let bytes = Array(path.utf8)
        if bytes.count <= 100 { return ([], bytes) }
        for index in bytes.indices where bytes[index] == UInt8(ascii: "/") {
            let name = bytes[(index + 1)...]
            if index <= 155, name.count <= 100, !name.isEmpty { return (Array(bytes[..<index]), Array(name)) }
        }
        return nil
    }

    private static func octal(_ value: Int64, digits: Int) -> [UInt8] {
        let text = Array(String(max(0, value), radix: 8).utf8.suffix(digits))
        return [UInt8](repeating: UInt8(ascii: "0"), count: digits - text.count) + text
    }

    private static func littleEndian(_ value: UInt32, octets: Int) -> [UInt8] {
        (0..<octets).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) }
    }

    /// RFC 1952 §8.
    private static func crc32(_ bytes: [UInt8]) -> UInt32 {
        let table = (0..<256).map { index -> UInt32 in
            (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xedb8_8320 ^ (value >> 1) : value >> 1 }
        }
        var value: UInt32 = 0xffff_ffff
        for byte in bytes { value = table[Int((value ^ UInt32(byte)) & 0xff)] ^ (value >> 8) }
        return ~value
    }
}
