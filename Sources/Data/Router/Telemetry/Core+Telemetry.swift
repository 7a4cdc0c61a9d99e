import AMQPCodec
import RouterConfig

/// Telemetry for collectors in the network (router-protocol sheet, section 8).
///
/// Everything is sent only while somebody receives it. What is known of links and services is compared with the
/// entities once a second; flows come from the loops.
extension Core {
    static func listenerRecord(_ name: String, _ address: String) -> String { "listener/\(name)/\(address)" }
    static func connectorRecord(_ name: String) -> String { "connector/\(name)" }

    private var source: String { flowNames.source }
    private var beaconAddress: String { "mc/sfe.all" }
    private var recordAddress: String { "mc/sfe.\(source):0" }
    var flowAddress: String { "mc/sfe.\(source):0.flows" }
    private var directAddress: String { "sfe.\(source):0" }
    private static func farAddress(_ source: String) -> String { "vfcr.\(source):0" }

    /// Addresses an edge router must be told of.
    var telemetryKeys: Set<String> {
        ["M" + beaconAddress, "M" + recordAddress, "M" + flowAddress, "M" + logAddress]
    }

    /// The router answers at its telemetry addresses, and tells the network so.
    func startTelemetry() {
        for address in [directAddress, Core.farAddress(source)] {
            changeAddress("M" + address) { record in
                record.treatment = .closest
                record.inProcess = true
                record.isAnnounced = true
            }
        }
    }

    func hasConsumer(_ address: String) -> Bool {
        guard let entry = current.addresses["M" + address] else { return false }
        return entry.inProcess || !entry.consumers.isEmpty || !entry.remotes.isEmpty
    }

    /// Messages to the router's telemetry addresses; false when it is none of them.
    func receivedTelemetry(_ context: MessageContext, bytes: [UInt8]) -> Bool {
        switch context.key {
        case "M" + directAddress:
            guard context.head.properties?.subject == "FLUSH" else { return true }
            compareRecords()
            for key in telemetry.base.keys { telemetry.base[key]?.forgetSent() }
            for id in telemetry.flows.keys {
                telemetry.flows[id]?.record.forgetSent()
                queueFlow(id)
            }
            forgetToldExchanges()
            telemetry.nextTick = 0
        case "M" + Core.farAddress(source):
            receivedFarSide(bytes)
        default: return false
        }
        return true
    }

    // MARK: Time

    /// Every tick of the control thread.
    func tickTelemetry(now: Int64) {
        guard now >= telemetry.nextTick else { return }
        telemetry.nextTick = now + Telemetry.tick
        sendBeacon(now: now)
        let isRecorded = hasConsumer(recordAddress)
        if now >= telemetry.nextHeartbeat, isRecorded {
            telemetry.nextHeartbeat = now + Telemetry.heartbeat
            let properties = [
                MapEntry(symbol: "v", .uint(1)), MapEntry(symbol: "now", .ulong(UInt64(Clock.microseconds))),
                MapEntry(symbol: "id", .string("\(source):0")),
            ]
            send(
                telemetry.message(to: recordAddress, subject: "HEARTBEAT", properties: properties, body: .null),
                to: recordAddress)
        }
        if isRecorded {
            compareRecords()
            sendBase()
        }
        let isObserved = hasConsumer(flowAddress)
        flowNames.isObserved = isObserved
        settleFlows(now: now)
        if isObserved { sendFlows() } else { forgetQueue() }
        if isObserved { sendExchanges() } else { forgetExchanges() }
        sendFarSides()
        sendLogRecords(now: now)
    }

    private func sendBeacon(now: Int64) {
        let hasCollector = hasConsumer(beaconAddress)
        defer { telemetry.hadCollector = hasCollector }
        // A new collector need not wait for its first.
        guard hasCollector, now >= telemetry.nextBeacon || !telemetry.hadCollector else { return }
        telemetry.nextBeacon = now + Telemetry.beacon
        let properties = [
            MapEntry(symbol: "v", .uint(1)), MapEntry(symbol: "sourceType", .string("ROUTER")),
            MapEntry(symbol: "id", .string("\(source):0")), MapEntry(symbol: "address", .string(recordAddress)),
            MapEntry(symbol: "direct", .string(directAddress)),
        ]
        send(
            telemetry.message(to: beaconAddress, subject: "BEACON", properties: properties, body: .null),
            to: beaconAddress)
    }

    func sendRecords(_ records: [AMQPValue], to address: String) {
        send(telemetry.message(to: address, subject: "RECORD", body: .list(records)), to: address)
    }

    /// Sends what `next` gives, until that is nil or this tick has had its messages.
    func sendRecords(to address: String, _ next: () -> AMQPValue?) {
        for _ in 0..<Telemetry.messagesInTick {
            var batch: [AMQPValue] = []
            while batch.count < Telemetry.recordsInMessage, let record = next() { batch.append(record) }
            if batch.isEmpty { return }
            sendRecords(batch, to: address)
        }
    }

    private func sendBase() {
        // Parents before children, so that a collector can join them as they come.
        var changed = telemetry.base.filter { $0.value.isChanged }.sorted {
            ($0.value.kind.rawValue, $0.key) < ($1.value.kind.rawValue, $1.key)
        }.makeIterator()
        sendRecords(to: recordAddress) {
            while let (key, _) = changed.next() {
                guard let record = telemetry.base[key]?.takeChanges() else { continue }
                if telemetry.base[key]?.values[.endTime] != nil { telemetry.forget(key) }
                return record
            }
            return nil
        }
    }

