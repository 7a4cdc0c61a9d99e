import AMQPCodec
import AMQPEndpoints

extension AMQPConnection {
    /// Sessions a peer may open at once.
    private static let sessionMaximum = 2048
    private static let wideSessions = 32
    /// Sessions of both sides at once, with those that we have ended and the peer has not.
    private static let sessionsInAll = 4096

    /// Begins a session of ours. A peer with which there are too many, because it does not end those that have failed,
    /// has to go: their number is that of a channel.
    func beginSession(_ purpose: Session.Purpose) -> Session {
        let session = makeSession(purpose)
        sendBegin(session, remoteChannel: nil)
        if sessions.count > AMQPConnection.sessionsInAll {
            worker.closeSoon(self, reason: "more than \(AMQPConnection.sessionsInAll) sessions")
        }
        return session
    }

    private func makeSession(_ purpose: Session.Purpose) -> Session {
        let channel = sessions.firstIndex { $0 == nil } ?? sessions.count
        if channel == sessions.count { sessions.append(nil) }
        // Windows of many sessions add up: only the first ones are wide.
        let window = channel < AMQPConnection.wideSessions ? settings.sessionFrames : min(settings.sessionFrames, 32)
        let session = Session(
            connection: self, localChannel: UInt16(channel), purpose: purpose, incomingWindow: window)
        sessions[channel] = session
        return session
    }

    private func sendBegin(_ session: Session, remoteChannel: UInt16?) {
        let begin = Begin(
            remoteChannel: remoteChannel, nextOutgoingID: 0, incomingWindow: session.machine.incomingWindow,
            outgoingWindow: 2_147_483_647, handleMax: 2_147_483_647)
        send(encodeFrame(channel: session.localChannel) { begin.encode(into: &$0) })
        try? session.machine.apply(.beginSent)
    }

    func received(_ begin: Begin, channel: UInt16) throws {
        guard channel <= settings.channelMax else {
            throw EndpointError(.connection, "amqp:not-allowed", "begin on channel \(channel), above channel-max")
        }
        while sessionsByRemoteChannel.count <= Int(channel) { sessionsByRemoteChannel.append(nil) }
        guard sessionsByRemoteChannel[Int(channel)] == nil else {
            throw EndpointError(.connection, "amqp:connection:framing-error", "second begin on channel \(channel)")
        }
        let session: Session
        if let local = begin.remoteChannel {
            guard Int(local) < sessions.count, let ours = sessions[Int(local)], ours.remoteChannel == nil else {
                throw EndpointError(
                    .connection, "amqp:not-allowed", "begin answers channel \(local), which waits for none")
            }
            session = ours
            try session.machine.apply(.beginReceived)
        } else {
            guard sessions.count(where: { $0 != nil }) < AMQPConnection.sessionMaximum else {
                throw EndpointError(
                    .connection, "amqp:resource-limit-exceeded", "more than \(AMQPConnection.sessionMaximum) sessions")
            }
            session = makeSession(.remote)
            try session.machine.apply(.beginReceived)
        }
        session.remoteChannel = channel
        sessionsByRemoteChannel[Int(channel)] = session
        session.machine.remoteBegan(nextOutgoingID: begin.nextOutgoingID, incomingWindow: begin.incomingWindow)
        if begin.remoteChannel == nil {
            sendBegin(session, remoteChannel: channel)
            guard isAdmitted(session) else { return }
        }
        resumeIfPossible()
    }

    func received(_ end: End, channel: UInt16) throws {
        let session = try session(channel)
        try session.machine.apply(.endReceived)
        if session.machine.state == .endRcvd {
            send(encodeFrame(channel: session.localChannel) { End(error: nil).encode(into: &$0) })
            try session.machine.apply(.endSent)
        }
        remove(session)
    }

    func remove(_ session: Session) {
        if let remote = session.remoteChannel, Int(remote) < sessionsByRemoteChannel.count {
            sessionsByRemoteChannel[Int(remote)] = nil
        }
        if Int(session.localChannel) < sessions.count { sessions[Int(session.localChannel)] = nil }
        session.endDeliveries()
        if session.isCounted { policy?.endSession() }
        if session.purpose == .control || controlSender?.session === session || controlReceiver?.session === session {
            close("peer ended the control session")
        }
    }

    /// A session is over: no new stream may start on it. Streams that waited for its links get links elsewhere.
    func forget(_ session: Session) {
        if endpointSession === session { endpointSession = nil }
        if bidSession === session { bidSession = nil }
        if session.isForLongMessages { return forgetLongMessages(on: session) }
        guard streamingSession === session else { return }
        streamingSession = nil
        idleStreamingLinks = []
        streamingLinksAttaching = 0
        if phase == .frames, machine.state == .opened, !waitingStreams.isEmpty { attachStreamingLink() }
    }

    func resumeIfPossible() {
        if !blocked.isEmpty, !isCongested { worker.resumeSoon(self) }
    }
}

