import AMQPCodec

/// The fields of a received control message, checked. `area` and unknown fields are ignored (§3.2).
enum ReceivedMessage: Equatable {
    case hello(seen: [String])
    case advertisement(linkStateSequence: Int64, mobileSequence: Int64)
    case linkStateRequest
    /// `ignoredPeers` counts entries that were dropped for an impossible id or cost.
    case linkStateUpdate(sequence: Int64, peers: [String: Int], ignoredPeers: Int)
    case mobileRequest(haveSequence: Int64)
    case absoluteUpdate(sequence: Int64, exist: DescriptorList)
    case differentialUpdate(sequence: Int64, added: DescriptorList, removed: DescriptorList)
}

/// Address descriptors of a MAU that can be used, and how many could not.
struct DescriptorList: Equatable {
    struct Descriptor: Equatable {
        var key: String
        var info: AddressInfo
    }
    var usable: [Descriptor] = []
    var ignored = 0
}

/// What every control message carries.
struct MessageOrigin: Equatable {
    var id: String
    var version: Int64
    /// 0 if absent.
    var instance: Int64
}

/// Reads bodies of control messages. Keys may be strings or symbols and integers of any width.
struct RoutingBodyParser {
    let selfID: String
    let limits: RoutingLimits

    func parse(opcode: String, body: AMQPValue) throws(RoutingRejection) -> (MessageOrigin, ReceivedMessage) {
        guard RoutingMessage.opcodes.contains(opcode) else { throw .unknownOpcode }
        guard case .map(let entries) = body else { throw .notAMap }
        let fields = BodyFields(entries)
        let id = try fields.text("id")
        guard isValidRouterID(id) else { throw .invalidRouterID }
        let version = try fields.integerOrZero("pv")
        let isMobile = opcode == "MAR" || opcode == "MAU"
        guard version <= (isMobile ? RoutingMessage.mobileVersion : RoutingMessage.linkStateVersion) else {
            throw .newerVersion(version)
        }
        let origin = MessageOrigin(id: id, version: version, instance: try fields.integerOrZero("instance"))
        switch opcode {
        case "HELLO": return (origin, .hello(seen: try seen(fields)))
        case "RA":
            return (
                origin,
                .advertisement(
                    linkStateSequence: try fields.sequence("ls_seq"),
                    mobileSequence: try fields.sequence("mobile_seq"))
            )
        case "LSR": return (origin, .linkStateRequest)
        case "LSU": return (origin, try linkStateUpdate(fields, from: id))
        case "MAR": return (origin, .mobileRequest(haveSequence: try fields.sequence("have_seq")))
        default: return (origin, try mobileUpdate(fields))
        }
    }

