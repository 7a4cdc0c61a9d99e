import ControlIO
import Glibc
import Threading

/// Drives a `LeaseMachine` on a thread of its own.
///
/// `@unchecked Sendable`: what threads share is guarded by the monitor; the rest belongs to the elector's thread.
package final class LeaderElector: @unchecked Sendable {
    /// What happens, said on the elector's thread, which waits until it has been taken in: an answer that takes seconds
    /// costs the Lease.
    package enum Change: Hashable, Sendable {
        case lead
        /// Act no more, at once; why.
        case resign(String)
        /// Another one leads.
        case follow(holder: String)
        /// The Lease cannot be read or written at present. Said once until a request succeeds.
        case troubled(APIFault)
    }

    /// The longest request, milliseconds; with the deadline of the machine it stays below the duration of the Lease.
    private static let requestTimeout = 5_000

    private let client: APIClient
    private let namespace: String
    private let name: String
    private let changed: @Sendable (Change) -> Void
    private var machine: LeaseMachine
    private var isTroubled = false
    private let monitor = Monitor()
    private var isStopped = false
    private var thread: WorkThread?

    /// - Parameters:
    ///   - client: for this elector alone.
    ///   - identity: different for each of the equals and each of their starts.
    package init(
        _ client: APIClient, namespace: String, name: String, identity: String,
        timing: LeaseMachine.Timing = LeaseMachine.Timing(), changed: @escaping @Sendable (Change) -> Void
    ) {
        self.client = client
        self.namespace = namespace
        self.name = name
        self.changed = changed
        machine = LeaseMachine(identity: identity, namespace: namespace, name: name, timing: timing)
    }

    /// Begins to stand for election. Call once. False when no thread can be started.
    package func start() -> Bool {
        thread = WorkThread { self.run() }
        return thread != nil
    }

    /// Gives the Lease back if it is held, after saying `resign`, and waits until that is done, at most as long as one
    /// request.
    package func stop() {
        monitor.inside {
            isStopped = true
            monitor.wakeAll()
        }
        thread?.join()
        thread = nil
    }

    private func run() {
        var effects = machine.waited(now: MonotonicTime.milliseconds(), wall: Self.wall())
        while true {
            guard !effects.isEmpty else { break }
            if carryOut(effects.removeFirst(), &effects) == false { break }
        }
        guard let free = machine.release(wall: Self.wall()) else { return }
        changed(.resign("this process ends"))
        _ = try? request(.put, APIResource.leases.path(namespace: namespace, name: name), free)
    }

    /// Does one thing and adds what follows from it; false when it is time to end.
    private func carryOut(_ effect: LeaseMachine.Effect, _ rest: inout [LeaseMachine.Effect]) -> Bool {
        switch effect {
        case .lead: changed(.lead)
        case .resign(let reason): changed(.resign(reason))
        case .follow(let holder): changed(.follow(holder: holder))
        case .wait(let milliseconds):
            guard pause(milliseconds) else { return false }
            rest += machine.waited(now: MonotonicTime.milliseconds(), wall: Self.wall())
        case .read, .create, .update:
            guard !hasToStop else { return false }
            rest += exchange(effect)
        }
        return true
    }

    private func exchange(_ effect: LeaseMachine.Effect) -> [LeaseMachine.Effect] {
        let collection = APIResource.leases.path(namespace: namespace)
        let path = APIResource.leases.path(namespace: namespace, name: name)
        do {
            let answer: [LeaseMachine.Effect]
            switch effect {
            case .create(let lease):
                let written = try request(.post, collection, lease)
                answer = machine.written(written, now: MonotonicTime.milliseconds())
            case .update(let lease):
                let written = try request(.put, path, lease)
                answer = machine.written(written, now: MonotonicTime.milliseconds())
            default:
                let found = try readLease(path)
                answer = machine.found(found, now: MonotonicTime.milliseconds(), wall: Self.wall())
            }
            isTroubled = false
            return answer
        } catch {
            if error.status != 409, !isTroubled {
                isTroubled = true
                changed(.troubled(error))
            }
            return machine.failed(
                error, now: MonotonicTime.milliseconds(), random: .random(in: .min ... .max))
        }
    }

    private func readLease(_ path: [String]) throws(APIFault) -> Document? {
        do {
            return try request(.get, path, nil)
        } catch {
            if error.isNotFound { return nil }
            throw error
        }
    }

    private func request(
        _ method: APIRequest.Method, _ path: [String], _ body: Document?
    ) throws(APIFault) -> Document {
        var request = APIRequest(method, path)
        request.body = body
        request.timeoutMilliseconds = Self.requestTimeout
        request.attempts = 1
        return try client.object(request)
    }

    private var hasToStop: Bool { monitor.inside { isStopped } }

    /// Waits; false when it is time to end.
    private func pause(_ milliseconds: Int) -> Bool {
        let due = MonotonicTime.milliseconds() + UInt64(max(0, milliseconds))
        return monitor.inside {
            while !isStopped {
                if !monitor.wait(until: due) { return !isStopped }
            }
            return false
        }
    }

    private static func wall() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}
