import AMQPCodec

@testable import ManagementClient

/// The router's side of a management connection, as octets written by hand and frames read back.
struct ManagementScript {
    var machine = ManagementMachine(mechanism: .external, host: "127.0.0.1", containerID: "c")
    /// AMQP frames that the machine has written since the last call of `take`.
    private var written: [UInt8] = []

    static let mechanisms = encodeFrame(channel: 0, type: 1) {
        SASLFrame.mechanisms(["EXTERNAL", "ANONYMOUS"]).encode(into: &$0)
    }
    static let outcome = encodeFrame(channel: 0, type: 1) { SASLFrame.outcome(code: 0).encode(into: &$0) }
    static let open = encodeFrame(channel: 0) { Open(containerID: "router").encode(into: &$0) }
    static let begin = encodeFrame(channel: 0) {
        Begin(remoteChannel: 0, nextOutgoingID: 7, incomingWindow: 1000, outgoingWindow: 1000, handleMax: 255)
            .encode(into: &$0)
    }

    /// The answer to an attach; the router's handles are not ours.
    static func attach(_ name: String, handle: UInt32, isReplies: Bool = false, target: Target? = Target(address: "x"))
        -> [UInt8]
    {
        encodeFrame(channel: 0) {
            Attach(
                name: name, handle: handle, role: isReplies ? .sender : .receiver, sndSettleMode: 2, rcvSettleMode: 0,
                source: isReplies ? Source(address: "amqp:/_topo/0/r/temp.1", dynamic: true) : Source(),
                target: isReplies ? Target() : target, initialDeliveryCount: isReplies ? 0 : nil,
                maxMessageSize: nil, properties: []
            ).encode(into: &$0)
        }
    }

    static func credit(_ count: UInt32, handle: UInt32, deliveryCount: UInt32 = 0, nextIncoming: UInt32 = 0) -> [UInt8]
    {
        encodeFrame(channel: 0) {
            var flow = Flow(nextIncomingID: nextIncoming, incomingWindow: 1000, nextOutgoingID: 7, outgoingWindow: 1000)
            flow.handle = handle
            flow.deliveryCount = deliveryCount
            flow.linkCredit = count
            flow.encode(into: &$0)
        }
    }

    /// All octets of the router up to a connection on which requests can be sent.
    static func setUp(relay: Bool = true) -> [UInt8] {
        var octets = saslHeader + mechanisms + outcome + amqpHeader + open + begin
        octets += attach("c-replies", handle: 10, isReplies: true)
        octets += attach("c-requests", handle: 11) + credit(100, handle: 11)
        if relay { octets += attach("c-relay", handle: 12) + credit(100, handle: 12) }
        return octets
    }

    /// A script whose machine is ready.
    static func ready(relay: Bool = true) -> ManagementScript {
        var script = ManagementScript()
        script.machine.start()
        script.machine.received(setUp(relay: relay))
        _ = script.machine.takeOutput()
        return script
    }

    /// A reply message.
    static func reply(
        to number: AMQPValue, status: AMQPValue = .int(200), text: String = "OK", body: AMQPValue = .map([])
    ) -> [UInt8] {
        var encoder = AMQPEncoder()
        encoder.described(0x70)
        encoder.list(1) { $0.bool(false) }
        encoder.described(0x73)
        encoder.list(6) { list in
            list.null()
            list.null()
            list.string("amqp:/_topo/0/r/temp.1")
            list.null()
            list.null()
            list.value(number)
        }
        encoder.described(0x74)
        encoder.value(
            .map([
                MapEntry(key: .string("statusDescription"), value: .string(text)),
                MapEntry(key: .string("statusCode"), value: status),
            ]))
        encoder.described(0x77)
        encoder.value(body)
        return encoder.bytes
    }

    /// A message to the client's receiver in frames of at most `size` octets of payload.
    static func transfers(_ message: [UInt8], delivery: UInt32 = 0, size: Int = .max) -> [UInt8] {
        var octets: [UInt8] = []
        var rest = message[...]
        repeat {
            let part = rest.prefix(size)
            rest = rest.dropFirst(part.count)
            var head = [UInt8](repeating: 0, count: TransferWriter.maximumHeaderBytes)
            let length = head.withUnsafeMutableBytes { buffer in
                buffer.baseAddress.map {
                    TransferWriter.write(
                        to: $0, channel: 0, handle: 10, deliveryID: delivery, tag: UInt64(delivery), settled: true,
                        more: !rest.isEmpty, aborted: false, payloadBytes: part.count)
                } ?? 0
            }
            octets += head[..<length] + part
        } while !rest.isEmpty
        return octets
    }

    /// A frame of the machine.
    enum Sent {
        case transfer(handle: UInt32, message: [UInt8])
        case other(String)
    }

    /// The AMQP frames that the machine has written since the last call.
    mutating func sent() throws -> [Sent] {
        var rest = machine.takeOutput()[...]
        var result: [Sent] = []
        while rest.count >= 8 {
            let size = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            let body = Array(rest.prefix(size).dropFirst(8))
            rest = rest.dropFirst(size)
            try body.withUnsafeBytes { buffer in
                var reader = ByteReader(buffer)
                switch try Performative.decode(from: &reader) {
                case .transfer(let transfer):
                    result.append(.transfer(handle: transfer.handle, message: Array(buffer[reader.offset...])))
                case .flow: result.append(.other("flow"))
                case .disposition: result.append(.other("disposition"))
                case .detach: result.append(.other("detach"))
                case .close: result.append(.other("close"))
                default: result.append(.other("other"))
                }
            }
        }
        return result
    }

    /// The messages among what was sent, with the handles they went out on.
    mutating func sentMessages() throws -> [(handle: UInt32, message: [UInt8])] {
        try sent().compactMap { if case .transfer(let handle, let message) = $0 { (handle, message) } else { nil } }
    }
}
