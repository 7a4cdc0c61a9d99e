import AMQPCodec
import RouterConfig

/// QUERY, READ, CREATE, UPDATE and DELETE.
extension ManagementAgent {
    // MARK: Reading

    func query(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        guard let name = request.queriedType else { return tabulate(request, core.allRows(nil), nil) }
        guard let type = RequestedType(name) else { return .failure(400, "no such entity type '\(name)'") }
        if case .one(let type) = type { return tabulate(request, core.rows(type), .one(type)) }
        return tabulate(request, core.allRows(type), type)
    }

    /// Rows as attributeNames and results; wanted names in their order, all names of the type when none are named.
    func tabulate(_ request: ManagementRequest, _ rows: [ManagementRow], _ type: RequestedType?) -> ManagementReply {
        let known: [String]
        var isCoreType = false
        if case .one(let one)? = type {
            known = one.attributes.map(\.name)
            isCoreType = one.isCoreType
        } else {
            known = SchemaReplies.allAttributeNames
        }
        var names = request.body["attributeNames"]?.listValue?.compactMap(\.stringValue) ?? []
        let unknown = names.filter { !known.contains($0) }
        if isCoreType {
            names.removeAll { unknown.contains($0) }
        } else if !unknown.isEmpty {
            let place = type.map { "'\($0.longName)' has" } ?? "there is"
            return .failure(404, "\(place) no attribute \(unknown.map { "'\($0)'" }.joined(separator: ", "))")
        }
        if names.isEmpty { names = known }
        var chosen = rows[min(request.offset, rows.count)...]
        if request.count >= 0 { chosen = chosen.prefix(request.count) }
        let results = chosen.compactMap { row -> AMQPValue? in
            let values = names.map { row[$0] ?? .null }
            return values.contains { $0 != .null } ? .list(values) : nil
        }
        return .ok(
            .map([
                MapEntry(key: .string("attributeNames"), value: .list(names.map { .string($0) })),
                MapEntry(key: .string("results"), value: .list(results)),
            ]))
    }

    func read(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        let type: RequestedType?
        switch requested(request) {
        case .failure(let failure): return .failure(failure.status, failure.text)
        case .success(let value): type = value
        }
        var rows = core.allRows(nil) + core.coreRows
        if request.name == nil, request.identity == nil {
            guard case .one(let one)? = type, one.isSingleton else {
                return .failure(400, "READ needs a name or an identity")
            }
            rows.removeAll { $0["type"]?.stringValue != one.longName }
            return rows.first.map { .entity($0) } ?? notFound(request)
        }
        rows.removeAll { row in
            guard let identity = request.identity else { return row["name"]?.stringValue != request.name }
            return row["identity"]?.stringValue != identity
        }
        guard let type else { return rows.first.map { .entity($0) } ?? notFound(request) }
        let fitting = rows.first { row in
            row["type"]?.stringValue.flatMap { Schema.type(named: $0) }.map { type.includes($0) } ?? false
        }
        if let fitting { return .entity(fitting) }
        return rows.isEmpty ? notFound(request) : wrongType(request, type.longName)
    }

    private func wrongType(_ request: ManagementRequest, _ type: String) -> ManagementReply {
        .failure(400, "the entity with \(request.target) is no '\(type)'; correct the type or the name")
    }

    private func requested(_ request: ManagementRequest) -> Result<RequestedType?, EntityFailure> {
        guard let name = request.type else { return .success(nil) }
        guard let type = RequestedType(name) else {
            return .failure(EntityFailure(status: 400, text: "no such entity type '\(name)'"))
        }
        return .success(type)
    }

    // MARK: Changing

    func attributes(_ body: AMQPValue) -> [String: AttributeValue]? {
        guard let entries = body.mapValue else { return body == .null ? [:] : nil }
        var result: [String: AttributeValue] = [:]
        for entry in entries {
            guard let key = entry.key.stringValue else { return nil }
            result[key] = AttributeValue(entry.value)
        }
        return result
    }

