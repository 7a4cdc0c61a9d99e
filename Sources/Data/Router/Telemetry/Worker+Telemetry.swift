/// What a loop tells of its streams while a collector listens.
extension Worker {
    private static let reportEvery: Int64 = 1000
    /// Reports handed over at once.
    private static let batch = 1000

    /// The trace of a new client's stream; nil when it is not recorded.
    func startFlow(_ client: TCPStream) -> FlowTrace? {
        guard let id = core.flowNames.takeForFlow() else { return nil }
        let flow = FlowTrace(id: id)
        // What observers hold is not in the account of a memory limit.
        if case .listener(let target) = client.side, !core.memory.isLimited {
            flow.observe(
                target.observer,
                log: ExchangeLog(flow: id, names: core.flowNames, clock: { Clock.microseconds }) {
                    [unowned(unsafe) self] report in exchangeChanged(report)
                })
        }
        return flow
    }

    private func exchangeChanged(_ report: ExchangeReport) {
        exchangeReports.append(report)
        if exchangeReports.count >= Worker.batch { handOverExchanges() }
    }

    private func handOverExchanges() {
        guard !exchangeReports.isEmpty else { return }
        let list = exchangeReports
        exchangeReports = []
        core.post { [core] in core.exchangesReported(list) }
    }

    /// Every tick: what changed since the last report.
    func reportFlows(now: Int64) {
        if now >= nextFlowReport {
            nextFlowReport = now + Worker.reportEvery
            if core.flowNames.isObserved { reportLinks() }
            if tracedStreams > 0 {
                eachStream { stream in
                    guard let flow = stream.flow else { return }
                    report(stream, flow, ended: false)
                    flow.observer?.tellChanges()
                }
            }
        }
        handOverReports()
        handOverExchanges()
    }

    private func reportLinks() {
        let list = connections.values.filter { $0.effectiveRole != .normal && $0.openedAt > 0 }.map {
            LinkOctets(ref: $0.ref, octetsIn: $0.octetsIn, octetsOut: $0.octetsOut)
        }
        if !list.isEmpty { core.post { [core] in core.linkOctetsReported(list) } }
    }

    private func handOverReports() {
        guard !flowReports.isEmpty else { return }
        let list = flowReports
        flowReports = []
        core.post { [core] in core.flowsReported(list) }
    }

    func report(_ stream: TCPStream, _ flow: FlowTrace, ended: Bool) {
        if ended { flow.observer?.end() }
        let isListener: Bool
        let service: String
        switch stream.side {
        case .listener(let target):
            isListener = true
            service = Core.listenerRecord(target.name, stream.listenerAddress?.name ?? "")
        case .connector(let target):
            isListener = false
            service = Core.connectorRecord(target.name)
        }
        // A listener's client asks first; at a connector the answer is the server's.
        let (asked, answered) = isListener ? (flow.firstRead, flow.firstWritten) : (flow.firstWritten, flow.firstRead)
        let report = FlowReport(
            id: flow.id, service: service, isListener: isListener, route: flow.route, host: flow.end?.host ?? "",
            port: flow.end?.port ?? "", octets: isListener ? stream.octetsSent : 0,
            octetsReverse: isListener ? stream.octetsWritten : 0,
            latency: answered > 0 ? max(1, answered - (asked > 0 && asked <= answered ? asked : flow.startedAt)) : 0,
            failure: flow.failure, startedAt: flow.startedAt, endedAt: ended && isListener ? Clock.microseconds : 0)
        guard report != flow.reported else { return }
        flow.reported = report
        flowReports.append(report)
        if flowReports.count >= Worker.batch { handOverReports() }
    }
}
