import AMQPCodec
import RouterConfig
import TestKit
import Testing

@testable import Router

/// What skupper-router 3.5.1 said about edge routers, other places, outcomes, streams and entities, given to the parts
/// of ours that deal with it; and what ours would have said in its place.
@Suite struct RecordedExchangesTests {
    /// Messages on the links to or from an address.
    private func messages(_ name: String, about address: String) throws -> [RecordedMessage] {
        let recording = try RecordedConnection(name)
        let attaches = try recording.attaches(.connector) + recording.attaches(.listener)
        let links = Set(
            attaches.filter { $0.source?.address == address || $0.target?.address == address }.map(\.name))
        return try recording.messages().filter { links.contains($0.link) }
    }

    // MARK: Edge routers

    @Test func addressTracking() throws {
        let told = try messages("edge", about: WireNames.edgeTracking)
        // The service at the interior was there, went, and came back.
        #expect(told.map(\.side) == [.listener, .listener, .listener])
        for (message, isReachable) in zip(told, [true, false, true]) {
            let read = EdgeMessages.reachability(in: try message.body())
            #expect(read?.key == "Mup" && read?.isReachable == isReachable)
            #expect(EdgeMessages.reachability("Mup", isReachable, own: "0/A") == message.octets)
            #expect(!message.isSettled)
        }
    }

    @Test(
        arguments: [
            nil, .null, .list([]), .list([.string("Mup")]), .list([.bool(true), .string("Mup")]),
            .list([.string("Mup"), .string("true")]), .map([]),
        ] as [AMQPValue?])
    func otherBodiesTellNothingOfReachability(body: AMQPValue?) {
        #expect(EdgeMessages.reachability(in: body) == nil)
    }

    @Test func nameOfTheMeshForTheInterior() throws {
        let told = try messages("edge", about: WireNames.meshDiscovery)
        let message = try #require(told.first)
        #expect(told.count == 1 && message.side == .connector)
        let head = try message.head()
        let name = try #require(EdgeMessages.meshName(in: head.applicationProperties))
        #expect(name.utf8.count == 15 && head.annotations?.meshID == name)
        // skupper-router puts the name into the annotations of this message too, where nobody looks for it.
        let own = EdgeMessages.meshName(name)
        #expect(own.suffix(message.octets.count - head.bareOffset) == message.octets[head.bareOffset...])
        // Streams of this edge router carry the same name, and neither ingress nor trace.
        let streams = try RecordedConnection("edge").messages().filter {
            $0.side == .connector && $0.link != message.link
        }
        #expect(!streams.isEmpty)
        for stream in streams {
            let annotations = try #require(try stream.head().annotations)
            #expect(annotations.meshID == name && annotations.ingress == nil && annotations.trace.isEmpty)
        }
    }

    /// Both of the recorded bids, given to both ends: they agree, and who is older wins.
    @Test func bidsForTheNameOfTheMesh() throws {
        let told = try messages("mesh", about: WireNames.meshBid)
        var bids: [RecordedUnit.Side: MeshElection.Bid] = [:]
        for message in told {
            let properties = try message.head().applicationProperties
            let bid = try #require(EdgeMessages.bid(in: properties))
            #expect(EdgeMessages.bid(bid) == message.octets)
            bids[message.side] = bid
        }
        let older = try #require(bids[.listener])
        let younger = try #require(bids[.connector])
        #expect(told.count == 2 && older.ordinal < younger.ordinal)
        let unused = MeshElection.Bid(ordinal: 0, id: "unused")
        for (own, heard) in [(older, younger), (younger, older)] {
            var election = MeshElection(own: own)
            let isNew = election.heard(heard, from: "peer", fresh: unused)
            #expect(!isNew && election.meshID == older.id)
        }
    }

