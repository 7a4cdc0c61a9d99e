import Testing

@testable import AMQPCodec

/// A head that arrives in pieces is read as the whole one is, wherever it is cut.
@Suite struct MessageHeadScannerTests {
    private static let message: [UInt8] = {
        var encoder = AMQPEncoder()
        RouterAnnotations(flags: 5, toOverride: "a", ingress: "0/X", trace: ["0/X", "0/Y"], meshID: nil).encode(
            into: &encoder)
        encoder.described(0x70)
        encoder.list(1) { $0.bool(true) }
        encoder.described(0x73)
        encoder.list(3) { list in
            list.null()
            list.null()
            list.string("somewhere")
        }
        encoder.described(0x74)
        encoder.map(1) { map in
            map.string("V")
            map.uint(1)
        }
        encoder.described(0x77)
        encoder.null()
        return encoder.bytes
    }()

    private func scan(_ scanner: inout MessageHeadScanner, _ bytes: [UInt8], complete: Bool = false) throws
        -> MessageHead.ScanResult
    {
        var copy = bytes
        return try copy.withUnsafeMutableBytes { try scanner.scan(UnsafeRawBufferPointer($0), complete: complete) }
    }

    @Test func octetByOctet() throws {
        var whole = MessageHeadScanner()
        let expected = try scan(&whole, Self.message)
        var scanner = MessageHeadScanner()
        for count in 1..<Self.message.count {
            #expect(try scan(&scanner, Array(Self.message.prefix(count))) == .needMore, "\(count) octets")
        }
        #expect(try scan(&scanner, Self.message) == expected)
    }

    @Test func sectionsOutOfOrderAreFoundAcrossPieces() throws {
        var encoder = AMQPEncoder()
        encoder.described(0x73)
        encoder.list(0) { _ in }
        let first = encoder.bytes
        encoder.described(0x70)
        encoder.list(0) { _ in }
        var scanner = MessageHeadScanner()
        #expect(try scan(&scanner, first) == .needMore)
        #expect(throws: DecodeError.badDescriptor(0x70)) { try scan(&scanner, encoder.bytes) }
    }

    /// A stream's first octets go on without the body, of which nobody knows when it comes.
    @Test func streamsGoOnBehindTheirProperties() throws {
        var encoder = AMQPEncoder()
        encoder.described(0x70)
        encoder.list(0) { _ in }
        let header = encoder.bytes
        encoder.described(0x73)
        encoder.list(0) { _ in }
        for isStream in [false, true] {
            var scanner = MessageHeadScanner()
            let early = try header.withUnsafeBytes { try scanner.scan($0, complete: false, isStream: isStream) }
            #expect(early == .needMore)
            let found = try encoder.bytes.withUnsafeBytes { try scanner.scan($0, complete: false, isStream: isStream) }
            #expect((found == .needMore) != isStream)
        }
    }

    /// The next router knows a stream by its annotations; a TCP stream's head is wanted with its body.
    @Test(arguments: [(UInt32(0), false), (1, true), (2, false), (3, true), (4, false), (5, false)])
    func streamsOfOtherRoutersGoOnBehindTheirProperties(flags: UInt32, goesOn: Bool) throws {
        var encoder = AMQPEncoder()
        RouterAnnotations(flags: flags, ingress: "0/r").encode(into: &encoder)
        encoder.described(0x73)
        encoder.list(0) { _ in }
        var scanner = MessageHeadScanner()
        #expect((try scan(&scanner, encoder.bytes) != .needMore) == goesOn)
    }

    @Test func endInsideASectionIsAnError() throws {
        var scanner = MessageHeadScanner()
        let part = Array(Self.message.prefix(Self.message.count - 20))
        #expect(try scan(&scanner, part) == .needMore)
        #expect(throws: DecodeError.truncated) { try scan(&scanner, part, complete: true) }
    }
}
