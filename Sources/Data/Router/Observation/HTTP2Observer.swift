/// Follows HTTP/2 (RFC 9113) on one connection: frames are passed over where they lie, but for header blocks, which
/// have to be uncompressed, all of them and in order.
final class HTTP2Observer {
    /// What a client says first.
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    /// Requests followed at a time; further ones are not recorded.
    static let streamMaximum = 256

    private enum FrameType {
        static let data: UInt8 = 0
        static let headers: UInt8 = 1
        static let reset: UInt8 = 3
        static let settings: UInt8 = 4
        static let promise: UInt8 = 5
        static let continuation: UInt8 = 9
    }

    private enum Flag {
        static let endStream: UInt8 = 0x1
        static let acknowledge: UInt8 = 0x1
        static let endHeaders: UInt8 = 0x4
        static let padded: UInt8 = 0x8
        static let priority: UInt8 = 0x20
    }

    private static let headCount = 9
    private static let headerTableSize: UInt64 = 1

    /// One direction.
    private struct Reader {
        let isClient: Bool
        let inflater: HeaderInflater
        var prefaceLeft: Int
        // The frame
        var headSeen = 0
        var length = 0
        var type: UInt8 = 0
        var flags: UInt8 = 0
        var stream: UInt32 = 0
        /// Octets of the payload still to come.
        var left = 0
        // A frame with a part of a header block
        var needsPadLength = false
        /// Octets before the block.
        var before = 0
        var padding = 0
        // The block, of one frame or several
        var isInBlock = false
        var endsStream = false
        var exchange: Exchange?
        // Settings
        var setting: UInt64 = 0
        var settingSeen = 0
    }

    private let log: ExchangeLog
    private var client: Reader
    private var server: Reader
    private var open: [UInt32: Exchange] = [:]
    /// The highest stream that a request has begun; numbers of requests rise.
    private var lastStream: UInt32 = 0

    /// Nil when too many such connections are observed, or without memory.
    init?(log: ExchangeLog) {
        guard log.takeTables() else { return nil }
        guard let requests = HeaderInflater(), let responses = HeaderInflater() else {
            log.giveBackTables()
            return nil
        }
        self.log = log
        client = Reader(isClient: true, inflater: requests, prefaceLeft: HTTP2Observer.preface.count)
        server = Reader(isClient: false, inflater: responses, prefaceLeft: 0)
    }

    deinit { log.giveBackTables() }

    /// Looks at octets that pass; false = this is not HTTP/2, and nothing more can be said.
    func observe(fromClient: Bool, _ octets: OctetCursor) -> Bool {
        fromClient ? run(&client, octets) : run(&server, octets)
    }

    /// Tells what is new of the requests under way.
    func tellChanges() { for exchange in open.values { log.tellChange(of: exchange) } }

    /// The connection has closed, or observation ends.
    func end() {
        for exchange in open.values { log.end(exchange) }
        open = [:]
    }

    private func run(_ reader: inout Reader, _ octets: OctetCursor) -> Bool {
        var rest = octets
        while !rest.isEmpty {
            if reader.prefaceLeft > 0 {
                let expected = HTTP2Observer.preface[HTTP2Observer.preface.count - reader.prefaceLeft]
                guard rest.take(1)[0] == expected else { return false }
                reader.prefaceLeft -= 1
            } else if reader.headSeen < HTTP2Observer.headCount {
                takeHead(&reader, rest.take(1)[0])
                if reader.headSeen == HTTP2Observer.headCount {
                    guard frameBegins(&reader) else { return false }
                    if reader.left == 0, !frameEnds(&reader) { return false }
                }
            } else {
                guard payload(&reader, &rest) else { return false }
                if reader.left == 0, !frameEnds(&reader) { return false }
            }
        }
        return true
    }

    private func takeHead(_ reader: inout Reader, _ octet: UInt8) {
        switch reader.headSeen {
        case 0: reader.length = Int(octet)
        case 1, 2: reader.length = reader.length << 8 | Int(octet)
        case 3: reader.type = octet
        case 4: reader.flags = octet
        case 5: reader.stream = UInt32(octet & 0x7F)
        default: reader.stream = reader.stream << 8 | UInt32(octet)
        }
        reader.headSeen += 1
    }

    // MARK: Frames

    private func frameBegins(_ reader: inout Reader) -> Bool {
        reader.left = reader.length
        // Nothing comes between the frames of a header block.
        if reader.isInBlock != (reader.type == FrameType.continuation) { return false }
        switch reader.type {
        case FrameType.data: dataBegins(reader)
        case FrameType.headers: headersBegin(&reader)
        case FrameType.promise:
            // The response to a request that was not made: not recorded, but its block changes the table.
            guard !reader.isClient else { return false }
            blockBegins(&reader, before: 4)
        case FrameType.reset:
            streamEnded(reader.stream)
        case FrameType.settings: reader.settingSeen = 0
        default: return true
        }
        if reader.type == FrameType.headers || reader.type == FrameType.promise { return reader.inflater.begin() }
        return true
    }

