/// The rules of all vhosts, and who is connected under them: decides whether a connection may open.
///
/// Pure: what happened goes in, decisions come out.
struct PolicyTable: Sendable {
    /// What the `policy` entity says of vhosts.
    struct Settings: Equatable, Sendable {
        var usesNamePatterns = false
        /// Vhost of clients whose host name has none; empty = those are refused.
        var defaultVhost = "$default"
        /// Octets; 0 = any size.
        var maxMessageSize = 0
    }

    /// A client that has sent its Open.
    struct Arrival: Equatable, Sendable {
        var id: UInt64
        var user: String
        /// Its host as text, and as a number where it has one.
        var host: String
        var number: HostNumber?
        /// What it said in Open, or the name that its listener has for all.
        var hostname: String
        /// How its host and port are shown.
        var name: String
    }

    /// What an admitted client may do.
    struct Grant: Equatable, Sendable {
        var vhost: String
        var group: String
        var user: String
        var rules: GroupRules
        /// Octets; 0 = any size.
        var maxMessageSize: Int
    }

    /// What a connection was refused after it had been admitted.
    enum Denial: Sendable { case session, sender, receiver, messageSize }

    /// Counts of one vhost. They outlive the vhost as long as a client of it is there.
    struct State: Equatable, Sendable {
        var approved = 0
        var denied = 0
        var current = 0
        var users: [String: [String]] = [:]
        var hosts: [String: [String]] = [:]
        var sessionsDenied = 0
        var sendersDenied = 0
        var receiversDenied = 0
        var messagesDenied = 0

        fileprivate mutating func add(_ arrival: Arrival) {
            approved += 1
            current += 1
            users[arrival.user, default: []].append(arrival.name)
            hosts[arrival.host, default: []].append(arrival.name)
        }

        fileprivate mutating func remove(_ client: Client) {
            current -= 1
            State.remove(client.name, of: client.user, from: &users)
            State.remove(client.name, of: client.host, from: &hosts)
        }

        /// In place: a copy of a long list at each close would take longer than all else.
        private static func remove(_ name: String, of key: String, from table: inout [String: [String]]) {
            guard let index = table[key]?.firstIndex(of: name) else { return }
            table[key]?.remove(at: index)
            if table[key]?.isEmpty == true { table[key] = nil }
        }
    }

    fileprivate struct Client {
        var vhost: String
        var user: String
        var host: String
        var name: String
    }

    var settings = Settings()
    private(set) var vhosts: [String: VhostRules] = [:]
    private(set) var states: [String: State] = [:]
    private var clients: [UInt64: Client] = [:]
    /// Host names of the vhosts by name and alias, and by what these are as patterns.
    private var owners: [String: String] = [:]
    private var patternOwners: [AddressPattern: String] = [:]
    private var patterns: [(pattern: AddressPattern, hostname: String)] = []
    /// Octets of a host name as clients give it; a longer one names no host.
    static let hostnameMaximum = 255

    // MARK: Rules

    /// Puts rules into force; those of the same host name go.
    mutating func define(_ rules: VhostRules) throws(PolicyError) {
        let names = [rules.hostname] + rules.aliases
        for name in names {
            if let owner = owners[name], owner != rules.hostname {
                throw PolicyError("'\(name)' is a name or alias of vhost '\(owner)' already")
            }
            guard settings.usesNamePatterns else { continue }
            if let owner = patternOwners[AddressPattern(name).canonical], owner != rules.hostname {
                throw PolicyError("'\(name)': the pattern conflicts with one of vhost '\(owner)'")
            }
        }
        forgetNames(of: rules.hostname)
        for name in names {
            owners[name] = rules.hostname
            let pattern = AddressPattern(name)
            patternOwners[pattern.canonical] = rules.hostname
            patterns.append((pattern, rules.hostname))
        }
        vhosts[rules.hostname] = rules
        if states[rules.hostname] == nil { states[rules.hostname] = State() }
    }

    private mutating func forgetNames(of hostname: String) {
        guard let old = vhosts[hostname] else { return }
        for name in [old.hostname] + old.aliases {
            owners[name] = nil
            let pattern = AddressPattern(name).canonical
            if patternOwners[pattern] == hostname { patternOwners[pattern] = nil }
        }
        patterns.removeAll { $0.hostname == hostname }
    }

    /// Clients that are connected keep what they were granted; no other is admitted.
    mutating func remove(_ hostname: String) {
        forgetNames(of: hostname)
        vhosts[hostname] = nil
        if states[hostname]?.current == 0 { states[hostname] = nil }
    }

