import AMQPCodec
import AMQPEndpoints

/// Where a connection meets the policy: at Open, Begin and Attach.
extension AMQPConnection {
    private static let noUser = "anonymous"

    /// Asks the policy whether the peer may stay, and takes over the limits that it has. Called when the peer's Open
    /// has arrived, before ours answers it. False = it is told to go.
    func isAdmitted(_ open: Open) -> Bool {
        let gate = worker.core.policy
        guard gate.isEnforced else { return true }
        return settings.isConnector ? isPeerOfConnectorAdmitted(gate) : isClientAdmitted(open, gate)
    }

    private func isClientAdmitted(_ open: Open, _ gate: PolicyGate) -> Bool {
        if settings.role == .interRouter { return true }
        let host = AMQPConnection.host(in: peerText)
        let arrival = PolicyTable.Arrival(
            id: ref.id, user: userName ?? AMQPConnection.noUser, host: host, number: HostNumber(literal: host),
            hostname: settings.policyVhost ?? open.hostname ?? "", name: peerText)
        switch gate.open(arrival) {
        case .failure(let error):
            deny(
                "user '\(arrival.user)', host '\(host)', vhost '\(arrival.hostname)': \(error.text)",
                answersOpen: true)
            return false
        case .success(let grant):
            policy = ConnectionPolicy(grant)
            isCountedByPolicy = true
            apply(grant.rules)
            return true
        }
    }

    private func isPeerOfConnectorAdmitted(_ gate: PolicyGate) -> Bool {
        guard settings.role == .normal || settings.role.outside != nil, let vhost = settings.policyVhost,
            !vhost.isEmpty
        else { return true }
        let user = userName ?? AMQPConnection.noUser
        guard let grant = gate.withTable({ $0.connectorGrant(vhost: vhost, user: user) }) else {
            deny(
                "connector \(settings.entity): policyVhost '\(vhost)' has no rules for connectors (vhost with group "
                    + "'\(VhostRules.connectorGroup)')", answersOpen: false)
            return false
        }
        policy = ConnectionPolicy(grant)
        return true
    }

    private func apply(_ rules: GroupRules) {
        if rules.maxFrameSize > 0 {
            settings.maxFrameSize = min(max(512, rules.maxFrameSize), ConnectionSettings.largestFrame)
        }
        if rules.maxSessions > 0 { settings.channelMax = UInt16(min(rules.maxSessions - 1, 32767)) }
        if rules.maxSessionWindow > 0 {
            let octets = min(rules.maxSessionWindow, ConnectionSettings.windowMaximum)
            settings.sessionFrames = UInt32(max(2, octets / settings.maxFrameSize))
        }
    }

    private func deny(_ reason: String, answersOpen: Bool) {
        Log.write(.policy, .info, "[C\(ref.id)] DENY connection: \(reason)")
        if settings.isConnector { worker.refusedByPolicy(self) }
        if answersOpen { sendOpen() }
        closeAndWait(
            AMQPError(condition: "amqp:resource-limit-exceeded", description: "connection disallowed by local policy"),
            reason: "denied by policy: \(reason)")
    }

    /// Says why, and then takes nothing more than the peer's close: cut at once, it might not get to know.
    private func closeAndWait(_ error: AMQPError, reason: String) {
        closeReason = reason
        closingAt = worker.now
        payloadDelivery = nil
        payloadLink = nil
        endAllDeliveries()
        sendClose(error)
    }

    /// A message is larger than the peer may send.
    func tooLargeMessageReceived() {
        guard phase == .frames, closingAt == 0, let policy else { return }
        Log.write(
            .policy, .info,
            "[C\(ref.id)] DENY transfer of user '\(policy.grant.user)': a message of more than "
                + "\(policy.grant.maxMessageSize) octets; closing the connection")
        worker.core.policy.count(.messageSize, vhost: policy.grant.vhost)
        closeAndWait(
            AMQPError(condition: "amqp:connection:forced", description: "Message size exceeded"),
            reason: "a message larger than maxMessageSize")
    }

