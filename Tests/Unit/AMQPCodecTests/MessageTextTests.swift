import Testing

@testable import AMQPCodec

@Suite struct MessageTextTests {
    private static let all = MessageParts.named(by: "all").parts

    /// A message with these properties, up to the group-id.
    private func message(
        annotations: Bool = false, properties: [AMQPValue] = [], application: AMQPValue? = nil, body: Bool = true
    ) -> [UInt8] {
        var encoder = AMQPEncoder()
        if annotations { RouterAnnotations().encode(into: &encoder) }
        encoder.described(0x70)
        encoder.fields([.bool(true)])
        encoder.described(0x73)
        encoder.value(.list(properties))
        if let application {
            encoder.described(0x74)
            encoder.value(application)
        }
        if body { encoder.bytes += [0x00, 0x53, 0x77, 0xa1, 6] + Array("SECRET".utf8) }
        return encoder.bytes
    }

    private func text(_ octets: [UInt8], _ parts: MessageParts = all) -> String {
        octets.withUnsafeBytes { MessageText.text(of: $0, parts: parts) }
    }

    @Test func partsByName() {
        #expect(MessageParts.named(by: "none").parts.isEmpty && MessageParts.named(by: "").parts.isEmpty)
        #expect(MessageParts.named(by: "all").parts.rawValue == (1 << 14) - 1)
        let some = MessageParts.named(by: "user-id,,app-properties")
        #expect(some.parts == [.init(position: 1), .applicationProperties] && some.unknown.isEmpty)
        let faulty = MessageParts.named(by: "subject, to,all,none,Subject")
        #expect(faulty.parts == .init(position: 3))
        #expect(faulty.unknown == [" to", "all", "none", "Subject"])
    }

    @Test func fieldsInTheirOrderAndNoOthers() {
        let fields: [AMQPValue] = [
            .string("1"), .binary([0x75, 0, 0xff]), .string("there"), .null, .string("here"), .ulong(89),
            .symbol("text/html"), .symbol("gzip"), .null, .timestamp(1_487_772_623_883), .string("g"), .uint(0),
            .string("h"),
        ]
        let whole = message(
            annotations: true, properties: fields,
            application: .map([MapEntry(key: .string("k"), value: .list([.int(10), .bool(true), .null]))]))
        #expect(
            text(whole)
                == #"Message{message-id="1", user-id=b"u\00\ff", to="there", reply-to="here", correlation-id=89, "#
                + #"content-type=:"text/html", content-encoding=:"gzip", "#
                + #"creation-time="2017-02-22 14:10:23.883 +0000", "#
                + #"group-id="g", group-sequence=0, reply-to-group-id="h", app-properties={"k"=[10, true, null]}}"#)
        #expect(
            text(whole, MessageParts.named(by: "app-properties,to").parts)
                == #"Message{to="there", app-properties={"k"=[10, true, null]}}"#)
        #expect(text(whole, MessageParts.named(by: "subject").parts) == "Message{}")
        #expect(text(message(properties: [.string("1")])) == #"Message{message-id="1"}"#)
    }

    @Test func nothingEndsALineAndNothingIsLong() {
        let nasty = "a\n2026 FORGED\r\u{1b}[2J\"\\\u{2028}é"
        let shown = text(message(properties: [.null, .null, .string(nasty)]))
        #expect(shown == #"Message{to="a\0a2026 FORGED\0d\1b[2J\"\\\e2\80\a8\c3\a9"}"#)
        let long = String(repeating: "\n", count: 5000)
        let one = text(message(properties: [.string(long)]))
        #expect(one.hasSuffix("\\0a… (5000 octets)\"}") && one.utf8.count < 300)
        let entries = (0..<300).map { MapEntry(key: .string("\($0)"), value: .string(long)) }
        let many = text(message(properties: [.string("1")], application: .map(entries)))
        #expect(many.hasSuffix(" … (cut)") && many.utf8.count <= MessageText.maximum + 20)
        #expect(MessageText.quoted("abcdef".utf8, limit: 3) == "abc… (6 octets)")
        #expect(MessageText.quoted("ab\n".utf8, limit: 4) == "ab… (3 octets)")
        #expect(MessageText.quoted("abc".utf8, limit: 3) == "abc")
    }

    @Test func whatIsNotWholeIsLeftOut() {
        let whole = message(
            properties: [.string("1")], application: .map([MapEntry(key: .string("k"), value: .string("v"))]))
        for count in 0...whole.count {
            let part = text(Array(whole.prefix(count)))
            #expect(part.hasPrefix("Message{") && part.hasSuffix("}") && !part.contains("SECRET"))
        }
        #expect(text([]) == "Message{}")
        #expect(text([0x00, 0x53, 0x73, 0xa1, 1, 0x31]) == "Message{}")
    }

    @Test func timesOfAllYears() {
        #expect(MessageText.time(0) == "1970-01-01 00:00:00.000 +0000")
        #expect(MessageText.time(-1) == "1969-12-31 23:59:59.999 +0000")
        #expect(MessageText.time(951_782_400_000) == "2000-02-29 00:00:00.000 +0000")
        #expect(MessageText.time(951_868_799_000) == "2000-02-29 23:59:59.000 +0000")
        #expect(MessageText.time(4_107_542_400_000) == "2100-03-01 00:00:00.000 +0000")
        #expect(MessageText.time(1_735_603_200_000) == "2024-12-31 00:00:00.000 +0000")
        #expect(MessageText.time(253_402_300_799_999) == "9999-12-31 23:59:59.999 +0000")
        #expect(MessageText.time(253_402_300_800_000) == "253402300800000")
        #expect(MessageText.time(-62_167_219_200_000) == "0000-01-01 00:00:00.000 +0000")
        #expect(MessageText.time(-62_167_219_200_001) == "-62167219200001")
        #expect(MessageText.time(.min) == "-9223372036854775808")
    }
}
