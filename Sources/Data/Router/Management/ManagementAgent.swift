import AMQPCodec
import RouterConfig

/// A management request, decoded.
struct ManagementRequest {
    var operation: String
    var type: String?
    var name: String?
    var identity: String?
    var count: Int
    var offset: Int
    var replyTo: String
    var correlation: AMQPValue
    var body: AMQPValue
}

/// What a request is answered with.
struct ManagementReply {
    var status: Int32
    var description: String
    var body: AMQPValue

    static func failure(_ status: Int32, _ text: String) -> ManagementReply {
        ManagementReply(status: status, description: text, body: .map([]))
    }
}

/// The `$management` agent (router-protocol sheet, section 6.1). Runs on the control thread; requests about
/// connections and links are answered when every loop has sent its rows.
struct ManagementAgent {
    /// A request that waits for rows of the loops.
    private struct Pending {
        var request: ManagementRequest
        var rows: [[String: AMQPValue]]
        var missing: Int
        var deadline: Int64
    }

    private var pending: [UInt64: Pending] = [:]
    private var nextID: UInt64 = 0
    /// Requests waiting at once.
    private static let pendingMaximum = 256

    /// A request message arrived.
    mutating func received(_ bytes: [UInt8], context: MessageContext, core: Core) {
        guard let request = decode(bytes, context.head, core) else {
            Log.write(.agent, .warning, "management request without reply-to or with an undecodable body dropped")
            return
        }
        Log.write(.agent, .debug, "\(request.operation) \(request.type ?? "") \(request.name ?? "")")
        let isOwnAgent = request.type.map { OperationalRows.isCollected($0) } ?? false
        if isOwnAgent, request.operation == "QUERY" || request.operation == "READ" {
            return collect(request, core)
        }
        answer(request, handle(request, core), core)
    }

    private func decode(_ bytes: [UInt8], _ head: MessageHead, _ core: Core) -> ManagementRequest? {
        guard let replyTo = head.properties?.replyTo else { return nil }
        func property(_ name: String) -> AMQPValue? {
            head.applicationProperties.first { $0.key.stringValue == name }?.value
        }
        let operation = property("operation")?.stringValue ?? ""
        let type =
            operation == "QUERY" || operation.hasPrefix("GET-")
            ? property("entityType")?.stringValue ?? property("type")?.stringValue
            : property("type")?.stringValue ?? property("entityType")?.stringValue
        return ManagementRequest(
            operation: operation, type: type, name: property("name")?.stringValue,
            identity: property("identity")?.stringValue, count: Int(property("count")?.intValue ?? -1),
            offset: max(0, Int(property("offset")?.intValue ?? 0)), replyTo: replyTo,
            correlation: head.properties?.correlationID ?? .null, body: core.bodyValue(bytes) ?? .map([]))
    }

    private func handle(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        switch request.operation {
        case "QUERY": return query(request, core)
        case "READ": return read(request, core)
        case "CREATE": return create(request, core)
        case "UPDATE": return update(request, core)
        case "DELETE": return delete(request, core)
        case "GET-TYPES":
            return ManagementReply(status: 200, description: "OK", body: perType(request) { _ in .list([]) })
        case "GET-ATTRIBUTES":
            return ManagementReply(
                status: 200, description: "OK", body: perType(request) { .list($0.attributes.map { .string($0.name) }) }
            )
        case "GET-OPERATIONS":
            return ManagementReply(
                status: 200, description: "OK",
                body: perType(request) { .list($0.operations.map(\.rawValue).sorted().map { .string($0) }) })
        case "GET-ANNOTATIONS":
            return ManagementReply(status: 200, description: "OK", body: .map([]))
        case "GET-MGMT-NODES":
            let ids = core.routing.routes.map(\.id)
            return ManagementReply(
                status: 200, description: "OK", body: .list(ids.map { .string("amqp:/_topo/0/\($0)/$management") }))
        default:
            return .failure(501, "Operation '\(request.operation)' is not implemented")
        }
    }

    private func perType(_ request: ManagementRequest, _ value: (EntityType) -> AMQPValue) -> AMQPValue {
        let types = request.type.flatMap { Schema.type(named: $0) }.map { [$0] } ?? Schema.types
        return .map(types.map { MapEntry(key: .string($0.longName), value: value($0)) })
    }

    // MARK: Reading

    private func query(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        guard let name = request.type else {
            return tabulate(request, core.allEntities.map { core.row($0) }, columns: nil)
        }
        guard let type = Schema.type(named: name) else { return .failure(404, "No entity type '\(name)'") }
        return tabulate(request, core.rows(type), columns: type)
    }

