import ControlIO

/// Who of several equals acts: the one that holds a Lease object and renews it. Pure: inputs in, effects out; whoever
/// drives it sends the requests and waits.
///
/// The one that leads gives up `timing.deadline` after the last renewal that it knows to have succeeded, counted from
/// when that was sent; others take the Lease only when they have seen it unchanged for its whole duration, counted by
/// their own clock. With a deadline (and one request more) below the duration, no two lead at once, whatever the wall
/// clocks say.
package struct LeaseMachine: Sendable {
    /// Milliseconds each.
    package struct Timing: Hashable, Sendable {
        /// For how long a Lease counts after it was renewed.
        package var duration = 30_000
        /// When to give up leading without a renewal; less than `duration` by at least the time of one request.
        package var deadline = 20_000
        /// The pause between two renewals, and between two looks at a Lease that another one holds.
        package var period = 8_000
        /// The pause after a failed request.
        package var retry = 2_000

        package init() {}
    }

    /// What is to be done now.
    package enum Effect: Hashable, Sendable {
        /// Read the Lease; answer with `found`, or `failed`.
        case read
        /// Create it so; answer with `written`, or `failed`.
        case create(Document)
        /// Replace it by this, which carries the version that it must still have; answer with `written`, or `failed`.
        case update(Document)
        /// Call `waited` after so many milliseconds.
        case wait(milliseconds: Int)
        /// Act from now on.
        case lead
        /// Act no more, at once. Says why.
        case resign(String)
        /// Somebody else holds the Lease now.
        case follow(holder: String)
    }

    private let identity: String
    private let name: String
    private let namespace: String
    private let timing: Timing
    private var lease: Document = .null
    private var observedAt: UInt64 = 0
    private var heldSince: UInt64 = 0
    private var askedAt: UInt64 = 0
    private var followed = ""

    /// Whether this one leads.
    package private(set) var isLeader = false

    /// - Parameters:
    ///   - identity: different for each of the equals and each of their starts.
    ///   - name: of the Lease object.
    package init(identity: String, namespace: String, name: String, timing: Timing = Timing()) {
        self.identity = identity
        self.namespace = namespace
        self.name = name
        self.timing = timing
    }

    private var holder: String { lease.value(at: "spec.holderIdentity")?.stringValue ?? "" }

    /// Begins, or goes on after a wait.
    /// - Parameters:
    ///   - now: milliseconds of a clock that does not go back.
    ///   - wall: microseconds since 1970.
    package mutating func waited(now: UInt64, wall: Int64) -> [Effect] {
        if let resigned = resignIfLate(now) { return resigned + [.read] }
        askedAt = now
        // The version in it makes sure that nobody took it meanwhile.
        return isLeader ? [.update(renewed(wall))] : [.read]
    }

    /// The Lease was read; nil when there is none.
    package mutating func found(_ object: Document?, now: UInt64, wall: Int64) -> [Effect] {
        guard let object else {
            askedAt = now
            return [.create(taken(from: .emptyMap, wall))]
        }
        observe(object, now)
        let isFree = holder.isEmpty || holder == identity || now >= observedAt + statedDuration
        guard isFree else { return followIfNew() + [.wait(milliseconds: pauseOfFollower(now))] }
        askedAt = now
        return [.update(taken(from: object, wall))]
    }

    /// The Lease was created or replaced; as it is now.
    package mutating func written(_ object: Document, now: UInt64) -> [Effect] {
        observe(object, now)
        guard holder == identity else { return [.read] }
        heldSince = askedAt
        followed = ""
        if let resigned = resignIfLate(now) { return resigned + [.read] }
        let effects: [Effect] = isLeader ? [] : [.lead]
        isLeader = true
        return effects + [.wait(milliseconds: timing.period)]
    }

    /// A request failed.
    package mutating func failed(_ fault: APIFault, now: UInt64, random: UInt64) -> [Effect] {
        if let resigned = resignIfLate(now) { return resigned + [.wait(milliseconds: timing.retry)] }
        // Somebody else wrote it: see what is there now. A leader remains one until that shows another holder or its
        // time is over.
        let spread = Int(random % UInt64(max(1, timing.retry / 2)))
        if fault.status == 409 || fault.isNotFound {
            guard isLeader else { return [.wait(milliseconds: timing.retry + spread)] }
            return [.read]
        }
        return [.wait(milliseconds: timing.retry / 2 + spread)]
    }

    /// Ends: gives the Lease as free as it is to be written, when it is held, so that another one need not wait.
    package mutating func release(wall: Int64) -> Document? {
        guard isLeader else { return nil }
        isLeader = false
        var free = lease
        free.set("", at: ["spec", "holderIdentity"])
        free.set(1, at: ["spec", "leaseDurationSeconds"])
        free.set(.string(MicroTime.text(wall)), at: ["spec", "renewTime"])
        return free
    }

    // MARK: Parts

    private mutating func observe(_ object: Document, _ now: UInt64) {
        let old = lease
        lease = object
        if old["spec"] != object["spec"] || Self.version(old) != Self.version(object) { observedAt = now }
        if isLeader, holder != identity { heldSince = 0 }
    }

    private static func version(_ object: Document) -> String {
        object.value(at: "metadata.resourceVersion")?.stringValue ?? ""
    }

    /// What the Lease itself says, within bounds: a wrong number must not lock everybody out for good.
    private var statedDuration: UInt64 {
        let seconds = lease.value(at: "spec.leaseDurationSeconds")?.intValue ?? Int64(timing.duration / 1000)
        return UInt64(max(1, min(seconds, 3600))) * 1000
    }

    private func pauseOfFollower(_ now: UInt64) -> Int {
        let expiry = observedAt + statedDuration
        return max(1, min(timing.period, Int(expiry > now ? expiry - now : 1)))
    }

    private mutating func followIfNew() -> [Effect] {
        var effects: [Effect] = []
        if isLeader {
            isLeader = false
            effects.append(.resign("\(holder) took the lease \(namespace)/\(name)"))
        }
        guard followed != holder else { return effects }
        followed = holder
        return effects + [.follow(holder: holder)]
    }

    private mutating func resignIfLate(_ now: UInt64) -> [Effect]? {
        guard isLeader, now >= heldSince + UInt64(timing.deadline) else { return nil }
        isLeader = false
        return [.resign("the lease \(namespace)/\(name) could not be renewed for \(timing.deadline / 1000) s")]
    }

    private func renewed(_ wall: Int64) -> Document {
        var result = lease
        result.set(.string(MicroTime.text(wall)), at: ["spec", "renewTime"])
        return result
    }

    private func taken(from object: Document, _ wall: Int64) -> Document {
        if holder == identity, object.mapValue?.isEmpty == false { return renewed(wall) }
        let time = Document.string(MicroTime.text(wall))
        var result = object
        result["apiVersion"] = .string(APIResource.leases.apiVersion)
        result["kind"] = .string(APIResource.leases.kind)
        result.set(.string(name), at: ["metadata", "name"])
        result.set(.string(namespace), at: ["metadata", "namespace"])
        let changes = object.value(at: "spec.leaseTransitions")?.intValue ?? -1
        result.set(.string(identity), at: ["spec", "holderIdentity"])
        result.set(.int(Int64(max(1, timing.duration / 1000))), at: ["spec", "leaseDurationSeconds"])
        result.set(time, at: ["spec", "acquireTime"])
        result.set(time, at: ["spec", "renewTime"])
        result.set(.int(max(0, min(changes, Int64(Int32.max) - 1) + 1)), at: ["spec", "leaseTransitions"])
        return result
    }
}
