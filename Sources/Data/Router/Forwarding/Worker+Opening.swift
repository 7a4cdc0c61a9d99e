import AMQPCodec

extension Worker {
    // MARK: Opening outgoing deliveries

    /// Opens a delivery towards a router, here or through a bridge on the loop that has a connection to the next hop.
    /// - Parameters:
    ///   - priority: nil = streaming.
    ///   - isLongMessage: a streaming message that stops when its consumer has its fill; not so a TCP stream.
    func openTowards(
        _ route: RemoteRoute, head: [UInt8], producer: DeliveryEnd, load: LoadCounter?, presettled: Bool,
        priority: Int?,
        preferring preferred: ConnectionRef?, isLongMessage: Bool = false
    ) -> DeliveryEnd? {
        guard let group = snapshot.groups[route.slot] else { return nil }
        let connection = priority == nil ? streamConnection(group, preferring: preferred) : group.control
        // Counted here, where the next choice is made, and not when another loop gets round to it.
        load?.increment()
        // What goes on a data connection is counted by nobody: skrouterd's numbers are the same.
        if connection == group.control { counters.transit += 1 }
        if connection.worker == index {
            return open(
                on: connection.id, head: head, producer: producer, load: load, presettled: presettled,
                priority: priority, isLongMessage: isLongMessage)
        }
        return bridge(producer, to: peers[connection.worker]) { worker, exit in
            worker.open(
                on: connection.id, head: head, producer: exit, load: load, presettled: presettled, priority: priority,
                isLongMessage: isLongMessage)
        }
    }

    /// Opens a delivery to a consumer, here or through a bridge on the loop that has its connection.
    /// - Parameter isStream: on a link of its own, if the peer takes those.
    func openTowards(
        _ consumer: LocalConsumer, head: [UInt8], producer: DeliveryEnd, presettled: Bool, isStream: Bool,
        isLongMessage: Bool = false
    ) -> DeliveryEnd? {
        guard consumer.connection.worker < peers.count else { return nil }
        consumer.load.increment()
        counters.egress += 1
        if consumer.connection.worker == index {
            return open(
                consumer, head: head, producer: producer, presettled: presettled, isStream: isStream,
                isLongMessage: isLongMessage)
        }
        return bridge(producer, to: peers[consumer.connection.worker]) { worker, exit in
            worker.open(
                consumer, head: head, producer: exit, presettled: presettled, isStream: isStream,
                isLongMessage: isLongMessage)
        }
    }

    private func open(
        _ consumer: LocalConsumer, head: [UInt8], producer: DeliveryEnd, presettled: Bool, isStream: Bool,
        isLongMessage: Bool
    ) -> DeliveryEnd? {
        guard let connection = connections[consumer.connection.id], let link = connection.consumerLink(consumer.link),
            isStream && connection.peerTakesStreamingLinks || connection.mayQueue(on: link)
        else {
            consumer.load.decrement()
            return nil
        }
        let onOwnLink = isStream && connection.peerTakesStreamingLinks
        let delivery = OutgoingDelivery(
            connection: connection, head: head, presettled: presettled || link.sendsSettled, producer: producer,
            load: consumer.load, gathers: !(onOwnLink && consumer.isRouter))
        if onOwnLink, isLongMessage, consumer.isRouter {
            connection.startLongMessage(delivery)
        } else if onOwnLink {
            connection.startStreaming(delivery)
        } else {
            delivery.begin(on: link)
        }
        return isLongMessage ? connection.logging(delivery) : delivery
    }

    /// - Parameter load: has been counted.
    private func open(
        on id: UInt64, head: [UInt8], producer: DeliveryEnd, load: LoadCounter?, presettled: Bool, priority: Int?,
        isLongMessage: Bool
    ) -> DeliveryEnd? {
        guard let connection = connections[id], connection.phase == .frames, connection.machine.state == .opened else {
            load?.decrement()
            return nil
        }
        let delivery = OutgoingDelivery(
            connection: connection, head: head, presettled: presettled, producer: producer, load: load,
            gathers: priority != nil || isLongMessage)
        guard let priority else {
            guard isLongMessage else {
                connection.startStreaming(delivery)
                return delivery
            }
            connection.startLongMessage(delivery)
            return connection.logging(delivery)
        }
        guard
            let link = connection.dataSenders.last(where: { link in
                if case .data(let own) = link.kind { own <= priority } else { false }
            }), connection.mayQueue(on: link)
        else {
            delivery.linkLost()
            return nil
        }
        delivery.begin(on: link)
        return isLongMessage ? connection.logging(delivery) : delivery
    }

    /// The data connection for a new stream: the preferred one, else one of this loop, else any; the control connection
    /// when the peer does not trunk.
    func streamConnection(_ group: NeighbourGroup, preferring preferred: ConnectionRef?) -> ConnectionRef {
        if group.data.isEmpty { return group.control }
        // Also where it is the control connection, while data connections come up: on two connections what is said of
        // the one stream could overtake the other.
        if let preferred, preferred == group.control || group.data.contains(preferred) { return preferred }
        let start = nextTurn()
        let count = group.data.count
        for step in 0..<count {
            let candidate = group.data[(start + step) % count]
            if candidate.worker == index { return candidate }
        }
        return group.data[start % count]
    }

    /// The loop that should own a new client stream towards this group; nil = this one.
    ///
    /// The kernel spreads connections by chance; a loop that has got more than its part passes new ones on, so that
    /// streams share the processors evenly. Not in a rush of short connections, where passing on would cost more.
    func betterWorker(for group: NeighbourGroup) -> Worker? {
        let owners = group.data.isEmpty ? [group.control] : group.data
        let isOwner = owners.contains { $0.worker == index }
        if isOwner, owners.count == 1 || acceptedInTick > Worker.rush { return nil }
        var best: Worker?
        for owner in owners where best.map({ peers[owner.worker].shownStreams.value < $0.shownStreams.value }) ?? true {
            best = peers[owner.worker]
        }
        guard let best, best !== self else { return nil }
        let least = best.shownStreams.value
        return isOwner && openStreams <= least + max(2, least / 16) ? nil : best
    }

    func bridge(
        _ producer: DeliveryEnd, to other: Worker,
        _ connect: @escaping @Sendable (Worker, BridgeExit) -> DeliveryEnd?
    ) -> BridgeEntry {
        let entryID = takeBridge()
        let exitID = entryID | 1 << 63
        let entry = BridgeEntry(worker: self, id: entryID, producer: producer, exitWorker: other, exitID: exitID)
        bridges[entryID] = entry
        let here = self
        let senderState = producer.senderState
        other.post {
            let exit = BridgeExit(
                worker: other, id: exitID, entryWorker: here, entryID: entryID, senderState: senderState)
            other.bridges[exitID] = exit
            guard let consumer = connect(other, exit) else { return exit.update(.released, settled: true) }
            exit.consumer = consumer
        }
        return entry
    }
}