    // MARK: Flows

    /// From a loop.
    func flowsReported(_ reports: [FlowReport]) {
        for report in reports { if report.isListener { listenerReported(report) } else { connectorReported(report) } }
    }

    private func listenerReported(_ report: FlowReport) {
        var flow =
            telemetry.flows[report.id]
            ?? Telemetry.Flow(record: TelemetryRecord(.flow, id: report.id), madeAt: now)
        flow.isKnown = true
        flow.record.set(.parent, telemetry.identity(report.service, names: flowNames))
        flow.record.set(.startTime, report.startedAt)
        flow.record.set(.sourceHost, report.host)
        flow.record.set(.sourcePort, report.port)
        flow.record.set(.octets, .number(report.octets))
        flow.record.set(.octetsReverse, .number(report.octetsReverse))
        if report.latency > 0 { flow.record.set(.latency, report.latency) }
        flow.record.set(.errorListenerSide, report.failure)
        if report.endedAt > 0 {
            flow.endedAt = now
            flow.endTime = report.endedAt
        }
        telemetry.flows[report.id] = flow
        queueFlow(report.id)
    }

    private func connectorReported(_ report: FlowReport) {
        var record = TelemetryRecord(.flow, id: report.id)
        record.set(.trace, report.route)
        record.set(.connector, telemetry.identity(report.service, names: flowNames))
        if report.latency > 0 { record.set(.processLatency, report.latency) }
        record.set(.proxyHost, report.host)
        record.set(.proxyPort, report.port)
        record.set(.errorConnectorSide, report.failure)
        let owner = String(report.id.prefix { $0 != ":" })
        if owner == source { return mergeFarSide(record.values, of: report.id) }
        guard telemetry.farCount < Telemetry.farMaximum else { return }
        telemetry.farCount += 1
        telemetry.far[owner, default: []].append(record)
    }

    private func mergeFarSide(_ values: [TelemetryAttribute: TelemetryValue], of id: String) {
        guard telemetry.flows[id] != nil || telemetry.flows.count < FlowNames.liveMaximum else { return }
        var flow = telemetry.flows[id] ?? Telemetry.Flow(record: TelemetryRecord(.flow, id: id), madeAt: now)
        for (attribute, value) in values { flow.record.set(attribute, value) }
        flow.hasFarSide = true
        telemetry.flows[id] = flow
        queueFlow(id)
    }

    private func receivedFarSide(_ bytes: [UInt8]) {
        let wanted: Set<TelemetryAttribute> = [
            .trace, .connector, .processLatency, .proxyHost, .proxyPort, .errorConnectorSide,
        ]
        guard case .list(let records)? = bodyValue(bytes) else { return }
        for case .map(let entries) in records.prefix(1000) {
            var id = ""
            var isFlow = false
            var values: [TelemetryAttribute: TelemetryValue] = [:]
            for entry in entries {
                guard case .uint(let key) = entry.key else { continue }
                if key == 0 { isFlow = entry.value == .uint(TelemetryKind.flow.rawValue) }
                if key == 1 { id = entry.value.stringValue ?? "" }
                guard let attribute = TelemetryAttribute(rawValue: key), wanted.contains(attribute),
                    let value = TelemetryValue(entry.value)
                else { continue }
                values[attribute] = value
            }
            if isFlow, id.utf8.starts(with: (source + ":").utf8) { mergeFarSide(values, of: id) }
        }
    }

    /// Flows end when both sides have been told or the wait is over.
    private func settleFlows(now: Int64) {
        for (id, flow) in telemetry.flows {
            if flow.endedAt > 0, flow.hasFarSide || now - flow.endedAt >= Telemetry.holdEnded {
                telemetry.flows[id]?.record.set(.endTime, flow.endTime)
                queueFlow(id)
                if !flowNames.isObserved { drop(id) }
            } else if !flow.isKnown, now - flow.madeAt >= 2 * Telemetry.holdEnded {
                telemetry.flows[id] = nil
            }
        }
    }

    /// A flow with something to tell takes its place in the queue, once.
    private func queueFlow(_ id: String) {
        guard let flow = telemetry.flows[id], flow.isKnown, !flow.isQueued, flow.record.isChanged else { return }
        telemetry.flows[id]?.isQueued = true
        telemetry.changedFlows.append(id)
    }

    private func forgetQueue() {
        for id in telemetry.changedFlows.removeAll() { telemetry.flows[id]?.isQueued = false }
    }

    private func drop(_ id: String) {
        telemetry.flows[id] = nil
        flowNames.release()
    }

    private func sendFlows() {
        sendRecords(to: flowAddress) {
            while let id = telemetry.changedFlows.popFirst() {
                telemetry.flows[id]?.isQueued = false
                guard let flow = telemetry.flows[id] else { continue }
                let record = telemetry.flows[id]?.record.takeChanges()
                if flow.record.values[.endTime] != nil { drop(id) }
                if let record { return record }
            }
            return nil
        }
    }

    private func sendFarSides() {
        guard telemetry.farCount > 0 else { return }
        let all = telemetry.far
        telemetry.far = [:]
        telemetry.farCount = 0
        for (owner, records) in all {
            let address = Core.farAddress(owner)
            guard hasConsumer(address) || isEdge else { continue }
            for start in stride(from: 0, to: records.count, by: Telemetry.recordsInMessage) {
                let part = records[start..<min(start + Telemetry.recordsInMessage, records.count)]
                sendRecords(
                    part.map { record in
                        var record = record
                        return record.takeChanges()
                    }, to: address)
            }
        }
    }
}
