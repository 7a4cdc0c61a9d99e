import AMQPCodec
import RouterConfig

/// The `$management` agent (router-protocol sheet, section 6.1). Runs on the control thread; requests about
/// connections and links are answered when every loop has sent its rows.
struct ManagementAgent {
    /// A request that waits for rows of the loops.
    private struct Pending {
        var request: ManagementRequest
        var rows: [ManagementRow]
        var missing: Int
        var deadline: Int64
    }

    private var pending: [UInt64: Pending] = [:]
    private var nextID: UInt64 = 0
    var lookups = ConnectionLookups()
    /// Requests waiting at once.
    private static let pendingMaximum = 256

    /// A request message arrived.
    mutating func received(_ bytes: [UInt8], context: MessageContext, core: Core) {
        guard let request = ManagementRequest(context.head, body: core.bodyValue(bytes)) else {
            return Log.write(.agent, .debug, "management request without reply-to dropped")
        }
        Log.write(
            .agent, .debug,
            "request \(request.operation) \(request.entityType ?? request.type ?? "") \(request.identity ?? "") "
                + (request.name ?? ""))
        let operation = request.operation.uppercased()
        if isAboutConnections(request, operation) {
            switch operation {
            case "QUERY": return lookUp(request, .query, core)
            case "READ": return lookUp(request, .read, core)
            case "UPDATE":
                return updateConnection(
                    request, attributes(request.body) ?? [:], from: context.connection, core)
            default: break
            }
        }
        if core.hasTCPServices, showsServices(request, operation) {
            return core.collectServiceOctets { core in
                core.agent.answer(request, core.agent.handle(request, operation, core), core)
            }
        }
        if operation == "QUERY" || operation == "READ",
            let name = operation == "QUERY" ? request.queriedType : request.type, OperationalRows.isCollected(name)
        {
            return collect(request, core)
        }
        if operation == "QUERY", request.queriedType.flatMap({ Schema.type(named: $0) })?.shortName == "routerMetrics" {
            return core.collectCounters { core in
                core.agent.answer(request, core.agent.handle(request, operation, core), core)
            }
        }
        answer(request, handle(request, operation, core), core)
    }

    private func isAboutConnections(_ request: ManagementRequest, _ operation: String) -> Bool {
        let name = operation == "QUERY" ? request.queriedType : request.type
        return name.flatMap { Schema.type(named: $0) }?.shortName == "connection"
    }

    /// The answer may have rows of TCP services, whose octets the loops know.
    private func showsServices(_ request: ManagementRequest, _ operation: String) -> Bool {
        guard ["QUERY", "READ", "UPDATE"].contains(operation) else { return false }
        guard let name = operation == "QUERY" ? request.queriedType : request.type else {
            return operation == "QUERY" || !request.isForAgent
        }
        guard let type = RequestedType(name) else { return false }
        return ["tcpListener", "tcpConnector"].contains { Schema.type(named: $0).map { type.includes($0) } ?? false }
    }

    private func handle(_ request: ManagementRequest, _ operation: String, _ core: Core) -> ManagementReply {
        guard !operation.isEmpty else { return .failure(400, "the request has no property 'operation'") }
        if operation == "CREATE" { return create(request, core) }
        if operation == "QUERY" { return query(request, core) }
        if request.isForAgent { return ofAgent(request, operation, core) }
        switch operation {
        case "READ": return read(request, core)
        case "UPDATE": return update(request, core)
        case "DELETE": return delete(request, core)
        case "CALLME":
            switch find(request, core) {
            case .failure(let failure): return .failure(failure.status, failure.text)
            case .success(let entity) where entity.type == "dummy": return .ok(.map(request.properties))
            case .success(let entity): return notImplemented(request, entity.entityType)
            }
        default:
            return .failure(501, "operation '\(request.operation)' is not implemented by this router")
        }
    }

