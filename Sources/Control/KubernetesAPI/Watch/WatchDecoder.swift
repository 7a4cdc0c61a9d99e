import ControlIO

/// What a watch says happened.
package enum WatchEvent: Hashable, Sendable {
    /// An object is new or has changed.
    case changed(Document)
    /// An object is gone; its last state.
    case deleted(Document)
    /// Nothing happened up to this resource version.
    case bookmark(resourceVersion: String)
    /// The server ends the watch for a reason; 410 means that the version asked for is no longer kept.
    case failure(APIFault)
}

/// Cuts the stream of a watch (one JSON object a line) into events. Pure.
package struct WatchDecoder: Sendable {
    /// The largest event, octets. An object has at most about 1.5 MiB in any API server.
    package static let eventLimit = 4 << 20

    private let limit: Int
    private var line: [UInt8] = []

    /// - Parameter limit: the largest event, octets.
    package init(limit: Int = WatchDecoder.eventLimit) { self.limit = limit }

    /// True when the stream so far ends within an event: ended there, that event was cut off and is to be ignored.
    package var isWithinEvent: Bool { !line.isEmpty }

    /// Takes the next octets of the stream and gives the events that are complete with them.
    ///
    /// After it throws, the stream cannot be read on: the watch must be ended.
    package mutating func feed(_ bytes: UnsafeRawBufferPointer) throws(APIFault) -> [WatchEvent] {
        var events: [WatchEvent] = []
        var start = bytes.startIndex
        while start < bytes.endIndex {
            let rest = bytes[start...]
            let end = rest.firstIndex(of: UInt8(ascii: "\n"))
            line.append(contentsOf: rest[start..<(end ?? bytes.endIndex)])
            guard line.count <= limit else {
                throw .notUnderstood("an event of a watch is larger than \(limit) bytes")
            }
            guard let end else { break }
            start = end + 1
            if !line.allSatisfy({ $0 == 0x20 || $0 == 0x0d }), let event = try Self.event(line) { events.append(event) }
            line.removeAll(keepingCapacity: line.capacity <= 64 << 10)
        }
        return events
    }

    /// The event of one line; nil for a kind of event that is not known, which later servers may send.
    private static func event(_ line: [UInt8]) throws(APIFault) -> WatchEvent? {
        guard let content = ServerJSON.parse(line), let type = content["type"]?.stringValue,
            let object = content["object"], object.mapValue != nil
        else {
            throw .notUnderstood("a watch sent something that is no event")
        }
        switch type {
        case "ADDED", "MODIFIED": return .changed(object)
        case "DELETED": return .deleted(object)
        case "BOOKMARK":
            guard let version = object.value(at: "metadata.resourceVersion")?.stringValue, !version.isEmpty else {
                throw .notUnderstood("a watch sent a bookmark without a resourceVersion")
            }
            return .bookmark(resourceVersion: version)
        case "ERROR":
            let seconds = object.value(at: "details.retryAfterSeconds")?.intValue ?? 0
            return .failure(
                .answer(
                    status: object["code"]?.intValue.flatMap { Int(exactly: $0) } ?? 500,
                    reason: object["reason"]?.stringValue ?? "", message: object["message"]?.stringValue ?? "",
                    retryAfterSeconds: Int(max(0, min(seconds, 3600)))))
        default: return nil
        }
    }
}
