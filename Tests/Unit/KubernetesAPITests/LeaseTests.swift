import ControlIO
import TestKit
import Testing

@testable import KubernetesAPI

@Suite("Lease") struct LeaseTests {
    private let down = APIFault.transport(.timeout(milliseconds: 5000), server: "s")
    private let conflict = APIFault.answer(status: 409, reason: "Conflict", message: "", retryAfterSeconds: 0)

    private func machine(_ identity: String) -> LeaseMachine {
        LeaseMachine(identity: identity, namespace: "skupper", name: "skupper-controller")
    }

    private func stored(_ lease: Document, _ version: String) -> Document {
        var result = lease
        result.set(.string(version), at: "metadata.resourceVersion")
        return result
    }

    private func body(_ effects: [LeaseMachine.Effect]) -> Document? {
        for effect in effects {
            switch effect {
            case .create(let lease), .update(let lease): return lease
            default: continue
            }
        }
        return nil
    }

    @Test("no lease yet: it is created with all fields, and its writer leads")
    func first() throws {
        var one = machine("one")
        #expect(one.waited(now: 0, wall: 0) == [.read])
        let effects = one.found(nil, now: 5, wall: 1_000_001)
        let lease = try #require(body(effects))
        #expect(
            lease == [
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": ["name": "skupper-controller", "namespace": "skupper"],
                "spec": [
                    "holderIdentity": "one", "leaseDurationSeconds": 30, "acquireTime": "1970-01-01T00:00:01.000001Z",
                    "renewTime": "1970-01-01T00:00:01.000001Z", "leaseTransitions": 0,
                ],
            ])
        #expect(one.written(stored(lease, "1"), now: 6) == [.lead, .wait(milliseconds: 8000)])
        let renewalEffects = one.waited(now: 8006, wall: 9_000_000)
        let renewal = try #require(body(renewalEffects))
        #expect(renewal.value(at: "spec.renewTime") == "1970-01-01T00:00:09.000000Z")
        #expect(renewal.value(at: "spec.acquireTime") == "1970-01-01T00:00:01.000001Z")
        #expect(renewal.value(at: "metadata.resourceVersion") == "1")
    }

    @Test("a lease that another holds is taken only when seen unchanged for its whole duration")
    func takeOver() throws {
        var one = machine("one")
        _ = one.waited(now: 0, wall: 0)
        let made = one.found(nil, now: 0, wall: 0)
        let held = stored(try #require(body(made)), "1")
        var two = machine("two")
        _ = two.waited(now: 100, wall: 0)
        #expect(two.found(held, now: 100, wall: 0) == [.follow(holder: "one"), .wait(milliseconds: 8000)])
        _ = two.waited(now: 8100, wall: 0)
        #expect(two.found(stored(held, "2"), now: 8100, wall: 0) == [.wait(milliseconds: 8000)])
        _ = two.waited(now: 36_100, wall: 0)
        #expect(two.found(stored(held, "2"), now: 36_100, wall: 0) == [.wait(milliseconds: 2000)])
        _ = two.waited(now: 38_100, wall: 0)
        let takenEffects = two.found(stored(held, "2"), now: 38_100, wall: 0)
        let taken = try #require(body(takenEffects))
        #expect(taken.value(at: "spec.holderIdentity") == "two")
        #expect(taken.value(at: "spec.leaseTransitions") == 1)
        #expect(taken.value(at: "metadata.resourceVersion") == "2")
        // Somebody was faster.
        #expect(two.failed(conflict, now: 38_200, random: 0) == [.wait(milliseconds: 2000)])
        #expect(!two.isLeader)
    }

    @Test("a leader that cannot renew gives up before its lease is over, and at once when another holds it")
    func resign() throws {
        var one = machine("one")
        _ = one.waited(now: 0, wall: 0)
        let made = one.found(nil, now: 0, wall: 0)
        let lease = stored(try #require(body(made)), "1")
        _ = one.written(lease, now: 10)
        _ = one.waited(now: 8010, wall: 0)
        #expect(one.failed(down, now: 13_010, random: 0) == [.wait(milliseconds: 1000)])
        _ = one.waited(now: 14_010, wall: 0)
        #expect(one.failed(down, now: 19_010, random: 0) == [.wait(milliseconds: 1000)])
        guard case .resign? = one.waited(now: 20_010, wall: 0).first else {
            Issue.record("still leads")
            return
        }
        #expect(!one.isLeader)

        var other = machine("one")
        _ = other.waited(now: 0, wall: 0)
        _ = other.found(nil, now: 0, wall: 0)
        _ = other.written(lease, now: 10)
        _ = other.waited(now: 8010, wall: 0)
        #expect(other.failed(conflict, now: 8020, random: 0) == [.read])
        var foreign = stored(lease, "2")
        foreign.set("two", at: "spec.holderIdentity")
        guard case .resign? = other.found(foreign, now: 8030, wall: 0).first else {
            Issue.record("still leads")
            return
        }
    }

    @Test("a released lease is free at once")
    func release() throws {
        var one = machine("one")
        let nothing = one.release(wall: 0)
        #expect(nothing == nil)
        _ = one.waited(now: 0, wall: 0)
        let leaseEffects = one.found(nil, now: 0, wall: 0)
        let lease = try #require(body(leaseEffects))
        _ = one.written(stored(lease, "1"), now: 10)
        let released = one.release(wall: 0)
        let free = try #require(released)
        var two = machine("two")
        _ = two.waited(now: 20, wall: 0)
        let effects = two.found(stored(free, "2"), now: 20, wall: 0)
        #expect(body(effects)?.value(at: "spec.holderIdentity") == "two")
    }

    @Test("leases of any shape never trap and lock nobody out for more than an hour")
    func hostile() {
        let specs: [Document] = [
            .null, 3, .emptyMap,
            ["holderIdentity": "x", "leaseDurationSeconds": .int(.max), "leaseTransitions": .int(.max)],
            ["holderIdentity": "x", "leaseDurationSeconds": .int(.min), "leaseTransitions": .int(.min)],
            ["holderIdentity": 7, "leaseDurationSeconds": "x", "renewTime": []],
        ]
        for spec in specs {
            let lease: Document = ["metadata": ["name": "l", "resourceVersion": "4"], "spec": spec]
            var one = machine("one")
            _ = one.waited(now: 0, wall: .min)
            _ = one.found(lease, now: 0, wall: .max)
            _ = one.waited(now: 3_600_001, wall: .max)
            let effects = one.found(lease, now: 3_600_001, wall: 0)
            #expect(body(effects)?.value(at: "spec.holderIdentity") == "one")
            _ = one.written(lease, now: .max / 2)
        }
    }

    /// Candidates against one stored Lease, with requests that take time, fail, or fail after they took effect.
    @Test("no two lead at once, and a healthy candidate leads in the end", arguments: 1...30 as ClosedRange<UInt64>)
    func exclusive(seed: UInt64) {
        var world = LeaseWorld(seed: seed)
        world.run(milliseconds: 600_000)
        #expect(world.leaders.count <= 1)
        world.isHealthy = true
        world.run(milliseconds: 120_000)
        #expect(world.leaders.count == 1, "seed \(seed)")
        #expect(world.mostLeaders <= 1, "seed \(seed): \(world.mostLeaders) led at once")
        #expect(world.changes > 1, "seed \(seed): nothing happened")
    }
}

/// A simulated API server with one Lease, and candidates whose requests go wrong.
private struct LeaseWorld {
    private struct Candidate {
        var machine: LeaseMachine
        var leads = false
        var queue: [LeaseMachine.Effect] = []
        /// A request on its way: what it asks, when the server does it and when its answer comes.
        var request: (effect: LeaseMachine.Effect, served: UInt64, answered: UInt64, isLost: Bool)?
        var answer: Result<Document?, APIFault>?
        var due: UInt64?
        var isCutOff = false
    }

    private var random: SplitMix64
    private var now: UInt64 = 1_000
    private var candidates: [Candidate]
    private var lease: Document?
    private var version: Int64 = 0
    var isHealthy = false
    private(set) var mostLeaders = 0
    private(set) var changes = 0

    var leaders: [Int] { candidates.indices.filter { candidates[$0].leads } }

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        candidates = (0..<3).map {
            Candidate(machine: LeaseMachine(identity: "c\($0)", namespace: "n", name: "l"))
        }
        for index in candidates.indices { candidates[index].due = now + random.next() % 3000 }
    }

    mutating func run(milliseconds: UInt64) {
        let end = now + milliseconds
        while now < end {
            now += 50
            for index in candidates.indices { step(index) }
            mostLeaders = max(mostLeaders, leaders.count)
        }
    }

    private mutating func step(_ index: Int) {
        if random.next() % 400 == 0 { candidates[index].isCutOff.toggle() }
        if isHealthy { candidates[index].isCutOff = false }
        if let request = candidates[index].request {
            if now >= request.served, candidates[index].answer == nil {
                candidates[index].answer = request.isLost ? .failure(Self.down) : serve(request.effect)
            }
            guard now >= request.answered, let answer = candidates[index].answer else { return }
            candidates[index].request = nil
            candidates[index].answer = nil
            let isUnheard = !isHealthy && random.next() % 10 == 0
            take(index, request.effect, isUnheard ? .failure(Self.down) : answer)
        } else if let due = candidates[index].due, now >= due {
            candidates[index].due = nil
            candidates[index].queue += candidates[index].machine.waited(now: now, wall: Int64(now))
        }
        carryOut(index)
    }

    private static let down = APIFault.transport(.timeout(milliseconds: 5000), server: "s")

    private mutating func carryOut(_ index: Int) {
        while candidates[index].request == nil, candidates[index].due == nil, !candidates[index].queue.isEmpty {
            let effect = candidates[index].queue.removeFirst()
            switch effect {
            case .lead:
                candidates[index].leads = true
                changes += 1
            case .resign:
                candidates[index].leads = false
                changes += 1
            case .follow: break
            case .wait(let milliseconds): candidates[index].due = now + UInt64(milliseconds)
            case .read, .create, .update:
                let isLost = candidates[index].isCutOff
                let taking = isLost ? 5000 : random.next() % (isHealthy ? 100 : 5000)
                candidates[index].request = (effect, now + taking / 2, now + taking, isLost)
            }
        }
    }

    private mutating func serve(_ effect: LeaseMachine.Effect) -> Result<Document?, APIFault> {
        let conflict = APIFault.answer(status: 409, reason: "Conflict", message: "", retryAfterSeconds: 0)
        switch effect {
        case .create(let new):
            guard lease == nil else { return .failure(conflict) }
            return .success(store(new))
        case .update(let new):
            let stated = new.value(at: "metadata.resourceVersion")
            guard stated == .string(String(version)) else { return .failure(conflict) }
            return .success(store(new))
        default:
            return .success(lease)
        }
    }

    private mutating func store(_ new: Document) -> Document {
        version += 1
        var stored = new
        stored.set(.string(String(version)), at: "metadata.resourceVersion")
        lease = stored
        return stored
    }

    private mutating func take(_ index: Int, _ effect: LeaseMachine.Effect, _ answer: Result<Document?, APIFault>) {
        let effects: [LeaseMachine.Effect]
        switch (answer, effect) {
        case (.failure(let fault), _):
            effects = candidates[index].machine.failed(fault, now: now, random: random.next())
        case (.success(let found), .read):
            effects = candidates[index].machine.found(found, now: now, wall: Int64(now))
        case (.success(let written?), _):
            effects = candidates[index].machine.written(written, now: now)
        case (.success(nil), _): effects = []
        }
        candidates[index].queue += effects
    }
}
