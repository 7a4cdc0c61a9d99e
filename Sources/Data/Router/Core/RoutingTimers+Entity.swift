import LinkStateRouting
import RouterConfig

extension RoutingTimers {
    /// The durations that a `router` entity gives, in seconds there (router-protocol.md §6.3).
    init(router: Entity) {
        func milliseconds(_ name: String, else usual: Int64) -> Int64 {
            router.integer(name).map { Int64($0) * 1000 } ?? usual
        }
        let usual = RoutingTimers()
        self.init(
            helloIntervalMilliseconds: milliseconds("helloIntervalSeconds", else: usual.helloIntervalMilliseconds),
            helloMaxAgeMilliseconds: milliseconds("helloMaxAgeSeconds", else: usual.helloMaxAgeMilliseconds))
        raIntervalMilliseconds = milliseconds("raIntervalSeconds", else: usual.raIntervalMilliseconds)
        raIntervalFluxMilliseconds = milliseconds("raIntervalFluxSeconds", else: usual.raIntervalFluxMilliseconds)
        remoteLinkStateMaxAgeMilliseconds = milliseconds(
            "remoteLsMaxAgeSeconds", else: usual.remoteLinkStateMaxAgeMilliseconds)
        // Counted in ticks, which come once in a hello interval: never less than what was asked for.
        let holdoff = milliseconds("unreachableHoldoffSeconds", else: 1000)
        unreachableHoldoffTicks = Int((holdoff + helloIntervalMilliseconds - 1) / helloIntervalMilliseconds)
    }
}
