import AMQPCodec

/// Writes the frames of one connection to the log module PROTOCOL while that is asked for.
///
/// It is asked for by the levels of the module, for all connections at once, and by `enableProtocolTrace` of a
/// connection, for that one. What was said last counts: a change of the levels that turns the module's debug lines on
/// or off overrides what was said of single connections, as in skupper-router (router-protocol sheet, section 6.4).
struct FrameTrace {
    enum Direction: String, Sendable {
        case received = "<-"
        case sent = "->"
    }

    /// Looked at before each frame, so nothing has to be worked out for it.
    private(set) var isOn: Bool
    private let connection: UInt64

    /// - Parameter level: the module writes debug lines when the connection begins.
    init(connection: UInt64, level: Bool) {
        self.connection = connection
        isOn = level
    }

    /// `enableProtocolTrace`, or the level of the module, has changed.
    mutating func set(_ isOn: Bool) { self.isOn = isOn }

    /// The line of a frame or protocol header: connection, channel, direction, text.
    ///
    /// - Parameter head: the frame, or what there is of it up to a transfer's payload.
    static func line(connection: UInt64, _ direction: Direction, _ head: UnsafeRawBufferPointer) -> String {
        var channel: UInt16 = 0
        if let base = head.baseAddress, head.count >= FrameHeader.size, !head.starts(with: amqpHeader.prefix(4)) {
            channel = FrameHeader.decode(base).channel
        }
        return "[C\(connection)] \(channel) \(direction.rawValue) \(FrameText.text(of: head))"
    }

    /// Writes a line, whatever the levels of the module: the connection may be one that was chosen.
    @inline(never)
    func write(_ direction: Direction, _ bytes: UnsafeRawPointer, _ count: Int) {
        let head = UnsafeRawBufferPointer(start: bytes, count: count)
        LogSettings.put(
            .protocolTrace, .debug, FrameTrace.line(connection: connection, direction, head), #fileID, #line)
    }
}

extension AMQPConnection {
    /// A frame was queued for the peer.
    @inline(__always)
    func traceSent(_ bytes: UnsafeRawPointer, _ count: Int) {
        if trace.isOn { trace.write(.sent, bytes, count) }
    }

    /// A frame has arrived; of a transfer the head, at least.
    @inline(__always)
    func traceReceived(_ bytes: UnsafeRawPointer, _ count: Int) {
        if trace.isOn { trace.write(.received, bytes, count) }
    }
}

extension Worker {
    /// The module PROTOCOL has begun or ceased to write debug lines.
    func traceFrames(_ isOn: Bool) {
        for connection in connections.values { connection.trace.set(isOn) }
    }

    /// `enableProtocolTrace` of a connection, which may be another loop's or gone.
    func traceFrames(_ isOn: Bool, of id: UInt64) {
        // Before its Open it is no entity that somebody could mean.
        guard let connection = connections[id], connection.openedAt > 0 else { return }
        connection.trace.set(isOn)
    }
}
