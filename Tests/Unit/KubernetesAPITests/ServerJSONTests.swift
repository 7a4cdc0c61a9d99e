import ControlIO
import Testing

@testable import KubernetesAPI

@Suite("JSON of API servers") struct ServerJSONTests {
    private func parse(_ text: String) -> Document? { ServerJSON.parse(Array(text.utf8)) }

    @Test("what users may store and our parser refuses is tamed")
    func tamed() {
        #expect(parse(#"{"a\u0000":"x\u0000y"}"#) == ["a\u{FFFD}": "x\u{FFFD}y"])
        #expect(parse(#"{"a":"\\u0000","b":"\u0000"}"#) == ["a": "\\u0000", "b": "\u{FFFD}"])
        #expect(parse(#"[99999999999999999999, -99999999999999999999]"#)?[0] == .double(1e20))
        #expect(parse(#"[99999999999999999999, 7, 1234567890123456789, "99999999999999999999"]"#)?[3]
            == "99999999999999999999")
        #expect(parse(#"{"a":"\"\u0000\"","n":[1,2]}"#) == ["a": "\"\u{FFFD}\"", "n": [1, 2]])
    }

    @Test("what is usual is not touched", arguments: [
        #"{"a":1,"b":[true,null,"x"],"c":9223372036854775807}"#, "[]", #""text""#,
    ])
    func usual(text: String) {
        #expect(parse(text) == (try? JSON.parse(text)))
    }

    @Test("what is no JSON stays none", arguments: ["", "{", #"{"a":"\u0000""#, #""\"#, "\u{0}", "nul"])
    func none(text: String) {
        #expect(parse(text) == nil)
    }

    @Test("an event that holds NUL ends no watch")
    func event() throws {
        var decoder = WatchDecoder()
        let line = #"{"type":"ADDED","object":{"metadata":{"name":"a"},"data":{"k":"\u0000"}}}"# + "\n"
        let events = try Array(line.utf8).withUnsafeBytes { bytes throws(APIFault) in try decoder.feed(bytes) }
        #expect(events == [.changed(["metadata": ["name": "a"], "data": ["k": "\u{FFFD}"]])])
    }
}