    /// The vhost whose rules hold for a host name: by name, alias or pattern, else the default one.
    func vhost(for hostname: String) -> VhostRules? {
        let found = settings.usesNamePatterns ? bestPattern(for: hostname) : named(hostname)
        return found ?? vhosts[settings.defaultVhost].flatMap { settings.defaultVhost.isEmpty ? nil : $0 }
    }

    private func named(_ hostname: String) -> VhostRules? {
        owners[hostname].flatMap { vhosts[$0] }
    }

    private func bestPattern(for hostname: String) -> VhostRules? {
        let isHost = hostname.utf8.count <= PolicyTable.hostnameMaximum
        let words = AddressPattern.split(isHost ? hostname : "")
        return patterns.mostSpecific(for: words) { $0.pattern }.flatMap { vhosts[$0.hostname] }
    }

    // MARK: Connections

    /// A client wants in. The error says why it may not.
    mutating func open(_ arrival: Arrival) -> Result<Grant, PolicyError> {
        guard let rules = vhost(for: arrival.hostname) else {
            return .failure(PolicyError("there is no vhost for its host name"))
        }
        switch admit(arrival, rules) {
        case .failure(let error):
            states[rules.hostname]?.denied += 1
            return .failure(error)
        case .success(let grant):
            clients[arrival.id] = Client(
                vhost: rules.hostname, user: arrival.user, host: arrival.host, name: arrival.name)
            states[rules.hostname, default: State()].add(arrival)
            return .success(grant)
        }
    }

    private func admit(_ arrival: Arrival, _ rules: VhostRules) -> Result<Grant, PolicyError> {
        let name: String
        if let own = rules.groupOfUser[arrival.user] ?? rules.groupOfUser["*"] {
            name = own
        } else if rules.allowsUnknownUsers {
            name = VhostRules.defaultGroup
        } else {
            return .failure(PolicyError("the user is in no group, and unknown users are not let in"))
        }
        guard let group = rules.groups[name] else { return .failure(PolicyError("there is no group '\(name)'")) }
        guard group.remoteHosts.contains(where: { $0.contains(arrival.number) }) else {
            return .failure(PolicyError("users of group '\(name)' may not come from this host"))
        }
        let state = states[rules.hostname] ?? State()
        let perUser = group.maxConnectionsPerUser ?? rules.maxConnectionsPerUser
        let perHost = group.maxConnectionsPerHost ?? rules.maxConnectionsPerHost
        guard state.current < rules.maxConnections else {
            return .failure(PolicyError("the vhost has \(state.current) connections, its most"))
        }
        guard state.users[arrival.user]?.count ?? 0 < perUser else {
            return .failure(PolicyError("the user has \(perUser) connections, the most of one user"))
        }
        guard state.hosts[arrival.host]?.count ?? 0 < perHost else {
            return .failure(PolicyError("the host has \(perHost) connections, the most of one host"))
        }
        return .success(grant(name, group, rules, user: arrival.user))
    }

    /// What the peer of a connector may do; nil if the vhost or its group for connectors is not there.
    func connectorGrant(vhost hostname: String, user: String) -> Grant? {
        guard let rules = vhost(for: hostname), let group = rules.groups[VhostRules.connectorGroup] else { return nil }
        return grant(VhostRules.connectorGroup, group, rules, user: user)
    }

    private func grant(_ name: String, _ group: GroupRules, _ rules: VhostRules, user: String) -> Grant {
        Grant(
            vhost: rules.hostname, group: name, user: user, rules: group,
            maxMessageSize: group.maxMessageSize ?? rules.maxMessageSize ?? settings.maxMessageSize)
    }

    /// A connection that had been admitted is gone.
    mutating func closed(_ id: UInt64) {
        guard let client = clients.removeValue(forKey: id) else { return }
        states[client.vhost]?.remove(client)
        if vhosts[client.vhost] == nil, states[client.vhost]?.current == 0 { states[client.vhost] = nil }
    }

    /// Counts what a client of a vhost was refused.
    mutating func count(_ denial: Denial, vhost: String) {
        switch denial {
        case .session: states[vhost]?.sessionsDenied += 1
        case .sender: states[vhost]?.sendersDenied += 1
        case .receiver: states[vhost]?.receiversDenied += 1
        case .messageSize: states[vhost]?.messagesDenied += 1
        }
    }
}
