import AMQPCodec
import TestKit
import Testing

@testable import ManagementClient

/// A recorded skupper-router 3.5.1 with our management client before it, in the place of the client it answered.
@Suite struct ManagementRecordedTests {
    private static let connector = "io.skupper.router.tcpConnector"
    private static let requests = [
        ManagementRequest(
            operation: "QUERY", type: "io.skupper.router.router",
            body: .map(["attributeNames": .list([.string("id"), .string("mode")])])),
        ManagementRequest(
            operation: "CREATE", type: connector, name: "made",
            body: .map(["host": .string("127.0.0.1"), "port": .string("9"), "address": .string("made")])),
        ManagementRequest(operation: "READ", type: connector, name: "made"),
        ManagementRequest(
            operation: "QUERY", type: connector,
            body: .map(["attributeNames": .list([.string("name"), .string("address"), .string("port")])])),
        ManagementRequest(operation: "DELETE", type: connector, name: "made"),
        ManagementRequest(operation: "READ", type: connector, name: "made"),
        ManagementRequest(operation: "GET-MGMT-NODES", type: "org.amqp.management", name: "self"),
    ]

    @Test func everyRequestHasItsReply() throws {
        var machine = ManagementMachine(mechanism: .anonymous, host: "127.0.0.1", containerID: "client-1")
        machine.start()
        var numbers: [UInt64] = []
        for unit in try RecordedConnection("management").units {
            if unit.side == .listener {
                machine.received(unit.octets)
            } else {
                switch try unit.performative()?.performative {
                case .transfer?:
                    #expect(machine.isReady)
                    numbers.append(machine.send(Self.requests[numbers.count]))
                case .close?: machine.close()
                default: break
                }
            }
            #expect(machine.failure == nil)
        }
        #expect(numbers.count == Self.requests.count && machine.phase == .closed)
        let replies = numbers.compactMap { machine.takeReply($0) }
        try #require(replies.count == numbers.count)
        #expect(replies.map(\.statusCode) == [200, 201, 200, 200, 204, 404, 200])
        #expect(replies.prefix(5).map(\.statusDescription) == ["OK", "Created", "OK", "OK", "No Content"])
        #expect(replies[5].statusDescription.contains("name=made"))
        func table(_ names: [String], _ row: [String]) -> ManagementValue {
            .map([
                "attributeNames": .list(names.map { .string($0) }), "results": .list([.list(row.map { .string($0) })]),
            ])
        }
        #expect(replies[0].body == table(["id", "mode"], ["A", "interior"]))
        #expect(replies[3].body == table(["name", "address", "port"], ["made", "made", "9"]))
        for reply in replies[1...2] {
            guard case .map(let row) = reply.body else {
                Issue.record("no entity: \(reply.body)")
                continue
            }
            #expect(row["type"] == .string(Self.connector) && row["address"] == .string("made"))
            #expect(row["identity"] == .string("tcpConnector/127.0.0.1:9:made"))
            #expect(row["verifyHostname"] == .boolean(true) && row["bytesIn"] == .integer(0))
        }
        #expect(replies[6].body == .list([.string("amqp:/_topo/0/A/$management")]))
        // What our client wrote is AMQP again, and its requests are in it.
        let written = machine.takeOutput()
        #expect(written.starts(with: saslHeader))
    }
}
