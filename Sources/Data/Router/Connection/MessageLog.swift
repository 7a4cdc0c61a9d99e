import AMQPCodec

/// Messages in the log module MESSAGE, for connections of listeners and connectors with `messageLoggingComponents`.
///
/// What is shown is settled when a connection begins, so that others pay nothing for it; whether the module writes
/// debug lines is looked at for each message. TCP streams are no messages: they are not shown.
extension AMQPConnection {
    private var logsMessages: Bool { !settings.loggedParts.isEmpty && Log.isEnabled(.message, .debug) }

    /// A message whose head is known has arrived on `link`.
    func logReceived(_ head: MessageHead, _ bytes: UnsafeRawPointer, _ count: Int, on link: Link) {
        guard logsMessages else { return }
        let flags = takesAnnotations ? head.annotations?.flags ?? 0 : 0
        if flags & RouterAnnotations.disableQ2 != 0 { return }
        let octets = UnsafeRawBufferPointer(start: bytes, count: min(count, head.bodyOffset))
        logMessage("Received", MessageText.text(of: octets, parts: settings.loggedParts), link)
    }

    /// All of a message has been sent.
    func logSent(_ text: String, on link: Link) { logMessage("Sent", text, link) }

    private func logMessage(_ what: String, _ text: String, _ link: Link) {
        Log.write(.message, .debug, "[C\(ref.id)] \(what) \(text) on link \(link.logText)")
    }

    /// What is to be logged of a message of this router's own; nil = nothing.
    func logText(of message: [UInt8]) -> String? {
        guard logsMessages else { return nil }
        return message.withUnsafeBytes { MessageText.text(of: $0, parts: settings.loggedParts) }
    }

    /// What a message is to be delivered to that leaves as `delivery`.
    func logging(_ delivery: OutgoingDelivery) -> DeliveryEnd {
        logsMessages ? LoggedDelivery(delivery, parts: settings.loggedParts) : delivery
    }
}

extension Link {
    /// Name and addresses, of limited length, with nothing in them that ends a line.
    fileprivate var logText: String {
        let address =
            switch kind {
            case .producer(let own): own ?? ""
            case .consumer(let key): String(key.dropFirst())
            case .proxy(let own): own
            default: ""
            }
        let name = MessageText.quoted(name.utf8, limit: Link.logMaximum)
        let shown = MessageText.quoted(address.utf8, limit: Link.logMaximum)
        return role == .sender ? "'\(name)' (\(shown) -> )" : "'\(name)' ( -> \(shown))"
    }

    /// Octets shown of a link's name, and of its address.
    private static let logMaximum = 200
}

/// Stands in front of a message that leaves, and keeps its head until it is whole. Only where messages are logged.
private final class LoggedDelivery: DeliveryEnd {
    private let delivery: OutgoingDelivery
    private let parts: MessageParts
    private var head: [UInt8] = []
    private var scanner = MessageHeadScanner()

    init(_ delivery: OutgoingDelivery, parts: MessageParts) {
        self.delivery = delivery
        self.parts = parts
    }

    override func deliver(_ bytes: UnsafeMutableRawPointer, _ count: Int, headroom: Bool) {
        if delivery.logText == nil {
            head.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: min(count, MessageHead.maximumBytes)))
            look()
        }
        delivery.deliver(bytes, count, headroom: headroom)
    }

    private func look() {
        let result = head.withUnsafeBytes { octets in try? scanner.scan(octets, complete: false) }
        if result != .needMore { note() }
    }

    private func note() {
        delivery.logText = head.withUnsafeBytes { MessageText.text(of: $0, parts: parts) }
        head = []
    }

    override func finish(settled: Bool) {
        if delivery.logText == nil { note() }
        delivery.finish(settled: settled)
    }

    override func abort() { delivery.abort() }
    override func settledByProducer(_ state: DeliveryState) { delivery.settledByProducer(state) }
    override var isReady: Bool { delivery.isReady }
}
