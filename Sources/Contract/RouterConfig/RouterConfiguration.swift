/// A whole, valid router configuration: what a file of skrouterd says (router-protocol.md §6.5).
package struct RouterConfiguration: Hashable, Sendable {
    /// All entities given, in processing order; entities of one type keep the order of the file.
    package let entities: [Entity]

    /// The router entity; there is exactly one.
    package let router: Entity

    /// What was accepted but does nothing, as full sentences for the log.
    package let warnings: [String]

    /// An entity as it was read, before validation.
    struct Unchecked {
        var type: String
        var attributes: [String: AttributeValue]
        var location: ConfigLocation?
    }

    /// A configuration of entities already validated.
    ///
    /// Throws `ConfigError` if there is not exactly one router, if two entities of a type have one name, if a name
    /// leads nowhere, or if a role does not go with the router's mode.
    package init(entities: [Entity]) throws(ConfigError) {
        try self.init(entities.map { ($0, nil) }, warnings: [])
    }

    /// - Parameter warnings: what stands before those about the entities.
    init(unchecked: [Unchecked], warnings: [String] = []) throws(ConfigError) {
        var located: [(Entity, ConfigLocation?)] = []
        var warnings = warnings
        for item in unchecked {
            do {
                let entity = try Schema.validate(type: item.type, attributes: item.attributes, for: .file)
                located.append((entity, item.location))
                warnings += RouterConfiguration.warnings(about: entity, given: item)
            } catch {
                throw item.location.map { error.at($0) } ?? error
            }
        }
        if !located.contains(where: { $0.0.type == "router" }) {
            // skrouterd does the same with an empty file.
            located.append((Entity(type: "router", attributes: [:]), nil))
            warnings.append(
                "the configuration has no router entity; a standalone router with a generated id is assumed")
        }
        try self.init(located, warnings: warnings)
    }

    private init(_ located: [(entity: Entity, location: ConfigLocation?)], warnings: [String]) throws(ConfigError) {
        let (located, repeated) = RouterConfiguration.withoutRepetitions(located)
        let routers = located.filter { $0.entity.type == "router" }
        guard let router = routers.first?.entity, routers.count == 1 else {
            throw routers.dropFirst().first?.location.map { ConfigError.routerCount(routers.count).at($0) }
                ?? .routerCount(routers.count)
        }
        var known: Set<EntityKey> = []
        for item in located {
            let isSecondSingleton =
                item.entity.entityType.isSingleton && known.contains { $0.type == item.entity.type }
            guard !isSecondSingleton, known.insert(EntityKey(item.entity)).inserted else {
                let error = ConfigError.duplicate(type: item.entity.type, name: item.entity.name)
                throw item.location.map { error.at($0) } ?? error
            }
        }
        let mode = router[string: "mode"] ?? "standalone"
        for item in located {
            do {
                try Schema.checkRole(of: item.entity, mode: mode)
                try Schema.checkReferences(of: item.entity) { known.contains(EntityKey(type: $0, name: $1)) }
            } catch {
                throw item.location.map { error.at($0) } ?? error
            }
        }
        self.router = router
        self.warnings = warnings + repeated
        entities = RouterConfiguration.inProcessingOrder(located.map(\.entity))
    }

    /// By the rank of their types; those of one rank stay in their order.
    private static func inProcessingOrder(_ entities: [Entity]) -> [Entity] {
        entities.enumerated().sorted { left, right in
            let ranks = (rank(left.element.type), rank(right.element.type))
            return ranks.0 == ranks.1 ? left.offset < right.offset : ranks.0 < ranks.1
        }.map(\.element)
    }

    /// An address rule that says a second time what one says already is passed over, as skrouterd does it.
    private static func withoutRepetitions(
        _ located: [(entity: Entity, location: ConfigLocation?)]
    ) -> (kept: [(entity: Entity, location: ConfigLocation?)], warnings: [String]) {
        var rules: Set<Entity> = []
        var warnings: [String] = []
        let kept = located.filter { item in
            guard item.entity.type == "router.config.address", !rules.insert(item.entity).inserted else { return true }
            let place = item.location.map { "\($0): " } ?? ""
            warnings.append("\(place)\(item.entity.identity) is there twice; the second is passed over")
            return false
        }
        return (kept, warnings)
    }

    /// The entities of one type, given by its short name.
    package func entities(ofType type: String) -> [Entity] {
        entities.filter { $0.type == type }
    }

    /// The one entity of a singleton type; with defaults only if the file has none.
    package func singleton(_ type: String) -> Entity {
        entities.first { $0.type == type } ?? Entity(type: type, attributes: [:])
    }

    /// All entities in processing order, with those that every router has and the file leaves out: one log entity for
    /// each module, and the singletons.
    ///
    /// - Parameter further: entities from elsewhere, which are put where their type belongs.
    package func completed(adding further: [Entity] = []) -> [Entity] {
        let modules = Set(entities(ofType: "log").compactMap { $0[string: "module"] })
        let logs = Schema.logModules.filter { !modules.contains($0) }.map {
            Entity(type: "log", attributes: ["module": .string($0)])
        }
        let missing = ["network", "policy"].filter { entities(ofType: $0).isEmpty }.map {
            Entity(type: $0, attributes: [:])
        }
        let first = entities.prefix { $0.type == "log" }
        let rest = entities.dropFirst(first.count) + missing + further
        return first + logs + RouterConfiguration.inProcessingOrder(Array(rest))
    }

    /// This configuration with the router's id set to `id`, for a file that leaves it out.
    ///
    /// Throws `ConfigError.badValue` if `id` cannot be a router id.
    package func withRouterID(_ id: String) throws(ConfigError) -> RouterConfiguration {
        let named = try Schema.validate(
            type: "router", attributes: router.attributes.merging(["id": .string(id)]) { _, new in new }, for: .file)
        return try RouterConfiguration(
            entities.map { ($0.type == "router" ? named : $0, nil) }, warnings: warnings)
    }

    /// An id for a router whose file gives none: its mode and 15 characters made from `random`, a number that the
    /// caller draws anew for each start.
    package static func generatedRouterID(mode: String, random: UInt64) -> String {
        let digits = String(random, radix: 36)
        let padded = String(repeating: "0", count: max(0, 15 - digits.count)) + digits
        return mode.prefix(1).uppercased() + mode.dropFirst() + "_" + padded
    }

    /// The order in which types are put into force: what others refer to comes first, sockets last.
    private static let processingOrder = [
        "log", "router", "network", "site", "sslProfile", "proxyProfile", "router.config.address",
        "router.config.autoLink", "policy", "vhost", "vhostUserGroupSettings", "connector", "listener", "tcpListener",
        "tcpConnector", "listenerAddress",
    ]

    private static func rank(_ type: String) -> Int {
        processingOrder.firstIndex(of: type) ?? processingOrder.count
    }

    private static func warnings(about entity: Entity, given: Unchecked) -> [String] {
        let place = given.location.map { "\($0): " } ?? ""
        return given.attributes.keys.sorted().compactMap { name in
            guard let attribute = entity.entityType.attribute(Schema.camelCased(name)) else { return nil }
            if attribute.isReadOnly, attribute.name != "type" {
                return "\(place)\(entity.type).\(attribute.name) is set by the router; what the file gives is dropped"
            }
            if entity.hasNoEffect(attribute) {
                return place + entity.warning(of: attribute.name)
            }
            return nil
        }
    }
}

/// What tells entities apart within a configuration.
struct EntityKey: Hashable, Sendable {
    let type: String
    let name: String

    init(type: String, name: String) {
        self.type = type
        self.name = name
    }

    init(_ entity: Entity) {
        self.init(type: entity.type, name: entity.name)
    }
}
