import ControlIO

/// The types of conditions, spelt as in the documents (sheet §1.2).
package enum ConditionType: String, Hashable, Sendable {
    case configured = "Configured"
    case running = "Running"
    case resolved = "Resolved"
    case operational = "Operational"
    case matched = "Matched"
    case processed = "Processed"
    case redeemed = "Redeemed"
    case ready = "Ready"
}

/// What a condition says; the three shapes of sheet §1.2.
package enum ConditionState: Hashable, Sendable {
    /// status True, reason `Ready`, message `OK`.
    case ready
    /// status False, reason `Error`.
    case error(String)
    /// status False, reason `Pending`.
    case pending(String)

    /// `True` or `False`.
    package var status: String { if case .ready = self { "True" } else { "False" } }
    /// `Ready`, `Error` or `Pending`.
    package var reason: String {
        switch self {
        case .ready: "Ready"
        case .error: "Error"
        case .pending: "Pending"
        }
    }
    /// `OK`, or the text.
    package var message: String {
        switch self {
        case .ready: "OK"
        case .error(let text): text
        case .pending(let text): text.isEmpty ? "Pending" : text
        }
    }
}

/// One condition of a resource's status.
package struct Condition: Hashable, Sendable {
    /// Type as written.
    package var type: String
    /// `True`, `False` or `Unknown`.
    package var status: String
    /// One word.
    package var reason: String
    /// Text for people.
    package var message: String
    /// RFC 3339; when `status` last changed.
    package var lastTransitionTime: String
    /// `metadata.generation` the condition was computed for.
    package var observedGeneration: Int64

    /// True when status is `True`.
    package var isTrue: Bool { status == "True" }

    init(_ node: Document) {
        type = node["type"]?.scalarText ?? ""
        status = node["status"]?.scalarText ?? ""
        reason = node["reason"]?.scalarText ?? ""
        message = node["message"]?.scalarText ?? ""
        lastTransitionTime = node["lastTransitionTime"]?.scalarText ?? ""
        observedGeneration = node["observedGeneration"]?.intValue ?? 0
    }

    init(type: String, state: ConditionState, lastTransitionTime: String, observedGeneration: Int64) {
        self.type = type
        status = state.status
        reason = state.reason
        message = state.message
        self.lastTransitionTime = lastTransitionTime
        self.observedGeneration = observedGeneration
    }

    var document: Document {
        var node: Document = [
            "lastTransitionTime": .string(lastTransitionTime), "message": .string(message),
            "reason": .string(reason), "status": .string(status), "type": .string(type),
        ]
        if observedGeneration != 0 { node["observedGeneration"] = .int(observedGeneration) }
        return node
    }
}

/// `status.status` and `status.message` of a resource.
package struct StatusSummary: Hashable, Sendable {
    /// `Ready`, `Pending` or `Error`.
    package let status: String
    /// Text for people; `OK` when ready.
    package let message: String

    /// A summary.
    package init(status: String, message: String) {
        self.status = status
        self.message = message
    }
}

extension Resource {
    /// The conditions that must be True for the resource to be Ready, in order of precedence (sheet §1.2).
    package var requiredConditions: [ConditionType] {
        switch knownKind {
        case .site:
            Site(unchecked: self).acceptsLinks ? [.configured, .running, .resolved] : [.configured, .running]
        case .link, .multiKeyListener: [.configured, .operational]
        case .listener, .connector, .attachedConnectorBinding: [.configured, .matched]
        case .accessGrant: [.processed, .resolved]
        case .accessToken: [.redeemed]
        case .routerAccess, .securedAccess: [.configured, .resolved]
        case .attachedConnector: [.configured]
        case .certificate: [.ready]
        case .secret, nil: []
        }
    }

    /// `status.conditions`.
    package var conditions: [Condition] { (status("conditions")?.listValue ?? []).map(Condition.init) }

    /// The condition of a type, nil when absent.
    package func condition(_ type: ConditionType) -> Condition? { conditions.first { $0.type == type.rawValue } }

    /// `status.status`, "" when absent.
    package var statusWord: String { status("status")?.scalarText ?? "" }
    /// `status.message`, "" when absent.
    package var statusMessage: String { status("message")?.scalarText ?? "" }

    /// What the conditions amount to: the first required one that is absent or False decides (sheet §1.2).
    package func aggregatedStatus() -> StatusSummary {
        if knownKind == .accessToken, let redeemed = condition(.redeemed) {
            return StatusSummary(status: redeemed.reason, message: redeemed.message)
        }
        for type in requiredConditions {
            guard let condition = condition(type) else {
                return StatusSummary(status: "Pending", message: "Not \(type.rawValue)")
            }
            guard condition.isTrue else { return StatusSummary(status: condition.reason, message: condition.message) }
        }
        return StatusSummary(status: "Ready", message: "OK")
    }

    /// Writes one condition and, if that changed anything, the aggregate (`status`, `message`, condition `Ready`).
    /// `lastTransitionTime` stays when True/False stays.
    /// - Parameter nowUnix: seconds since 1970.
    /// - Returns: whether anything changed.
    @discardableResult
    package mutating func setCondition(_ type: ConditionType, _ state: ConditionState, nowUnix: Int64) -> Bool {
        guard writeCondition(type, state, nowUnix: nowUnix) else { return false }
        writeAggregate(nowUnix: nowUnix)
        return true
    }

    /// Removes a condition (a resource that is no longer observed) and computes the aggregate anew.
    /// - Returns: whether anything changed.
    @discardableResult
    package mutating func removeCondition(_ type: ConditionType, nowUnix: Int64) -> Bool {
        let kept = conditions.filter { $0.type != type.rawValue }
        guard kept.count != conditions.count else { return false }
        let nodes = status("conditions")?.listValue ?? []
        setStatus(.list(nodes.filter { $0["type"]?.scalarText != type.rawValue }), "conditions")
        writeAggregate(nowUnix: nowUnix)
        return true
    }

    /// Certificates have no aggregate (sheet §1.2); MultiKeyListeners and AccessTokens have no condition for it.
    private mutating func writeAggregate(nowUnix: Int64) {
        guard knownKind != .certificate else { return }
        let summary = aggregatedStatus()
        setStatus(.string(summary.status), "status")
        setStatus(.string(summary.message), "message")
        guard knownKind != .multiKeyListener, knownKind != .accessToken else { return }
        let aggregate: ConditionState =
            switch summary.status {
            case "Ready": .ready
            case "Error": .error(summary.message)
            default: .pending(summary.message)
            }
        writeCondition(.ready, aggregate, nowUnix: nowUnix)
    }

    @discardableResult
    private mutating func writeCondition(_ type: ConditionType, _ state: ConditionState, nowUnix: Int64) -> Bool {
        var list = status("conditions")?.listValue ?? []
        let index = list.firstIndex { $0["type"]?.scalarText == type.rawValue }
        let old = index.map { Condition(list[$0]) }
        let time =
            old.map { $0.status == state.status ? $0.lastTransitionTime : Timestamp.format(unix: nowUnix) }
            ?? Timestamp.format(unix: nowUnix)
        let new = Condition(
            type: type.rawValue, state: state, lastTransitionTime: time, observedGeneration: generation)
        guard new != old else { return false }
        if let index {
            // Fields of the condition that this program does not know stay.
            var node = list[index]
            for (key, value) in new.document.mapValue?.entries ?? [] { node[key] = value }
            list[index] = node
        } else {
            list.append(new.document)
        }
        setStatus(.list(list), "conditions")
        return true
    }
}
