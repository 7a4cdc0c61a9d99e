/// A connection to a router's `$management` agent (router-protocol.md §6.1). Blocking, for one thread at a time.
///
/// It does not reconnect: after an error that does not leave it usable the caller makes a new one.
package final class ManagementClient {
    /// What a connection is made of, and what its texts name.
    package let address: ManagementAddress
    private let stream: BlockingStream
    private var machine: ManagementMachine
    private let timeout: Int64

    /// Connects and sets up the session and both links, all within `timeoutMilliseconds`, which also bounds each
    /// request from then on.
    package init(connectingTo address: ManagementAddress, timeoutMilliseconds: Int = 5_000) throws(ManagementError) {
        self.address = address
        timeout = Int64(timeoutMilliseconds)
        let deadline = monotonicMilliseconds() + timeout
        do {
            stream = try BlockingStream(to: address, deadline: deadline)
        } catch {
            switch error {
            case .timedOut: throw .timeout(address: "\(address)", waitingFor: "the connection")
            case .ended: throw .unreachable(address: "\(address)", reason: "it closed the connection at once")
            case .failed(let reason): throw .unreachable(address: "\(address)", reason: reason)
            }
        }
        machine = ManagementMachine(
            mechanism: address.credentials == nil ? .anonymous : .external, host: address.host,
            containerID: "skupper-management-\(monotonicMilliseconds())")
        machine.start()
        try run(deadline: deadline) { $0.isReady }
    }

    /// All entities of a type, long or short name; with `agent` those of another router, by the address of its
    /// agent (`amqp:/_topo/0/<id>/$management`).
    package func query(
        _ type: String, attributes: [String] = [], agent: String? = nil
    ) throws(ManagementError) -> [ManagementRow] {
        let reply = try request(
            ManagementRequest(
                operation: "QUERY", type: type, body: .map(["attributeNames": .list(attributes.map { .string($0) })]),
                agent: agent))
        guard case .map(let body) = reply.body, let names = body["attributeNames"]?.items,
            let rows = body["results"]?.items
        else { throw .protocolViolation(address: "\(address)", detail: "a QUERY reply without results") }
        return rows.map { row in
            var result: ManagementRow = [:]
            for (name, value) in zip(names, row.items ?? []) {
                if let name = name.text { result[name] = value }
            }
            return result
        }
    }

    /// Makes an entity and gives its attributes.
    @discardableResult
    package func create(
        _ type: String, name: String, attributes: ManagementRow
    ) throws(ManagementError) -> ManagementRow {
        try row(ManagementRequest(operation: "CREATE", type: type, name: name, body: .map(attributes)))
    }

    /// The attributes of one entity.
    package func read(_ type: String, name: String) throws(ManagementError) -> ManagementRow {
        try row(ManagementRequest(operation: "READ", type: type, name: name))
    }

    /// Changes attributes of an entity and gives all of them.
    @discardableResult
    package func update(
        _ type: String, name: String, attributes: ManagementRow
    ) throws(ManagementError) -> ManagementRow {
        try row(ManagementRequest(operation: "UPDATE", type: type, name: name, body: .map(attributes)))
    }

    /// Removes an entity.
    package func delete(_ type: String, name: String) throws(ManagementError) {
        _ = try request(ManagementRequest(operation: "DELETE", type: type, name: name))
    }

    /// Closes the connection in order, as far as the router goes along without waiting.
    package func close() {
        machine.close()
        try? stream.write(machine.takeOutput(), deadline: monotonicMilliseconds() + 200)
    }

    private func row(_ request: ManagementRequest) throws(ManagementError) -> ManagementRow {
        if case .map(let row) = try self.request(request).body { return row }
        return [:]
    }

    private func request(_ request: ManagementRequest) throws(ManagementError) -> ManagementReply {
        let number = machine.send(request)
        try run(deadline: monotonicMilliseconds() + timeout) { $0.hasReply(number) }
        guard let reply = machine.takeReply(number) else {
            throw .protocolViolation(address: "\(address)", detail: "the reply got lost")
        }
        guard (200..<300).contains(reply.statusCode) else {
            throw .refused(
                operation: request.summary, statusCode: reply.statusCode, description: reply.statusDescription)
        }
        return reply
    }

    /// Moves octets both ways until `isDone`.
    private func run(
        deadline: Int64, until isDone: (ManagementMachine) -> Bool
    ) throws(ManagementError) {
        do {
            while true {
                let output = machine.takeOutput()
                if !output.isEmpty { try stream.write(output, deadline: deadline) }
                if let failure = machine.failure { throw failure.error(at: address) }
                if isDone(machine) { return }
                machine.received(try stream.read(deadline: deadline))
            }
        } catch let error as ManagementError {
            throw error
        } catch let error as BlockingStream.Failure {
            switch error {
            case .timedOut: throw .timeout(address: "\(address)", waitingFor: machine.waitingFor)
            case .ended:
                throw .closed(address: "\(address)", reason: "end of stream while waiting for \(machine.waitingFor)")
            case .failed(let reason): throw .closed(address: "\(address)", reason: reason)
            }
        } catch {
            throw .protocolViolation(address: "\(address)", detail: "\(error)")
        }
    }
}
