import AMQPCodec

/// One control message of the routing protocol, ready to be sent (§3.1, §3.2).
package struct RoutingMessage: Equatable, Sendable {
    /// HELLO, RA, LSR, LSU, MAR or MAU.
    package let opcode: String
    /// The whole `to` of the properties section.
    package let to: String
    /// The amqp-value body, always a map.
    package let body: AMQPValue

    /// Opcodes of the protocol.
    package static let opcodes: Set<String> = ["HELLO", "RA", "LSR", "LSU", "MAR", "MAU"]
    /// Newest protocol version of HELLO, RA, LSR and LSU that we speak.
    package static let linkStateVersion: Int64 = 1
    /// Newest protocol version of MAR and MAU that we speak.
    package static let mobileVersion: Int64 = 2

    /// Nil unless the opcode is one of the protocol's and the body is a map.
    package init?(opcode: String, to: String, body: AMQPValue) {
        guard Self.opcodes.contains(opcode), case .map = body else { return nil }
        self.init(checked: opcode, to: to, body: body)
    }

    private init(checked opcode: String, to: String, body: AMQPValue) {
        self.opcode = opcode
        self.to = to
        self.body = body
    }

    /// Address of a HELLO: whoever is at the other end of the connection.
    package static let helloAddress = "amqp:/_local/qdhello"
    /// Address of RA.
    package static let floodAddress = "amqp:/_topo/0/all/qdrouter"
    /// Address of a differential MAU.
    package static let mobileFloodAddress = "_topo/0/all/qdrouter.ma"

    static func hello(id: String, instance: Int64, seen: [String]) -> RoutingMessage {
        linkState(
            "HELLO", to: helloAddress, id: id,
            [("instance", integer(instance)), ("seen", .list(seen.map { .string($0) }))])
    }

    static func advertisement(id: String, instance: Int64, linkStateSequence: Int64, mobileSequence: Int64)
        -> RoutingMessage
    {
        linkState(
            "RA", to: floodAddress, id: id,
            [
                ("instance", integer(instance)), ("ls_seq", integer(linkStateSequence)),
                ("mobile_seq", integer(mobileSequence)),
            ])
    }

    static func linkStateRequest(id: String, to destination: String) -> RoutingMessage {
        linkState("LSR", to: "amqp:/_topo/0/\(destination)/qdrouter", id: id, [])
    }

    static func linkStateUpdate(
        id: String, to destination: String, instance: Int64, sequence: Int64, peers: [String: Int]
    ) -> RoutingMessage {
        let listed = peers.sorted { precedesInOctetOrder($0.key, $1.key) }
        let linkStateMap = stringMap([
            ("id", .string(id)), ("area", .string("0")), ("ls_seq", integer(sequence)),
            ("peers", stringMap(listed.map { ($0.key, integer(Int64($0.value))) })),
        ])
        return linkState(
            "LSU", to: "amqp:/_topo/0/\(destination)/qdrouter", id: id,
            [("instance", integer(instance)), ("ls_seq", integer(sequence)), ("ls", linkStateMap)])
    }

    static func mobileRequest(id: String, to destination: String, haveSequence: Int64) -> RoutingMessage {
        mobile(
            "MAR", to: "amqp:/_topo/0/\(destination)/qdrouter.ma", id: id, [("have_seq", .long(haveSequence))])
    }

    static func absoluteUpdate(
        id: String, to destination: String, sequence: Int64, addresses: [(key: String, info: AddressInfo)]
    ) -> RoutingMessage {
        mobile(
            "MAU", to: "amqp:/_topo/0/\(destination)/qdrouter.ma", id: id,
            [("mobile_seq", .long(sequence)), ("exist", .list(addresses.map { descriptor($0.key, $0.info) }))])
    }

    static func differentialUpdate(
        id: String, sequence: Int64, added: [(key: String, info: AddressInfo)], removed: [String]
    ) -> RoutingMessage {
        mobile(
            "MAU", to: mobileFloodAddress, id: id,
            [
                ("mobile_seq", .long(sequence)),
                ("add", .list(added.map { descriptor($0.key, $0.info) })),
                ("del", .list(removed.map { .list([.string($0)]) })),
            ])
    }

    private static func descriptor(_ key: String, _ info: AddressInfo) -> AMQPValue {
        var fields: [AMQPValue] = [
            .string(key), .int(Int32(clamping: info.treatment)), .int(Int32(clamping: info.producers)),
        ]
        if let meshID = info.meshID { fields += [.null, .string(meshID)] }
        return .list(fields)
    }

    private static func linkState(_ opcode: String, to: String, id: String, _ rest: [(String, AMQPValue)])
        -> RoutingMessage
    {
        let head: [(String, AMQPValue)] = [
            ("id", .string(id)), ("pv", integer(linkStateVersion)), ("area", .string("0")),
        ]
        return RoutingMessage(checked: opcode, to: to, body: stringMap(head + rest))
    }

    private static func mobile(_ opcode: String, to: String, id: String, _ rest: [(String, AMQPValue)])
        -> RoutingMessage
    {
        let head: [(String, AMQPValue)] = [
            ("id", .string(id)), ("pv", .long(mobileVersion)), ("area", .string("0")),
        ]
        let entries = (head + rest).map { MapEntry(key: .symbol($0.0), value: $0.1) }
        return RoutingMessage(checked: opcode, to: to, body: .map(entries))
    }

    private static func stringMap(_ fields: [(String, AMQPValue)]) -> AMQPValue {
        .map(fields.map { MapEntry(key: .string($0.0), value: $0.1) })
    }

    /// AMQP int, or long beyond 32 bits, as the peers' Python encoder does.
    private static func integer(_ value: Int64) -> AMQPValue {
        Int32(exactly: value).map { .int($0) } ?? .long(value)
    }
}
