import AMQPCodec
import Foundation
import TestKit
import Testing

@testable import ManagementClient

@Suite struct ManagementMachineTests {
    private func handles(_ script: inout ManagementScript) throws -> [UInt32] {
        try script.sentMessages().map(\.handle)
    }
    private func count(_ script: inout ManagementScript) throws -> Int { try handles(&script).count }
    private func isSilent(_ script: inout ManagementScript) throws -> Bool { try handles(&script).isEmpty }

    @Test func theSetUpGoesStepByStep() throws {
        var machine = ManagementMachine(mechanism: .external, host: "h", containerID: "c")
        machine.start()
        #expect(machine.takeOutput() == saslHeader)
        let steps: [([UInt8], String)] = [
            ([], "the SASL protocol header"), (saslHeader, "the SASL mechanisms"),
            (ManagementScript.mechanisms, "the SASL outcome"), (ManagementScript.outcome, "the AMQP protocol header"),
            (amqpHeader, "the router's open"), (ManagementScript.open, "the router's begin"),
            (ManagementScript.begin, "the links to the management agent"),
            (ManagementScript.attach("c-replies", handle: 10, isReplies: true), "the links to the management agent"),
            (ManagementScript.attach("c-requests", handle: 11), "nothing"),
        ]
        for (octets, waiting) in steps {
            #expect(!machine.isReady)
            machine.received(octets)
            #expect(machine.failure == nil)
            #expect(machine.waitingFor == waiting)
        }
        #expect(machine.isReady)
        #expect(Array(machine.takeOutput().prefix(8)).count == 8)
    }

    @Test func octetsMayComeOneByOne() {
        var machine = ManagementMachine(mechanism: .external, host: "h", containerID: "c")
        machine.start()
        for octet in ManagementScript.setUp() { machine.received([octet]) }
        #expect(machine.failure == nil)
        #expect(machine.isReady)
    }