    @Test func whatIsNoBidIsNone() {
        func bid(_ ordinal: AMQPValue, _ id: AMQPValue) -> MeshElection.Bid? {
            EdgeMessages.bid(in: [MapEntry(symbol: "ordinal", ordinal), MapEntry(symbol: "id", id)])
        }
        let name = AMQPValue.string("123456789012345")
        #expect(bid(.long(1), name) != nil)
        #expect(bid(.long(.min), name) == nil)
        #expect(bid(.string("1"), name) == nil)
        #expect(bid(.long(1), .string("short")) == nil)
        #expect(bid(.long(1), .null) == nil)
        #expect(EdgeMessages.bid(in: []) == nil)
        #expect(EdgeMessages.meshName(in: [MapEntry(symbol: "meshid", .string("short"))]) == nil)
    }

    // MARK: Fail-over (sheet, sections 1.4 and 1.11)

    @Test func otherPlaces() throws {
        let value = try #require(
            try RecordedConnection("failover").open(.listener).properties.value(for: FailoverAddress.property))
        let read = try #require(FailoverAddress.read(value))
        #expect(read.map(\.host) == ["b2.example", "b3.example", "b4.example"])
        #expect(read.map(\.port) == ["5672", "5671", "5672"])
        var list = FailoverList(own: FailoverAddress(scheme: "amqp", host: "b.example", port: "5672"))
        list.learn(read)
        #expect(
            list.text
                == "amqp://b.example:5672, amqp://b2.example:5672, amqps://b3.example:5671, amqp://b4.example:5672")
        // Written as it was configured there, ours is the same value.
        let own = try FailoverAddress.list("amqp://b2.example:5672, amqps://b3.example:5671, b4.example")
        #expect(AMQPValue.list(own.map(\.amqp)) == value)
    }

    /// Who says nothing of other places leaves the list as it is.
    @Test(arguments: RecordedConnection.features.filter { $0 != "failover" }) func noOtherPlaces(name: String) throws {
        for side in RecordedUnit.Side.allCases {
            let value = try RecordedConnection(name).open(side).properties.value(for: FailoverAddress.property)
            #expect(FailoverAddress.read(value) == nil)
        }
    }

    /// Both routers tell the larger of their costs.
    @Test func costs() throws {
        let costs = try RecordedConnection("failover").messages().compactMap { message in
            try message.body()?["ls"]?["peers"]?.mapValue?.map(\.value)
        }
        #expect(!costs.isEmpty && costs.allSatisfy { $0 == [.int(3)] }, "\(costs)")
    }

    // MARK: Outcomes of multicast

    /// The recorded answers of three receivers, given to our fan-out in the order in which they came.
    @Test func multicastOutcomes() throws {
        let recording = try RecordedConnection("multicast")
        // Five messages of three copies each: copy number `id` is of message `id / 3`.
        var answers: [(id: UInt32, state: DeliveryState)] = []
        var recorded: [UInt32: DeliveryState] = [:]
        for (side, performative) in try recording.units.compactMap({ unit in
            try unit.performative().map { (unit.side, $0.performative) }
        }) {
            guard case .disposition(let told) = performative, let state = told.state else { continue }
            #expect(told.settled && told.role == .receiver)
            for id in told.first...(told.last ?? told.first) {
                if side == .connector { answers.append((id, state)) } else { recorded[id] = state }
            }
        }
        #expect(answers.count == 15 && recorded.count == 5)
        for number in 0..<UInt32(5) {
            let own = answers.filter { $0.id / 3 == number }
            // In which order they come makes no difference.
            for answers in [own, own.reversed()] {
                let producer = Producer()
                let fan = FanOut(producer: producer)
                var branches: [DeliveryEnd] = []
                for _ in 0..<3 {
                    fan.add { branch in
                        branches.append(branch)
                        return DeliveryEnd()
                    }
                }
                fan.finish(settled: false)
                for (count, answer) in answers.enumerated() {
                    #expect(producer.states.isEmpty, "told after \(count) of 3 answers")
                    branches[Int(answer.id % 3)].update(answer.state, settled: true)
                }
                #expect(producer.states.map(\.kind) == recorded[number].map { [$0.kind] }, "message \(number)")
                #expect(producer.isSettled)
            }
        }
    }

    // MARK: Streams

    /// A stream says so, and its head is there with the first frame; a whole message says nothing.
    @Test func headsOfStreams() throws {
        let recording = try RecordedConnection("stream")
        let longer = try recording.messages().filter { $0.parts.count > 1 }
        #expect(longer.map(\.isAborted) == [false, false, true])
        let flags = try longer.map { try $0.head().annotations?.flags }
        #expect(flags == [0, RouterAnnotations.streaming, RouterAnnotations.streaming])
        for message in longer {
            var scanner = MessageHeadScanner()
            let first = try message.parts[0].withUnsafeBytes { try scanner.scan($0, complete: false) }
            let head = try message.head()
            #expect(first == .head(head))
            let annotations = head.annotations
            #expect(annotations?.ingress == "0/A" && annotations?.trace == ["0/A"])
            // The receiver's address, as the link for streams has none and that for the network is everybody's.
            #expect(annotations?.toOverride == "stream/x")
        }
    }

    // MARK: Management

    /// What the client asked is what our agent reads, and what the recorded agent answered has the form of ours.
    @Test func managementRequests() throws {
        let messages = try RecordedConnection("management").messages()
        let requests = try messages.filter { $0.side == .connector }.map { message in
            try #require(ManagementRequest(try message.head(), body: try message.body()))
        }
        #expect(
            requests.map(\.operation) == ["QUERY", "CREATE", "READ", "QUERY", "DELETE", "READ", "GET-MGMT-NODES"])
        let connector = "io.skupper.router.tcpConnector"
        #expect(
            requests.map(\.queriedType) == [
                "io.skupper.router.router", connector, connector, connector, connector, connector, nil,
            ])
        #expect(requests.map(\.name) == [nil, "made", "made", nil, "made", "made", "self"])
        #expect(requests[6].isForAgent && [1, 2, 4, 5].allSatisfy { !requests[$0].isForAgent })
        #expect(requests.map(\.correlation.uintValue) == [1, 2, 3, 4, 5, 6, 7])
        #expect(requests[1].body["address"] == .string("made") && requests[1].body["port"] == .string("9"))
        #expect(requests[3].body["attributeNames"] == .list(["name", "address", "port"].map { .string($0) }))
        let replies = messages.filter { $0.side == .listener }
        for (request, reply) in zip(requests, replies) {
            let head = try reply.head()
            #expect(reply.isSettled && head.properties?.to == request.replyTo)
            #expect(head.properties?.correlationID.uintValue == request.correlation.uintValue)
        }
        let codes = try replies.map { try $0.head().applicationProperties.value(for: "statusCode")?.intValue }
        #expect(codes == [200, 201, 200, 200, 204, 404, 200])
    }

    // MARK: HTTP proxy

    @Test func requestForATunnel() throws {
        let text = #"[["proxyProfile", {"name": "proxy", "host": "127.0.0.1", "port": "3128"}]]"#
        let profile = try #require(
            try RouterConfiguration.parse(json: text).entities.first { $0.type == "proxyProfile" })
        let settings = try ProxySettings(profile)
        let recorded = try recordedOctets("tunnel.request.bin")
        #expect(settings.request(host: "b.example", port: "55671") == recorded)
    }
}

/// The producer of a multicast message.
private final class Producer: DeliveryEnd {
    var states: [DeliveryState] = []
    var isSettled = false

    override func update(_ state: DeliveryState?, settled: Bool) {
        if let state { states.append(state) }
        isSettled = isSettled || settled
    }
}

extension DeliveryState {
    /// Which of the outcomes it is.
    fileprivate var kind: String {
        switch self {
        case .accepted: "accepted"
        case .rejected: "rejected"
        case .released: "released"
        case .modified: "modified"
        case .received: "received"
        case .other: "other"
        }
    }
}