    /// What clients ask of the agent itself.
    private func ofAgent(_ request: ManagementRequest, _ operation: String, _ core: Core) -> ManagementReply {
        if let name = request.entityType, RequestedType(name) == nil {
            return .failure(400, "no such entity type '\(name)'")
        }
        switch operation {
        case "READ": return .entity(core.agentRow)
        case "GET-TYPES": return .ok(SchemaReplies.types(request.queriedType))
        case "GET-ATTRIBUTES": return .ok(SchemaReplies.attributes(request.queriedType))
        case "GET-OPERATIONS": return .ok(SchemaReplies.operations(request.queriedType))
        case "GET-ANNOTATIONS": return .ok(.map([]))
        case "GET-SCHEMA": return .ok(SchemaReplies.schema.amqp)
        case "GET-JSON-SCHEMA": return .ok(.string(SchemaReplies.schema.json))
        case "GET-MGMT-NODES":
            return .ok(.list(core.interiorIDs.map { .string("amqp:/_topo/0/\($0)/$management") }))
        case "GET-LOG":
            return .ok(core.recentLog(limit: request.integer("limit").map { max(0, $0) } ?? LogSettings.recentMaximum))
        default:
            return .failure(501, "operation '\(request.operation)' is not implemented by this router's agent")
        }
    }

    func notImplemented(_ request: ManagementRequest, _ type: EntityType) -> ManagementReply {
        .failure(
            501,
            "operation '\(request.operation)' is not implemented for '\(type.longName)'; it has "
                + type.operationNames.joined(separator: ", "))
    }

    // MARK: Rows of the loops

    private mutating func collect(_ request: ManagementRequest, _ core: Core) {
        guard pending.count < ManagementAgent.pendingMaximum else {
            return answer(request, .failure(500, "too many management requests are waiting"), core)
        }
        nextID += 1
        let id = nextID
        pending[id] = Pending(request: request, rows: [], missing: core.workers.count, deadline: core.now + 4000)
        let kind = OperationalRows.Kind(request.queriedType ?? "")
        for worker in core.workers {
            worker.post {
                let rows = kind.map { worker.rows($0) } ?? []
                worker.core.post { worker.core.agent.rowsArrived(id, rows, worker.core) }
            }
        }
    }

    mutating func rowsArrived(_ id: UInt64, _ rows: [ManagementRow], _ core: Core) {
        guard var waiting = pending[id] else { return }
        waiting.rows += rows
        waiting.missing -= 1
        pending[id] = waiting
        guard waiting.missing == 0 else { return }
        pending[id] = nil
        let request = waiting.request
        let sorted = waiting.rows.sorted {
            OperationalRows.order($0["identity"]?.stringValue ?? "", $1["identity"]?.stringValue ?? "")
        }
        guard let type = request.queriedType.flatMap({ Schema.type(named: $0) }) else { return }
        if request.operation.uppercased() == "QUERY" {
            return answer(request, tabulate(request, sorted, .one(type)), core)
        }
        let found = sorted.first { OperationalRows.isMeant($0, identity: request.identity, name: request.name) }
        answer(request, found.map { .entity($0) } ?? notFound(request), core)
    }

    func notFound(_ request: ManagementRequest) -> ManagementReply {
        // Clients of skrouterd look for its core's words where its core answers.
        let isCore = request.type.flatMap { Schema.type(named: $0) }?.isCoreType == true
        return .failure(404, (isCore ? "Not Found: no" : "No") + " entity with \(request.target)")
    }

    mutating func expire(now: Int64, core: Core) {
        expireLookups(now: now, core: core)
        for (id, waiting) in pending where now > waiting.deadline {
            pending[id] = nil
            answer(waiting.request, .failure(500, "a loop did not answer within 4 s"), core)
        }
    }

    func answer(_ request: ManagementRequest, _ reply: ManagementReply, _ core: Core) {
        if reply.status >= 400 {
            Log.write(.agent, .error, "\(request.operation) failed with \(reply.status): \(reply.description)")
        }
        var encoder = AMQPEncoder()
        encoder.described(0x70)
        encoder.list(1) { $0.bool(false) }
        encoder.described(0x73)
        encoder.list(6) { list in
            list.null()
            list.null()
            list.string(request.replyTo)
            list.null()
            list.null()
            list.value(request.correlation)
        }
        encoder.described(0x74)
        encoder.map(2) { map in
            map.string("statusDescription")
            map.string(reply.description)
            map.string("statusCode")
            map.intFull(reply.status)
        }
        encoder.described(0x77)
        encoder.value(reply.body)
        core.send(encoder.bytes, to: request.replyTo)
    }
}
