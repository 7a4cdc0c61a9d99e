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

    /// This connection became the one for a neighbour in the mesh of edge routers.
    func attachInterEdge(_ number: UInt64) {
        guard phase == .frames, machine.state == .opened else { return }
        let session = beginSession(.endpoint)
        endpointSession = session
        let capabilities = [WireNames.interEdge]
        _ = session.attach(
            kind: .interEdge, role: .sender,
            source: Source(expiryPolicy: "link-detach", capabilities: capabilities),
            target: Target(expiryPolicy: "link-detach", capabilities: capabilities), number: number)
    }

    /// A sender of bids for the name of the mesh. A neighbour may refuse it any number of times, so no sender after the
    /// first begins a session of its own.
    func attachBidder(_ number: UInt64) {
        guard phase == .frames, machine.state == .opened else { return }
        var target = Target(expiryPolicy: "link-detach", capabilities: [])
        target.address = WireNames.meshBid
        let source = Source(expiryPolicy: "link-detach", capabilities: [])
        let session = bidSession ?? beginSession(.endpoint)
        bidSession = session
        _ = session.attach(kind: .meshBid, role: .sender, source: source, target: target, number: number)
    }

    /// Another connection took over, or this one is closing: everything but streams under way is detached.
    func detachEdgeLinks() {
        endpointSession = nil
        guard phase == .frames else { return }
        for link in Array(linksByNumber.values) where link.isOwnedByEdge { link.session.detach(link, error: nil) }
    }

    /// Stands at the other end for the consumers or producers of an address.
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

extension Link {
    /// Attached by an edge router on its active connection.
    fileprivate var isOwnedByEdge: Bool {
        switch kind {
        case .tracking, .meshDiscovery, .uplink, .downlink, .proxy: true
        // The neighbour's is its own.
        case .interEdge: role == .sender
        case .control, .data, .streaming, .producer, .consumer, .meshBid: false
        }
    }
}