    /// Rows as attributeNames and results; wanted names in their order, all names of the type when none are named.
    private func tabulate(_ request: ManagementRequest, _ rows: [[String: AMQPValue]], columns: EntityType?)
        -> ManagementReply
    {
        let wanted = request.body["attributeNames"]?.listValue?.compactMap(\.stringValue) ?? []
        if let columns, let unknown = wanted.first(where: { columns.attribute($0) == nil }),
            !OperationalRows.isCollected(columns.longName)
        {
            return .failure(404, "Entity type '\(columns.longName)' has no attribute '\(unknown)'")
        }
        var names = wanted
        if names.isEmpty {
            names = columns.map { $0.attributes.map(\.name) } ?? Array(Set(rows.flatMap(\.keys))).sorted()
        }
        var chosen = rows[min(request.offset, rows.count)...]
        if request.count >= 0 { chosen = chosen.prefix(request.count) }
        let results = chosen.map { row in AMQPValue.list(names.map { row[$0] ?? .null }) }
        return ManagementReply(
            status: 200, description: "OK",
            body: .map([
                MapEntry(key: .string("attributeNames"), value: .list(names.map { .string($0) })),
                MapEntry(key: .string("results"), value: .list(results)),
            ]))
    }

    private func matches(_ request: ManagementRequest, _ row: [String: AMQPValue]) -> Bool {
        if let identity = request.identity { return row["identity"]?.stringValue == identity }
        if let name = request.name { return row["name"]?.stringValue == name }
        return request.type.flatMap { Schema.type(named: $0) }?.isSingleton == true
    }

    private func notFound(_ request: ManagementRequest) -> ManagementReply {
        let what = request.identity.map { "identity=\($0)" } ?? "name=\(request.name ?? "")"
        return .failure(404, "No entity with \(what)")
    }

    private func read(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        let rows: [[String: AMQPValue]]
        if let name = request.type {
            guard let type = Schema.type(named: name) else { return .failure(404, "No entity type '\(name)'") }
            rows = core.rows(type)
        } else {
            rows = core.allEntities.map { core.row($0) }
        }
        guard request.name != nil || request.identity != nil || rows.count == 1 else {
            return .failure(400, "READ needs a name or an identity")
        }
        guard
            let row = rows.first(where: { matches(request, $0) })
                ?? (request.name == nil && request.identity == nil ? rows.first : nil)
        else {
            return notFound(request)
        }
        return ManagementReply(status: 200, description: "OK", body: map(row))
    }

    private func map(_ row: [String: AMQPValue]) -> AMQPValue {
        .map(row.keys.sorted().map { MapEntry(key: .string($0), value: row[$0] ?? .null) })
    }

    // MARK: Changing

    private func attributes(_ body: AMQPValue) -> [String: AttributeValue]? {
        guard let entries = body.mapValue else { return nil }
        var result: [String: AttributeValue] = [:]
        for entry in entries {
            guard let key = entry.key.stringValue else { return nil }
            result[key] = AttributeValue(entry.value)
        }
        return result
    }

    private func create(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        guard let type = request.type else { return .failure(400, "CREATE needs a type") }
        guard var attributes = attributes(request.body) else {
            return .failure(400, "The body must be a map of attributes")
        }
        if attributes["identity"] != nil { return .failure(400, "An identity cannot be given; the router makes it") }
        if let name = request.name, attributes["name"] == nil { attributes["name"] = .string(name) }
        do throws(ConfigError) {
            let entity = try Schema.validate(type: type, attributes: attributes, for: .create)
            if core.allEntities.contains(where: {
                $0.type == entity.type && ($0.name == entity.name || $0.identity == entity.identity)
            }) {
                return .failure(400, "\(entity.type) '\(entity.name)' exists already; delete it first")
            }
            try Schema.checkRole(of: entity, mode: core.routerEntity[string: "mode"] ?? "standalone")
            do throws(EntityFailure) {
                try core.create(entity)
            } catch {
                return .failure(error.status, error.text)
            }
            Log.write(.agent, .info, "created \(entity.type) \(entity.name)")
            return ManagementReply(status: 201, description: "Created", body: map(core.row(entity)))
        } catch {
            return .failure(error.statusCode, error.description)
        }
    }

    private func find(_ request: ManagementRequest, _ core: Core) -> Result<Entity, EntityFailure> {
        var candidates = core.allEntities
        if let name = request.type {
            guard let type = Schema.type(named: name) else {
                return .failure(EntityFailure(status: 404, text: "No entity type '\(name)'"))
            }
            candidates = candidates.filter { $0.type == type.shortName }
        }
        let found = candidates.first {
            if let identity = request.identity { return $0.identity == identity }
            return $0.name == request.name
        }
        guard let found else {
            let reply = notFound(request)
            return .failure(EntityFailure(status: reply.status, text: reply.description))
        }
        return .success(found)
    }

