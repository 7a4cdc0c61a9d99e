import AMQPCodec
import Testing
import Threading

@testable import Router

@Suite struct LastItemsTests {
    @Test func theOldestGiveWayAndAreCounted() {
        var items = LastItems<Int>(capacity: 3)
        #expect(items.ordered == [])
        for item in 1...3 { items.append(item) }
        #expect(items.ordered == [1, 2, 3])
        #expect(items.lost == 0)
        for item in 4...8 { items.append(item) }
        #expect(items.ordered == [6, 7, 8])
        #expect(items.lost == 5)
    }

    @Test func takingEmptiesIt() {
        var items = LastItems<Int>(capacity: 2)
        for item in 1...3 { items.append(item) }
        let (taken, lost) = items.takeAll()
        #expect(taken == [2, 3])
        #expect(lost == 1)
        let (nothing, none) = items.takeAll()
        #expect(nothing.isEmpty && none == 0)
        for item in 4...6 { items.append(item) }
        #expect(items.ordered == [5, 6])
        #expect(items.lost == 1)
    }

    @Test func oneIsTheLeast() {
        var items = LastItems<Int>(capacity: 0)
        items.append(1)
        items.append(2)
        #expect(items.ordered == [2])
    }
}

@Suite struct LogRecordTests {
    /// Whatever a peer calls itself, it writes no line of its own and no order to a terminal.
    @Test func aLineIsOneLine() {
        #expect(LogSettings.oneLine("plain – é 日 \u{a0}") == "plain – é 日 \u{a0}")
        #expect(LogSettings.oneLine("a\r\nb\tc\u{1b}[2J\u{7f}\u{0}") == #"a\u{d}\u{a}b\u{9}c\u{1b}[2J\u{7f}\u{0}"#)
        #expect(LogSettings.oneLine("é\u{85}\u{9b}2J") == #"é\u{85}\u{9b}2J"#)
    }

    private func record(_ text: String, level: LogLevel = .error) -> [UInt32: AMQPValue] {
        let line = LogRecord(module: .tcp, level: level, text: text, file: "Router/X.swift", line: 7, time: 1_234_567)
        var record = TelemetryRecord(line, id: "abcde:9", parent: "abcde:0")
        guard case .map(let entries) = record.takeChanges() else { return [:] }
        return entries.reduce(into: [:]) { result, entry in
            if case .uint(let key) = entry.key { result[key] = entry.value }
        }
    }

    @Test func attributesAreThoseOfTheWire() {
        let expected: [UInt32: AMQPValue] = [
            0: .uint(14), 1: .string("abcde:9"), 2: .string("abcde:0"), 3: .ulong(1_234_567), 4: .ulong(1_234_567),
            48: .ulong(3), 49: .string("LOG_TCP_ADAPTOR: it broke"), 50: .string("Router/X.swift"), 51: .ulong(7),
        ]
        #expect(record("it broke") == expected)
        #expect(record("", level: .warning)[48] == .ulong(2))
        #expect(record("", level: .critical)[48] == .ulong(4))
    }

    @Test(arguments: ["x", "é", "€", "😀"]) func longTextEndsWithAWholeCharacter(_ character: String) {
        for lead in ["", "a", "ab", "abc"] {
            guard case .string(let text)? = record(lead + String(repeating: character, count: 400))[49] else {
                Issue.record("no text")
                continue
            }
            #expect(text.utf8.count <= 300 && text.utf8.count > 296)
            #expect(text.hasPrefix("LOG_TCP_ADAPTOR: " + lead))
            #expect(text.dropFirst(17 + lead.count).allSatisfy { String($0) == character })
        }
    }

    @Test func textOfTheLargestSizeIsWhole() {
        let text = String(repeating: "x", count: 300 - 17)
        #expect(record(text)[49] == .string("LOG_TCP_ADAPTOR: " + text))
    }
}

/// One after the other: there is one log in a process.
@Suite(.serialized) struct UntoldLinesTests {
    /// Lines with this mark; other tests may write to the log at the same time.
    private let mark = "mark of \(UInt64.random(in: 0...UInt64.max))"

    /// Writes nowhere while `body` runs: what is tested is what is kept.
    private func quietly(_ module: LogModule, levels: LogLevels? = nil, _ body: () -> Void) {
        LogSettings.set(LogSettings.Setting(levels: levels, output: LogOutput("/dev/null")), for: module)
        body()
        LogSettings.set(LogSettings.Setting(), for: module)
    }

    private func untold() -> [LogRecord] { LogSettings.takeUntold().lines.filter { $0.text.hasPrefix(mark) } }

    @Test func onlyWarningsAndWorse() {
        let all: LogLevels = [.init(.debug), .infoAndGraver]
        quietly(.addressWatch, levels: all) {
            for level in LogLevel.allCases { Log.write(.addressWatch, level, "\(mark)") }
        }
        #expect(untold().map(\.level) == [.warning, .error, .critical])
        #expect(untold().isEmpty)
    }

    @Test func notWhatTheModuleDoesNotWrite() {
        quietly(.addressWatch, levels: [.init(.critical)]) {
            for level in LogLevel.allCases { Log.write(.addressWatch, level, "\(mark)") }
        }
        #expect(untold().map(\.level) == [.critical])
    }

    @Test func notWhatTelemetryItselfCauses() {
        quietly(.flow) { Log.write(.flow, .error, "\(mark)") }
        quietly(.addressWatch) { Log.write(.addressWatch, .error, "\(mark)", isTold: false) }
        #expect(untold().isEmpty)
        #expect(LogSettings.recent(limit: 100).count { $0.text.hasPrefix(mark) } == 2)
    }

    @Test func theLastOnesAreKeptWhateverThreadsWroteThem() {
        _ = LogSettings.takeUntold()
        let threads = 4
        let each = 400
        quietly(.addressWatch) {
            let running = (0..<threads).compactMap { _ in
                WorkThread { for _ in 0..<each { LogSettings.put(.addressWatch, .warning, mark, "f", 1) } }
            }
            for thread in running { thread.join() }
        }
        let (lines, lost) = LogSettings.takeUntold()
        #expect(lines.count == LogSettings.untoldMaximum)
        // Other tests may have written too.
        #expect(lines.count { $0.text == mark } <= threads * each)
        #expect(lines.count + lost >= threads * each)
    }
}
