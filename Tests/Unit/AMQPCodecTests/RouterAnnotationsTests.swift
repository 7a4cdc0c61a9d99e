import TestKit
import Testing

@testable import AMQPCodec

/// The section that routers put in front of a message.
@Suite struct RouterAnnotationsTests {
    /// `00 80 SKPR--RA`.
    static let descriptor: [UInt8] = [0x00, 0x80] + Array("SKPR--RA".utf8)
    static let bodyAfter: [UInt8] = [0x00, 0x53, 0x77, 0x40]
    static let invalidField = DecodeError.missingField("router annotations")

    static func scan(_ list: String) throws -> RouterAnnotations? {
        try withExactMemory(descriptor + PerformativeTests.octets(list) + bodyAfter) { memory in
            guard case .head(let head) = try MessageHead.scan(memory, complete: true) else { return nil }
            return head.annotations
        }
    }

    static func encode(_ annotations: RouterAnnotations) -> [UInt8] {
        var encoder = AMQPEncoder()
        annotations.encode(into: &encoder)
        return encoder.bytes
    }

    /// Octets seen between two routers (protocol sheet, section 2.6).
    @Test func encodingIsTheRecordedOne() {
        let recorded =
            Self.descriptor
            + PerformativeTests.octets("d000000019 00000004 43 40 a103302f41 d000000009 00000001 a103302f41")
        #expect(Self.encode(RouterAnnotations(ingress: "0/A", trace: ["0/A"])) == recorded)
    }

    @Test func roundTrips() throws {
        let flags: [UInt32] = [0, 5, 7, 255, 256, .max]
        let traces: [[String]] = [[], ["0/A"], (0..<128).map { "0/router-\($0)" }]
        try withEvery(flags, [nil, "an/address"], traces) { flags, override, trace in
            for mesh in [nil, "abcdefghijklmno"] {
                let annotations = RouterAnnotations(
                    flags: flags, toOverride: override, ingress: trace.first, trace: trace, meshID: mesh)
                let octets = Self.encode(annotations) + Self.bodyAfter
                let head = try withExactMemory(octets) { try MessageHead.scan($0, complete: true) }
                guard case .head(let decoded) = head else { throw DecodeError.truncated }
                #expect(decoded.annotations == annotations && decoded.bareOffset == octets.count - 4)
            }
        }
    }

    @Test func everyAllowedFormIsRead() throws {
        let plain = RouterAnnotations(flags: 5)
        for flags in ["5205", "7000000005", "5305", "5005", "600005", "800000000000000005"] {
            let size = UInt8(1 + flags.count / 2 + 3)
            #expect(try Self.scan("c0" + hex([size]) + "04" + flags + "404045") == plain, "\(flags)")
        }
        #expect(try Self.scan("c00704 43 40 40 c00100") == RouterAnnotations())
        #expect(try Self.scan("d00000000800000004 43404045") == RouterAnnotations())
        // Entries behind the fifth are ignored.
        let mesh = "a10f" + hex(Array("abcdefghijklmno".utf8))
        #expect(try Self.scan("c01706 43404045" + mesh + "43") == RouterAnnotations(meshID: "abcdefghijklmno"))
    }

    @Test(arguments: [
        "45", "c00100", "c00403 434040", "c00504 40404045", "c00604 5405404045", "c00704 a10105404045",
        "c00604 43 5201 4045", "c00604 43 40 5201 45", "c00504 43404040", "c00704 434040 c00201 40",
        "c00804 434040 c00301 5201", "c00605 4340404540", "c00905 43404045 a10278 79",
        "c00d04 800000000100000000 404045", "c00b04 434040 c00601 a303302f41",
        // A mesh id of 16 octets.
        "c01705 43404045 a110 61616161616161616161616161616161",
    ]) func anythingElseIsAnInvalidField(list: String) {
        #expect(throws: Self.invalidField) { try Self.scan(list) }
    }

    /// A map, text, a number.
    @Test(arguments: ["c10504 43404045", "a1024243", "5205"]) func whatIsNoListCannotBeRead(value: String) {
        #expect(throws: DecodeError.badType("router annotations")) { try Self.scan(value) }
    }

    @Test func mustComeFirstAndOnlyOnce() throws {
        let section = Self.encode(RouterAnnotations())
        let header: [UInt8] = [0x00, 0x53, 0x70, 0x45]
        for octets in [header + section + Self.bodyAfter, section + section + Self.bodyAfter] {
            #expect(throws: DecodeError.self) {
                try withExactMemory(octets) { try MessageHead.scan($0, complete: true) }
            }
        }
    }
}
