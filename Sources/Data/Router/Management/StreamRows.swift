import AMQPCodec
import Glibc

/// Where one stream is found again: a number that is its identity in management, and its place in its loop.
struct StreamPlace: Sendable {
    var number: UInt64
    var worker: Int
    var slot: Int
}

/// What a row of `connection` says of one TCP connection. Gathered on its loop, made into a row by the control thread.
struct StreamFacts: Sendable {
    var number: UInt64
    var isListener: Bool
    /// The peer's address and port.
    var host: String
    var localSocket: String?
    var uptimeSeconds: Int64
    var tlsProtocol: String?
    var tlsCipher: String?
    var isTLS: Bool
    /// Name of the listener or connector, for the log.
    var title: String

    /// The row. skupper-router shows TCP connections with this container and this property.
    var row: ManagementRow {
        StreamFacts.row(
            number: number, host: host, isIncoming: isListener, uptimeSeconds: uptimeSeconds,
            adding: [
                "localSocket": localSocket.map { .string($0) } ?? .null, "isEncrypted": .bool(isTLS),
                "sslProto": tlsProtocol.map { .string($0) } ?? .null,
                "sslCipher": tlsCipher.map { .string($0) } ?? .null, "sslSsf": .int(isTLS ? 128 : 0),
                "ssl": .bool(isTLS), "tlsOrdinal": isTLS ? .int(0) : .null,
            ])
    }

    static func row(
        number: UInt64, host: String, isIncoming: Bool, uptimeSeconds: Int64, adding more: ManagementRow = [:]
    ) -> ManagementRow {
        let row: ManagementRow = [
            "name": .string("connection/\(host)"), "identity": .string(String(number)),
            "type": .string("io.skupper.router.connection"), "host": .string(host), "role": .string("normal"),
            "protocol": .string("tcp"), "dir": .string(isIncoming ? "in" : "out"),
            "container": .string("TcpAdaptor"), "sasl": .string(""), "isAuthenticated": .bool(false),
            "user": .string(""), "isEncrypted": .bool(false), "sslSsf": .int(0), "ssl": .bool(false),
            "properties": .map([MapEntry(key: .string("qd.adaptor"), value: .string("tcp"))]),
            "opened": .bool(true), "active": .bool(true), "adminStatus": .string("enabled"),
            "operStatus": .string("up"), "uptimeSeconds": .int(Int32(clamping: uptimeSeconds)),
            "enableProtocolTrace": .bool(false),
        ]
        return row.merging(more) { _, new in new }
    }
}

extension TCPStream {
    fileprivate func facts(now: Int64) -> StreamFacts {
        let isListener = if case .listener = side { true } else { false }
        let descriptor = poll?.descriptor ?? -1
        let peer = isListener ? Sockets.peer(of: descriptor) : (dialled ?? Sockets.peer(of: descriptor))
        return StreamFacts(
            number: number, isListener: isListener, host: peer?.text ?? "",
            localSocket: Sockets.local(of: descriptor)?.text, uptimeSeconds: max(0, now / 1000 - Int64(openedSecond)),
            tlsProtocol: tls?.protocolName, tlsCipher: tls?.cipherName, isTLS: tls != nil, title: title)
    }
}

extension Worker {
    /// Every open stream of this loop, without looking at any of its sockets.
    var streamPlaces: [StreamPlace] {
        var places: [StreamPlace] = []
        places.reserveCapacity(openStreams)
        eachStream { places.append(StreamPlace(number: $0.number, worker: index, slot: $0.ref.slot)) }
        return places
    }

    /// The streams that are still there.
    func facts(_ places: some Sequence<StreamPlace>) -> [StreamFacts] {
        places.compactMap { place in
            guard let stream = stream(slot: place.slot), stream.number == place.number else { return nil }
            return stream.facts(now: now)
        }
    }

    /// The stream with this number, and, if asked for, its end.
    func facts(_ number: UInt64, cutting: Bool) -> StreamFacts? {
        var found: TCPStream?
        eachStream { if $0.number == number { found = $0 } }
        guard let found else { return nil }
        let facts = found.facts(now: now)
        if cutting { found.cut() }
        return facts
    }
}