    func isValidRouterID(_ id: String) -> Bool {
        let octets = id.utf8
        return !octets.isEmpty && octets.count <= limits.routerIDOctets
            && octets.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != 0x2F && $0 != 0x7C && $0 != 0x24 }
    }

    /// The ids a HELLO lists; only whether we are among them matters.
    private func seen(_ fields: BodyFields) throws(RoutingRejection) -> [String] {
        guard let value = fields["seen"] else { throw .missingField("seen") }
        guard case .list(let items) = value else { throw .invalidField("seen") }
        return items.compactMap(\.stringValue)
    }

    private func linkStateUpdate(_ fields: BodyFields, from id: String) throws(RoutingRejection) -> ReceivedMessage {
        _ = try fields.sequence("ls_seq")
        guard let value = fields["ls"] else { throw .missingField("ls") }
        guard case .map(let entries) = value else { throw .invalidField("ls") }
        let linkState = BodyFields(entries)
        guard try linkState.text("id") == id else { throw .invalidField("ls.id") }
        let sequence = try linkState.sequence("ls_seq")
        guard let peersValue = linkState["peers"] else { throw .missingField("ls.peers") }
        guard case .map(let peerEntries) = peersValue else { throw .invalidField("ls.peers") }
        guard peerEntries.count <= limits.remoteRouters else { throw .tooManyPeers(peerEntries.count) }
        var peers: [String: Int] = [:]
        var ignored = 0
        for entry in peerEntries {
            // A router that lists itself, or gives an edge no usable cost, has told us nothing about that edge.
            guard let peer = entry.key.stringValue, isValidRouterID(peer), peer != id,
                let cost = entry.value.intValue, cost >= 1
            else {
                ignored += 1
                continue
            }
            peers[peer] = Int(min(cost, Int64(RoutingLimits.maximumCost)))
        }
        return .linkStateUpdate(sequence: sequence, peers: peers, ignoredPeers: ignored)
    }

    private func mobileUpdate(_ fields: BodyFields) throws(RoutingRejection) -> ReceivedMessage {
        let sequence = try fields.sequence("mobile_seq")
        if let exist = fields["exist"] {
            return .absoluteUpdate(sequence: sequence, exist: try descriptors(exist, "exist", keysOnly: false))
        }
        guard let add = fields["add"] else { throw .missingField("add") }
        guard let del = fields["del"] else { throw .missingField("del") }
        return .differentialUpdate(
            sequence: sequence, added: try descriptors(add, "add", keysOnly: false),
            removed: try descriptors(del, "del", keysOnly: true))
    }

    private func descriptors(_ value: AMQPValue, _ name: String, keysOnly: Bool) throws(RoutingRejection)
        -> DescriptorList
    {
        guard case .list(let items) = value else { throw .invalidField(name) }
        var result = DescriptorList()
        for item in items {
            // One message cannot make us hold more than the whole store may.
            guard result.usable.count < limits.remoteAddresses, let descriptor = descriptor(item, keysOnly: keysOnly)
            else {
                result.ignored += 1
                continue
            }
            result.usable.append(descriptor)
        }
        return result
    }

    private func descriptor(_ value: AMQPValue, keysOnly: Bool) -> DescriptorList.Descriptor? {
        guard case .list(let fields) = value, let key = fields.first?.stringValue, isSynchronisedKey(key) else {
            return nil
        }
        if keysOnly { return .init(key: key, info: AddressInfo(treatment: 0, producers: 0)) }
        guard fields.count >= 3, let treatment = fields[1].intValue, (0...4).contains(treatment),
            let producers = fields[2].intValue
        else { return nil }
        var info = AddressInfo(
            treatment: Int(treatment), producers: Int(min(max(0, producers), Int64(Int32.max))))
        if fields.count >= 5, let meshID = fields[4].stringValue, meshID.utf8.count == 15 { info.meshID = meshID }
        return .init(key: key, info: info)
    }

    /// Mobile, foreign-network and edge addresses are synchronised, all others are not (§3.6).
    func isSynchronisedKey(_ key: String) -> Bool {
        guard key.utf8.count >= 2, key.utf8.count <= limits.addressKeyOctets, let letter = key.utf8.first else {
            return false
        }
        return letter == UInt8(ascii: "M") || letter == UInt8(ascii: "N") || letter == UInt8(ascii: "H")
    }
}

/// Look-up of body fields by name. Bodies have at most a dozen fields; extra ones beyond that are not looked at.
private struct BodyFields {
    private let entries: ArraySlice<MapEntry>

    init(_ entries: [MapEntry]) {
        self.entries = entries.prefix(64)
    }

    subscript(name: String) -> AMQPValue? {
        entries.first { $0.key.stringValue == name }?.value
    }

    func text(_ name: String) throws(RoutingRejection) -> String {
        guard let value = self[name] else { throw .missingField(name) }
        guard let text = value.stringValue else { throw .invalidField(name) }
        return text
    }

    func sequence(_ name: String) throws(RoutingRejection) -> Int64 {
        guard let value = self[name] else { throw .missingField(name) }
        guard let number = value.intValue, number >= 0 else { throw .invalidField(name) }
        return number
    }

    func integerOrZero(_ name: String) throws(RoutingRejection) -> Int64 {
        guard let value = self[name] else { return 0 }
        guard let number = value.intValue else { throw .invalidField(name) }
        return number
    }
}
