import Threading
/// A TCP connector as the loops see it: where to connect, and how many streams are open. Immutable but for its
/// counters.
final class TCPConnectorTarget: Sendable {
    let name: String
    let address: String
    let host: String
    let port: UInt16
    let load = LoadCounter()
    /// The telemetry process reference from configuration.
    let processID: String?
    private let resolved = Locked<(addresses: [SocketAddress], at: Int64)>(([], 0))
    let closed = LoadCounter()

    init(name: String, address: String, host: String, port: UInt16, processID: String?) {
        self.name = name
        self.address = address
        self.host = host
        self.port = port
        self.processID = processID
        if let literal = SocketAddress(literal: host, port: port) { resolved.withLock { $0 = ([literal], .max) } }
    }

    /// Addresses resolved less than 30 s ago.
    func cachedAddresses(now: Int64) -> [SocketAddress]? {
        resolved.withLock { $0.addresses.isEmpty || ($0.at != .max && now - $0.at > 30_000) ? nil : $0.addresses }
    }

    func cache(_ addresses: [SocketAddress], now: Int64) { resolved.withLock { $0 = (addresses, now) } }
}

/// A TCP listener as the loops see it.
final class TCPListenerTarget: Sendable {
    let name: String
    /// The service address; its hash key is `M` + address.
    let address: String
    let key: String
    let socketAddress: SocketAddress
    let backlog: Int32
    /// Connections accepted and closed so far, over all loops.
    let load = LoadCounter()
    let closed = LoadCounter()

    init(name: String, address: String, socketAddress: SocketAddress, backlog: Int32) {
        self.name = name
        self.address = address
        self.key = "M" + address
        self.socketAddress = socketAddress
        self.backlog = backlog
    }
}

/// Names one TCP stream across loops: a reply address carries it, so that a reply finds its stream without a table.
struct StreamRef: Hashable, Sendable {
    var worker: Int
    var slot: Int
    var generation: UInt32

    private static let alphabet: StaticString = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+_"
    /// Octets of ``text``.
    static let textCount = 15
    /// Digits of worker, slot and generation.
    private static let widths = (2, 5, 6)

    /// 15 characters: `t`, worker (2), slot (5), generation (6), then `0`. The generation is random-seeded, so a stale
    /// reply does not reach a later stream.
    var text: String {
        String(unsafeUninitializedCapacity: StreamRef.textCount) { buffer in
            write(to: UnsafeMutableRawBufferPointer(buffer))
            return StreamRef.textCount
        }
    }

    /// Writes ``text`` into the first ``textCount`` octets of `buffer`.
    func write(to buffer: UnsafeMutableRawBufferPointer) {
        let digits = StreamRef.alphabet.utf8Start
        var position = 1
        buffer[0] = UInt8(ascii: "t")
        func put(_ value: UInt64, _ count: Int) {
            var shift = UInt64(count * 6)
            for _ in 0..<count {
                shift -= 6
                buffer[position] = digits[Int(value >> shift & 63)]
                position += 1
            }
        }
        put(UInt64(worker), StreamRef.widths.0)
        put(UInt64(slot), StreamRef.widths.1)
        put(UInt64(generation), StreamRef.widths.2)
        buffer[position] = UInt8(ascii: "0")
    }

    init(worker: Int, slot: Int, generation: UInt32) {
        self.worker = worker
        self.slot = slot
        self.generation = generation
    }

    /// Parses ``text``; nil when it is not ours.
    init?(text: Substring.UTF8View) {
        let characters = Array(text)
        guard let ref = characters.withUnsafeBytes({ StreamRef(name: $0) }) else { return nil }
        self = ref
    }

    /// Parses the octets of ``text``; nil when they are not ours.
    init?(name: UnsafeRawBufferPointer) {
        guard name.count == StreamRef.textCount, name[0] == UInt8(ascii: "t"), name[14] == UInt8(ascii: "0") else {
            return nil
        }
        var position = 1
        func take(_ count: Int) -> UInt64? {
            var value: UInt64 = 0
            for _ in 0..<count {
                guard let digit = StreamRef.digit(name[position]) else { return nil }
                value = value << 6 | digit
                position += 1
            }
            return value
        }
        guard let worker = take(StreamRef.widths.0), let slot = take(StreamRef.widths.1),
            let generation = take(StreamRef.widths.2), generation <= UInt64(UInt32.max)
        else { return nil }
        self.init(worker: Int(worker), slot: Int(slot), generation: UInt32(generation))
    }

    private static func digit(_ character: UInt8) -> UInt64? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(character - UInt8(ascii: "0"))
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt64(character - UInt8(ascii: "A")) + 10
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt64(character - UInt8(ascii: "a")) + 36
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
