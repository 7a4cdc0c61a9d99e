import TestKit
import Testing

@testable import AMQPCodec

@Suite struct MessageHeadTests {
    /// All recorded messages that begin and end in the recording, put together from their transfers.
    static func messages() throws -> [(place: String, octets: [UInt8])] {
        var open: [String: [UInt8]] = [:]
        var whole: [(String, [UInt8])] = []
        for frame in try RecordedFrame.all() {
            guard case .amqp(.transfer(let transfer)) = frame.body else { continue }
            let place = "\(frame.connection) \(frame.side) channel \(frame.header.channel) handle \(transfer.handle)"
            open[place, default: []] += frame.payload
            if !transfer.more, let octets = open.removeValue(forKey: place), !transfer.aborted {
                whole.append((place, octets))
            }
        }
        return whole
    }

    static func scan(_ octets: [UInt8], complete: Bool) throws -> MessageHead.ScanResult {
        try withExactMemory(octets) { try MessageHead.scan($0, complete: complete) }
    }

    static func head(_ octets: [UInt8]) throws -> MessageHead {
        guard case .head(let head) = try scan(octets, complete: true) else { throw DecodeError.truncated }
        return head
    }

    /// Sections are values behind descriptors, so they can be decoded and written again. Data sections are left as
    /// they are. Proton and Python write lists that we write shorter or longer; their value must be the same.
    @Test func everyRecordedSectionEncodesToTheSameOctets() throws {
        var seen: [UInt64: Int] = [:]
        for (place, octets) in try Self.messages() {
            try octets.withUnsafeBytes { all in
                var reader = ByteReader(all)
                while reader.remaining > 0 {
                    let start = reader.offset
                    guard case .described(.ulong(let descriptor), let value) = try AMQPValue.decode(from: &reader)
                    else {
                        break
                    }
                    seen[descriptor, default: 0] += 1
                    let section = Array(octets[start..<reader.offset])
                    var encoder = AMQPEncoder()
                    encoder.described(descriptor)
                    encoder.value(value)
                    if RecordedConnection.services.contains(where: { place.hasPrefix("\($0) ") }) {
                        #expect(encoder.bytes == section, "\(place)\n\(hex(section))\n\(hex(encoder.bytes))")
                    } else {
                        let again = try withExactMemory(encoder.bytes) { memory in
                            var reader = ByteReader(memory)
                            return try AMQPValue.decode(from: &reader)
                        }
                        #expect(again == .described(.ulong(descriptor), value), "\(place)")
                    }
                    if descriptor == 0x77 { break }
                }
            }
        }
        for descriptor in [RouterAnnotations.descriptor, 0x70, 0x73, 0x74, 0x77] {
            #expect(seen[descriptor, default: 0] > 200, "section \(descriptor): \(seen)")
        }
    }

    @Test func recordedRouterAnnotationsEncodeToTheSameOctets() throws {
        var count = 0
        for (place, octets) in try Self.messages() {
            let head = try Self.head(octets)
            guard let annotations = head.annotations else { continue }
            #expect(RouterAnnotationsTests.encode(annotations) == Array(octets[..<head.bareOffset]), "\(place)")
            // Edge routers tell neither ingress nor trace.
            let hop = annotations.ingress ?? ""
            #expect(["0/A", "0/B"].contains(hop) || hop.isEmpty && annotations.trace.isEmpty, "\(place)")
            count += 1
        }
        #expect(count > 50)
    }

