import Glibc
import HTTPServer
import RouterConfig
import Threading

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
                worker.countLinks()
                let counters = worker.counters
                let index = worker.index
                worker.core.post { [core = worker.core] in
                    core.lastCounters[index] = counters
                    if shared.countDown() { done(core) }
                }
            }
        }
    }

    /// Prometheus text with the names that deployments scrape (router-protocol sheet, section 6.7).
    func metricsText() -> String {
        let totals = totalCounters
        let open = tcpConnectionCount(totals)
        let rows: [(String, String, Int)] = [
            ("qdr_connections_total", "gauge", connections.count + open),
            ("qdr_links_total", "gauge", totals.links),
            ("qdr_addresses_total", "gauge", current.addresses.count),
            ("qdr_routers_total", "gauge", routing.routes.count + 1),
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
            ("qdr_tcp_service_connections", "gauge", open),
            ("qdr_amqp_service_connections", "gauge", connections.count),
            ("skupper_service_octets_received_total", "counter", totals.octetsIn),
            ("skupper_service_octets_sent_total", "counter", totals.octetsOut),
        ]
        return rows.map { "# TYPE \($0.0) \($0.1)\n\($0.0) \($0.2)\n" }.joined()
    }

    func createHTTPListener(_ entity: Entity) throws(EntityFailure) {
        guard let port = entity.port() else {
            throw EntityFailure(
                status: 400, text: "listener '\(entity.name)': port '\(entity[string: "port"] ?? "")' is no port")
        }
        guard entity[string: "sslProfile"] == nil else {
            throw EntityFailure(
                status: 501, text: "listener '\(entity.name)': HTTP over TLS is not built yet; leave sslProfile out")
        }
        let host = entity[string: "host"] ?? ""
        let healthz = entity.boolean("healthz") ?? true
        let metrics = entity.boolean("metrics") ?? true
        let endpoints = HTTPEndpoints(core: self, healthz: healthz, metrics: metrics)
        do {
            let server = try HTTPServer(
                host: host.isEmpty ? "0.0.0.0" : host, port: port, tls: nil, limits: HTTPLimits(connections: 64),
                handler: { endpoints.answer($0) })
            amqpListeners[entity.name] = AMQPListenerState(entity: entity, http: server)
            Log.write(.http, .info, "listening on \(host):\(server.port) (\(entity.name))")
        } catch {
            throw EntityFailure(status: 400, text: "listener '\(entity.name)': \(error)")
        }
    }
}

/// `/healthz` and `/metrics`: each answer takes a round trip through the control thread, so that it proves life.
private final class HTTPEndpoints: Sendable {
    private unowned let core: Core
    private let healthz: Bool
    private let metrics: Bool
    /// Milliseconds the control thread has to answer.
    private static let patienceMilliseconds: UInt64 = 3000

    init(core: Core, healthz: Bool, metrics: Bool) {
        self.core = core
        self.healthz = healthz
        self.metrics = metrics
    }

    func answer(_ request: HTTPRequest) -> HTTPResponse {
        guard request.method == "GET" || request.method == "HEAD" else {
            return .text("only GET is answered here\n", status: 405)
        }
        switch request.path {
        case "/healthz" where healthz:
            let answer = Handover<String>()
            core.post { answer.give("OK\n") }
            return answer.wait(milliseconds: HTTPEndpoints.patienceMilliseconds).map { .text($0) }
                ?? .text("the control thread does not answer\n", status: 503)
        case "/metrics" where metrics:
            let answer = Handover<String>()
            core.collectCounters { answer.give($0.metricsText()) }
            return answer.wait(milliseconds: HTTPEndpoints.patienceMilliseconds).map { .text($0) }
                ?? .text("the router does not answer\n", status: 503)
        default:
            return .text("nothing here; try /healthz or /metrics\n", status: 404)
        }
    }
}
