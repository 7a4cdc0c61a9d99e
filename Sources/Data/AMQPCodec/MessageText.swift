/// Parts of a message that can be asked for in the log: the fields of its properties, and its application properties.
package struct MessageParts: OptionSet, Sendable {
    package let rawValue: UInt16

    /// In the order of the fields of the properties section (part 3, section 3.2.4).
    static let fields = [
        "message-id", "user-id", "to", "subject", "reply-to", "correlation-id", "content-type", "content-encoding",
        "absolute-expiry-time", "creation-time", "group-id", "group-sequence", "reply-to-group-id",
    ]
    static let applicationPropertiesName = "app-properties"
    static let applicationProperties = MessageParts(position: fields.count)

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    init(position: Int) { rawValue = 1 << UInt16(position) }

    /// What the text of `messageLoggingComponents` asks for, and the names in it that are none; those ask for nothing.
    ///
    /// `none`, `all`, or names with commas between them, without spaces.
    package static func named(by text: String) -> (parts: MessageParts, unknown: [String]) {
        var parts: MessageParts = []
        if text == "none" { return (parts, []) }
        let names = fields + [applicationPropertiesName]
        if text == "all" {
            for position in names.indices { parts.insert(MessageParts(position: position)) }
            return (parts, [])
        }
        var unknown: [String] = []
        for name in text.split(separator: ",").map(String.init) {
            if let position = names.firstIndex(of: name) {
                parts.insert(MessageParts(position: position))
            } else {
                unknown.append(name)
            }
        }
        return (parts, unknown)
    }
}

/// A message as text for people: `Message{subject="x", app-properties={"n"=1}}`, the fields in their order, those
/// without a value left out. Never its body.
///
/// What a peer sends cannot make the text long, nor break the line: each string and the whole have limits, and octets
/// other than those of printable ASCII are shown as `\` and two hexadecimal digits.
package enum MessageText {
    /// Octets of the whole text, without the mark that it was cut.
    package static let maximum = 1200
    /// Octets that one string, symbol or binary value may take.
    static let stringMaximum = 256

    /// The text of a message.
    ///
    /// - Parameter message: The message, with or without annotations of routers, as far as it has come. Sections that
    ///   are not whole are left out.
    package static func text(of message: UnsafeRawBufferPointer, parts: MessageParts) -> String {
        var text = BoundedText(maximum: maximum)
        text.add("Message{")
        var reader = ByteReader(message)
        // It ends at the body, or where the octets end or make no sense.
        try? text.sections(&reader, parts)
        text.add("}")
        return text.finished
    }

    /// A string in a form that is at home in any line, of `limit` octets at most and perhaps a mark that it was cut.
    package static func quoted(_ octets: some Collection<UInt8>, limit: Int) -> String {
        var text = ""
        var left = limit
        for octet in octets {
            let shown: String
            switch octet {
            case 0x22, 0x5c: shown = "\\" + String(UnicodeScalar(octet))
            case 0x20...0x7e: shown = String(UnicodeScalar(octet))
            default: shown = (octet < 16 ? "\\0" : "\\") + String(octet, radix: 16)
            }
            guard shown.utf8.count <= left else { return text + "… (\(octets.count) octets)" }
            left -= shown.utf8.count
            text += shown
        }
        return text
    }

    /// `2017-02-22 14:10:23.883 +0000`; of a year that has not four digits the number of milliseconds.
    static func time(_ milliseconds: Int64) -> String {
        guard (-62_167_219_200_000..<253_402_300_800_000).contains(milliseconds) else { return String(milliseconds) }
        // Days from the first of March of the year -400 on: a leap day is then the last of its year, and of four
        // hundred years.
        let whole = milliseconds + 62_167_219_200_000
        let (days, inDay) = (whole / 86_400_000 + 146_037, whole % 86_400_000)
        let era = days / 146_097
        let inEra = days % 146_097
        let year = (inEra - inEra / 1460 + inEra / 36_524 - inEra / 146_096) / 365
        let inYear = inEra - (365 * year + year / 4 - year / 100)
        let month = (5 * inYear + 2) / 153
        let day = inYear - (153 * month + 2) / 5 + 1
        let isNext = month >= 10
        let date = [
            padded(era * 400 + year - 400 + (isNext ? 1 : 0), 4), padded(month + (isNext ? -9 : 3), 2), padded(day, 2),
        ]
        let clock = [inDay / 3_600_000, inDay / 60_000 % 60, inDay / 1000 % 60].map { padded($0, 2) }
        return date.joined(separator: "-") + " " + clock.joined(separator: ":") + ".\(padded(inDay % 1000, 3)) +0000"
    }

    private static func padded(_ number: Int64, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}

extension BoundedText {
    fileprivate mutating func sections(_ reader: inout ByteReader, _ parts: MessageParts) throws(DecodeError) {
        var isFirst = true
        while reader.remaining > 0 {
            switch try reader.describedType() {
            case 0x73:
                var fields = try FieldReader(&reader)
                for (position, name) in MessageParts.fields.enumerated() {
                    guard parts.contains(MessageParts(position: position)) else {
                        try fields.skip()
                        continue
                    }
                    if let value = try fields.value("properties") { component(name, value, &isFirst) }
                }
            case 0x74:
                let value = try AMQPValue.decode(from: &reader)
                if parts.contains(.applicationProperties) {
                    component(MessageParts.applicationPropertiesName, value, &isFirst)
                }
                return
            case 0x75...0x78: return
            default: try reader.skipValue()
            }
        }
    }

    private mutating func component(_ name: String, _ value: AMQPValue, _ isFirst: inout Bool) {
        add((isFirst ? "" : ", ") + name + "=")
        isFirst = false
        shown(value)
    }

    private mutating func shown(_ value: AMQPValue) {
        guard !isFull else { return }
        switch value {
        case .string(let text): quoted("", text.utf8)
        case .symbol(let text): quoted(":", text.utf8)
        case .binary(let octets): quoted("b", octets)
        case .timestamp(let milliseconds): add("\"\(MessageText.time(milliseconds))\"")
        case .list(let elements), .array(let elements): list(elements) { $0.shown($1) }
        case .map(let entries): map(entries) { $0.shown($1) }
        case .described(let descriptor, let inner):
            add("@")
            shown(descriptor)
            add(" ")
            shown(inner)
        default: add(BoundedText.scalar(value))
        }
    }

    private mutating func quoted(_ mark: String, _ octets: some Collection<UInt8>) {
        add(mark + "\"" + MessageText.quoted(octets, limit: MessageText.stringMaximum) + "\"")
    }
}
