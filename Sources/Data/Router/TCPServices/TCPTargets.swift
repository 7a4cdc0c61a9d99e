import Synchronization
import Threading

/// The TLS a service's new connections use; replaced when its sslProfile is read again.
final class ServiceTLS: Sendable {
    private let value: Locked<TLSContext>

    init(_ context: TLSContext) { value = Locked(context) }

    var context: TLSContext { value.withLock { $0 } }
    func replace(_ context: TLSContext) { value.withLock { $0 = context } }
}

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
    let octets: ServiceOctets
    /// TLS towards the server; nil = clear text.
    let serviceTLS: ServiceTLS?
    /// Whether the server's certificate must carry the host.
    let verifyHostname: Bool

    init(
        name: String, address: String, host: String, port: UInt16, processID: String?, tls: TLSContext?,
        verifyHostname: Bool, loops: Int
    ) {
        octets = ServiceOctets(loops: loops)
        serviceTLS = tls.map(ServiceTLS.init)
        self.verifyHostname = verifyHostname
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

    /// The address that answered is tried first from now on.
    func prefer(_ address: SocketAddress) {
        resolved.withLock { known in
            guard let index = known.addresses.firstIndex(of: address), index > 0 else { return }
            known.addresses.swapAt(0, index)
        }
    }

    var tls: TLSContext? { serviceTLS?.context }
}

/// One service address of a listener.
final class ListenerAddress: Sendable {
    /// Name of the listenerAddress entity; that of the listener where it has one address.
    let name: String
    let address: String
    /// Hash key: `M` + address.
    let key: String
    /// Priority or weight.
    let value: Int
    /// Connections that went to it.
    let load = LoadCounter()
    /// Whether the replies so far came from routers of ours: 0 = there was none, 1 = all did, 2 = one did not.
    private let repliers = Atomic<UInt8>(0)

    /// Routers of ours have replied, and no others.
    var isServedByOurs: Bool { repliers.load(ordering: .relaxed) == 1 }

    /// A reply stream has arrived from a router of ours, or from another.
    func noteReply(isOurs: Bool) {
        let known = repliers.load(ordering: .relaxed)
        if known == 0 || !isOurs && known == 1 { repliers.store(isOurs ? 1 : 2, ordering: .relaxed) }
    }

    init(name: String, address: String, value: Int) {
        self.name = name
        self.address = address
        key = "M" + address
        self.value = value
    }
}

/// How a listener chooses among several addresses (router-protocol sheet, section 5.8).
enum AddressStrategy: String, Sendable {
    case none
    /// The reachable address with the highest value; among equals the one given first.
    case priority
    /// A random reachable address, each as often as its share of the sum of values. Value 0 is never chosen.
    case weighted

    /// - Parameters:
    ///   - addresses: highest value first.
    ///   - random: any number, the same odds for each.
    func choose(
        _ addresses: [ListenerAddress], random: () -> UInt64, isReachable: (ListenerAddress) -> Bool
    ) -> ListenerAddress? {
        switch self {
        case .none, .priority: return addresses.first(where: isReachable)
        case .weighted:
            let reachable = addresses.filter { $0.value > 0 && isReachable($0) }
            let sum = reachable.reduce(0) { $0 + $1.value }
            guard sum > 0 else { return nil }
            var left = Int(random() % UInt64(sum))
            for address in reachable {
                left -= address.value
                if left < 0 { return address }
            }
            return nil
        }
    }
}

/// A TCP listener as the loops see it.
final class TCPListenerTarget: Sendable {
    let name: String
    let strategy: AddressStrategy
    /// The one address of a listener without strategy.
    private let single: ListenerAddress?
    /// The addresses of a listener with a strategy, highest value first.
    private let several = Locked<[ListenerAddress]>([])
    let socketAddress: SocketAddress
    let backlog: Int32
    /// Connections accepted and closed so far, over all loops.
    let load = LoadCounter()
    let closed = LoadCounter()
    let octets: ServiceOctets
    /// TLS towards clients; nil = clear text.
    let serviceTLS: ServiceTLS?
    private let observerChoice: Atomic<UInt8>

    /// What is looked for in the traffic of new connections.
    var observer: ObserverChoice {
        get { ObserverChoice(rawValue: observerChoice.load(ordering: .relaxed)) ?? .none }
        set { observerChoice.store(newValue.rawValue, ordering: .relaxed) }
    }

    /// - Parameter address: nil with a strategy; addresses are added then.
    init(
        name: String, address: String?, strategy: AddressStrategy, socketAddress: SocketAddress, backlog: Int32,
        tls: TLSContext?, loops: Int, observer: ObserverChoice = .none
    ) {
        observerChoice = Atomic(observer.rawValue)
        octets = ServiceOctets(loops: loops)
        serviceTLS = tls.map(ServiceTLS.init)
        self.name = name
        self.strategy = strategy
        single = address.map { ListenerAddress(name: name, address: $0, value: 0) }
        self.socketAddress = socketAddress
        self.backlog = backlog
    }

    var tls: TLSContext? { serviceTLS?.context }

    /// Its addresses, highest value first.
    var addresses: [ListenerAddress] { single.map { [$0] } ?? several.withLock { $0 } }

    /// The addresses in words.
    var title: String { single?.address ?? addresses.map(\.address).joined(separator: ", ") }

    func add(_ address: ListenerAddress) {
        several.withLock { list in
            let index = list.firstIndex { $0.value < address.value } ?? list.endIndex
            list.insert(address, at: index)
        }
    }

    func remove(_ name: String) { several.withLock { list in list.removeAll { $0.name == name } } }

    /// The address for a new connection.
    func choose(random: () -> UInt64, isReachable: (ListenerAddress) -> Bool) -> ListenerAddress? {
        if let single { return isReachable(single) ? single : nil }
        return strategy.choose(addresses, random: random, isReachable: isReachable)
    }

    /// Some connection could be served.
    func isReachable(in tables: Snapshot) -> Bool {
        choose(random: { 0 }, isReachable: { tables.addresses[$0.key]?.takesStreams ?? false }) != nil
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
