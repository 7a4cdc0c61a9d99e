/// Replaces `$NAME` and `${NAME}` in configuration text by variables of the environment.
///
/// A variable that is not set stays as it is, as with skrouterd: addresses such as `$management` look the same.
enum Substitution {
    /// - Parameter value: the value of a variable, nil if it is not set.
    static func expand(_ text: String, form: ConfigurationForm, value: (String) -> String?) -> String {
        guard text.utf8.contains(dollar) else { return text }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var insideString = false
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "#"), index == 0 || bytes[index - 1] == UInt8(ascii: "\n") {
                // A comment, whatever a variable in it holds.
                let end = bytes[index...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
                result += bytes[index..<end]
                index = end
                continue
            }
            if byte == dollar, let reference = reference(in: bytes, at: index) {
                if let value = value(reference.name) {
                    // A value within JSON must not end the string it stands in.
                    result += insideString ? Array(AttributeValue.escaped(value).utf8) : Array(value.utf8)
                } else {
                    result += bytes[index..<reference.end]
                }
                index = reference.end
                continue
            }
            if form == .json {
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
        // Names of a container's variables may have dots and hyphens, which only braces keep together.
        while end < bytes.count, braced ? !endsBraces(bytes[end]) : isNameByte(bytes[end]) { end += 1 }
        guard end > first else { return nil }
        let name = String(decoding: bytes[first..<end], as: UTF8.self)
        guard braced else { return (name, end) }
        return end < bytes.count && bytes[end] == UInt8(ascii: "}") ? (name, end + 1) : nil
    }

    private static func endsBraces(_ byte: UInt8) -> Bool {
        // A quote would leave the string that the reference stands in.
        byte == UInt8(ascii: "}") || byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\"")
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
