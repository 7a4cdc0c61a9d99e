/// Rules about several attributes, or several entities, at once.
extension Schema {
    /// What the schema's single attributes cannot say about one entity.
    static func checkCombinations(_ entity: Entity) throws(ConfigError) {
        func conflict(_ problem: String, _ remedy: String) -> ConfigError {
            .conflict(type: entity.type, name: entity.name, problem: problem, remedy: remedy)
        }
        switch entity.type {
        case "listener", "connector":
            let role = entity[string: "role"] ?? "normal"
            if entity.attributes["openProperties"] != nil, role != "normal", role != "route-container" {
                throw conflict(
                    "openProperties with role \(role)", "remove them, or use role normal or route-container")
            }
            if entity.boolean("requireSsl") == true, entity[string: "sslProfile"] == nil {
                throw conflict("requireSsl without an sslProfile", "add sslProfile")
            }
        case "tcpListener":
            let strategy = entity[string: "multiAddressStrategy"] ?? "none"
            let hasAddress = entity[string: "address"] != nil
            if strategy == "none", !hasAddress { throw .missingAttribute(type: entity.type, name: "address") }
            if strategy != "none", hasAddress {
                throw conflict(
                    "address together with multiAddressStrategy \(strategy)",
                    "give addresses as listenerAddress entities, or set the strategy to none")
            }
            if entity.boolean("authenticatePeer") == true, entity[string: "sslProfile"] == nil {
                throw conflict("authenticatePeer without an sslProfile", "add sslProfile")
            }
        case "router.config.address":
            if (entity[string: "prefix"] == nil) == (entity[string: "pattern"] == nil) {
                throw conflict("it needs either prefix or pattern", "give exactly one of the two")
            }
        case "router.config.autoLink":
            if entity[string: "containerId"] != nil, entity[string: "connection"] != nil {
                throw conflict("containerId together with connection", "give one of the two")
            }
            let isOutgoing = entity[string: "direction"] == "out"
            if entity[string: "address"] == nil, isOutgoing || entity[string: "externalAddress"] == nil {
                throw .missingAttribute(type: entity.type, name: "address")
            }
        case "sslProfile":
            let ordinal = entity.integer("ordinal") ?? 0
            if let oldest = entity.integer("oldestValidOrdinal"), oldest > ordinal {
                throw conflict(
                    "ordinal \(ordinal) is older than oldestValidOrdinal \(oldest)",
                    "ordinal must be >= oldestValidOrdinal: raise the one or lower the other")
            }
        default:
            break
        }
    }

    /// Whether a router of `mode` may have this listener or connector (router-protocol.md §1.5); other types pass.
    package static func checkRole(of entity: Entity, mode: String) throws(ConfigError) {
        guard entity.type == "listener" || entity.type == "connector" else { return }
        let role = entity[string: "role"] ?? "normal"
        let remedy: String
        switch (role, mode) {
        case ("inter-router", "standalone"), ("inter-router", "edge"):
            remedy = "set the router's mode to interior, or use another role"
        case ("edge", "standalone"):
            remedy = "set the router's mode to interior (listeners) or edge (connectors), or use another role"
        case ("edge", "edge") where entity.type == "listener":
            remedy = "set the router's mode to interior, or use role inter-edge towards other edge routers"
        case ("inter-edge", "standalone"), ("inter-edge", "interior"):
            remedy = "set the router's mode to edge, or use another role"
        default:
            return
        }
        throw .conflict(
            type: entity.type, name: entity.name, problem: "role \(role) is not possible in mode \(mode)",
            remedy: remedy)
    }

    /// The attributes of `type` that name another entity, with the type of that entity.
    static func references(of type: String) -> [(attribute: String, type: String)] {
        switch type {
        case "listener", "tcpListener", "tcpConnector": [("sslProfile", "sslProfile")]
        case "connector": [("sslProfile", "sslProfile"), ("proxyProfile", "proxyProfile")]
        case "listenerAddress": [("listener", "tcpListener")]
        default: []
        }
    }

    /// Whether what `entity` refers to exists, as `exists` (type, name) tells.
    package static func checkReferences(
        of entity: Entity, exists: (_ type: String, _ name: String) -> Bool
    ) throws(ConfigError) {
        for reference in references(of: entity.type) {
            guard let name = entity[string: reference.attribute], !name.isEmpty else { continue }
            guard exists(reference.type, name) else {
                throw .conflict(
                    type: entity.type, name: entity.name,
                    problem: "\(reference.attribute) names \"\(name)\", and there is no such \(reference.type)",
                    remedy: "add that \(reference.type), or correct the name")
            }
        }
    }
}
