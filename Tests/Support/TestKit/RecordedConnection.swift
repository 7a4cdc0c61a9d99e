/// One protocol header or frame of a recorded connection.
package struct RecordedUnit: Sendable {
    /// Who sent it: the side that opened the TCP connection, or the other.
    package enum Side: String, CaseIterable, Sendable { case connector, listener }

    package let side: Side
    /// Exactly one protocol header or one whole frame.
    package let octets: [UInt8]
    /// An eight-octet protocol header, not a frame.
    package let isProtocolHeader: Bool
}

/// A connection recorded between two skupper-router 3.5.1 or between one and Proton's client, in the order of the wire.
///
/// The recordings are `Unit/AMQPCodecTests/Fixtures/NAME.{connector,listener}.bin` with the octets of each direction
/// and `NAME.order.txt` with the runs they arrived in. Tests/README.md says what each shows and how it is made.
package struct RecordedConnection: Sendable, CustomStringConvertible {
    package let name: String
    /// Each stands where its last octet arrived.
    package let units: [RecordedUnit]
    package var description: String { name }

    /// Two interior routers that carry TCP services: `plain` with one control and two data connections, restarted
    /// twice; `dcN` with N data connections. The one of a 2 MB transfer stops after 60 KB.
    package static let services =
        ["dc0-1", "dc1-1", "dc1-2"] + (1...5).map { "dc4-\($0)" } + (1...9).map { "plain-\($0)" }

    /// Each made for one thing, see Interop/record_connections.py.
    package static let features = [
        "edge", "mesh", "failover", "upgrade-1", "upgrade-2", "drain", "multicast", "stream", "stream-sender",
        "stream-receiver", "management", "refused",
    ]

    /// Names of all recordings.
    package static let names = services + features

    /// All recordings.
    package static func all() throws -> [RecordedConnection] { try names.map { try RecordedConnection($0) } }

    /// Reads one recording.
    package init(_ name: String) throws {
        func load(_ suffix: String) throws -> [UInt8] { try recordedOctets("\(name).\(suffix)") }
        let streams = [RecordedUnit.Side.connector: try load("connector.bin"), .listener: try load("listener.bin")]
        let order = String(decoding: try load("order.txt"), as: UTF8.self)
        var arrived: [RecordedUnit.Side: Int] = [:]
        var taken: [RecordedUnit.Side: Int] = [:]
        var units: [RecordedUnit] = []
        for line in order.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2, let side = RecordedUnit.Side(rawValue: String(words[0])), let count = Int(words[1])
            else {
                throw FixtureError(description: "\(name).order.txt: bad line \(line)")
            }
            arrived[side, default: 0] += count
            let octets = streams[side, default: []][..<arrived[side, default: 0]]
            while let unit = Self.unit(octets[taken[side, default: 0]...], side) {
                taken[side, default: 0] += unit.octets.count
                units.append(unit)
            }
        }
        for (side, octets) in streams where taken[side] != octets.count {
            throw FixtureError(description: "\(name): \(side) ends inside a frame")
        }
        self.name = name
        self.units = units
    }

    private static func unit(_ octets: ArraySlice<UInt8>, _ side: RecordedUnit.Side) -> RecordedUnit? {
        guard octets.count >= 8 else { return nil }
        let isHeader = octets.starts(with: Array("AMQP".utf8))
        let size = isHeader ? 8 : octets.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard octets.count >= size else { return nil }
        return RecordedUnit(side: side, octets: Array(octets.prefix(size)), isProtocolHeader: isHeader)
    }
}

/// The octets of one file of the recordings.
package func recordedOctets(_ file: String) throws -> [UInt8] {
    try fixture("../../Unit/AMQPCodecTests/Fixtures/\(file)")
}
