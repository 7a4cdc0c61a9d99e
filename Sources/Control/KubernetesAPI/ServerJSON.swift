import ControlIO

/// JSON of an API server. Users may store what our parser refuses: the character NUL in texts and keys, integers beyond
/// 64 bits. One object of somebody's must not end the list or the watch that it comes in, so those are tamed.
enum ServerJSON {
    /// The value; nil for what is no JSON.
    static func parse(_ bytes: [UInt8]) -> Document? {
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        if let document = try? JSON.parse(text) { return document }
        return String(validating: tamed(bytes), as: UTF8.self).flatMap { try? JSON.parse($0) }
    }

    /// NUL becomes the replacement character, an integer of 19 or more digits a number with a fraction.
    static func tamed(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + 64)
        var isText = false
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\"") {
                isText.toggle()
            } else if isText, byte == UInt8(ascii: "\\") {
                let escape = bytes[index..<min(index + 6, bytes.count)]
                let isNUL = escape.elementsEqual("\\u0000".utf8)
                result += isNUL ? Array("\\ufffd".utf8) : Array(escape.prefix(2))
                index += isNUL ? 6 : 2
                continue
            } else if !isText, isDigit(byte) {
                let end = bytes[index...].firstIndex { !isDigit($0) } ?? bytes.endIndex
                result += bytes[index..<end]
                let next = end < bytes.count ? bytes[end] : 0
                let isInteger = ![UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(next)
                let before = index > 0 ? bytes[index - 1] : 0
                if end - index >= 19, isInteger, before != UInt8(ascii: "."), before != UInt8(ascii: "+") {
                    result += Array(".0".utf8)
                }
                index = end
                continue
            }
            result.append(byte)
            index += 1
        }
        return result
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
