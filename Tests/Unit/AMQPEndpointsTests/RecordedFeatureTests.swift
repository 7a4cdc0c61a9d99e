import AMQPCodec
import TestKit
import Testing

@testable import AMQPEndpoints

/// The recordings that were made for one thing each, replayed from both sides: what was said, and where both machines
/// stand at the end.
@Suite struct RecordedFeatureTests {
    struct Expected: Sendable, CustomTestStringConvertible {
        var name: String
        /// Frames of either side, SASL's too.
        var connector: Int
        var listener: Int
        /// Links in all, and those attached at the end.
        var links: Int
        var attached: Int
        var transfers: Int
        var deliveries: Int
        var aborted = 0
        /// Deliveries that nobody had settled at the end.
        var open = 0
        var end = ConnectionMachine.State.opened
        var testDescription: String { name }
    }

    /// Counted in the files by another decoder; new recordings change them where time plays a part.
    static let expected = [
        Expected(
            name: "edge", connector: 58, listener: 55, links: 18, attached: 18, transfers: 25, deliveries: 16, open: 2),
        Expected(name: "mesh", connector: 17, listener: 20, links: 5, attached: 5, transfers: 3, deliveries: 3),
        Expected(name: "failover", connector: 59, listener: 61, links: 22, attached: 22, transfers: 14, deliveries: 14),
        Expected(
            name: "upgrade-1", connector: 62, listener: 64, links: 22, attached: 20, transfers: 15, deliveries: 15,
            end: .end),
        Expected(name: "upgrade-2", connector: 49, listener: 51, links: 22, attached: 22, transfers: 4, deliveries: 4),
        Expected(
            name: "drain", connector: 17, listener: 21, links: 2, attached: 1, transfers: 7, deliveries: 7, end: .end),
        Expected(
            name: "multicast", connector: 44, listener: 35, links: 4, attached: 4, transfers: 20, deliveries: 20,
            end: .end),
        Expected(
            name: "stream", connector: 78, listener: 75, links: 23, attached: 23, transfers: 36, deliveries: 25,
            aborted: 1),
        Expected(
            name: "stream-sender", connector: 20, listener: 14, links: 2, attached: 2, transfers: 14, deliveries: 3,
            aborted: 1, end: .end),
        Expected(
            name: "stream-receiver", connector: 12, listener: 20, links: 1, attached: 1, transfers: 14, deliveries: 3,
            aborted: 1, end: .end),
        Expected(
            name: "management", connector: 22, listener: 29, links: 2, attached: 2, transfers: 14, deliveries: 14,
            end: .end),
        Expected(
            name: "refused", connector: 8, listener: 11, links: 2, attached: 1, transfers: 1, deliveries: 1, end: .end),
    ]

    /// The replays of a recording with our machines on either side.
    private func replays(_ name: String) throws -> [Replay] {
        let recording = try RecordedConnection(name)
        return try RecordedUnit.Side.allCases.map { side in
            var replay = try Replay(own: side, of: recording)
            for unit in recording.units { try replay.take(unit) }
            return replay
        }
    }

    private func links(_ recording: RecordedConnection, _ side: RecordedUnit.Side) throws -> [String: Attach] {
        Dictionary(try recording.attaches(side).map { ($0.name, $0) }) { first, _ in first }
    }

