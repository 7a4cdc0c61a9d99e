import AMQPCodec
import Testing

@testable import Router

@Suite struct FrameTraceTests {
    /// Lines of PROTOCOL about one connection that the log still has; each test uses a number of its own.
    private func lines(of connection: UInt64) -> [LogRecord] {
        LogSettings.recent(limit: LogSettings.recentMaximum).filter { record in
            record.module == .protocolTrace && record.text.hasPrefix("[C\(connection)] ")
        }
    }

    private func line(_ connection: UInt64, _ direction: FrameTrace.Direction, _ octets: [UInt8]) -> String {
        octets.withUnsafeBytes { FrameTrace.line(connection: connection, direction, $0) }
    }

    @Test func aLineNamesConnectionChannelAndDirection() {
        let end = encodeFrame(channel: 0x102) { End(error: nil).encode(into: &$0) }
        #expect(line(5, .received, end) == "[C5] 258 <- @end(23) []")
        #expect(line(6, .sent, end) == "[C6] 258 -> @end(23) []")
        #expect(line(5, .sent, saslHeader) == "[C5] 0 -> header SASL 1.0.0")
        #expect(line(5, .sent, amqpHeader) == "[C5] 0 -> header AMQP 1.0.0")
        #expect(line(5, .received, [0, 0, 0, 8, 2, 0, 0, 0]) == "[C5] 0 <- empty frame")
        #expect(line(5, .received, []) == "[C5] 0 <- 0 octets, which are no frame")
    }

    /// Tools count words of a line: after date, time, zone, module and level these are the connection, the channel, the
    /// direction and the performative.
    @Test func whatToolsCountOn() {
        let transfer = encodeFrame(channel: 7) { encoder in
            encoder.described(0x14)
            encoder.fields([.uint(1)])
            encoder.bytes += [1, 2, 3]
        }
        let words = line(12, .received, transfer).split(separator: " ")
        #expect(words[0] == "[C12]" && words[1] == "7" && words[2] == "<-" && words[3] == "@transfer(20)")
    }

    @Test func theLastWordCounts() {
        var trace = FrameTrace(connection: 1, level: true)
        #expect(trace.isOn)
        trace.set(false)
        #expect(!trace.isOn)
        trace.set(true)
        #expect(trace.isOn)
        #expect(!FrameTrace(connection: 1, level: false).isOn)
    }

    /// A connection that was chosen is shown although the module's debug lines are off, as they are here.
    @Test func aChosenConnectionDoesNotNeedTheLevel() {
        #expect(!Log.isEnabled(.protocolTrace, .debug))
        let trace = FrameTrace(connection: 987_001, level: false)
        let end = encodeFrame(channel: 2) { End(error: nil).encode(into: &$0) }
        end.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            trace.write(.sent, start, bytes.count)
        }
        let written = lines(of: 987_001)
        #expect(written.map(\.text) == ["[C987001] 2 -> @end(23) []"])
        #expect(written.map(\.level) == [.debug])
    }

    @Test func theLogKeepsWholeLines() {
        let name = String(repeating: "n", count: 200)
        let attach = Attach(
            name: name, handle: 1, role: .sender, sndSettleMode: 2, rcvSettleMode: 0,
            source: Source(address: name, capabilities: [name, name]), target: Target(address: name),
            initialDeliveryCount: 0, maxMessageSize: nil,
            properties: (0..<40).map { MapEntry(symbol: "\($0)", .string(name)) })
        let octets = encodeFrame(channel: 0) { attach.encode(into: &$0) }
        let trace = FrameTrace(connection: .max, level: true)
        octets.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            trace.write(.received, start, bytes.count)
        }
        let written = lines(of: .max)
        #expect(written.count == 1)
        #expect(written.first?.text == line(.max, .received, octets))
        #expect(written.first?.text.hasSuffix(" … (cut)") == true)
    }
}
