import AMQPCodec
import AMQPEndpoints

/// Links of an edge router to the interior (router-protocol sheet, section 7.1).
extension AMQPConnection {
    /// This connection became the active one.
    func attachUplink(_ numbers: UplinkNumbers) {
        guard phase == .frames, machine.state == .opened else { return }
        let core = beginSession(.endpoint)
        let endpoint = beginSession(.endpoint)
        endpointSession = endpoint
        let source = Source(expiryPolicy: "link-detach", capabilities: [])
        let target = Target(expiryPolicy: "link-detach", capabilities: [])
        var meshTarget = target
        meshTarget.address = WireNames.meshDiscovery
        _ = core.attach(kind: .meshDiscovery, role: .sender, source: source, target: meshTarget, number: numbers.mesh)
        _ = endpoint.attach(kind: .uplink, role: .sender, source: source, target: target, number: numbers.sender)
        var downlinkSource = source
        downlinkSource.address = worker.routerID
        downlinkSource.capabilities = [WireNames.edgeDownlink]
        var downlinkTarget = target
        downlinkTarget.capabilities = [WireNames.edgeDownlink]
        _ = endpoint.attach(
            kind: .downlink, role: .receiver, source: downlinkSource, target: downlinkTarget, number: numbers.downlink)
        var trackingSource = source
        trackingSource.address = WireNames.edgeTracking
        _ = core.attach(
            kind: .tracking, role: .receiver, source: trackingSource, target: target, number: numbers.tracking)
    }

    /// Another connection took over, or this one is closing: everything but streams under way is detached.
    func detachUplink() {
        endpointSession = nil
        guard phase == .frames else { return }
        for link in Array(linksByNumber.values) where link.kind.isOwnedByEdge { link.session.detach(link, error: nil) }
    }

    /// Stands at the interior for the consumers or producers of an address.
    func attachProxy(_ address: String, role: Role, number: UInt64) {
        guard phase == .frames, machine.state == .opened, let session = endpointSession else { return }
        var source = Source(expiryPolicy: "link-detach", capabilities: [])
        var target = Target(expiryPolicy: "link-detach", capabilities: [])
        if role == .receiver { source.address = address } else { target.address = address }
        _ = session.attach(kind: .proxy(address), role: role, source: source, target: target, number: number)
    }

    func detachNumbered(_ number: UInt64) {
        guard phase == .frames, let link = linksByNumber[number] else { return }
        link.session.detach(link, error: nil)
    }
}

extension Link.Kind {
    /// Attached by an edge router on its active connection.
    fileprivate var isOwnedByEdge: Bool {
        switch self {
        case .tracking, .meshDiscovery, .uplink, .downlink, .proxy: true
        case .control, .data, .streaming, .producer, .consumer: false
        }
    }
}
