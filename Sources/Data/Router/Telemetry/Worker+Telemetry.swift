/// What a loop tells of its streams while a collector listens.
extension Worker {
    private static let reportEvery: Int64 = 1000
    /// Reports handed over at once.
    private static let batch = 1000

    /// The trace of a new client's stream; nil when it is not recorded.
    func startFlow() -> FlowTrace? { core.flowNames.takeForFlow().map { FlowTrace(id: $0) } }

    /// Every tick: what changed since the last report.
    func reportFlows(now: Int64) {
        if now >= nextFlowReport {
            nextFlowReport = now + Worker.reportEvery
            if core.flowNames.isObserved { reportLinks() }
            if tracedStreams > 0 {
                eachStream { stream in if let flow = stream.flow { report(stream, flow, ended: false) } }
            }
        }
        handOverReports()
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