    private func update(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        if request.type.flatMap({ Schema.type(named: $0) })?.shortName == "connection" {
            return core.updateConnection(request, attributes(request.body) ?? [:])
        }
        switch find(request, core) {
        case .failure(let failure): return .failure(failure.status, failure.text)
        case .success(let entity):
            do throws(ConfigError) {
                var changes = attributes(request.body) ?? [:]
                changes["name"] = nil
                changes["identity"] = nil
                changes["type"] = nil
                let checked = try Schema.validate(type: entity.type, attributes: changes, for: .update)
                let updated = try entity.updated(with: checked.attributes)
                do throws(EntityFailure) {
                    try core.update(updated, from: entity)
                } catch {
                    return .failure(error.status, error.text)
                }
                Log.write(.agent, .info, "updated \(entity.type) \(entity.name)")
                return ManagementReply(status: 200, description: "OK", body: map(core.row(updated)))
            } catch {
                return .failure(error.statusCode, error.description)
            }
        }
    }

    private func delete(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        switch find(request, core) {
        case .failure(let failure): return .failure(failure.status, failure.text)
        case .success(let entity):
            guard entity.entityType.operations.contains(.delete) else {
                return .failure(403, "\(entity.type) cannot be deleted")
            }
            do throws(EntityFailure) {
                try core.delete(entity)
            } catch {
                return .failure(error.status, error.text)
            }
            Log.write(.agent, .info, "deleted \(entity.type) \(entity.name)")
            return ManagementReply(status: 204, description: "No Content", body: .map([]))
        }
    }

    // MARK: Rows of the loops

    private mutating func collect(_ request: ManagementRequest, _ core: Core) {
        guard pending.count < ManagementAgent.pendingMaximum else {
            return answer(request, .failure(500, "too many management requests are waiting"), core)
        }
        nextID += 1
        let id = nextID
        pending[id] = Pending(request: request, rows: [], missing: core.workers.count, deadline: core.now + 4000)
        let kind = OperationalRows.Kind(request.type ?? "")
        for worker in core.workers {
            worker.post {
                let rows = kind.map { worker.rows($0) } ?? []
                worker.core.post { worker.core.agent.rowsArrived(id, rows, worker.core) }
            }
        }
    }

    mutating func rowsArrived(_ id: UInt64, _ rows: [[String: AMQPValue]], _ core: Core) {
        guard var waiting = pending[id] else { return }
        waiting.rows += rows
        waiting.missing -= 1
        pending[id] = waiting
        guard waiting.missing == 0 else { return }
        pending[id] = nil
        let request = waiting.request
        let sorted = waiting.rows.sorted { ($0["identity"]?.stringValue ?? "") < ($1["identity"]?.stringValue ?? "") }
        let type = request.type.flatMap { Schema.type(named: $0) }
        if request.operation == "QUERY" { return answer(request, tabulate(request, sorted, columns: type), core) }
        guard let row = sorted.first(where: { matches(request, $0) }) else {
            return answer(request, notFound(request), core)
        }
        answer(request, ManagementReply(status: 200, description: "OK", body: map(row)), core)
    }

    mutating func expire(now: Int64, core: Core) {
        for (id, waiting) in pending where now > waiting.deadline {
            pending[id] = nil
            answer(waiting.request, .failure(500, "a loop did not answer within 4 s"), core)
        }
    }

    private func answer(_ request: ManagementRequest, _ reply: ManagementReply, _ core: Core) {
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

extension AttributeValue {
    /// From a management request's value.
    init(_ value: AMQPValue) {
        switch value {
        case .bool(let flag): self = .boolean(flag)
        case .string(let text), .symbol(let text): self = .string(text)
        case .map(let entries):
            var result: [String: AttributeValue] = [:]
            for entry in entries { if let key = entry.key.stringValue { result[key] = AttributeValue(entry.value) } }
            self = .map(result)
        case .list(let values), .array(let values): self = .list(values.map { AttributeValue($0) })
        default: self = value.intValue.map { .integer($0) } ?? .null
        }
    }

    /// For a management reply.
    var amqp: AMQPValue {
        switch self {
        case .string(let text): .string(text)
        case .integer(let number): Int32(exactly: number).map { .int($0) } ?? .long(number)
        case .boolean(let flag): .bool(flag)
        case .map(let values): .map(values.keys.sorted().map { MapEntry(key: .string($0), value: values[$0]!.amqp) })
        case .list(let values): .list(values.map(\.amqp))
        case .null: .null
        }
    }
}
