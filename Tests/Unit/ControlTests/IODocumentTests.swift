import ControlIO
import Testing

/// YAML and JSON: what is read, what is written, and that the two agree.
@Suite struct IODocumentTests {
    @Test(arguments: [
        ("a: 1", Document.int(1)), ("a: -17", .int(-17)), ("a: 0x1F", .int(31)), ("a: 0o17", .int(15)),
        ("a: \"1\"", .string("1")), ("a: '1'", .string("1")), ("a: 1.5", .double(1.5)), ("a: 1e3", .double(1000)),
        ("a: .inf", .double(.infinity)), ("a: true", .bool(true)), ("a: FALSE", .bool(false)),
        ("a: 'true'", .string("true")), ("a: yes", .string("yes")), ("a: ~", .null), ("a:", .null),
        ("a: ''", .string("")),
        ("a: !!str 12", .string("12")), ("a: 192.0.2.1", .string("192.0.2.1")), ("a: 15m0s", .string("15m0s")),
        ("a: |\n  x\n  y\n", .string("x\ny\n")), ("a: [1, b]", .list([.int(1), .string("b")])), ("a: {}", .emptyMap),
        ("a: 1-2", .string("1-2")), ("a: 99999999999999999999", .double(1e20)), ("a: +5", .int(5)),
        ("a: .", .string(".")),
    ])
    func scalarsFollowTheCoreSchema(text: String, value: Document) throws {
        #expect(try YAML.parse(text) == [["a": value]])
    }

    @Test func documentsAreSplitAndEmptyOnesLeftOut() throws {
        #expect(try YAML.parse("---\n---\na: 1\n---\nb: 2\n...\n---\n# nothing\n") == [["a": 1], ["b": 2]])
        #expect(try YAML.parse("") == [])
        #expect(try YAML.parse("\u{feff}a: 1") == [["a": 1]])
    }

    @Test func keyOrderIsKeptUnlessSorted() throws {
        let document = try #require(try YAML.parse("z: 1\na:\n  c: 2\n  b: 3\n").first)
        #expect(document.mapValue?.keys == ["z", "a"])
        #expect(YAML.emit(document, sortedKeys: false) == "z: 1\na:\n  c: 2\n  b: 3\n")
        #expect(YAML.emit(document) == "a:\n  b: 3\n  c: 2\nz: 1\n")
    }

    @Test func aliasesAreExpanded() throws {
        #expect(try YAML.parse("a: &x [1, 2]\nb: *x\n") == [["a": [1, 2], "b": [1, 2]]])
    }

