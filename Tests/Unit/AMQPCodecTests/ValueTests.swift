import TestKit
import Testing

@testable import AMQPCodec

/// AMQP 1.0 part 1.
@Suite struct ValueTests {
    static func decode(_ octets: [UInt8]) throws -> AMQPValue {
        try withExactMemory(octets) { memory in
            var reader = ByteReader(memory)
            let value = try AMQPValue.decode(from: &reader)
            if reader.remaining > 0 {
                throw CombinationFailure(combination: "\(reader.remaining) left", reason: DecodeError.tooLarge(""))
            }
            var skipping = ByteReader(memory)
            try skipping.skipValue()
            #expect(skipping.remaining == 0, "skipValue stops elsewhere in \(hex(octets))")
            return value
        }
    }

    static func encode(_ value: AMQPValue) -> [UInt8] {
        var encoder = AMQPEncoder()
        encoder.value(value)
        return encoder.bytes
    }

    static func error(_ digits: String) -> DecodeError? {
        do {
            _ = try decode(PerformativeTests.octets(digits))
            return nil
        } catch {
            return error as? DecodeError
        }
    }

    /// Each type at the borders of each of its encodings.
    static let samples: [AMQPValue] = {
        let long = String(repeating: "ä", count: 200)
        let octets = (0..<300).map { UInt8(truncatingIfNeeded: $0) }
        let numbers: [AMQPValue] =
            [UInt32(0), 1, 255, 256, .max].map { .uint($0) } + [UInt64(0), 1, 255, 256, .max].map { .ulong($0) }
            + [Int32(0), -1, 127, -128, 128, -129, .max, .min].map { .int($0) }
            + [Int64(0), -1, 127, -128, 128, -129, .max, .min].map { .long($0) }
            + [.ubyte(0), .ubyte(255), .ushort(0), .ushort(.max), .byte(-128), .byte(127), .short(.min), .short(.max)]
            + [.float((1.5 as Float).bitPattern), .float(Float.nan.bitPattern), .double((-0.0).bitPattern)]
            + [.char(0x1F600), .timestamp(-1), .timestamp(1_795_477_036_000)]
        let blocks: [AMQPValue] = [
            .binary([]), .binary(Array(octets[..<255])), .binary(Array(octets[..<256])), .string(""), .string(long),
            .string(String(repeating: "x", count: 255)), .string(String(repeating: "x", count: 256)), .symbol("qd.x"),
            .symbol(String(repeating: "s", count: 256)), .uuid(Array(octets[..<16])), .decimal(Array(octets[..<4])),
            .decimal(Array(octets[..<8])), .decimal(Array(octets[..<16])),
        ]
        let scalars = [.null, .bool(true), .bool(false)] + numbers + blocks
        let arrays: [AMQPValue] =
            scalars.map { .array([$0, $0]) } + [
                .array([]), .array([.bool(true), .bool(false)]), .array([.list([]), .list([.uint(1)])]),
                .array([.map([]), .map([MapEntry(symbol: "k", .null)])]),
                .array([.array([.int(1)]), .array([.int(2), .int(3)])]),
                .array([.array([]), .array([.int(1)])]),
                .array([.described(.ulong(0x24), .list([])), .described(.ulong(0x24), .list([.null]))]),
                .array([.described(.symbol("a:b"), .described(.ulong(1), .string("x")))]),
            ]
        return scalars + arrays + [
            .list([]), .list(scalars), .map([]), .map(scalars.map { MapEntry(key: $0, value: .list([$0])) }),
            .described(.symbol("x:y"), .map([MapEntry(string: "k", .array([.symbol("v")]))])),
            .described(.described(.ulong(1), .null), .described(.ulong(1 << 60), .string("deep"))),
            .list(Array(repeating: .null, count: 300)),
        ]
    }()