extension Session {
    /// Ends this session with an error of the peer's making; the connection lives on.
    func fail(_ error: EndpointError) {
        let connection = connection
        Log.write(
            .server, .error,
            "[C\(connection.ref.id)] \(connection.peerText): \(error.condition): \(error.detail); ending the session")
        guard machine.state == .mapped else { return connection.fail(error) }
        connection.send(
            encodeFrame(channel: localChannel) {
                End(error: AMQPError(condition: error.condition, description: error.detail)).encode(into: &$0)
            })
        try? machine.apply(.discardSent)
        let deliveries = self
        deliveries.endDeliveries()
        if purpose == .control || purpose != .remote && purpose != .streaming && purpose != .endpoint {
            connection.close("protocol violation by the peer: \(error.condition): \(error.detail)")
        }
    }

    /// Detaches a link for an error of the peer's making; the session and its other links live on. Routers cannot do
    /// without their control links and those for data of one priority, so that these end the session.
    func fail(_ error: EndpointError, ofLink handle: UInt32) {
        guard let link = remoteLinks[handle] else { return fail(error) }
        switch link.kind {
        case .control, .data: return fail(error)
        default: break
        }
        Log.write(
            .server, .error,
            "[C\(connection.ref.id)] \(connection.peerText): \(error.condition): \(error.detail); detaching link "
                + link.name)
        detach(link, error: AMQPError(condition: error.condition, description: error.detail))
    }

    /// Tells the peer of a wider window when that gains it something.
    func refreshWindow() {
        let held = min(heldFrames, machine.incomingWindowMaximum)
        let gain = machine.incomingWindowMaximum - held
        if machine.state == .mapped, gain > machine.incomingWindow,
            gain - machine.incomingWindow > machine.incomingWindowMaximum / 4
        {
            sendFlow()
        }
    }

    /// Sends the session's and, with a link, the link's flow state.
    func sendFlow(_ link: Link? = nil, drain: Bool = false) {
        machine.refreshIncomingWindow(held: heldFrames)
        var flow = Flow(
            nextIncomingID: machine.nextIncomingID, incomingWindow: machine.incomingWindow,
            nextOutgoingID: machine.nextOutgoingID, outgoingWindow: 2_147_483_647)
        if remoteChannel == nil { flow.nextIncomingID = nil }
        if let link {
            flow.handle = link.localHandle
            // A delivery that has begun and whose first frame is still here does not count for the peer.
            let unseen: UInt32 = link.sending.map { $0.isNumbered } ?? true ? 0 : 1
            flow.deliveryCount = link.machine.deliveryCount &- unseen
            flow.linkCredit = link.machine.credit + unseen
            flow.drain = drain
        }
        connection.send(encodeFrame(channel: localChannel) { flow.encode(into: &$0) })
    }

    func received(_ flow: Flow) throws {
        guard machine.state == .mapped else { return }
        try machine.flowReceived(nextIncomingID: flow.nextIncomingID, incomingWindow: flow.incomingWindow)
        if let handle = flow.handle {
            guard let link = remoteLinks[handle] else {
                throw EndpointError(
                    .session, "amqp:session:unattached-handle", "flow for handle \(handle), which is not attached")
            }
            if link.role == .sender {
                link.machine.flowReceived(
                    deliveryCount: flow.deliveryCount, linkCredit: flow.linkCredit ?? 0, drain: flow.drain)
                link.creditArrived(echo: flow.echo)
            } else {
                let before = link.machine.credit
                link.machine.senderFlowReceived(deliveryCount: flow.deliveryCount)
                // Drained, but meanwhile its address can be reached again: the two flows have crossed.
                if link.machine.credit < before, link.scope != nil, !link.isStarved { link.grantAll() }
                if flow.echo { sendFlow(link) }
            }
        } else if flow.echo {
            sendFlow()
        }
        connection.resumeIfPossible()
    }

    func received(_ disposition: Disposition) throws {
        let span = (disposition.last ?? disposition.first) &- disposition.first
        guard span < 1 << 31 else {
            throw EndpointError(
                .session, "amqp:invalid-field", "disposition from \(disposition.first) back to \(disposition.last ?? 0)"
            )
        }
        let wasFull = outgoing.count >= Session.unsettledMaximum
        let known = disposition.role == .receiver ? outgoing.count : incoming.count
        if Int(span) < known {
            for step in 0...span { apply(disposition, to: disposition.first &+ step) }
        } else {
            // A range wider than what is open: what is open is looked through, in the order of the range.
            let first = disposition.first
            let open = disposition.role == .receiver ? Array(outgoing.keys) : Array(incoming.keys)
            for step in open.map({ $0 &- first }).filter({ $0 <= span }).sorted() {
                apply(disposition, to: first &+ step)
            }
        }
        if wasFull { for link in localLinks.values where link.role == .sender { link.becameFree() } }
    }

    private func apply(_ disposition: Disposition, to id: UInt32) {
        if disposition.role == .receiver {
            outgoing[id]?.dispositionReceived(disposition.state, settled: disposition.settled)
        } else {
            incoming[id]?.settledByPeer(disposition.state, settled: disposition.settled)
        }
    }
}