    @Test func aliasBombIsRefused() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<12 {
            let list = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(list)]\n"
        }
        #expect(kind { _ = try YAML.parse(text) } == .tooManyNodes)
    }

    @Test func limitsAndStructureFaults() {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(kind { _ = try YAML.parse(nested(64)) } == nil)
        #expect(kind { _ = try YAML.parse(nested(65)) } == .tooDeep)
        #expect(kind { _ = try JSON.parse(nested(64)) } == nil)
        #expect(kind { _ = try JSON.parse(nested(65)) } == .tooDeep)
        let large = String(repeating: "x", count: 4 * 1024 * 1024 + 1)
        #expect(kind { _ = try YAML.parse(large) } == .tooLarge)
        #expect(kind { _ = try JSON.parse(large) } == .tooLarge)
        #expect(kind { _ = try YAML.parse("a: 1\na: 2") } == .invalidStructure)
        #expect(kind { _ = try YAML.parse("a: *missing") } == .invalidStructure)
        #expect(kind { _ = try YAML.parse("[a]: 1") } == .invalidStructure)
        #expect(kind { _ = try YAML.parse("a: [1") } == .syntax)
        #expect(kind { _ = try YAML.parse("a: \"\u{1}") } == .syntax)
        #expect(kind { _ = try JSON.parse("{\"a\":1,\"a\":2}") } == .syntax)
        #expect(kind { _ = try JSON.parse("{\"a\":") } == .syntax)
    }

    @Test func faultsTellTheirPlace() {
        do {
            _ = try YAML.parse("a: 1\nb: 2\na: 3\n")
            Issue.record("a repeated key was accepted")
        } catch {
            #expect(error.line == 3)
            #expect("\(error)".hasPrefix("line 3, column 1: the key \"a\" stands twice"))
        }
    }

    @Test(arguments: [
        ("plain", "plain"), ("", "\"\""), ("12", "\"12\""), ("true", "\"true\""), ("yes", "\"yes\""),
        ("off", "\"off\""),
        ("null", "\"null\""), ("55671", "\"55671\""), ("1_000", "\"1_000\""), ("12:30", "\"12:30\""),
        ("0b11", "\"0b11\""),
        ("2026-11-25", "\"2026-11-25\""), ("192.0.2.10", "192.0.2.10"), ("a: b", "'a: b'"), ("-", "'-'"),
        ("https://192.0.2.10:9090/0d0c", "https://192.0.2.10:9090/0d0c"), ("# x", "'# x'"), ("1e5", "\"1e5\""),
    ])
    func stringsAreQuotedWhereOthersWouldMisreadThem(text: String, written: String) {
        #expect(YAML.emit(["a": .string(text)]) == "a: \(written)\n")
    }

    @Test func multiLineStringsAreBlockLiterals() {
        #expect(YAML.emit(["a": "x\ny\n"]) == "a: |\n  x\n  y\n")
        #expect(YAML.emit(["a": "x\ny"]) == "a: |-\n  x\n  y\n")
        #expect(
            YAML.emit(documents: [["a": 1], ["b": ["c", 2]]], leadingSeparator: true)
                == "---\na: 1\n---\nb:\n- c\n- 2\n")
    }

    @Test func whatIsWrittenReadsBackTheSame() throws {
        let seed = UInt64.random(in: 1...UInt64.max)
        var generator = Linear(state: seed)
        for round in 0..<400 {
            let document: Document = ["top": generator.document(depth: 4)]
            let text = YAML.emit(document, sortedKeys: round % 2 == 0)
            #expect(try YAML.parse(text) == [document], "seed \(seed) round \(round): \(text)")
            for pretty in [true, false] {
                #expect(try JSON.parse(JSON.emit(document, pretty: pretty)) == document, "seed \(seed) round \(round)")
            }
        }
    }

    @Test func jsonForm() throws {
        let document: Document = ["b": [1, [], .emptyMap], "a": "x\"\\\n\u{1}é/", "c": .null, "d": .double(0.1)]
        let expected = """
            {
              "a": "x\\"\\\\\\n\\u0001é/",
              "b": [
                1,
                [],
                {}
              ],
              "c": null,
              "d": 0.1
            }
            """
        #expect(JSON.emit(document) == expected)
        #expect(JSON.emit(["b": 1, "a": [true]], pretty: false, sortedKeys: false) == "{\"b\":1,\"a\":[true]}")
        #expect(JSON.emit(.double(.nan)) == "null")
        #expect(try JSON.parse(" 7 ") == 7)
    }

    @Test func pathsReadAndWrite() {
        var document: Document = ["spec": ["a": 1]]
        document.set("x", at: "spec.deep.er")
        #expect(document.value(at: "spec.deep.er") == "x")
        #expect(document.value(at: "spec.a") == 1)
        document.set(nil, at: "spec.a")
        document.set(nil, at: "none.at.all")
        document.set("dotted", at: ["metadata", "annotations", "skupper.io/x"])
        #expect(
            document == [
                "spec": ["deep": ["er": "x"]], "metadata": ["annotations": ["skupper.io/x": "dotted"]],
            ])
        let sparse: Document = ["a": 0, "b": "", "c": ["d": []], "e": [["f": .null, "g": 1]], "h": false]
        #expect(sparse.removingEmptyFields() == ["e": [["g": 1]]])
    }

    private func kind(_ body: () throws -> Void) -> DocumentError.Kind? {
        do {
            try body()
            return nil
        } catch {
            return (error as? DocumentError)?.kind
        }
    }
}

/// A small generator of documents whose strings are meant to be hard to write.
private struct Linear: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    mutating func document(depth: Int) -> Document {
        switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &self) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &self))
        case 2: return .int(Int64.random(in: Int64.min...Int64.max, using: &self))
        case 3: return .double(Double.random(in: -1e9...1e9, using: &self))
        case 4, 5: return .string(text())
        case 6: return .list((0..<Int.random(in: 0...3, using: &self)).map { _ in document(depth: depth - 1) })
        default:
            var map = DocumentMap()
            for _ in 0..<Int.random(in: 0...4, using: &self) {
                let key = text()
                map[key] = document(depth: depth - 1)
            }
            return .map(map)
        }
    }

    mutating func text() -> String {
        let pieces = [
            "a", "Z", "0", "1", "-", ":", " ", "\n", "#", "'", "\"", "\\", "\t", "é", "😀", ".", "~", "|", ">", "{",
            "]",
            "%", "@", "&", "*", "!", ",", "?", "true", "0x", "\u{1}", "\u{7f}", "\u{85}", "\u{2028}", "\r", "---",
            "...",
        ]
        return (0..<Int.random(in: 0...7, using: &self)).map { _ in pieces.randomElement(using: &self) ?? "" }.joined()
    }
}
