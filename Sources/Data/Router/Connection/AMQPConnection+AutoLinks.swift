import AMQPCodec
import AMQPEndpoints

/// Links that the control thread wants towards a container.
extension AMQPConnection {
    func attachAutoLink(_ rule: AutoLinks.Rule, number: UInt64) {
        guard phase == .frames, machine.state == .opened else { return }
        let session = endpointSession ?? beginSession(.endpoint)
        endpointSession = session
        var source = Source(capabilities: [])
        var target = Target(capabilities: [])
        let address = rule.externalAddress ?? rule.address
        switch rule.direction {
        case .incoming:
            source.address = address
            _ = session.attach(
                kind: .producer(rule.address), role: .receiver, source: source, target: target, number: number,
                isAutomatic: true)
        case .outgoing:
            target.address = address
            let key = worker.scope(rule.address ?? "").key
            _ = session.attach(
                kind: .consumer(key), role: .sender, source: source, target: target, number: number, isAutomatic: true)
        }
    }
}

extension Session {
    /// The peer's half of an automatic link. Without a terminus of the peer's it waits: a detach may follow.
    func automaticLinkAnswered(_ link: Link, _ attach: Attach) {
        let address = link.role == .receiver ? attach.source?.address : attach.target?.address
        guard address != nil else { return }
        link.senderSettleMode = attach.sndSettleMode
        link.receiverSettleMode = attach.rcvSettleMode
        link.sendsSettled = link.role == .sender && attach.sndSettleMode == 1
        connection.worker.linkAttached(link, connection: connection)
        connection.worker.automaticLinkAttached(link, connection: connection)
        if link.role == .receiver { giveFirstCredit(link) }
    }
}
