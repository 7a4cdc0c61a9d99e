import Glibc

/// This build's version, shown by `--version`, in Open and in management.
package enum RouterVersion {
    package static let text = "0.1.0"
}

enum HostName {
    static let current: String = {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, 255)
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }()
}

/// Memory of this process, from /proc/self/statm, in octets.
enum ProcessMemory {
    static var residentOctets: Int { pages(1) }
    static var virtualOctets: Int { pages(0) }

    private static func pages(_ index: Int) -> Int {
        let descriptor = open("/proc/self/statm", O_RDONLY)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = read(descriptor, &buffer, 256)
        guard count > 0 else { return 0 }
        let words = String(decoding: buffer[..<count], as: UTF8.self).split(separator: " ")
        return index < words.count ? (Int(words[index]) ?? 0) * sysconf(Int32(_SC_PAGESIZE)) : 0
    }
}

/// What the buffers of one loop take: the one kind of memory that is pooled here.
struct PoolCount: Sendable {
    /// Buffers taken from the system, and those of them that wait for use.
    var allocated = 0
    var idle = 0
    var octets = 0

    /// What it is called, in metrics too, which allow letters, digits and few signs.
    static func name(loop: Int) -> String { "buffers_of_loop_\(loop)" }
}

extension Core {
    /// Sums over the loops, as last collected.
    var totalCounters: Worker.Counters {
        lastCounters.values.reduce(into: Worker.Counters()) { $0.add($1) }
    }

    /// Asks every loop for its counters; `done` runs on the control thread when all have answered.
    func collectCounters(_ done: @escaping @Sendable (Core) -> Void) {
        let shared = SharedCount(left: workers.count)
        for worker in workers {
            worker.post {
                worker.countAll()
                let counters = worker.counters
                let index = worker.index
                worker.core.post { [core = worker.core] in
                    core.lastCounters[index] = counters
                    if shared.countDown() { done(core) }
                }
            }
        }
    }

    /// Open connections of users by what they carry, each counted once; those between routers are none. HTTP is what
    /// observers have found, which look while a collector of telemetry listens; else its connections count as TCP.
    func serviceConnections(_ totals: Worker.Counters) -> [(protocol: String, count: Int)] {
        [
            ("amqp", connections.values.count { $0.info.role == .normal }),
            ("tcp", max(0, tcpConnectionCount(totals) - totals.observedHTTP1 - totals.observedHTTP2)),
            ("http1", totals.observedHTTP1), ("http2", totals.observedHTTP2),
        ]
    }

    /// Prometheus text with the names that deployments scrape (router-protocol sheet, section 6.7).
    func metricsText() -> String {
        let totals = totalCounters
        let rows: [(String, String, Int)] = [
            ("qdr_connections_total", "gauge", connections.count + tcpConnectionCount(totals)),
            ("qdr_links_total", "gauge", totals.links),
            ("qdr_addresses_total", "gauge", current.addresses.count),
            ("qdr_routers_total", "gauge", routing.routes.count),
            ("qdr_presettled_deliveries_total", "counter", totals.presettled),
            ("qdr_dropped_presettled_deliveries_total", "counter", totals.droppedPresettled),
            ("qdr_accepted_deliveries_total", "counter", totals.accepted),
            ("qdr_released_deliveries_total", "counter", totals.released),
            ("qdr_rejected_deliveries_total", "counter", totals.rejected),
            ("qdr_modified_deliveries_total", "counter", totals.modified),
            ("qdr_deliveries_ingress_total", "counter", totals.ingress),
            ("qdr_deliveries_egress_total", "counter", totals.egress),
            ("qdr_deliveries_transit_total", "counter", totals.transit),
            ("qdr_deliveries_delayed_1sec_total", "counter", totals.delayed1),
            ("qdr_deliveries_delayed_10sec_total", "counter", totals.delayed10),
            ("qdr_deliveries_stuck_total", "gauge", totals.stuck),
            ("qdr_links_blocked_total", "gauge", totals.blockedLinks),
            ("qdr_last_topology_change_timestamp", "gauge", Int(topologyChangedAt)),
            ("qdr_router_vmsize_bytes", "gauge", ProcessMemory.virtualOctets),
            ("qdr_router_rss_bytes", "gauge", ProcessMemory.residentOctets),
            ("qdr_alloc_pool_bytes", "gauge", lastCounters.values.reduce(0) { $0 + $1.pool.octets }),
            ("skupper_service_octets_received_total", "counter", totals.octetsIn),
            ("skupper_service_octets_sent_total", "counter", totals.octetsOut),
        ]
        let services: [(String, String, Int)] = serviceConnections(totals).map {
            ("qdr_\($0.protocol)_service_connections", "gauge", $0.count)
        }
        let pools = lastCounters.sorted { $0.key < $1.key }.flatMap { index, counters -> [(String, String, Int)] in
            let pool = counters.pool
            let name = PoolCount.name(loop: index)
            return [
                ("\(name):allocated", "gauge", pool.allocated), ("\(name):in_use", "gauge", pool.allocated - pool.idle),
                ("\(name):cached", "gauge", pool.idle), ("\(name):bytes", "gauge", pool.octets),
            ]
        }
        return (rows + services + pools).map { "# TYPE \($0.0) \($0.1)\n\($0.0) \($0.2)\n" }.joined()
    }
}
