import AMQPCodec

/// An edge router below this interior router, as the control thread knows it (router-protocol sheet, section 7).
struct EdgePeer {
    /// An address for which the edge router has producers.
    struct Produced {
        var key: String
        /// It has been told that the address can be reached.
        var isToldReachable = false
    }

    /// Link on which it is told what can be reached.
    var tracking: UInt64?
    /// By the number of the edge router's sender.
    var produced: [UInt64: Produced] = [:]
    /// The mesh of edge routers that it is part of.
    var meshID: String?
}

extension Core {
    func isEdgePeer(_ connection: ConnectionRef) -> Bool {
        connections[connection]?.info.role == .edge && connections[connection]?.info.isConnector == false
    }

    func trackingAttached(connection: ConnectionRef, link: UInt64) {
        guard connections[connection] != nil else { return }
        edgePeers[connection, default: EdgePeer()].tracking = link
        tablesChanged()
    }

    /// A link between edge router and interior is gone; see also ``linkDetached(link:)``.
    func edgeLinkGone(connection: ConnectionRef, link: UInt64, isProxy: Bool) {
        if edgePeers[connection]?.tracking == link { edgePeers[connection]?.tracking = nil }
        if uplink.connection == connection { uplinkLinkGone(link, isProxy: isProxy) }
        if isMeshPeer(connection) { meshLinkGone(connection, link) }
    }

    /// An edge router tells of which mesh it is part.
    func meshAnnounced(_ context: MessageContext) {
        guard isEdgePeer(context.connection),
            let mesh = EdgeMessages.meshName(in: context.head.applicationProperties)
        else {
            return Log.write(.core, .warning, "[C\(context.connection.id)] mesh announcement without an id dropped")
        }
        guard edgePeers[context.connection]?.meshID != mesh else { return }
        edgePeers[context.connection, default: EdgePeer()].meshID = mesh
        for (_, known) in linkKeys where known.connection == context.connection {
            guard addresses[known.key] != nil else { continue }
            changeAddress(known.key) { record in
                for index in record.consumers.indices where record.consumers[index].connection == context.connection {
                    record.consumers[index].meshID = mesh
                }
            }
        }
        let ref = context.connection
        let worker = workers[ref.worker]
        worker.post { worker.connections[ref.id]?.meshID = mesh }
        tablesChanged()
    }

    /// After new tables: tells every edge router what became reachable for its producers and what is not any more.
    func tellEdgePeers(_ entries: [String: AddressEntry]) {
        for (ref, peer) in edgePeers {
            guard let tracking = peer.tracking else { continue }
            for (link, produced) in peer.produced {
                let isReachable = entries[produced.key].map { canReach($0, from: ref, peer) } ?? false
                guard isReachable != produced.isToldReachable else { continue }
                edgePeers[ref]?.produced[link]?.isToldReachable = isReachable
                let message = EdgeMessages.reachability(produced.key, isReachable, own: "0/" + routerID)
                let worker = workers[ref.worker]
                worker.post { worker.sendMessage(message, on: ref.id, .number(tracking)) }
            }
        }
    }

    /// A delivery from this edge router would find a consumer that is not behind its own mesh.
    private func canReach(_ entry: AddressEntry, from ref: ConnectionRef, _ peer: EdgePeer) -> Bool {
        if entry.inProcess || !entry.connectors.isEmpty { return true }
        if entry.remotes.contains(where: { $0.meshID == nil || $0.meshID != peer.meshID }) { return true }
        return entry.consumers.contains { consumer in
            consumer.connection != ref && (consumer.meshID == nil || consumer.meshID != peer.meshID)
        }
    }
}
