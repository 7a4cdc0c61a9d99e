/// Replaces `$NAME` and `${NAME}` in configuration text by variables of the environment.
///
/// A variable that is not set stays as it is, as with skrouterd: addresses such as `$management` look the same.
enum Substitution {
    /// Which form the text has, since a value within JSON must not end the string it stands in.
    enum Syntax {
        case plain
        case json
    }

    static func expand(_ text: String, from environment: [String: String], syntax: Syntax) -> String {
        guard text.utf8.contains(dollar) else { return text }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var insideString = false
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == dollar, let reference = reference(in: bytes, at: index) {
                if let value = environment[reference.name] {
                    result += insideString ? Array(AttributeValue.escaped(value).utf8) : Array(value.utf8)
                } else {
                    result += bytes[index..<reference.end]
                }
                index = reference.end
                continue
            }
            if syntax == .json {
                if insideString, byte == UInt8(ascii: "\\"), index + 1 < bytes.count {
                    result += bytes[index...index + 1]
                    index += 2
                    continue
                }
                if byte == UInt8(ascii: "\"") { insideString.toggle() }
            }
            result.append(byte)
            index += 1
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// `text` with a letter for each `${NAME}`: what it could look like once expanded.
    static func withoutVariables(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if index + 1 < bytes.count, bytes[index] == dollar, bytes[index + 1] == UInt8(ascii: "{"),
                let reference = reference(in: bytes, at: index)
            {
                result.append(UInt8(ascii: "x"))
                index = reference.end
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static let dollar = UInt8(ascii: "$")

    /// The variable referred to at the dollar sign at `start`, and where the reference ends; nil if it is none.
    private static func reference(in bytes: [UInt8], at start: Int) -> (name: String, end: Int)? {
        let braced = start + 1 < bytes.count && bytes[start + 1] == UInt8(ascii: "{")
        let first = start + (braced ? 2 : 1)
        var end = first
        while end < bytes.count, isNameByte(bytes[end]) { end += 1 }
        guard end > first else { return nil }
        let name = String(decoding: bytes[first..<end], as: UTF8.self)
        guard braced else { return (name, end) }
        return end < bytes.count && bytes[end] == UInt8(ascii: "}") ? (name, end + 1) : nil
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
