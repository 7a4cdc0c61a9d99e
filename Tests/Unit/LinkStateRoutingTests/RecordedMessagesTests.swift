import AMQPCodec
import Testing

@testable import LinkStateRouting

/// Messages captured between two skupper-router 3.5.1.
@Suite struct RecordedMessagesTests {
    struct Recorded {
        var episode: String
        var milliseconds: Int64
        var sender: String
        var octets: [UInt8]
        var decoded: DecodedMessage
    }

    static func recorded() throws -> [Recorded] {
        try catalogueLines("recorded-messages.txt").map { line in
            let words = line.split(separator: " ").map(String.init)
            let digits = Array(words[4].utf8).map { UInt8($0 < 0x3A ? $0 - 0x30 : $0 - 0x57) }
            let octets = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
            let seconds = words[1].split(separator: ".")
            let decoded = try WireReader.message(octets)
            #expect(decoded.opcode == words[3])
            #expect(try codecMessage(octets) == decoded)
            return Recorded(
                episode: words[0], milliseconds: (Int64(seconds[0]) ?? 0) * 1000 + (Int64(seconds[1]) ?? 0),
                sender: words[2], octets: octets, decoded: decoded)
        }
    }

    @Test func encodingIsOctetForOctetTheSame() throws {
        let recorded = try Self.recorded()
        #expect(recorded.count > 40)
        #expect(Set(recorded.map(\.decoded.opcode)) == RoutingMessage.opcodes)
        for item in recorded {
            let message = try #require(
                RoutingMessage(opcode: item.decoded.opcode, to: item.decoded.to, body: item.decoded.body))
            #expect(message.encode(selfID: item.sender) == item.octets, "\(item.milliseconds) \(item.decoded.opcode)")
        }
    }

    /// The builders give what the peers' own code gave for the same facts.
    @Test func buildersGiveTheRecordedMessages() throws {
        let recorded = try Self.recorded().filter { $0.episode == "link-up" && $0.sender == "B" }
        func body(_ opcode: String, _ index: Int = 0) throws -> AMQPValue {
            try #require(recorded.filter { $0.decoded.opcode == opcode }.dropFirst(index).first).decoded.body
        }
        let instance: Int64 = 1_795_477_035
        #expect(try RoutingMessage.hello(id: "B", instance: instance, seen: []).body == body("HELLO"))
        #expect(try RoutingMessage.hello(id: "B", instance: instance, seen: ["A"]).body == body("HELLO", 1))
        #expect(try RoutingMessage.linkStateRequest(id: "B", to: "A").body == body("LSR"))
        #expect(
            try RoutingMessage.advertisement(id: "B", instance: instance, linkStateSequence: 1, mobileSequence: 1).body
                == body("RA"))
        #expect(
            try RoutingMessage.linkStateUpdate(id: "B", to: "A", instance: instance, sequence: 1, peers: ["A": 1]).body
                == body("LSU"))
        #expect(try RoutingMessage.mobileRequest(id: "B", to: "A", haveSequence: 0).body == body("MAR"))
        let addresses = [
            ("Msfe.4G0nI:0", 2), ("Mvfcr.4G0nI:0", 2), ("Miperf", 3), ("Mnginx", 3), ("Mecho", 3), ("Mrefused", 3),
            ("Msclose", 3),
        ].map { (key: $0.0, info: AddressInfo(treatment: $0.1, producers: 0)) }
        #expect(
            try RoutingMessage.absoluteUpdate(id: "B", to: "A", sequence: 1, addresses: addresses).body == body("MAU"))
    }

    /// Octets of the differential update, as seen on a live network (protocol sheet, Appendix A).
    @Test func differentialUpdateOctets() {
        let message = RoutingMessage.differentialUpdate(
            id: "X", sequence: 2, added: [("Mdynsvc", AddressInfo(treatment: 3, producers: 0))], removed: [])
        let expected: [UInt8] =
            [0x00, 0x53, 0x77, 0xD1, 0, 0, 0, 0x5A, 0, 0, 0, 0x0C, 0xA3, 2] + Array("id".utf8) + [
                0xA1, 1, 0x58, 0xA3, 2,
            ]
            + Array("pv".utf8) + [0x55, 2, 0xA3, 4] + Array("area".utf8) + [0xA1, 1, 0x30, 0xA3, 0x0A]
            + Array("mobile_seq".utf8) + [0x55, 2, 0xA3, 3] + Array("add".utf8)
            + [0xD0, 0, 0, 0, 0x1A, 0, 0, 0, 1, 0xD0, 0, 0, 0, 0x11, 0, 0, 0, 3, 0xA1, 7] + Array("Mdynsvc".utf8)
            + [0x54, 3, 0x54, 0, 0xA3, 3] + Array("del".utf8) + [0xD0, 0, 0, 0, 4, 0, 0, 0, 0]
        #expect(Array(message.encode(selfID: "X").suffix(expected.count)) == expected)
        #expect(message.to == "_topo/0/all/qdrouter.ma")
    }

    /// Feeds what one side said to a machine in the place of the other.
    func replay(_ episode: String, to own: String) throws -> (RoutingMachine, [RoutingEffect]) {
        var machine = RoutingMachine(id: own, instance: 1_795_477_000)
        var effects = machine.handle(.localAddressAdded(key: "Mown", treatment: 3, producers: 0), now: 0)
        let messages = try Self.recorded().filter { $0.episode == episode && $0.sender != own }
        let start = try #require(messages.first).milliseconds
        effects += machine.handle(.neighbourConnected(slot: 0, cost: 1), now: start)
        for item in messages {
            let event = RoutingEvent.messageReceived(
                slot: 0, opcode: item.decoded.opcode, body: item.decoded.body, ingress: item.decoded.ingress)
            effects += machine.handle(event, now: item.milliseconds)
        }
        return (machine, effects)
    }

    @Test(arguments: [("link-up", "A", "B"), ("link-up", "B", "A"), ("restart-B", "A", "B"), ("restart-B", "B", "A")])
    func replayBringsTheNetworkUp(_ episode: String, _ own: String, _ peer: String) throws {
        let (machine, effects) = try replay(episode, to: own)
        let route = try #require(machine.route(to: peer))
        #expect(route.slot == 0 && route.nextHopID == nil && route.cost == 1 && route.isNeighbour)
        #expect(route.peers == [own: 1])
        #expect(machine.radius == 1)
        #expect(machine.rejections.isEmpty)
        if peer == "B" {
            #expect(route.addresses["Mecho"] == AddressInfo(treatment: 3, producers: 0))
            #expect(route.addresses.count == 7)
        } else {
            #expect(route.addresses.count == 2)
        }
        func count(_ opcode: String) -> Int {
            effects.filter {
                switch $0 {
                case .sendToRouter(let id, let message): id == peer && message.opcode == opcode
                case .flood(let message), .sendToNeighbour(_, let message): message.opcode == opcode
                default: false
                }
            }.count
        }
        #expect(count("HELLO") == 2)
        #expect(count("LSR") >= 1 && count("LSR") <= 3)
        #expect(count("MAR") >= 1 && count("MAR") <= 3)
        #expect(count("RA") >= 1)
        // The recorded peer asked for our link state and our addresses, and gets both.
        let answer = RoutingMessage.linkStateUpdate(
            id: own, to: peer, instance: 1_795_477_000, sequence: 1, peers: [peer: 1])
        #expect(effects.contains(.sendToRouter(id: peer, answer)))
        let addresses = [(key: "Mown", info: AddressInfo(treatment: 3, producers: 0))]
        let update = RoutingMessage.absoluteUpdate(id: own, to: peer, sequence: 1, addresses: addresses)
        #expect(effects.contains(.sendToRouter(id: peer, update)))
    }
}