    /// Cut anywhere, a message is incomplete until its head is whole; from there on the head is always the same.
    @Test func everyCutGivesNeedMoreOrTheSameHead() throws {
        var done: Set<[UInt8]> = []
        for (place, octets) in try Self.messages() where octets.count < 1500 && done.insert(octets).inserted {
            let head = try Self.head(octets)
            #expect(head.bodyOffset >= head.bareOffset && head.bodyOffset < octets.count)
            // The body's descriptor is the last thing needed, and for amqp-value one octet more.
            let needed = head.bodyOffset + 3 + (octets[head.bodyOffset + 2] == 0x77 ? 1 : 0)
            let borders = try Self.sectionBorders(octets, upTo: head.bodyOffset)
            try withEverySplit(octets) { first, _ in
                let result = try Self.scan(first, complete: false)
                #expect(result == (first.count < needed ? .needMore : .head(head)), "\(place) cut at \(first.count)")
                // At the border of a section a message may end; it then has no body.
                if first.count < needed, !borders.contains(first.count) {
                    #expect(throws: DecodeError.truncated, "\(place) ends at \(first.count)") {
                        try Self.scan(first, complete: true)
                    }
                }
            }
            if done.count == 40 { break }
        }
        #expect(done.count > 10)
    }

    static func sectionBorders(_ octets: [UInt8], upTo end: Int) throws -> Set<Int> {
        try octets.withUnsafeBytes { all in
            var reader = ByteReader(all)
            var borders: Set<Int> = [0]
            while reader.offset < end {
                try reader.skipValue()
                borders.insert(reader.offset)
            }
            return borders
        }
    }

    /// The head of a TCP stream as skupper-router sends it.
    @Test func streamHead() throws {
        let heads = try Self.messages().map { try Self.head($0.octets) }.filter { $0.afterNullBody != nil }
        let stream = try #require(heads.first)
        #expect(stream.afterNullBody == stream.bodyOffset + 4)
        #expect(stream.annotations?.flags == RouterAnnotations.streaming | RouterAnnotations.disableQ2)
    }

    @Test func fieldsOfAHandMadeMessage() throws {
        var encoder = AMQPEncoder()
        encoder.described(0x70)
        encoder.list(2) { inner in
            inner.bool(true)
            inner.ubyte(9)
        }
        encoder.described(0x71)
        encoder.map(1) { inner in
            inner.symbol("x-opt-a")
            inner.null()
        }
        encoder.described(0x72)
        encoder.map(0) { _ in }
        encoder.described(0x73)
        encoder.list(7) { inner in
            inner.ulong(3)
            inner.binary([1])
            inner.string("to")
            inner.string("subject")
            inner.string("reply")
            inner.string("correlation")
            inner.symbol("text/plain")
        }
        encoder.described(0x74)
        encoder.map([MapEntry(string: "operation", .string("QUERY"))])
        let bodyOffset = encoder.bytes.count
        for body: [UInt8] in [
            [0x00, 0x53, 0x75, 0xA0, 0x00], [0x00, 0x53, 0x76, 0x45], [0x00, 0x53, 0x77, 0x43], [],
        ] {
            let head = try Self.head(encoder.bytes + body)
            #expect(head.annotations == nil && head.bareOffset == 0 && head.priority == 9)
            var properties = MessageProperties()
            properties.messageID = .ulong(3)
            properties.userID = [1]
            properties.to = "to"
            properties.subject = "subject"
            properties.replyTo = "reply"
            properties.correlationID = .string("correlation")
            properties.contentType = "text/plain"
            #expect(head.properties == properties)
            #expect(head.applicationProperties == [MapEntry(string: "operation", .string("QUERY"))])
            #expect(head.bodyOffset == bodyOffset && head.afterNullBody == nil)
        }
        #expect(try Self.scan(encoder.bytes, complete: false) == .needMore)
    }

    @Test func malformedHeadsAreRefusedAtOnce() {
        for digits in [
            "43", "005379 45", "005378 c10100", "00530045", "005370 c00501 a105 78 78",
            // Fields longer than their list: more octets cannot mend it.
            "005373 c00301 a1ff", "005374 c1050 2a1ff 7840", "005374 45", "005370 5201", "00a3017845",
        ] {
            #expect(throws: DecodeError.self, "\(digits)") {
                try Self.scan(PerformativeTests.octets(digits), complete: false)
            }
        }
    }

    /// Each section at most once and in order; otherwise a head of thousands of sections would be read again and again.
    @Test func sectionsStandInOrder() {
        let sections: [[UInt8]] = [
            [0x00, 0x53, 0x70, 0x45], [0x00, 0x53, 0x71, 0xC1, 1, 0], [0x00, 0x53, 0x72, 0xC1, 1, 0],
            [0x00, 0x53, 0x73, 0x45], [0x00, 0x53, 0x74, 0xC1, 1, 0],
        ]
        for (number, section) in sections.enumerated() {
            for (other, earlier) in sections.enumerated() {
                let octets = earlier + section + [0x00, 0x53, 0x77, 0x43]
                if other < number {
                    #expect(throws: Never.self) { try Self.head(octets) }
                } else {
                    #expect(throws: DecodeError.badDescriptor(0x70 + UInt64(number))) { try Self.head(octets) }
                }
            }
        }
    }

    @Test func headsAreBounded() throws {
        func message(_ size: Int) -> [UInt8] {
            var encoder = AMQPEncoder()
            encoder.described(0x74)
            encoder.map([MapEntry(string: "k", .binary([UInt8](repeating: 1, count: size)))])
            return encoder.bytes + [0x00, 0x53, 0x77, 0x40]
        }
        #expect(try Self.head(message(60_000)).bodyOffset > 60_000)
        let huge = message(MessageHead.maximumBytes)
        #expect(throws: DecodeError.tooLarge("message head")) { try Self.head(huge) }
        #expect(throws: DecodeError.tooLarge("message head")) {
            try Self.scan(Array(message(200_000)[..<100_000]), complete: false)
        }
    }
}