    @Test func everyValueRoundTripsAndEveryCutIsTruncated() throws {
        for value in Self.samples {
            let octets = Self.encode(value)
            #expect(try Self.decode(octets) == value, "\(value)")
            withEveryTruncation(octets) { memory in
                #expect(throws: DecodeError.truncated, "\(memory.count) of \(hex(octets))") {
                    var reader = ByteReader(memory)
                    _ = try AMQPValue.decode(from: &reader)
                }
                #expect(throws: DecodeError.truncated, "skip \(memory.count) of \(hex(octets))") {
                    var reader = ByteReader(memory)
                    try reader.skipValue()
                }
            }
        }
    }

    /// Forms that we never write.
    @Test func everyFormIsRead() throws {
        let forms: [(String, AMQPValue)] = [
            ("5600", .bool(false)), ("5601", .bool(true)), ("5200", .uint(0)), ("7000000001", .uint(1)),
            ("5300", .ulong(0)),
            ("800000000000000001", .ulong(1)), ("7100000001", .int(1)), ("81ffffffffffffffff", .long(-1)),
            ("b100000001 78", .string("x")), ("b300000000", .symbol("")), ("b00000000107", .binary([7])),
            ("45", .list([])), ("c00100", .list([])), ("d00000000400000000", .list([])), ("c10100", .map([])),
            ("c10502a3016b43", .map([MapEntry(symbol: "k", .uint(0))])),
            ("d10000000802 ", .null), ("c00502a3016b43", .list([.symbol("k"), .uint(0)])),
            ("e00100", .array([])), ("e00201 40", .array([.null])), ("e0020045", .array([])),
            ("e00603a301610162", .null),
            ("e00602a301610162", .array([.symbol("a"), .symbol("b")])),
            (
                "e0080200a3016152 0102",
                .array([.described(.symbol("a"), .uint(1)), .described(.symbol("a"), .uint(2))])
            ),
            ("f00000000a00000002 e0 020052 020052", .null),
            ("e00802e0 020052 020052", .array([.array([]), .array([])])),
            ("e00803 56010001", .null), ("e00503 56010001", .array([.bool(true), .bool(false), .bool(true)])),
        ]
        for (digits, value) in forms where value != .null {
            #expect(try Self.decode(PerformativeTests.octets(digits)) == value, "\(digits)")
        }
        for (digits, value) in forms where value == .null {
            #expect(Self.error(digits) != nil, "\(digits) contradicts its own size or count")
        }
    }

    @Test func malformedValuesAreRefused() {
        #expect(Self.error("4f") == .badConstructor(0x4F))
        #expect(Self.error("10") == .badConstructor(0x10))
        #expect(Self.error("5602") == .badType("boolean byte is neither 0 nor 1"))
        #expect(Self.error("a102c328") == .badUTF8)
        #expect(Self.error("c000") != nil)
        #expect(Self.error("d00000000300000000") != nil)
        #expect(Self.error("c00200 43") == .badType("list has bytes after its last element"))
        #expect(Self.error("c0 03 03 4343") == .tooLarge("count exceeds the size of its list or map"))
        #expect(Self.error("d0ffffffffffffffff") == .truncated)
        #expect(Self.error("f0ffffffffffffffff40") == .truncated)
        #expect(Self.error("d000000005ffffffff43") == .tooLarge("count exceeds the size of its list or map"))
        #expect(Self.error("f000000005ffffffff40") == .tooLarge("array count"))
        #expect(Self.error("f000000006ffffffff5201") == .tooLarge("array count"))
        #expect(Self.error("c1020143") == .badType("map has a key without a value"))
    }

    static func nested(_ depth: Int, _ wrap: (AMQPValue) -> AMQPValue) -> AMQPValue {
        (0..<depth).reduce(.uint(1)) { value, _ in wrap(value) }
    }

    @Test func nestingIsBounded() throws {
        let wraps: [(AMQPValue) -> AMQPValue] = [
            { .list([$0]) }, { .map([MapEntry(key: .null, value: $0)]) }, { .array([$0]) },
            { .described(.ulong(1), $0) },
        ]
        for wrap in wraps {
            #expect(try Self.decode(Self.encode(Self.nested(2, wrap))) == Self.nested(2, wrap))
            let octets = Self.encode(Self.nested(40, wrap))
            #expect(throws: DecodeError.tooDeep) { try Self.decode(octets) }
        }
        let list = Self.nested(ByteReader.maximumDepth, wraps[0])
        #expect(try Self.decode(Self.encode(list)) == list)
        // A stack of 100,000 constructors of each kind that takes no size.
        for start: [UInt8] in [[0x00], [0x00, 0x53, 0x01]] {
            let octets = Array(repeatElement(start, count: 100_000).joined()) + [0x43]
            #expect(throws: DecodeError.tooDeep) { try Self.decode(octets) }
            #expect(throws: DecodeError.tooDeep) {
                try withExactMemory(octets) { memory in
                    var reader = ByteReader(memory)
                    try reader.skipValue()
                }
            }
        }
    }

    /// What costs nothing on the wire must not cost much in memory.
    @Test func elementsWithoutOctetsAreBounded() throws {
        func array(_ count: UInt32, _ constructor: String) -> [UInt8] {
            let digits = String(count, radix: 16)
            return PerformativeTests.octets(
                "f0" + "00000005" + String(repeating: "0", count: 8 - digits.count) + digits + constructor)
        }
        for constructor in ["40", "41", "42", "43", "44", "45"] {
            #expect(try Self.decode(array(4096, constructor)).elements == 4096)
            #expect(throws: DecodeError.tooLarge("array count")) { try Self.decode(array(4097, constructor)) }
        }
        // Many small ones together.
        var encoder = AMQPEncoder()
        encoder.list(1000) { inner in for _ in 0..<1000 { inner.bytes += array(100, "40") } }
        #expect(throws: DecodeError.tooLarge("array count")) { try Self.decode(encoder.bytes) }
        // Descriptors in front of an array's constructor multiply with its elements.
        let descriptors = String(repeating: "0043", count: 20)
        #expect(Self.error("e02c02" + descriptors + "52 0102") == .tooDeep)
    }

    @Test(arguments: [UInt64(3), 0xABCDEF]) func randomOctetsAreSurvived(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let constructors: [UInt8] = [
            0x00, 0x40, 0x43, 0x45, 0x52, 0x56, 0xA0, 0xA1, 0xA3, 0xB1, 0xC0, 0xC1, 0xD0, 0xD1, 0xE0, 0xF0,
        ]
        var decoded = 0
        for _ in 0..<50_000 {
            var octets = random.octets(random.below(40))
            // Small numbers and real constructors, so that sizes and counts often fit.
            for place in octets.indices where random.below(3) > 0 {
                octets[place] =
                    random.below(2) == 0 ? constructors[random.below(constructors.count)] : octets[place] & 7
            }
            try withExactMemory(octets) { memory in
                var reader = ByteReader(memory)
                var skipping = ByteReader(memory)
                do {
                    let value = try AMQPValue.decode(from: &reader)
                    decoded += 1
                    try skipping.skipValue()
                    #expect(skipping.offset == reader.offset, "seed \(seed): \(hex(octets))")
                    #expect(try Self.decode(Self.encode(value)) == value, "seed \(seed): \(hex(octets))")
                } catch is DecodeError {}
            }
        }
        #expect(decoded > 1000)
    }
}

extension AMQPValue {
    fileprivate var elements: Int? {
        if case .array(let elements) = self { return elements.count }
        return nil
    }
}
