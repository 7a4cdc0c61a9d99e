import AMQPCodec
import AMQPEndpoints

/// Links for long messages of clients, each on a session of its own.
///
/// A long message stops when its consumer has its fill, and what has arrived of it then holds a part of its session's
/// window. On a shared session, messages that wait for a slow consumer would take the window away from the very message
/// that this consumer is reading. TCP streams have windows of their own, from end to end, and do share a session.
extension AMQPConnection {
    /// Beyond so many, long messages share a session like streams do.
    static let messageLinkMaximum = 256

    /// Gives a long message a link, now or when one is attached.
    func startLongMessage(_ delivery: OutgoingDelivery) {
        while let link = idleMessageLinks.popLast() {
            link.isIdle = false
            if link.mayStart { return delivery.start(on: link) }
            // Out of credit: it comes back to the pool when the peer grants more.
        }
        guard messageLinkCount < AMQPConnection.messageLinkMaximum,
            waitingMessages.count < AMQPConnection.messageLinkMaximum
        else { return startStreaming(delivery) }
        waitingMessages.append(delivery)
        guard messageLinksAttaching < waitingMessages.count else { return }
        messageLinkCount += 1
        messageLinksAttaching += 1
        let capability = effectiveRole == .interRouter ? WireNames.routerData : nil
        _ = beginSession(.longMessage).attach(kind: .streaming, role: .sender, capability: capability)
    }

    /// The link has no message under way, not even one that its receiver still has to settle.
    func messageLinkFree(_ link: Link) {
        guard !link.isStarting, !link.isIdle else { return }
        link.isStarting = true
        defer { link.isStarting = false }
        while link.mayStart, link.session.outgoing.isEmpty, link.session.localLinks[link.localHandle] != nil {
            guard let delivery = waitingMessages.popFirst() else {
                link.isIdle = true
                return idleMessageLinks.append(link)
            }
            if !delivery.isCancelled { delivery.start(on: link) }
        }
    }

    /// A session of a long message is over, and its link with it. What waited for that link takes another way.
    func forgetLongMessages(on session: Session) {
        idleMessageLinks.removeAll { $0.session === session }
        messageLinkCount -= 1
        guard session.awaitsMessageLink else { return }
        session.awaitsMessageLink = false
        messageLinksAttaching -= 1
        guard phase == .frames, machine.state == .opened, let delivery = waitingMessages.popFirst() else { return }
        startStreaming(delivery)
    }

    /// Ends idle sessions of long messages beyond the number kept. Called in quiet times; returns how many.
    func trimMessageLinks(keep: Int, atMost: Int) -> Int {
        let links = idleMessageLinks.suffix(max(0, min(atMost, idleMessageLinks.count - keep)))
        idleMessageLinks.removeLast(links.count)
        for link in links { link.session.endOfOurs() }
        return links.count
    }
}

extension Session {
    /// Ends a session that we began and that nobody needs any more.
    func endOfOurs() {
        guard machine.state == .mapped else { return }
        connection.send(encodeFrame(channel: localChannel) { End(error: nil).encode(into: &$0) })
        try? machine.apply(.endSent)
        endDeliveries()
    }
}