    private func dataBegins(_ reader: Reader) {
        guard let exchange = open[reader.stream] else { return }
        if reader.isClient {
            exchange.report.octets &+= UInt64(reader.length)
        } else {
            exchange.report.octetsReverse &+= UInt64(reader.length)
            if reader.flags & Flag.endStream != 0 { streamEnded(reader.stream) }
        }
    }

    private func headersBegin(_ reader: inout Reader) {
        blockBegins(&reader, before: reader.flags & Flag.priority == 0 ? 0 : 5)
        reader.endsStream = reader.flags & Flag.endStream != 0
        reader.exchange = open[reader.stream]
        if reader.isClient {
            // A second block of a request is its trailers, which may come when the response has ended.
            guard reader.stream > lastStream else { return }
            lastStream = reader.stream
            guard open.count < HTTP2Observer.streamMaximum else { return }
            let exchange = log.begin("HTTP/2", streamID: reader.stream)
            open[reader.stream] = exchange
            reader.exchange = exchange
        } else if let exchange = reader.exchange {
            log.answered(exchange)
        }
    }

    private func blockBegins(_ reader: inout Reader, before: Int) {
        reader.isInBlock = true
        reader.endsStream = false
        reader.exchange = nil
        reader.needsPadLength = reader.flags & Flag.padded != 0
        reader.before = before
        reader.padding = 0
    }

    private func payload(_ reader: inout Reader, _ rest: inout OctetCursor) -> Bool {
        switch reader.type {
        case FrameType.headers, FrameType.promise, FrameType.continuation: return block(&reader, &rest)
        case FrameType.settings where reader.flags & Flag.acknowledge == 0:
            reader.left -= 1
            settingOctet(&reader, rest.take(1)[0])
        default:
            let taken = min(reader.left, rest.count)
            rest.take(taken)
            reader.left -= taken
        }
        return true
    }

    private func block(_ reader: inout Reader, _ rest: inout OctetCursor) -> Bool {
        if reader.needsPadLength {
            reader.needsPadLength = false
            reader.padding = Int(rest.take(1)[0])
            reader.left -= 1
            return reader.padding + reader.before <= reader.left
        }
        if reader.before > 0 {
            let taken = min(reader.before, rest.count)
            guard reader.left >= reader.before else { return false }
            rest.take(taken)
            reader.before -= taken
            reader.left -= taken
            return true
        }
        if reader.left > reader.padding {
            let taken = min(reader.left - reader.padding, rest.count)
            reader.left -= taken
            let fields = fields(reader)
            return reader.inflater.feed(rest.take(taken), fields)
        }
        let taken = min(reader.left, rest.count)
        rest.take(taken)
        reader.left -= taken
        return true
    }

    private func frameEnds(_ reader: inout Reader) -> Bool {
        reader.headSeen = 0
        guard reader.isInBlock else { return true }
        guard !reader.needsPadLength, reader.before == 0 else { return false }
        reader.padding = 0
        guard reader.flags & Flag.endHeaders != 0 else { return true }
        let fields = fields(reader)
        guard reader.inflater.end(fields) else { return false }
        reader.isInBlock = false
        if !reader.isClient, reader.endsStream { streamEnded(reader.stream) }
        reader.exchange = nil
        return true
    }

    private func streamEnded(_ stream: UInt32) {
        if let exchange = open.removeValue(forKey: stream) { log.end(exchange) }
    }

    // MARK: Contents

    private func fields(
        _ reader: Reader
    ) -> (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void {
        let exchange = reader.exchange
        let isClient = reader.isClient
        return { name, value in
            guard let exchange else { return }
            if isClient {
                if name.elementsEqual(":method".utf8) {
                    exchange.report.method = String(decoding: value.prefix(Exchange.longestName), as: UTF8.self)
                } else if name.elementsEqual("x-forwarded-for".utf8) {
                    exchange.noteForwarded(value)
                }
            } else if name.elementsEqual(":status".utf8), value.count == 3, value[0] != UInt8(ascii: "1") {
                exchange.report.result = String(decoding: value, as: UTF8.self)
            }
        }
    }

    private func settingOctet(_ reader: inout Reader, _ octet: UInt8) {
        reader.setting = reader.setting << 8 | UInt64(octet)
        reader.settingSeen += 1
        guard reader.settingSeen == 6 else { return }
        reader.settingSeen = 0
        guard reader.setting >> 32 & 0xFFFF == HTTP2Observer.headerTableSize else { return }
        // What one side says of its table holds for what the other one writes.
        let other = reader.isClient ? server.inflater : client.inflater
        other.allow(UInt32(truncatingIfNeeded: reader.setting))
    }
}
