import AMQPCodec

/// The records of requests that observers have seen on the connections of tcpListeners.
extension Core {
    /// From a loop.
    func exchangesReported(_ reports: [ExchangeReport]) {
        let isObserved = flowNames.isObserved
        for report in reports {
            if !isObserved, report.endedAt > 0 {
                dropExchange(report.id)
                continue
            }
            var exchange =
                telemetry.exchanges[report.id]
                ?? Telemetry.RecordedExchange(record: TelemetryRecord(.exchange, id: report.id))
            exchange.record.set(report)
            telemetry.exchanges[report.id] = exchange
            queueExchange(report.id)
        }
    }

    /// A request ends its record once, told to a collector or not.
    private func dropExchange(_ id: String) {
        telemetry.exchanges[id] = nil
        flowNames.releaseExchange()
    }

    private func queueExchange(_ id: String) {
        guard let exchange = telemetry.exchanges[id], !exchange.isQueued, exchange.record.isChanged else { return }
        telemetry.exchanges[id]?.isQueued = true
        telemetry.changedExchanges.append(id)
    }

    /// A collector wants everything again.
    func forgetToldExchanges() {
        for id in telemetry.exchanges.keys {
            telemetry.exchanges[id]?.record.forgetSent()
            queueExchange(id)
        }
    }

    /// Nobody listens: what has ended goes, the rest waits for its end.
    func forgetExchanges() {
        for id in telemetry.changedExchanges.removeAll() {
            telemetry.exchanges[id]?.isQueued = false
            if telemetry.exchanges[id]?.record.values[.endTime] != nil { dropExchange(id) }
        }
    }

    func sendExchanges() {
        sendRecords(to: flowAddress) {
            while let id = telemetry.changedExchanges.popFirst() {
                telemetry.exchanges[id]?.isQueued = false
                guard let record = telemetry.exchanges[id]?.record.takeChanges() else { continue }
                if telemetry.exchanges[id]?.record.values[.endTime] != nil { dropExchange(id) }
                return record
            }
            return nil
        }
    }
}

extension TelemetryRecord {
    fileprivate mutating func set(_ report: ExchangeReport) {
        set(.parent, report.flow)
        set(.startTime, report.startedAt)
        set(.protocolName, report.protocolName)
        set(.method, report.method)
        set(.result, report.result)
        set(.reason, report.reason)
        set(.sourceHost, report.sourceHost)
        set(.octets, .number(report.octets))
        // skupper-router's records of HTTP/2 have this once there are any.
        if report.streamID == nil || report.octetsReverse > 0 { set(.octetsReverse, .number(report.octetsReverse)) }
        if let stream = report.streamID { set(.streamID, Int64(stream)) }
        if report.latency > 0 { set(.latency, report.latency) }
        if report.endedAt > 0 { set(.endTime, report.endedAt) }
    }
}
