import RouterConfig

/// What the users of one group may do.
struct GroupRules: Equatable, Sendable {
    var remoteHosts: [HostRange] = []
    var maxConnectionsPerUser: Int?
    var maxConnectionsPerHost: Int?
    /// Octets; 0 = as the listener has it.
    var maxFrameSize = 0
    var maxSessionWindow = 0
    /// 0 = as the listener has it.
    var maxSessions = 0
    /// 0 = any number.
    var maxSenders = 2_147_483_647
    var maxReceivers = 2_147_483_647
    /// nil = as the vhost has it; 0 = any size.
    var maxMessageSize: Int?
    var allowsDynamicSource = false
    var allowsAnonymousSender = false
    var allowsUserIDProxy = false
    var allowsAdminStatusUpdate = true
    /// What may be received from.
    var sources = AddressRules()
    /// What may be sent to.
    var targets = AddressRules()
}

/// One `vhost` entity, checked and ready for decisions.
struct VhostRules: Equatable, Sendable {
    var hostname: String
    var aliases: [String] = []
    var maxConnections: Int
    var maxConnectionsPerUser: Int
    var maxConnectionsPerHost: Int
    /// nil = as the policy has it.
    var maxMessageSize: Int?
    var allowsUnknownUsers: Bool
    var groups: [String: GroupRules] = [:]
    /// Name of the group of each user; `*` for those that are not named.
    var groupOfUser: [String: String] = [:]
    /// What was given and is not known, for the log.
    var warnings: [String] = []

    /// The group of users whom no group names, where those may come in.
    static let defaultGroup = "$default"
    /// The group whose rules hold for connections that this router opens.
    static let connectorGroup = "$connector"

    /// - Parameter resolve: the numbers of a host's name.
    init(_ entity: Entity, resolve: (String) -> [HostNumber]) throws(PolicyError) {
        hostname = entity[string: "hostname"] ?? ""
        maxConnections = entity.integer("maxConnections") ?? 65_535
        maxConnectionsPerUser = entity.integer("maxConnectionsPerUser") ?? 65_535
        maxConnectionsPerHost = entity.integer("maxConnectionsPerHost") ?? 65_535
        maxMessageSize = entity.integer("maxMessageSize")
        allowsUnknownUsers = entity.boolean("allowUnknownUser") ?? false
        for alias in VhostRules.items(.string(entity[string: "aliases"] ?? "")) {
            guard alias != hostname, !aliases.contains(alias) else {
                throw PolicyError("alias '\(alias)' is there twice")
            }
            aliases.append(alias)
        }
        if case .map(let given)? = entity["groups"] {
            for (name, value) in given.sorted(by: { $0.key < $1.key }) {
                guard case .map(let settings) = value else { throw PolicyError("group '\(name)' is no map") }
                try add(name, settings, resolve)
            }
        }
        if allowsUnknownUsers, groups[VhostRules.defaultGroup] == nil {
            throw PolicyError("allowUnknownUser needs a group '\(VhostRules.defaultGroup)'")
        }
    }

    private mutating func add(
        _ name: String, _ settings: [String: AttributeValue], _ resolve: (String) -> [HostNumber]
    ) throws(PolicyError) {
        do throws(PolicyError) {
            var reader = GroupReader(settings: settings)
            groups[name] = try reader.read(resolve)
            warnings += reader.unknown.map { "vhost '\(hostname)', group '\(name)': '\($0)' is not known" }
            for user in VhostRules.items(settings["users"] ?? .null) {
                if let other = groupOfUser[user], other != name {
                    throw PolicyError("user '\(user)' is in group '\(other)' too")
                }
                groupOfUser[user] = name
            }
        } catch {
            throw PolicyError("group '\(name)': \(error.text)")
        }
    }

    /// The items of a list, or of a text with commas between them.
    static func items(_ value: AttributeValue) -> [String] {
        switch value {
        case .list(let values): values.flatMap { items($0) }
        case .null, .map: []
        default: value.description.split(separator: ",").map { Schema.trimmed(String($0)) }.filter { !$0.isEmpty }
        }
    }
}

