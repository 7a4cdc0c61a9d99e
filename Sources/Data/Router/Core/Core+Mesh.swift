import AMQPCodec

/// An edge router's connections to other edge routers (router-protocol sheet, section 7.5).
///
/// Addresses are told to neighbours only, and what came from an edge router or the interior goes to neither again: a
/// mesh has no paths of more than one hop, and no loops.
struct EdgeMesh {
    /// An edge router that we have at least one connection with.
    struct Peer {
        /// The connection that carries our links; each side chooses its own.
        var primary: ConnectionRef
        /// The anonymous sender to it.
        var sender: UInt64
        /// Receivers that stand there for our consumers, by hash key.
        var receivers: [String: UInt64] = [:]
    }

    var election: MeshElection
    /// By router id.
    var peers: [String: Peer] = [:]
    /// Senders of our bids, one on each connection: a peer may listen on only one of them.
    var bidders: [ConnectionRef: UInt64] = [:]
}

extension Core {
    func isMeshPeer(_ connection: ConnectionRef) -> Bool { connections[connection]?.info.role == .interEdge }

    // MARK: Connections

    func meshConnectionOpened(_ info: ConnectionInfo) {
        guard info.container != routerID else {
            return closeConnection(info.ref, reason: "role inter-edge: the other end is an edge router of the same id")
        }
        attachBidder(info.ref)
        choosePrimary(of: info.container)
    }

    /// Its links, and so the consumers behind it, are gone already.
    func meshConnectionClosed(_ info: ConnectionInfo) {
        mesh.bidders[info.ref] = nil
        choosePrimary(of: info.container)
    }

    /// The highest TLS ordinal, then the one that carries already, then the first that opened.
    private func choosePrimary(of peer: String) {
        let candidates = connections.values.map(\.info).filter { $0.role == .interEdge && $0.container == peer }
        let best = preferred(candidates, current: mesh.peers[peer]?.primary)
        guard best?.ref != mesh.peers[peer]?.primary else { return }
        let isKnown = mesh.peers[peer] != nil
        leavePrimary(of: peer)
        if let best {
            if !isKnown { Log.write(.core, .info, "[C\(best.ref.id)] edge router \(peer) is a neighbour in the mesh") }
            return activate(best)
        }
        Log.write(.core, .info, "edge router \(peer) is lost as a neighbour in the mesh")
        let id = randomText(MeshElection.idCount)
        meshDecided(isOwnNew: mesh.election.lost(peer, freshID: id))
    }

    private func activate(_ info: ConnectionInfo) {
        let ref = info.ref
        let number = takeLinkNumber()
        mesh.peers[info.container] = EdgeMesh.Peer(primary: ref, sender: number)
        let worker = workers[ref.worker]
        worker.post { worker.connections[ref.id]?.attachInterEdge(number) }
        changeAddress("H" + info.container) {
            $0.consumers = [LocalConsumer(connection: ref, link: number, load: LoadCounter(), peer: .meshPeer)]
        }
    }

    private func leavePrimary(of peer: String) {
        guard let old = mesh.peers.removeValue(forKey: peer) else { return }
        changeAddress("H" + peer) { $0.consumers = [] }
        let worker = workers[old.primary.worker]
        worker.post { worker.connections[old.primary.id]?.detachEdgeLinks() }
    }

    /// The peer refused or closed a link of ours, or answers our detach.
    func meshLinkGone(_ ref: ConnectionRef, _ link: UInt64) {
        if mesh.bidders[ref] == link { return mesh.bidders[ref] = nil }
        for (id, peer) in mesh.peers where peer.primary == ref {
            if peer.sender == link {
                closeConnection(ref, reason: "the edge router detached a link that its neighbour needs")
            } else if let key = peer.receivers.first(where: { $0.value == link })?.key {
                mesh.peers[id]?.receivers[key] = nil
            }
        }
    }

    /// After new tables: one receiver at each neighbour for each address with consumers here.
    func adjustMeshReceivers(_ consumed: Set<String>) {
        for (id, peer) in mesh.peers {
            mesh.peers[id]?.receivers = adjust(peer.receivers, to: consumed, role: .receiver, peer.primary)
        }
    }

    /// Two connections to one neighbour may both have its receivers, but it wants only one copy of what goes to all.
    func distinct(_ consumers: [LocalConsumer]) -> [LocalConsumer] {
        guard consumers.count(where: { $0.peer == .meshPeer }) > 1 else { return consumers }
        var seen: Set<String> = []
        return consumers.filter { consumer in
            guard consumer.peer == .meshPeer, let peer = connections[consumer.connection]?.info.container else {
                return true
            }
            return seen.insert(peer).inserted
        }
    }

    // MARK: Name of the mesh

    private func attachBidder(_ ref: ConnectionRef) {
        let number = takeLinkNumber()
        mesh.bidders[ref] = number
        let worker = workers[ref.worker]
        worker.post { worker.connections[ref.id]?.attachBidder(number) }
        sendBid(ref, number)
    }

    /// The neighbour is about to bid. One of skupper-router's listens only where it bids, and has refused our sender if
    /// this connection was not that one yet.
    func bidderAttached(_ ref: ConnectionRef) {
        guard isMeshPeer(ref), mesh.bidders[ref] == nil else { return }
        attachBidder(ref)
    }

    private func sendBid(_ ref: ConnectionRef, _ number: UInt64) {
        let message = EdgeMessages.bid(mesh.election.own)
        let worker = workers[ref.worker]
        worker.post { worker.sendMessage(message, on: ref.id, .number(number)) }
    }

    /// A neighbour's bid.
    func bidReceived(_ context: MessageContext) {
        guard let info = connections[context.connection]?.info, info.role == .interEdge,
            let bid = EdgeMessages.bid(in: context.head.applicationProperties)
        else {
            return Log.write(.core, .warning, "[C\(context.connection.id)] mesh bid without ordinal or id dropped")
        }
        // The connection is about to close, and nothing would take the bid away: it is no neighbour's.
        guard info.container != routerID else { return }
        let fresh = Core.newBid(id: randomText(MeshElection.idCount), using: &random)
        meshDecided(isOwnNew: mesh.election.heard(bid, from: info.container, fresh: fresh))
    }

    static func newBid(id: String, using random: inout SystemRandomNumberGenerator) -> MeshElection.Bid {
        MeshElection.Bid(
            ordinal: Clock.microseconds + Int64.random(in: 0..<1_000_000, using: &random), id: id)
    }

    private func meshDecided(isOwnNew: Bool) {
        if isOwnNew { for (ref, number) in mesh.bidders { sendBid(ref, number) } }
        let id = mesh.election.meshID
        guard id != meshID else { return }
        meshID = id
        Log.write(.core, .info, "mesh of edge routers is \(id)")
        announceMesh()
        tablesChanged()
    }
}

extension MeshElection {
    /// Octets of a mesh's name.
    static let idCount = 15
}