    @Test func everyRecordingIsExpected() { #expect(Self.expected.map(\.name) == RecordedConnection.features) }

    @Test(arguments: expected) func endsAsItDid(expected: Expected) throws {
        let recording = try RecordedConnection(expected.name)
        let frames = recording.units.filter { !$0.isProtocolHeader }
        #expect(frames.count { $0.side == .connector } == expected.connector)
        #expect(frames.count { $0.side == .listener } == expected.listener)
        for replay in try replays(expected.name) {
            #expect(replay.links.count == expected.links, "\(replay.own)")
            #expect(replay.links.values.count { $0.state == .attached } == expected.attached, "\(replay.own)")
            // A link that is gone was detached by both.
            #expect(replay.links.values.allSatisfy { [.attached, .detached].contains($0.state) }, "\(replay.own)")
            #expect(replay.sessions.values.allSatisfy { $0.state == .mapped }, "\(replay.own)")
            #expect(replay.transfers == expected.transfers, "\(replay.own)")
            #expect(replay.deliveries.count == expected.deliveries, "\(replay.own)")
            #expect(replay.deliveries.values.count(where: \.isAborted) == expected.aborted, "\(replay.own)")
            #expect(replay.deliveries.values.count { !$0.isSettled } == expected.open, "\(replay.own)")
            #expect(replay.connection.state == expected.end, "\(replay.own)")
        }
    }

    // MARK: SASL and Open

    /// Our two ends of SASL say what the recorded ones said, except for the free text of ANONYMOUS.
    @Test(arguments: RecordedConnection.features) func saslGoesAsRecorded(name: String) throws {
        let frames = try RecordedConnection(name).units.compactMap { unit in
            try unit.saslFrame().map { (side: unit.side, frame: $0) }
        }
        guard frames.count == 3, case .mechanisms(let offered) = frames[0].frame,
            case .initialize(let mechanism, let response, nil) = frames[1].frame
        else {
            Issue.record("no exchange of three frames: \(frames)")
            return
        }
        #expect(frames.map(\.side) == [.listener, .connector, .listener] && frames[2].frame == .outcome(code: 0))
        let isExternal = name.hasPrefix("upgrade")
        #expect(mechanism == (isExternal ? "EXTERNAL" : "ANONYMOUS"))
        #expect(isExternal ? response == [] && offered == ["EXTERNAL"] : offered.last == "ANONYMOUS")

        var server = SASLServer(mechanisms: offered, hasVerifiedCertificate: isExternal)
        let offer = server.headerReceived()
        #expect(offer == [.sendHeader, .send(frames[0].frame)])
        let accepted = server.received(frames[1].frame)
        #expect(accepted == [.send(frames[2].frame), .succeeded(mechanism: mechanism)])

        var client = SASLClient(allowed: [], hasCertificate: isExternal)
        _ = client.start()
        _ = client.headerReceived()
        let answer = client.received(frames[0].frame)
        if isExternal {
            #expect(answer == [.send(frames[1].frame)])
        } else {
            #expect(
                answer == [
                    .send(
                        .initialize(mechanism: mechanism, initialResponse: Array("anonymous".utf8), hostname: nil))
                ])
        }
        let done = client.received(frames[2].frame)
        #expect(done == [.succeeded(mechanism: mechanism)] && client.state == .done)
    }

    /// Without a certificate what the recorded client says is refused.
    @Test func externalNeedsACertificate() throws {
        let frames = try RecordedConnection("upgrade-1").units.compactMap { try $0.saslFrame() }
        var server = SASLServer(mechanisms: ["EXTERNAL"], hasVerifiedCertificate: false)
        _ = server.headerReceived()
        let effects = server.received(frames[1])
        #expect(effects.first == .send(.outcome(code: 1)) && server.state == .failed)
    }