/// Reads the settings of one group.
private struct GroupReader {
    let settings: [String: AttributeValue]
    private(set) var unknown: [String] = []

    private static let known: Set<String> = [
        "users", "remoteHosts", "maxConnectionsPerUser", "maxConnectionsPerHost", "maxFrameSize", "maxMessageSize",
        "maxSessionWindow", "maxSessions", "maxSenders", "maxReceivers", "allowDynamicSource", "allowAnonymousSender",
        "allowUserIdProxy", "allowAdminStatusUpdate", "sources", "targets", "sourcePattern", "targetPattern",
    ]

    init(settings: [String: AttributeValue]) { self.settings = settings }

    mutating func read(_ resolve: (String) -> [HostNumber]) throws(PolicyError) -> GroupRules {
        unknown = settings.keys.filter { !GroupReader.known.contains($0) }.sorted()
        var rules = GroupRules()
        for host in VhostRules.items(settings["remoteHosts"] ?? .null) {
            rules.remoteHosts.append(try HostRange(host, resolve: resolve))
        }
        rules.maxConnectionsPerUser = try number("maxConnectionsPerUser", 0...65_535)
        rules.maxConnectionsPerHost = try number("maxConnectionsPerHost", 0...65_535)
        rules.maxMessageSize = try number("maxMessageSize")
        rules.maxFrameSize = try number("maxFrameSize") ?? rules.maxFrameSize
        rules.maxSessionWindow = try number("maxSessionWindow") ?? rules.maxSessionWindow
        rules.maxSessions = try number("maxSessions") ?? rules.maxSessions
        rules.maxSenders = try number("maxSenders") ?? rules.maxSenders
        rules.maxReceivers = try number("maxReceivers") ?? rules.maxReceivers
        rules.allowsDynamicSource = try flag("allowDynamicSource") ?? rules.allowsDynamicSource
        rules.allowsAnonymousSender = try flag("allowAnonymousSender") ?? rules.allowsAnonymousSender
        rules.allowsUserIDProxy = try flag("allowUserIdProxy") ?? rules.allowsUserIDProxy
        rules.allowsAdminStatusUpdate = try flag("allowAdminStatusUpdate") ?? rules.allowsAdminStatusUpdate
        rules.sources = try addresses("sources", "sourcePattern")
        rules.targets = try addresses("targets", "targetPattern")
        return rules
    }

    private func number(_ name: String, _ range: ClosedRange<Int> = 0...Int.max) throws(PolicyError) -> Int? {
        let value: Int?
        switch settings[name] {
        case nil, .null?: return nil
        case .integer(let given)?: value = Int(exactly: given)
        case .string(let text)?: value = Int(text)
        default: value = nil
        }
        guard let value, range.contains(value) else {
            let limit = range.upperBound == Int.max ? "of at least 0" : "from 0 to \(range.upperBound)"
            throw PolicyError("\(name) must be a number \(limit)")
        }
        return value
    }

    private func flag(_ name: String) throws(PolicyError) -> Bool? {
        switch settings[name] {
        case nil, .null?: return nil
        case .boolean(let value)?: return value
        case .string(let text)?:
            switch text.lowercased() {
            case "true", "yes", "on": return true
            case "false", "no", "off": return false
            default: break
            }
        default: break
        }
        throw PolicyError("\(name) must be true or false")
    }

    private func addresses(_ names: String, _ patterns: String) throws(PolicyError) -> AddressRules {
        guard let pattern = settings[patterns], pattern != .null else {
            return try AddressRules(VhostRules.items(settings[names] ?? .null), isPattern: false)
        }
        guard settings[names] ?? .null == .null else {
            throw PolicyError("\(names) together with \(patterns); use one of the two")
        }
        return try AddressRules(VhostRules.items(pattern), isPattern: true)
    }
}
