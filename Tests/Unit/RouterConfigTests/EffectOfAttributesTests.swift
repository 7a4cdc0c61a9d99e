import Testing

@testable import RouterConfig

@Suite struct EffectOfAttributesTests {
    private func without(_ type: String, _ attributes: [String: AttributeValue]) throws -> [String] {
        try Schema.validate(type: type, attributes: attributes, for: .file).attributesWithoutEffect
    }

    @Test func whatIsAskedForAndNotDoneIsNamed() throws {
        #expect(try without("connector", ["allowRedirect": true]) == ["allowRedirect"])
        #expect(try without("router", ["debugDumpFile": "/x"]) == ["debugDumpFile"])
    }

    @Test func whatAsksForNothingIsNot() throws {
        #expect(try without("listener", ["http": true, "websockets": true, "httpRootDir": "/srv"]) == [])
        // The default, written out at a listener for AMQP.
        #expect(try without("listener", ["websockets": true]) == [])
        #expect(try without("listener", ["http": true]) == [])
        #expect(try without("network", ["networkId": "west", "tenantId": "red"]) == [])
        #expect(try without("connector", ["allowRedirect": false, "messageLoggingComponents": "all"]) == [])
    }

    @Test func aFolderMakesAListenerSpeakHTTP() throws {
        func speaks(_ attributes: [String: AttributeValue]) throws -> Bool {
            try Schema.validate(type: "listener", attributes: attributes, for: .file).speaksHTTP
        }
        #expect(try speaks(["http": true]) && speaks(["httpRootDir": "disabled"]))
        #expect(try !speaks([:]) && !speaks(["http": false]))
    }

    @Test func userNamesAreTexts() throws {
        #expect(try UserNamesFile.parse(#"{"a;b": "c", "d": ""}"#, file: "f") == ["a;b": "c", "d": ""])
        for (text, words) in [
            ("[]", "f: the file is no JSON object"), ("{\"a\": 1}", "f: what stands for \"a\" is no text"),
            ("{\"a\": \"b\"", "f:1: not valid JSON"), ("{\"a\": \"b\", \"a\": \"c\"}", "duplicate"),
        ] {
            do {
                _ = try UserNamesFile.parse(text, file: "f")
                Issue.record("\(text) was taken")
            } catch {
                #expect("\(error)".contains(words), "\(error)")
            }
        }
        #expect(throws: ConfigError.self) { try UserNamesFile.load(path: "/no/such/file") }
    }
}