    /// Router-protocol sheet, section 1.4.
    @Test func opensOfRouters() throws {
        let usual = ["ANONYMOUS-RELAY", "qd.streaming-links", "qd.connection_trunking"]
        for name in ["edge", "mesh", "failover", "upgrade-1", "upgrade-2", "stream"] {
            for side in RecordedUnit.Side.allCases {
                let open = try RecordedConnection(name).open(side)
                let place = "\(name) \(side)"
                #expect(
                    open.offeredCapabilities == usual + (name == "mesh" ? ["qd.router-inter-edge"] : []), "\(place)")
                #expect(open.desiredCapabilities == open.offeredCapabilities, "\(place)")
                #expect(open.hostname == (side == .connector ? "127.0.0.1" : nil), "\(place)")
                #expect(open.channelMax == 32767 && open.idleTimeoutMilliseconds == 8000, "\(place)")
                #expect(open.properties.value(for: "product") == .string("skupper-router"), "\(place)")
                let version = open.properties.value(for: "qd.annotations-version")
                #expect(version == (name == "mesh" ? nil : .int(2)), "\(place)")
                let isGrouped = side == .connector && name != "edge" && name != "mesh"
                let correlator = open.properties.value(for: "qd.group-correlator")?.stringValue
                #expect(correlator?.utf8.count == (isGrouped ? 15 : nil), "\(place)")
                let access = open.properties.value(for: "qd.access-id")?.stringValue
                #expect((access != nil) == (side == .listener), "\(place)")
                // Each side its own, and only when it is more than 1.
                let cost: AMQPValue? = name == "failover" ? .int(side == .connector ? 2 : 3) : nil
                #expect(open.properties.value(for: "qd.inter-router-cost") == cost, "\(place)")
                let places = open.properties.value(for: "failover-server-list")
                #expect((places != nil) == (name == "failover" && side == .listener), "\(place)")
            }
        }
    }

    // MARK: TLS ordinals (sheet, section 1.8)

    @Test func theNewerConnectionTakesTheOldersPlace() throws {
        let (older, newer) = (try RecordedConnection("upgrade-1"), try RecordedConnection("upgrade-2"))
        let opens = [try older.open(.connector), try newer.open(.connector)]
        #expect(opens.map { $0.properties.value(for: "qd.group-ordinal") } == [.ulong(0), .ulong(1)])
        let correlators = Set(opens.map { $0.properties.value(for: "qd.group-correlator") })
        #expect(correlators.count == 1)
        // The connecting side detaches the two control links, and the end is an orderly close without an error.
        for replay in try replays("upgrade-1") {
            let gone = Set(replay.links.filter { $0.value.state == .detached }.map(\.key.name))
            let control = try older.attaches(.connector).filter { $0.source?.capabilities == ["qd.router"] }
            #expect(gone == Set(control.map(\.name)) && gone.count == 2)
        }
        let last = try RecordedUnit.Side.allCases.map { try older.performatives($0).last }
        for case .close(let close)? in last { #expect(close.error == nil) }
        #expect(last.count { if case .close? = $0 { true } else { false } } == 2)
        let detaches = try older.performatives(.connector).compactMap { performative -> Detach? in
            if case .detach(let detach) = performative { detach } else { nil }
        }
        #expect(detaches.allSatisfy { $0.closed && $0.error == nil } && detaches.count == 2)
        // What the newer one says in its last messages is said on its control links alone.
        let names = Set(try newer.attaches(.connector).prefix(2).map(\.name))
        #expect(try newer.messages().allSatisfy { names.contains($0.link) })
    }

    // MARK: Credit

    @Test func drainTakesTheCreditBack() throws {
        for replay in try replays("drain") {
            let receiver = try #require(replay.link("receiver"))
            // Three of ten were used, the rest was given back; then the link was closed.
            #expect(receiver.deliveryCount == 10 && receiver.credit == 0 && receiver.state == .detached)
            let sender = try #require(replay.link("sender"))
            // Four of 250 were used; for the last there was nobody, so that the router drained what was left.
            #expect(sender.deliveryCount == 253 && sender.credit == 0 && sender.state == .attached)
            #expect(replay.deliveries(on: "receiver").map(\.state) == [.accepted, .accepted, .accepted])
            #expect(replay.deliveries(on: "sender").map(\.state) == [.accepted, .accepted, .accepted, .released])
        }
        let flows = try RecordedConnection("drain").performatives(.listener).compactMap { performative -> Flow? in
            if case .flow(let flow) = performative, flow.drain { flow } else { nil }
        }
        // The answer as sender, then the question as receiver.
        #expect(flows.map(\.linkCredit) == [0, 249] && flows.map(\.deliveryCount) == [10, 4])
    }

    // MARK: Outcomes

    @Test func multicastGivesOneOutcome() throws {
        for replay in try replays("multicast") {
            #expect(
                replay.deliveries(on: "sender").map(\.state) == [
                    .accepted, .accepted, .rejected(nil), .modified(failed: true, undeliverableHere: false), .released,
                ])
            for number in 0..<3 {
                #expect(replay.deliveries(on: "receiver-\(number)").count == 5)
            }
            #expect(
                replay.deliveries(on: "receiver-1").map(\.state) == [
                    .accepted, .released, .rejected(nil), .released, .released,
                ])
        }
    }

    @Test func refusalsSayWhy() throws {
        for replay in try replays("refused") {
            guard case .rejected(let error?)? = replay.deliveries(on: "anonymous").first?.state else {
                Issue.record("not rejected: \(replay.deliveries)")
                continue
            }
            #expect(error.condition == "amqp:not-found" && error.description?.isEmpty == false)
            #expect(replay.link("receiver")?.state == .detached)
        }
        let recording = try RecordedConnection("refused")
        let answer = try #require(try links(recording, .listener)["receiver"])
        #expect(answer.source == nil && answer.target != nil)
        let detaches = try recording.performatives(.listener).compactMap { performative -> AMQPError? in
            if case .detach(let detach) = performative { detach.error } else { nil }
        }
        #expect(detaches.map(\.condition) == ["amqp:not-found"])
    }

    // MARK: Streams

    /// Each message in several frames: whole, released when it was, aborted before.
    @Test func streamsArriveReturnAndAbort() throws {
        for (name, links) in [("stream-sender", ["whole", "stream"]), ("stream-receiver", ["receiver"])] {
            for replay in try replays(name) {
                let deliveries = links.flatMap { replay.deliveries(on: $0) }
                #expect(deliveries.map(\.frames) == [5, 5, 4], "\(name)")
                #expect(deliveries.map(\.state) == [.accepted, .released, nil], "\(name)")
                #expect(deliveries.map(\.isAborted) == [false, false, true], "\(name)")
                #expect(deliveries.allSatisfy { $0.isSettled }, "\(name)")
            }
        }
        // Between the routers a stream has a link of its own, attached for it (sheet, section 2.4).
        let attach = try #require(try RecordedConnection("stream").attaches(.connector).last)
        #expect(attach.source?.capabilities == ["qd.router-data"] && attach.target?.capabilities == ["qd.router-data"])
        for replay in try replays("stream") {
            let streams = replay.deliveries(on: attach.name)
            #expect(streams.map(\.frames) == [5, 4] && streams.map(\.state) == [.released, nil])
            #expect(streams.map(\.isAborted) == [false, true])
            let whole = replay.deliveries.values.filter { $0.frames == 5 && $0.link.name != attach.name }
            #expect(whole.map(\.state) == [.accepted])
        }
    }

    // MARK: Edge routers (sheet, section 7)

    /// The links of an uplink in their order, with what is given for them.
    @Test func uplinkOfAnEdgeRouter() throws {
        let recording = try RecordedConnection("edge")
        let attaches = try recording.attaches(.connector)
        #expect(attaches.map(\.role).prefix(4) == [.sender, .sender, .receiver, .receiver])
        #expect(attaches[0].target?.address == "_$qd.mesh_discovery")
        #expect(attaches[1].target?.address == nil && attaches[1].source?.address == nil)
        #expect(attaches[2].source?.address == "E" && attaches[2].source?.capabilities == ["qd.router-edge-downlink"])
        #expect(attaches[2].target?.capabilities == ["qd.router-edge-downlink"])
        #expect(attaches[3].source?.address == "_$qd.edge_addr_tracking")
        #expect(attaches.contains { $0.role == .sender && $0.target?.address == "up" })
        #expect(attaches.contains { $0.role == .receiver && $0.source?.address == "down" })
        // The answer to the mesh's link has its termini the other way round.
        let answer = try #require(try links(recording, .listener)[attaches[0].name])
        #expect(answer.source?.address == "_$qd.mesh_discovery" && answer.target?.address == nil)
        for replay in try replays("edge") {
            #expect(replay.link(attaches[0].name)?.credit == 3)
            #expect(replay.link(attaches[1].name)?.credit == 250)
            #expect(replay.link(attaches[3].name)?.credit == 32 && replay.link(attaches[3].name)?.deliveryCount == 3)
            #expect(replay.deliveries(on: attaches[3].name).allSatisfy { $0.state == .accepted && $0.isSettled })
        }
    }

    /// Each attaches a sender for everything and one for its bid, and receivers for its own consumers.
    @Test func linksBetweenEdgeRouters() throws {
        let recording = try RecordedConnection("mesh")
        for (side, other) in [(RecordedUnit.Side.connector, RecordedUnit.Side.listener), (.listener, .connector)] {
            let attaches = try recording.attaches(side)
            let own = attaches.filter { $0.role == .sender }.prefix(2)
            #expect(own.map { $0.target?.address } == [nil, "_$qd.mesh_id_negotiation"])
            #expect(own.first?.target?.capabilities == ["qd.router-inter-edge"])
            #expect(own.first?.source?.capabilities == ["qd.router-inter-edge"])
            let answers = try links(recording, other)
            #expect(own.allSatisfy { answers[$0.name]?.role == .receiver })
            for replay in try replays("mesh") {
                #expect(own.map { replay.link($0.name)?.credit } == [250, 3])
                #expect(own.last.map { replay.deliveries(on: $0.name).map(\.state) } == [.accepted])
            }
        }
        let receivers = try recording.attaches(.listener).filter { $0.source?.address == "mesh/there" }
        #expect(receivers.map(\.role) == [.receiver])
        for replay in try replays("mesh") {
            #expect(replay.deliveries(on: receivers.first?.name ?? "").map(\.state) == [.accepted])
        }
    }
}
