import Glibc
import RouterConfig

/// The records of what is configured: made and brought up to date from the entities.
extension Core {
    /// From a loop: octets of the connections between routers.
    func linkOctetsReported(_ list: [LinkOctets]) {
        for item in list { telemetry.linkOctets[item.ref] = item }
    }

    /// Brings every record up to date; records of what is gone end.
    func compareRecords() {
        var present: Set<String> = []
        recordSite(&present)
        record("router", .router, &present) { core, record in
            record.set(.parent, core.siteIdentity)
            record.set(.namespace, Telemetry.environment("POD_NAMESPACE"))
            record.set(.mode, core.routerEntity[string: "mode"])
            record.set(.imageName, Telemetry.environment("APPLICATION_NAME"))
            record.set(.imageVersion, Telemetry.environment("VERSION"))
            record.set(.hostName, HostName.current)
            record.set(.name, "0/" + core.routerID)
            record.set(.buildVersion, RouterVersion.text)
        }
        recordLinks(&present)
        recordServices(&present)
        for key in telemetry.base.keys where !present.contains(key) {
            telemetry.base[key]?.set(.endTime, Clock.microseconds)
        }
        let open = connections
        telemetry.linkOctets = telemetry.linkOctets.filter { open[$0.key] != nil }
    }

    private var routerIdentity: String { "\(flowNames.source):0" }

    /// The site's identity, if there is a site.
    private var siteIdentity: String? {
        if let given = Telemetry.environment("SKUPPER_SITE_ID") { return given }
        guard otherEntities.contains(where: { $0.type == "site" }) else { return nil }
        return telemetry.identity("site", names: flowNames)
    }

    private func record(
        _ key: String, _ kind: TelemetryKind, _ present: inout Set<String>,
        _ body: (Core, inout TelemetryRecord) -> Void
    ) {
        present.insert(key)
        let id: String
        switch kind {
        case .router: id = routerIdentity
        case .site: id = siteIdentity ?? ""
        default: id = telemetry.identity(key, names: flowNames)
        }
        var record = telemetry.base[key] ?? TelemetryRecord(kind, id: id)
        if record.values.isEmpty { record.set(.startTime, Clock.microseconds) }
        if kind != .site, kind != .router { record.set(.parent, routerIdentity) }
        body(self, &record)
        telemetry.base[key] = record
    }

    private func recordSite(_ present: inout Set<String>) {
        guard let site = otherEntities.first(where: { $0.type == "site" }) else { return }
        record("site", .site, &present) { _, record in
            record.set(.name, site[string: "name"])
            record.set(.buildVersion, site[string: "version"])
            record.set(.location, site[string: "location"])
            record.set(.provider, site[string: "provider"])
            record.set(.platform, site[string: "platform"])
            record.set(.namespace, site[string: "namespace"])
        }
    }

    /// Links by their connectors, accesses by their listeners.
    private func recordLinks(_ present: inout Set<String>) {
        for (name, state) in amqpConnectors
        where state.settings.role == .interRouter || state.settings.role.joinsEdge {
            record("link/\(name)", .link, &present) { core, record in core.describe(state, in: &record) }
        }
        for (name, state) in amqpListeners where state.http == nil {
            let role = state.entity[string: "role"] ?? "normal"
            guard role == "inter-router" || role == "edge" || role == "inter-edge" else { continue }
            record(Core.accessRecord(name), .routerAccess, &present) { core, record in
                record.set(.name, name)
                record.set(.role, role)
                let links = core.connections.values.count {
                    $0.info.entity == name && !$0.info.isConnector && $0.info.role != .interRouterData
                }
                record.set(.linkCount, Int64(links))
                record.set(.activeTLSOrdinal, core.ordinal(of: state.entity))
            }
        }
    }

    static func accessRecord(_ listener: String) -> String { "access/\(listener)" }

    private func ordinal(of entity: Entity) -> TelemetryValue? {
        guard let profile = sslProfiles[entity[string: "sslProfile"] ?? ""] else { return nil }
        return .number(UInt64(clamping: profile.integer("ordinal") ?? 0))
    }

    private func describe(_ state: AMQPConnectorState, in record: inout TelemetryRecord) {
        let entity = state.entity
        record.set(.name, entity.name)
        record.set(.role, state.settings.role.rawValue)
        record.set(.linkCost, Int64(state.settings.cost))
        record.set(.protocolName, state.settings.tls == nil ? "amqp" : "amqps")
        record.set(.destinationHost, state.settings.host)
        record.set(.destinationPort, state.settings.port)
        record.set(.httpProxy, entity[string: "proxyProfile"] == nil ? "no" : "yes")
        record.set(.activeTLSOrdinal, ordinal(of: entity))
        let own = connections.values.filter { $0.info.entity == entity.name && $0.info.isConnector }
        let control = own.first { $0.info.role != .interRouterData }
        let wasUp = record.values[.operStatus] == .text("up")
        if let control {
            record.set(.operStatus, "up")
            if !wasUp { record.set(.upTimestamp, Clock.microseconds) }
            record.set(.peer, control.info.properties.first { $0.key == WireNames.accessID }?.value)
        } else {
            record.set(.operStatus, "down")
            if wasUp {
                record.set(.downTimestamp, Clock.microseconds)
                if case .number(let count)? = record.values[.downCount] { record.set(.downCount, .number(count + 1)) }
            }
            if state.status == "FAILED" {
                record.set(.result, "amqp:connection:framing-error")
                record.set(.reason, state.message)
            }
        }
        if record.values[.downCount] == nil { record.set(.downCount, .number(0)) }
        let octets = own.compactMap { telemetry.linkOctets[$0.info.ref] }
        record.set(.octets, .number(UInt64(octets.reduce(0) { $0 + $1.octetsOut })))
        record.set(.octetsReverse, .number(UInt64(octets.reduce(0) { $0 + $1.octetsIn })))
    }

    private func recordServices(_ present: inout Set<String>) {
        for (name, state) in tcpListeners {
            for address in state.target.addresses {
                record(Core.listenerRecord(name, address.name), .listener, &present) { _, record in
                    Core.describeService(state.entity, address.address, in: &record)
                    record.set(.flowCount, Int64(address.load.total))
                }
            }
        }
        for (name, state) in tcpConnectors {
            record(Core.connectorRecord(name), .connector, &present) { _, record in
                Core.describeService(state.entity, state.target.address, in: &record)
                // skupper-router counts a connection of its own with the first one, and collectors know that.
                let count = state.target.load.total
                record.set(.flowCount, Int64(count == 0 ? 0 : count + 1))
                record.set(.process, state.target.processID)
            }
        }
    }

    private static func describeService(_ entity: Entity, _ address: String, in record: inout TelemetryRecord) {
        record.set(.protocolName, "tcp")
        record.set(.name, entity.name)
        record.set(.destinationHost, entity[string: "host"])
        record.set(.destinationPort, entity[string: "port"])
        record.set(.vanAddress, address)
    }
}