    /// Octets that a message of the peer's may have; 0 = any number.
    var messageMaximum: UInt64 { UInt64(policy?.grant.maxMessageSize ?? 0) }

    /// The host of a text with host and port.
    static func host(in text: String) -> String {
        guard let colon = text.lastIndex(of: ":") else { return text }
        let host = text[..<colon]
        return host.first == "[" ? String(host.dropFirst().dropLast()) : String(host)
    }

    /// The connection is gone.
    func leavePolicy() {
        guard let policy else { return }
        self.policy = nil
        let gate = worker.core.policy
        // Asked for only where the line is written: every loop needs the table.
        func refused() -> String {
            let state = gate.withTable { $0.states[policy.grant.vhost] } ?? PolicyTable.State()
            return "sessions_denied=\(state.sessionsDenied), senders_denied=\(state.sendersDenied), "
                + "receivers_denied=\(state.receiversDenied), max_message_size_denied=\(state.messagesDenied)"
        }
        Log.write(
            .policy, .debug,
            "[C\(ref.id)] of vhost '\(policy.grant.vhost)', group '\(policy.grant.group)' closed; refused in it "
                + "so far: \(refused())")
        if isCountedByPolicy { gate.closed(ref.id) }
    }

    /// What an attach of the peer's is refused with; nil = it may go on, and is counted.
    func refusal(of attach: Attach, ourRole: Role) -> AMQPError? {
        guard let policy else { return nil }
        let refusal: ConnectionPolicy.Refusal?
        let address: String?
        if ourRole == .receiver {
            address = attach.target?.address
            refusal = policy.attachSender(target: address)
        } else {
            address = attach.source?.address
            refusal = policy.attachReceiver(source: address, isDynamic: attach.source?.dynamic == true)
        }
        guard let refusal else { return nil }
        Log.write(
            .policy, .info,
            "[C\(ref.id)] DENY \(ourRole == .receiver ? "sender" : "receiver") '\(address ?? "")' of user "
                + "'\(policy.grant.user)', vhost '\(policy.grant.vhost)': "
                + (refusal == .tooMany ? "too many of them" : "not among its addresses"))
        worker.core.policy.count(ourRole == .receiver ? .sender : .receiver, vhost: policy.grant.vhost)
        return AMQPError(condition: refusal.condition, description: "link disallowed by local policy")
    }

    /// A session of the peer's; false = it has been ended again.
    func isAdmitted(_ session: Session) -> Bool {
        guard let policy else { return true }
        guard policy.beginSession() != nil else {
            session.isCounted = true
            return true
        }
        Log.write(.policy, .info, "[C\(ref.id)] DENY session of user '\(policy.grant.user)': too many of them")
        worker.core.policy.count(.session, vhost: policy.grant.vhost)
        session.refuse(
            AMQPError(condition: "amqp:resource-limit-exceeded", description: "session disallowed by local policy"))
        return false
    }
}

extension Session {
    /// Ends a session that the peer has begun and that is not wanted.
    func refuse(_ error: AMQPError) {
        guard machine.state == .mapped else { return }
        connection.send(encodeFrame(channel: localChannel) { End(error: error).encode(into: &$0) })
        try? machine.apply(.discardSent)
    }
}

extension Link {
    /// The link is gone.
    func leavePolicy() {
        guard isCounted else { return }
        isCounted = false
        if role == .receiver {
            session.connection.policy?.detachSender()
        } else {
            session.connection.policy?.detachReceiver()
        }
    }
}

extension Worker {
    /// Why a message of a connection with a policy goes no further; nil = it may.
    func refusal(of head: MessageHead, to address: String, isOwnTarget: Bool, _ policy: ConnectionPolicy)
        -> DeliveryState?
    {
        if !policy.mayCarry(user: head.properties?.userID) {
            return .rejected(AMQPError(condition: "amqp:unauthorized-access", description: "user_id proxy violation"))
        }
        if isOwnTarget, !policy.mayReach(address) {
            return .rejected(
                AMQPError(condition: "amqp:unauthorized-access", description: "policy violation on target"))
        }
        return nil
    }
}