    func create(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        guard var attributes = attributes(request.body) else {
            return .failure(400, "the body must be a map of attributes")
        }
        for (key, property) in [("type", request.type), ("name", request.name)] {
            guard let property else { continue }
            if let other = attributes[key], other != .string(property), other != .null {
                return .failure(400, "conflicting values for '\(key)': \(property) and \(other)")
            }
            attributes[key] = .string(property)
        }
        guard case .string(let type)? = attributes["type"] else { return .failure(400, "CREATE needs a type") }
        if attributes["identity"] != nil { return .failure(400, "an identity cannot be given; the router makes it") }
        do throws(ConfigError) {
            let entity = try Schema.validate(type: type, attributes: attributes, for: .create)
            if core.allEntities.contains(where: {
                $0.type == entity.type && ($0.name == entity.name || $0.identity == entity.identity)
            }) {
                // Clients of skrouterd look for these words.
                let prefix = entity.entityType.isCoreType ? "Name conflicts with an existing entity: " : ""
                return .failure(400, "\(prefix)\(entity.type) '\(entity.name)' exists already; delete it first")
            }
            try Schema.checkRole(of: entity, mode: core.routerEntity[string: "mode"] ?? "standalone")
            do throws(EntityFailure) {
                try core.create(entity)
            } catch {
                return .failure(error.status, error.text)
            }
            for attribute in entity.attributesWithoutEffect {
                Log.write(.agent, .warning, "\(entity.name): \(entity.warning(of: attribute))")
            }
            Log.write(.agent, .info, "created \(entity.type) \(entity.name)")
            return .entity(core.row(entity), status: 201)
        } catch {
            return .failure(error.statusCode, error.description)
        }
    }

    /// The one configured entity a request is about.
    func find(_ request: ManagementRequest, _ core: Core) -> Result<Entity, EntityFailure> {
        let type: RequestedType?
        switch requested(request) {
        case .failure(let failure): return .failure(failure)
        case .success(let value): type = value
        }
        guard request.name != nil || request.identity != nil else {
            return .failure(EntityFailure(status: 400, text: "no name or identity provided"))
        }
        let named = core.allEntities.filter { entity in
            guard let identity = request.identity else { return entity.name == request.name }
            return core.shownIdentity(entity) == identity
        }
        if let fitting = named.first(where: { type?.includes($0.entityType) ?? true }) { return .success(fitting) }
        let reply = named.isEmpty ? notFound(request) : wrongType(request, type?.longName ?? "")
        return .failure(EntityFailure(status: reply.status, text: reply.description))
    }

    /// A type without the operation is told so, whether or not the entity exists.
    private func refusal(_ request: ManagementRequest, _ operation: RouterConfig.Operation) -> ManagementReply? {
        guard let type = request.type.flatMap({ Schema.type(named: $0) }), !type.operations.contains(operation) else {
            return nil
        }
        if type.shortName == "router.link" {
            return .failure(403, "Forbidden: AMQP links are made and ended by their peers, not by management")
        }
        return notImplemented(request, type)
    }

    func update(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        if let refusal = refusal(request, .update) { return refusal }
        switch find(request, core) {
        case .failure(let failure): return .failure(failure.status, failure.text)
        case .success(let entity):
            guard entity.entityType.operations.contains(.update) else {
                return notImplemented(request, entity.entityType)
            }
            return update(entity, attributes(request.body) ?? [:], core)
        }
    }

    private func update(_ entity: Entity, _ given: [String: AttributeValue], _ core: Core) -> ManagementReply {
        do throws(ConfigError) {
            // Clients send back whole entities: what stays as it is is no change.
            let shown = entity.replyAttributes
            let type = entity.entityType
            let isSocket = type.shortName == "listener" || type.shortName == "connector"
            let changes = given.filter { name, value in
                if ["name", "identity", "type"].contains(name) { return false }
                // A profile's files are read again even if their names stay.
                return shown[name] != value || (!isSocket && type.attribute(name)?.isUpdatable ?? true)
            }
            if isSocket, changes["cost"] == nil {
                throw .notUpdatable(type: type.shortName, attribute: changes.keys.min() ?? "anything but cost")
            }
            let checked = try Schema.validate(type: entity.type, attributes: changes, for: .update)
            let updated = try entity.updated(with: checked.attributes)
            do throws(EntityFailure) {
                try core.update(updated, from: entity)
            } catch {
                return .failure(error.status, error.text)
            }
            Log.write(.agent, .info, "updated \(entity.type) \(entity.name)")
            return .entity(core.row(updated))
        } catch {
            return .failure(error.statusCode, error.description)
        }
    }

    func delete(_ request: ManagementRequest, _ core: Core) -> ManagementReply {
        if request.type.flatMap({ Schema.type(named: $0) })?.shortName == "connection" {
            return .failure(403, "Forbidden: connections are closed by UPDATE with adminStatus=deleted")
        }
        if let refusal = refusal(request, .delete) { return refusal }
        switch find(request, core) {
        case .failure(let failure): return .failure(failure.status, failure.text)
        case .success(let entity):
            guard entity.entityType.operations.contains(.delete) else {
                return notImplemented(request, entity.entityType)
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
}
