import AMQPCodec
import AMQPEndpoints

/// Answers to attaches that wait until every loop knows the consumer, and those that wait behind them.
extension Session {
    /// Sends the attach of a consumer that every loop knows now, when those before it are sent; of a link that is about
    /// to be detached at once.
    func releaseAttach(_ link: Link, atOnce: Bool = false) {
        guard link.heldAttach != nil else { return }
        link.isAnswerDue = true
        if atOnce { sendHeldAttach(link) }
        while let first = heldLinks.first, first.isAnswerDue {
            _ = heldLinks.popFirst()
            sendHeldAttach(first)
        }
    }

    private func sendHeldAttach(_ link: Link) {
        guard let held = link.heldAttach else { return }
        link.heldAttach = nil
        sendAttach(link, source: held.source, target: held.target)
        if link.role == .receiver { giveFirstCredit(link) } else { link.creditArrived(echo: false) }
    }
}
