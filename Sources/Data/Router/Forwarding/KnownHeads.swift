import AMQPCodec
import Glibc

/// The head of a TCP stream message, ready but for the name of the stream in it.
///
/// Heads of one service differ from stream to stream in nothing but those 15 characters, so a new stream costs a copy
/// and no encoding.
struct StreamHead: Sendable {
    private let bytes: [UInt8]
    private let nameOffset: Int

    /// - Parameters:
    ///   - bytes: a whole head.
    ///   - name: as it stands in the head, ``StreamRef/textCount`` octets.
    init?(_ bytes: [UInt8], name: Substring.UTF8View) {
        guard let offset = bytes.withUnsafeBytes({ StreamHead.offset(of: Array(name), in: $0) }) else { return nil }
        self.bytes = bytes
        nameOffset = offset
    }

    /// The head with another name in it.
    func named(_ name: some Sequence<UInt8>) -> [UInt8] {
        var result = bytes
        result.withUnsafeMutableBytes { buffer in
            var offset = nameOffset
            for character in name {
                guard offset < nameOffset + StreamRef.textCount else { break }
                buffer[offset] = character
                offset += 1
            }
        }
        return result
    }

    /// Where `name` stands, if it stands in one place only.
    static func offset(of name: [UInt8], in buffer: UnsafeRawBufferPointer) -> Int? {
        guard name.count == StreamRef.textCount, buffer.count >= name.count else { return nil }
        var found: Int?
        for start in 0...(buffer.count - name.count) where buffer[start] == name[0] {
            guard buffer[start..<(start + name.count)].elementsEqual(name) else { continue }
            if found != nil { return nil }
            found = start
        }
        return found
    }
}

/// Heads of stream messages seen lately on one loop: one that differs in its stream's name only is not decoded again.
///
/// Nothing is taken on trust: octets that are equal decode to the same fields, and the octets that may differ are
/// checked to be what a name consists of.
struct KnownHeads {
    /// What is known of a head.
    struct Entry {
        /// Octets of the message up to its payload.
        let bytes: [UInt8]
        let nameOffset: Int
        let head: MessageHead
        /// The name is that of one of this router's streams, in `to`; otherwise it is in `reply-to`.
        let isReply: Bool
        /// `reply-to` without the name.
        let replyPrefix: String
        let farWindow: WindowOffer?
    }

    enum Match {
        /// A reply stream for a stream of this router.
        case reply(StreamRef, payloadOffset: Int, farWindow: WindowOffer?)
        /// A stream to a service, with its own `reply-to`.
        case service(MessageHead)
    }

    private var entries: [Entry] = []
    private var next = 0
    /// A few services and neighbours are hot at a time; more would make the search cost what it saves.
    private static let maximum = 4
    private static let longest = 512

    /// Looks a message's first octets up.
    func find(_ bytes: UnsafeRawPointer, _ count: Int) -> Match? {
        for index in entries.indices {
            let matches = entries[index].bytes.withUnsafeBytes { known -> Bool in
                guard let base = known.baseAddress, known.count <= count else { return false }
                let offset = entries[index].nameOffset
                let behind = offset + StreamRef.textCount
                return memcmp(base, bytes, offset) == 0
                    && memcmp(base + behind, bytes + behind, known.count - behind) == 0
            }
            guard matches else { continue }
            let name = UnsafeRawBufferPointer(start: bytes + entries[index].nameOffset, count: StreamRef.textCount)
            guard let ref = StreamRef(name: name) else { return nil }
            if entries[index].isReply {
                return .reply(ref, payloadOffset: entries[index].bytes.count, farWindow: entries[index].farWindow)
            }
            var head = entries[index].head
            head.properties?.replyTo = entries[index].replyPrefix + String(decoding: name, as: UTF8.self)
            return .service(head)
        }
        return nil
    }

    /// Remembers the head of a stream message that was decoded the long way.
    ///
    /// - Parameter scope: where addresses lead, seen from this router.
    mutating func learn(_ head: MessageHead, _ bytes: UnsafeRawPointer, scope: (String) -> AddressScope) {
        guard let payload = head.afterNullBody, payload <= KnownHeads.longest, head.annotations?.toOverride == nil,
            let properties = head.properties, properties.contentType == Worker.streamContentType,
            properties.correlationID == .null  // a name that no other stream has
        else { return }
        let isReply = properties.replyTo == nil
        guard let address = properties.replyTo ?? properties.to, address.utf8.count > StreamRef.textCount + 5 else {
            return
        }
        let name = address.utf8.suffix(StreamRef.textCount)
        if isReply {
            guard case .local(let local) = scope(address), local.utf8.starts(with: "temp.t".utf8)
            else { return }
        }
        let buffer = UnsafeRawBufferPointer(start: bytes, count: payload)
        guard let offset = StreamHead.offset(of: Array(name), in: buffer),
            StreamRef(name: UnsafeRawBufferPointer(rebasing: buffer[offset..<(offset + StreamRef.textCount)])) != nil
        else { return }
        let entry = Entry(
            bytes: Array(buffer), nameOffset: offset, head: head, isReply: isReply,
            replyPrefix: String(decoding: address.utf8.dropLast(StreamRef.textCount), as: UTF8.self),
            farWindow: head.streamWindow)
        if entries.count < KnownHeads.maximum {
            entries.append(entry)
        } else {
            entries[next] = entry
            next = (next + 1) % KnownHeads.maximum
        }
    }
}

/// How the reply to the streams of one neighbouring client router leaves: found once, used for each of its streams.
struct ReplyRoute {
    /// The reply address without the stream's name.
    let prefix: String
    let routerID: String
    let head: StreamHead
    /// The head asks for caution.
    let isCautious: Bool

    /// True when `address` differs from the one this was made for in its name only.
    func leads(to address: String) -> Bool {
        address.utf8.count == prefix.utf8.count + StreamRef.textCount && address.utf8.starts(with: prefix.utf8)
    }
}

extension MessageHead {
    /// What the writer of a stream's head takes of one stream; nil when it is not a router of ours.
    var streamWindow: WindowOffer? {
        var most: UInt64?
        var first: UInt64?
        for entry in applicationProperties {
            if case .string(Worker.windowProperty) = entry.key { most = entry.value.uintValue }
            if case .string(Worker.firstWindowProperty) = entry.key { first = entry.value.uintValue }
        }
        return most.map { WindowOffer(most: $0, first: first) }
    }
}
