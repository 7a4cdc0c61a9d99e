import CLibuv
import COpenSSL
import Glibc
import RouterConfig
import Threading

/// The router as a whole: one control thread, one loop for each processor, and the configuration applied to them.
package final class RouterProcess {
    private let core: Core
    private let workers: [Worker]
    private let configuration: RouterConfiguration
    private let hasTestHooks: Bool

    /// Loops for this machine: `workerThreads` if given, else one for each processor this process may use, at most 16.
    private static func loopCount(_ router: Entity) -> Int {
        if let given = router.attributes["workerThreads"], case .integer(let count) = given {
            return min(max(1, Int(count)), 64)
        }
        return min(max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))), 16)
    }

    /// Octets that ``init(configuration:memoryLimit:)`` takes at least as a limit.
    package static let leastMemoryLimit = MemoryLimit.least
    /// Microseconds that a loop looks for events before it sleeps, while they come fast.
    package static let usualPolling = 100
    /// Microseconds that ``init(configuration:memoryLimit:pollFor:)`` takes at most.
    package static let mostPolling = 1000

    /// Starts the threads. Nothing listens yet: ``apply()`` does that.
    ///
    /// - Parameters:
    ///   - memoryLimit: octets that the router may hold for streams and itself; 0 = no limit. A stream for which no
    ///     memory is left is refused.
    ///   - pollFor: microseconds that a loop looks for events before it sleeps, while they come fast; 0 = none. A
    ///     single processor is never kept from others so.
    ///   - hasTestHooks: clients can have lines written to the log, see ``Core/startTestHooks()``.
    package init(
        configuration: RouterConfiguration, memoryLimit: Int = 0, pollFor: Int = RouterProcess.usualPolling,
        hasTestHooks: Bool = false
    ) {
        self.configuration = configuration
        self.hasTestHooks = hasTestHooks
        signal(SIGPIPE, SIG_IGN)
        RouterProcess.raiseDescriptorLimit()
        OPENSSL_init_ssl(0, nil)
        core = Core(
            router: configuration.router, instance: Int64(time(nil)), memoryLimit: memoryLimit,
            idleMemory: IdleMemory())
        let empty = Core.emptySnapshot(routerID: core.routerID)
        let core = core
        let isAlone = sysconf(Int32(_SC_NPROCESSORS_ONLN)) < 2
        let window = isAlone ? 0 : UInt64(clamping: pollFor) * 1000
        workers = (0..<RouterProcess.loopCount(configuration.router)).map { index in
            Worker(index: index, routerID: core.routerID, core: core, snapshot: empty, pollFor: window)
        }
        core.join(workers)
        for worker in workers { worker.join(workers) }
        for worker in workers { worker.start(tickMilliseconds: Worker.usualTick) }
        core.start(tickMilliseconds: 50)
    }

    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(resource, &limit)
    }

    /// Applies the configuration; returns the text of the first failure, after which the router should stop.
    package func apply() -> String? {
        let vhosts: [Entity]
        do {
            vhosts = try configuration.policyVhosts()
        } catch {
            return RouterProcess.startFailed("\(error)")
        }
        let entities = configuration.completed(adding: vhosts)
        let result = Handover<String?>()
        let core = core
        let warnings = configuration.warnings
        let router = configuration.router
        LogSettings.setTime(
            universal: router.boolean("timestampsInUTC") ?? false, format: router[string: "timestampFormat"])
        let hasTestHooks = hasTestHooks
        core.post {
            var warnings = warnings
            for entity in entities {
                // The log's own settings come first, so that warnings go where they are wanted.
                if entity.type != "log" {
                    for warning in warnings { Log.write(.agent, .warning, warning) }
                    warnings = []
                }
                do throws(EntityFailure) {
                    try core.create(entity)
                } catch {
                    return result.give(RouterProcess.startFailed(error.text))
                }
            }
            core.isOperational = true
            core.startTelemetry()
            if hasTestHooks { core.startTestHooks() }
            core.tablesChanged()
            Log.write(
                .router, .info,
                "router \(core.routerID) started, mode \(core.routerEntity[string: "mode"] ?? ""), "
                    + "\(core.workers.count) loops, instance \(core.startedSeconds), version \(RouterVersion.text)"
            )
            // Scripts and tests wait for this line: it says that signals and sockets are in place.
            Log.write(
                .server, .info,
                "Operational, \(core.workers.count) Threads Running (process ID \(getpid()))")
            result.give(nil)
        }
        return result.wait()
    }

    /// Says in the log too why there is no router: who reads only the log file would see it end without a word.
    ///
    /// - Returns: the text as it came.
    package static func startFailed(_ text: String) -> String {
        Log.write(.router, .critical, "Router start-up failed: \(text)")
        return text
    }

    /// Stops every thread; sockets are cut as skupper-router cuts them, without AMQP close.
    package func stop() {
        for worker in workers { worker.stop() }
        core.stop()
    }
}
