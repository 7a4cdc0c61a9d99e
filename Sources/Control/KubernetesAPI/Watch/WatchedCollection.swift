import CLibcurl
import ControlIO

/// One collection of a `ClusterWatcher`; belongs to its thread once added.
final class WatchedCollection: @unchecked Sendable {
    let resource: APIResource
    let namespace: String?
    let labels: String
    let fields: String
    let deliver: @Sendable (WatchDelivery) -> Void
    var reflector: Reflector
    /// When to go on after a wait, milliseconds of `MonotonicTime`.
    var due: UInt64?
    var transfer: WatchTransfer?
    /// Whether the next request must not use a connection that there is.
    var mustReconnect = false
    /// Set while a request has been begun and not yet been given to the connection.
    var isNew = false

    init(
        _ resource: APIResource, namespace: String?, labels: String, fields: String,
        deliver: @escaping @Sendable (WatchDelivery) -> Void
    ) {
        self.resource = resource
        self.namespace = namespace
        self.labels = labels
        self.fields = fields
        self.deliver = deliver
        reflector = Reflector(resource)
    }

    /// Whether its request cannot go on although libcurl has not ended it.
    var isOverdue: Bool { transfer?.refusal != nil }

    /// When its watch counts as dead unless something comes; nil without a watch.
    func silentAt(_ patience: UInt64) -> UInt64? {
        guard let transfer, transfer.isWatch else { return nil }
        return transfer.lastHeard + patience
    }

    func listRequest(_ limit: Int, _ next: String) -> APIRequest {
        var request = APIClient.page(resource, namespace: namespace, labels: labels, limit: limit, next: next)
        if !fields.isEmpty { request.query.append(("fieldSelector", fields)) }
        return request
    }

    func watchRequest(_ resourceVersion: String, _ seconds: Int) -> APIRequest {
        var request = APIRequest(.get, resource.path(namespace: namespace))
        request.query = [
            ("watch", "true"), ("resourceVersion", resourceVersion), ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", String(seconds)),
        ]
        if !labels.isEmpty { request.query.append(("labelSelector", labels)) }
        if !fields.isEmpty { request.query.append(("fieldSelector", fields)) }
        // The server ends the watch at its time; a server that does not is left to itself.
        request.timeoutMilliseconds = (seconds + 30) * 1000
        request.answerLimit = 1 << 20
        return request
    }
}

/// A request of a collection that goes on; frees its handle.
final class WatchTransfer {
    let handle: UnsafeMutableRawPointer
    let isWatch: Bool
    /// The most octets of an answer that is no stream of events.
    let limit: Int
    let begun = MonotonicTime.milliseconds()
    /// When octets came last, milliseconds of `MonotonicTime`.
    private(set) var lastHeard = MonotonicTime.milliseconds()
    var prepared: PreparedRequest?
    /// The answer, unless it is a stream of events.
    var bytes: [UInt8] = []
    var decoder = WatchDecoder()
    /// Events received and not yet taken in.
    var events: [WatchEvent] = []
    /// Why what came is not taken.
    var refusal: APIFault?
    /// How the request ended.
    var end: Result<Void, APIFault>?

    init(_ handle: UnsafeMutableRawPointer, isWatch: Bool, limit: Int) {
        self.handle = handle
        self.isWatch = isWatch
        self.limit = limit
    }

    deinit { curl_easy_cleanup(handle) }

    /// The HTTP status; 0 before it came.
    var status: Int {
        var status = 0
        _ = ccurl_getinfo_long(handle, CURLINFO_RESPONSE_CODE, &status)
        return status
    }

    /// Whether an answer came: a watch without events has sent its head only.
    var hasBegun: Bool { status != 0 }

    /// Takes octets of the answer; false when the request is to be ended.
    func take(_ content: UnsafeRawBufferPointer) -> Bool {
        lastHeard = MonotonicTime.milliseconds()
        if isWatch, status == 200 {
            do {
                events += try decoder.feed(content)
                return true
            } catch {
                refusal = error
                return false
            }
        }
        guard bytes.count + content.count <= limit else {
            refusal = .notUnderstood("an answer of the API server is larger than \(limit) bytes")
            return false
        }
        bytes.append(contentsOf: content)
        return true
    }
}

/// libcurl's callback for octets of a collection's request; taking fewer than given makes libcurl end it.
func receiveWatch(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let data, let context else { return 0 }
    let collection = Unmanaged<WatchedCollection>.fromOpaque(context).takeUnretainedValue()
    guard let transfer = collection.transfer else { return 0 }
    let length = size * count
    return transfer.take(UnsafeRawBufferPointer(start: data, count: length)) ? length : 0
}
