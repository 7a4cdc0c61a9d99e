import AMQPCodec

/// One delivery of a recorded connection, put together from its transfers.
package struct RecordedMessage: Sendable {
    package let side: RecordedUnit.Side
    /// Name of the link it came on.
    package let link: String
    /// Number of its session, as its sender counts.
    package let channel: UInt16
    /// Every section, and what is behind them.
    package private(set) var octets: [UInt8] = []
    /// The payload of each of its transfers.
    package private(set) var parts: [[UInt8]] = []
    /// Its last transfer has come; an aborted one is whole too.
    package private(set) var isWhole = false
    package private(set) var isAborted = false
    /// Its sender settled it with one of its transfers.
    package private(set) var isSettled = false

    fileprivate init(side: RecordedUnit.Side, link: String, channel: UInt16) {
        self.side = side
        self.link = link
        self.channel = channel
    }

    fileprivate mutating func take(_ transfer: Transfer, _ payload: [UInt8]) {
        octets += payload
        parts.append(payload)
        isSettled = isSettled || transfer.settled == true
        isAborted = transfer.aborted
        isWhole = !transfer.more || transfer.aborted
    }

    /// The message's head; throws when there is none.
    package func head() throws -> MessageHead {
        try octets.withUnsafeBytes { buffer in
            guard case .head(let head) = try MessageHead.scan(buffer, complete: isWhole) else {
                throw FixtureError(description: "a message on \(link) without a whole head")
            }
            return head
        }
    }

    /// The value of an amqp-value body; nil for another body or none.
    package func body() throws -> AMQPValue? {
        let start = try head().bodyOffset
        return try octets.withUnsafeBytes { buffer in
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: buffer[start...]))
            guard reader.remaining > 0, case .described(.ulong(0x77), let value) = try AMQPValue.decode(from: &reader)
            else { return nil }
            return value
        }
    }
}

extension RecordedUnit {
    /// Channel, performative and what follows it; nil for headers, SASL and heartbeats. The tag of a transfer must not
    /// be looked at: it points into memory that is gone.
    package func performative() throws -> (channel: UInt16, performative: Performative, payload: [UInt8])? {
        guard !isProtocolHeader else { return nil }
        return try octets.withUnsafeBytes { all in
            guard let start = all.baseAddress else { return nil }
            let header = FrameHeader.decode(start)
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: all[(Int(header.doff) * 4)...]))
            guard header.type == 0, reader.remaining > 0 else { return nil }
            let performative = try Performative.decode(from: &reader)
            return (header.channel, performative, Array(try reader.bytes(reader.remaining)))
        }
    }

    /// A frame of the SASL layer; nil for everything else.
    package func saslFrame() throws -> SASLFrame? {
        guard !isProtocolHeader else { return nil }
        return try octets.withUnsafeBytes { all in
            guard let start = all.baseAddress, FrameHeader.decode(start).type == 1 else { return nil }
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: all[8...]))
            return try SASLFrame.decode(from: &reader)
        }
    }
}

extension RecordedConnection {
    /// All performatives of a side, in order.
    package func performatives(_ side: RecordedUnit.Side) throws -> [Performative] {
        try units.filter { $0.side == side }.compactMap { try $0.performative()?.performative }
    }

    /// The Open of a side.
    package func open(_ side: RecordedUnit.Side) throws -> Open {
        for case .open(let open) in try performatives(side) { return open }
        throw FixtureError(description: "\(name): \(side) does not open")
    }

    /// The attaches of a side, in order.
    package func attaches(_ side: RecordedUnit.Side) throws -> [Attach] {
        try performatives(side).compactMap { if case .attach(let attach) = $0 { attach } else { nil } }
    }

    /// All messages, in the order in which they begin; the last ones may not be whole.
    package func messages() throws -> [RecordedMessage] {
        struct Place: Hashable {
            var side: RecordedUnit.Side
            var channel: UInt16
            var handle: UInt32
        }
        var links: [Place: String] = [:]
        var open: [Place: Int] = [:]
        var messages: [RecordedMessage] = []
        for unit in units {
            guard let (channel, performative, payload) = try unit.performative() else { continue }
            switch performative {
            case .attach(let attach):
                links[Place(side: unit.side, channel: channel, handle: attach.handle)] = attach.name
            case .transfer(let transfer):
                let place = Place(side: unit.side, channel: channel, handle: transfer.handle)
                if open[place] == nil {
                    open[place] = messages.count
                    messages.append(RecordedMessage(side: unit.side, link: links[place] ?? "", channel: channel))
                }
                guard let index = open[place] else { continue }
                messages[index].take(transfer, payload)
                if messages[index].isWhole { open[place] = nil }
            default: break
            }
        }
        return messages
    }
}