    @Test func aRequestSaysWhatTheAgentWants() throws {
        var script = ManagementScript.ready()
        let number = script.machine.send(
            ManagementRequest(
                operation: "CREATE", type: "io.skupper.router.tcpListener", name: "listener/db",
                body: .map([
                    "port": .string("5432"), "cost": .integer(3), "big": .integer(1 << 40), "on": .boolean(true),
                ])))
        let found = try script.sentMessages().first
        let sent = try #require(found)
        #expect(sent.handle == 1)
        try sent.message.withUnsafeBytes { buffer in
            guard case .head(let head) = try MessageHead.scan(buffer, complete: true) else {
                Issue.record("no head")
                return
            }
            #expect(head.properties?.replyTo == "amqp:/_topo/0/r/temp.1")
            // Batch queries of Skupper insist on ulong; ours are so too.
            #expect(head.properties?.correlationID == .ulong(number))
            let properties = head.applicationProperties.map {
                "\($0.key.stringValue ?? "")=\($0.value.stringValue ?? "")"
            }
            #expect(properties == ["operation=CREATE", "type=io.skupper.router.tcpListener", "name=listener/db"])
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: buffer[head.bodyOffset...]))
            guard case .described(_, let body) = try AMQPValue.decode(from: &reader) else {
                Issue.record("no body")
                return
            }
            #expect(body["port"] == .string("5432"))
            #expect(body["cost"] == .int(3))
            #expect(body["big"] == .long(1 << 40))
            #expect(body["on"] == .bool(true))
        }
    }

    @Test func repliesFindTheirRequestsInAnyOrderAndWidth() throws {
        var script = ManagementScript.ready()
        let first = script.machine.send(ManagementRequest(operation: "READ", type: "router"))
        let second = script.machine.send(ManagementRequest(operation: "READ", type: "router"))
        #expect(script.machine.waitingFor == "the answer to READ router")
        // The Python agent gives integers back as int.
        let one = ManagementScript.reply(to: .int(Int32(second)), status: .ulong(404), text: "No entity")
        let two = ManagementScript.reply(to: .ulong(first), status: .int(200))
        let late = ManagementScript.reply(to: .ulong(99))
        script.machine.received(
            ManagementScript.transfers(late) + ManagementScript.transfers(one, delivery: 1)
                + ManagementScript.transfers(two, delivery: 2))
        #expect(script.machine.failure == nil)
        let replies = [second, first, first].map { script.machine.takeReply($0) }
        #expect(replies.map { $0?.statusDescription } == ["No entity", "OK", nil])
        #expect(replies.map { $0?.statusCode } == [404, 200, nil])
        #expect(!script.machine.hasReply(99))
    }

    @Test(arguments: [
        AMQPValue.ubyte(7), .ushort(7), .uint(7), .ulong(7), .byte(7), .short(7), .int(7), .long(7), .timestamp(7),
    ])
    func everyIntegerIsAnInteger(_ value: AMQPValue) {
        #expect(ManagementValue(value) == .integer(7))
    }

    @Test func oddValuesAreHarmless() {
        #expect(ManagementValue(.ulong(.max)) == .integer(.max))
        #expect(ManagementValue(.symbol("s")) == .string("s"))
        #expect(ManagementValue(.binary([1])) == .null)
        #expect(
            ManagementValue(.map([MapEntry(key: .int(1), value: .int(2)), MapEntry(key: .symbol("k"), value: .null)]))
                == .map(["k": .null]))
    }

    @Test func aLongReplyComesInPieces() throws {
        var script = ManagementScript.ready()
        let number = script.machine.send(ManagementRequest(operation: "QUERY", type: "connector"))
        let names = AMQPValue.list((0..<500).map { .string("name-\($0)") })
        let message = ManagementScript.reply(
            to: .ulong(number), body: .map([MapEntry(key: .string("attributeNames"), value: names)]))
        script.machine.received(ManagementScript.transfers(message, size: 100))
        let found = script.machine.takeReply(number)
        let reply = try #require(found)
        guard case .map(let body) = reply.body else {
            Issue.record("no map")
            return
        }
        #expect(body["attributeNames"]?.items?.count == 500)
    }

    @Test func requestsWaitForCredit() throws {
        var script = ManagementScript()
        script.machine.start()
        script.machine.received(
            saslHeader + ManagementScript.mechanisms + ManagementScript.outcome + amqpHeader + ManagementScript.open
                + ManagementScript.begin + ManagementScript.attach("c-replies", handle: 10, isReplies: true)
                + ManagementScript.attach("c-requests", handle: 11))
        _ = script.machine.takeOutput()
        for _ in 0..<3 { _ = script.machine.send(ManagementRequest(operation: "READ", type: "router")) }
        #expect(try isSilent(&script))
        script.machine.received(ManagementScript.credit(2, handle: 11))
        #expect(try count(&script) == 2)
        // The same limit again gives nothing; one more gives one more.
        script.machine.received(ManagementScript.credit(2, handle: 11))
        #expect(try isSilent(&script))
        script.machine.received(ManagementScript.credit(1, handle: 11, deliveryCount: 2, nextIncoming: 2))
        #expect(try count(&script) == 1)
    }

    @Test func otherRoutersAgentsAreReachedByTheRelay() throws {
        var script = ManagementScript.ready()
        let agent = "amqp:/_topo/0/b/$management"
        _ = script.machine.send(ManagementRequest(operation: "QUERY", type: "router", agent: agent))
        let found = try script.sentMessages().first
        let sent = try #require(found)
        #expect(sent.handle == 2)
        #expect(sent.message.count > agent.utf8.count && String(decoding: sent.message, as: UTF8.self).contains(agent))
        let refused = encodeFrame(channel: 0) {
            Detach(handle: 12, closed: true, error: AMQPError(condition: "amqp:not-found", description: "no"))
                .encode(into: &$0)
        }
        script.machine.received(refused)
        let number = script.machine.send(ManagementRequest(operation: "QUERY", type: "router", agent: agent))
        let text = script.machine.takeReply(number)?.statusDescription ?? ""
        #expect(text.contains("amqp:not-found: no"))
        #expect(script.machine.failure == nil)
        // The own agent is not concerned.
        _ = script.machine.send(ManagementRequest(operation: "QUERY", type: "router"))
        #expect(try handles(&script) == [1])
    }

    @Test func aRequestThatCannotBeDeliveredHasAnAnswer() throws {
        var script = ManagementScript.ready()
        let number = script.machine.send(ManagementRequest(operation: "QUERY", type: "router"))
        let released = encodeFrame(channel: 0) {
            Disposition(role: .receiver, first: 0, last: nil, settled: true, state: .released).encode(into: &$0)
        }
        script.machine.received(released)
        let reply = script.machine.takeReply(number)
        #expect(reply?.statusCode == 404)
    }

    @Test func whatIsNotAManagementAgentIsNamed() {
        func failure(_ octets: [UInt8]) -> String {
            var machine = ManagementMachine(mechanism: .external, host: "h", containerID: "c")
            machine.start()
            machine.received(octets)
            guard let failure = machine.failure else { return "none" }
            return "\(failure.error(at: ManagementAddress(host: "h", port: 5)))"
        }
        #expect(failure(Array("HTTP/1.1 400 Bad\r\n".utf8)).contains("does not begin with an AMQP protocol header"))
        #expect(failure(amqpHeader).contains("not that of SASL"))
        let anonymous = encodeFrame(channel: 0, type: 1) { SASLFrame.mechanisms(["ANONYMOUS"]).encode(into: &$0) }
        #expect(failure(saslHeader + anonymous).contains("offers the SASL mechanisms ANONYMOUS, not EXTERNAL"))
        let refused = encodeFrame(channel: 0, type: 1) { SASLFrame.outcome(code: 1).encode(into: &$0) }
        #expect(failure(saslHeader + ManagementScript.mechanisms + refused).contains("authentication was refused"))
        #expect(failure(saslHeader + [0xff, 0, 0, 0, 2, 1, 0, 0]).contains("a frame of 4278190080 octets"))
        let close = encodeFrame(channel: 0) {
            Close(error: AMQPError(condition: "amqp:unauthorized-access", description: "no")).encode(into: &$0)
        }
        let text = failure(
            saslHeader + ManagementScript.mechanisms + ManagementScript.outcome + amqpHeader + ManagementScript.open
                + close)
        #expect(text.contains("closed the management connection") && text.contains("amqp:unauthorized-access: no"))
        #expect(failure(ManagementScript.setUp()) == "none")
    }

    @Test(arguments: 0..<20 as Range<UInt64>) func damagedOctetsNeverTrap(_ seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let good =
            ManagementScript.setUp()
            + ManagementScript.transfers(ManagementScript.reply(to: .ulong(1), body: .map([])), size: 30)
        for _ in 0..<200 {
            var octets = good
            for _ in 0..<(1 + random.below(4)) { octets[random.below(octets.count)] = UInt8(random.below(256)) }
            var machine = ManagementMachine(mechanism: .external, host: "h", containerID: "c")
            machine.start()
            machine.received(octets)
            _ = machine.send(ManagementRequest(operation: "READ", type: "router"))
            // Whatever came: a text for what is awaited, and no growth without input.
            #expect(!machine.waitingFor.isEmpty)
            #expect(machine.takeOutput().count < 1 << 16, "seed \(seed)")
        }
    }

    @Test func aTimeOutNamesWhatWasAwaited() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { general in
                try #require(bind(listener, general, size) == 0)
                try #require(listen(listener, 4) == 0)
                try #require(getsockname(listener, general, &size) == 0)
            }
        }
        let port = UInt16(bigEndian: address.sin_port)
        #expect(throws: ManagementError.timeout(address: "127.0.0.1:\(port)", waitingFor: "the SASL protocol header")) {
            try ManagementClient(
                connectingTo: ManagementAddress(host: "127.0.0.1", port: port), timeoutMilliseconds: 200)
        }
    }
}
