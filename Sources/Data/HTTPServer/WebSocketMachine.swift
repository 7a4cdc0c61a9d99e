/// The server's side of one WebSocket (RFC 6455) after its handshake: octets in, payload and answers out.
///
/// Pure. Payload is handed on as it comes, so that a frame's length costs no memory; only control frames, of at most
/// 125 octets, are collected.
struct WebSocketMachine {
    /// Why a WebSocket ends (RFC 6455, section 7.4.1).
    enum CloseCode: UInt16, Sendable {
        case normal = 1000
        case protocolError = 1002
        case unsupportedData = 1003
        case invalidText = 1007
        case tooBig = 1009
    }

    /// Kinds of frames (section 5.2).
    enum Opcode: UInt8, Sendable {
        case continuation = 0
        case text = 1
        case binary = 2
        case close = 8
        case ping = 9
        case pong = 10

        var isControl: Bool { rawValue >= 8 }
    }

    /// What a piece of input comes to.
    struct Outcome: Equatable {
        /// Octets of messages, unmasked.
        var payload: [UInt8] = []
        /// Frames to send: pongs, and the answer to a close or an error.
        var replies: [UInt8] = []
    }

    /// Octets of one frame's payload; more is an error of the peer, who is told 1009.
    static let frameLimit: UInt64 = 64 << 20
    private static let controlLimit: UInt64 = 125

    /// Nothing that comes in counts any more: the peer has sent a close, or something that ended the WebSocket.
    private(set) var isEnded = false
    /// The peer ended it in order.
    private(set) var isClosedByPeer = false
    /// A close was sent.
    private(set) var hasSentClose = false

    private var header: [UInt8] = []
    private var headerLength = 2
    private var opcode = Opcode.binary
    private var isFinal = true
    private var remaining: UInt64 = 0
    private var isInPayload = false
    private var mask: [UInt8] = []
    private var maskIndex = 0
    private var control: [UInt8] = []
    private var isInMessage = false

    /// Takes the next octets of the peer, cut anywhere.
    mutating func receive(_ input: [UInt8]) -> Outcome {
        var outcome = Outcome()
        var position = 0
        while position < input.count, !isEnded {
            if isInPayload {
                let count = Int(min(remaining, UInt64(input.count - position)))
                takePayload(input[position..<position + count], &outcome)
                position += count
            } else {
                header.append(input[position])
                position += 1
                if header.count == headerLength { headerGrown(&outcome) }
            }
        }
        return outcome
    }

    /// A frame that is to say the end, with this code; empty if one was sent already.
    mutating func close(_ code: CloseCode) -> [UInt8] {
        guard !hasSentClose else { return [] }
        hasSentClose = true
        return WebSocketMachine.frame(.close, [UInt8(code.rawValue >> 8), UInt8(code.rawValue & 0xFF)])
    }

    static func frame(_ opcode: Opcode, _ payload: [UInt8]) -> [UInt8] {
        header(opcode, length: payload.count) + payload
    }

    /// What stands in front of `length` octets in a frame of the server: not masked, not fragmented.
    static func header(_ opcode: Opcode, length: Int) -> [UInt8] {
        let first = 0x80 | opcode.rawValue
        if length < 126 { return [first, UInt8(length)] }
        if length < 65_536 { return [first, 126, UInt8(length >> 8), UInt8(length & 0xFF)] }
        return [first, 127] + (0..<8).map { UInt8(truncatingIfNeeded: length >> (56 - 8 * $0)) }
    }

    private mutating func headerGrown(_ outcome: inout Outcome) {
        let short = header[1] & 0x7F
        let extra = short == 126 ? 2 : short == 127 ? 8 : 0
        if header.count == 2 {
            guard let kind = checkedStart() else { return fail(.protocolError, &outcome) }
            // AMQP is sent in binary frames (AMQP over WebSocket, section 2.2).
            guard kind != .text else { return fail(.unsupportedData, &outcome) }
            opcode = kind
            headerLength = 6 + extra
            return
        }
        var length = UInt64(short)
        if extra > 0 {
            length = header[2..<2 + extra].reduce(0) { $0 << 8 | UInt64($1) }
            // The shortest form is to be used, and the first bit is zero (section 5.2).
            guard length >= (extra == 2 ? 126 : 65_536), length >> 63 == 0 else {
                return fail(.protocolError, &outcome)
            }
        }
        guard length <= WebSocketMachine.frameLimit else { return fail(.tooBig, &outcome) }
        mask = Array(header.suffix(4))
        maskIndex = 0
        remaining = length
        header.removeAll(keepingCapacity: true)
        headerLength = 2
        isInPayload = true
        if !opcode.isControl { isInMessage = !isFinal }
        if remaining == 0 { takePayload([], &outcome) }
    }

    /// The kind of a frame whose first two octets are legal here; nil otherwise. An error is found before any more of
    /// the frame has come.
    private mutating func checkedStart() -> Opcode? {
        guard header[0] & 0x70 == 0, header[1] & 0x80 != 0, let kind = Opcode(rawValue: header[0] & 0x0F) else {
            return nil
        }
        isFinal = header[0] & 0x80 != 0
        if kind.isControl { return isFinal && UInt64(header[1] & 0x7F) <= WebSocketMachine.controlLimit ? kind : nil }
        return (kind == .continuation) == isInMessage ? kind : nil
    }

    private mutating func takePayload(_ octets: ArraySlice<UInt8>, _ outcome: inout Outcome) {
        let start = outcome.payload.count
        if opcode.isControl {
            for octet in octets {
                control.append(octet ^ mask[maskIndex])
                maskIndex = (maskIndex + 1) & 3
            }
        } else {
            outcome.payload.append(contentsOf: octets)
            outcome.payload.withUnsafeMutableBufferPointer { all in
                mask.withUnsafeBufferPointer { mask in
                    for index in start..<all.count {
                        all[index] ^= mask[maskIndex]
                        maskIndex = (maskIndex + 1) & 3
                    }
                }
            }
        }
        remaining -= UInt64(octets.count)
        guard remaining == 0 else { return }
        isInPayload = false
        if opcode.isControl {
            let complete = control
            control = []
            controlReceived(complete, &outcome)
        }
    }

    private mutating func controlReceived(_ payload: [UInt8], _ outcome: inout Outcome) {
        switch opcode {
        case .ping: if !hasSentClose { outcome.replies += WebSocketMachine.frame(.pong, payload) }
        case .close: closeReceived(payload, &outcome)
        default: break
        }
    }

    /// The answer repeats the code (section 5.5.1).
    private mutating func closeReceived(_ payload: [UInt8], _ outcome: inout Outcome) {
        guard payload.count >= 2 else {
            if payload.count == 1 { return fail(.protocolError, &outcome) }
            return endOrderly([], &outcome)
        }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        guard (1000...1003).contains(code) || (1007...1014).contains(code) || (3000...4999).contains(code) else {
            return fail(.protocolError, &outcome)
        }
        guard String(validating: payload[2...], as: UTF8.self) != nil else { return fail(.invalidText, &outcome) }
        endOrderly(Array(payload[..<2]), &outcome)
    }

    private mutating func endOrderly(_ code: [UInt8], _ outcome: inout Outcome) {
        isEnded = true
        isClosedByPeer = true
        if !hasSentClose { outcome.replies += WebSocketMachine.frame(.close, code) }
        hasSentClose = true
    }

    private mutating func fail(_ code: CloseCode, _ outcome: inout Outcome) {
        isEnded = true
        outcome.replies += close(code)
    }
}
