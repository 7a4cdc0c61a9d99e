import ControlIO
import TestKit
import Testing

@testable import KubernetesAPI

@Suite("Watch decoder") struct WatchDecoderTests {
    private func feed(_ decoder: inout WatchDecoder, _ text: String) throws -> [WatchEvent] {
        try Array(text.utf8).withUnsafeBytes { bytes throws(APIFault) in try decoder.feed(bytes) }
    }

    private let stream = """
        {"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}
        {"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"2"}}}\r

        {"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"7"}}}
        {"type":"SOMETHING-NEW","object":{}}
        {"type":"DELETED","object":{"metadata":{"name":"ü","resourceVersion":"8"}}}
        {"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}

        """

    private var expected: [WatchEvent] {
        [
            .changed(["metadata": ["name": "a", "resourceVersion": "1"]]),
            .changed(["metadata": ["name": "a", "resourceVersion": "2"]]),
            .bookmark(resourceVersion: "7"),
            .deleted(["metadata": ["name": "ü", "resourceVersion": "8"]]),
            .failure(.answer(status: 410, reason: "Expired", message: "too old", retryAfterSeconds: 0)),
        ]
    }

    @Test("the same events come however the octets are cut")
    func anyCut() throws {
        var whole = WatchDecoder()
        let atOnce = try feed(&whole, stream)
        #expect(atOnce == expected)
        #expect(!whole.isWithinEvent)
        for size in [1, 2, 3, 7, 64] {
            var decoder = WatchDecoder()
            var events: [WatchEvent] = []
            let bytes = Array(stream.utf8)
            for start in stride(from: 0, to: bytes.count, by: size) {
                events += try bytes[start..<min(start + size, bytes.count)].withUnsafeBytes {
                    bytes throws(APIFault) in try decoder.feed(bytes)
                }
            }
            #expect(events == expected, "pieces of \(size)")
        }
    }

    @Test("a stream cut within an object is known to be")
    func cutOff() throws {
        var decoder = WatchDecoder()
        let events = try feed(&decoder, String(stream.prefix(100)))
        #expect(events.count == 1)
        #expect(decoder.isWithinEvent)
    }

    @Test(
        "what is no event is a fault",
        arguments: [
            "[]", "{}", "{\"type\":\"ADDED\"}", "{\"type\":\"ADDED\",\"object\":1}", "{\"type\":1,\"object\":{}}",
            "{\"type\":\"BOOKMARK\",\"object\":{}}", "<html>", "\u{0}", "{\"type\":\"ADDED\",\"object\":{",
        ])
    func malformed(_ line: String) {
        var decoder = WatchDecoder()
        #expect(throws: APIFault.self) { try feed(&decoder, line + "\n") }
    }

    @Test("an ERROR of any shape is a failure")
    func errorShapes() throws {
        var decoder = WatchDecoder()
        let events = try feed(
            &decoder,
            """
            {"type":"ERROR","object":{"code":"x","details":{"retryAfterSeconds":-5}}}
            {"type":"ERROR","object":{"code":429,"details":{"retryAfterSeconds":9223372036854775807}}}

            """)
        #expect(
            events == [
                .failure(.answer(status: 500, reason: "", message: "", retryAfterSeconds: 0)),
                .failure(.answer(status: 429, reason: "", message: "", retryAfterSeconds: 3600)),
            ])
    }

    @Test("an event larger than the limit is a fault, complete or not")
    func limit() {
        let long = "{\"type\":\"ADDED\",\"object\":{\"a\":\"\(String(repeating: "x", count: 200))\"}}"
        for text in [long, long + "\n"] {
            var decoder = WatchDecoder(limit: 100)
            #expect(throws: APIFault.self) { try feed(&decoder, text) }
        }
    }
}
