import CLibcurl
import ControlIO
import Glibc
import Threading

/// Keeps copies of any number of collections up to date on one thread, all over one connection where the server speaks
/// HTTP/2. Between events the thread sleeps.
///
/// `@unchecked Sendable`: what is asked of it from outside goes through a lock; the rest belongs to its thread.
package final class ClusterWatcher: @unchecked Sendable {
    private enum Order {
        case add(WatchedCollection)
        case stop
    }

    private let client: APIClient
    private let multi: UnsafeMutableRawPointer
    private let orders = Locked<[Order]>([])
    private var collections: [WatchedCollection] = []
    private var byHandle: [UnsafeMutableRawPointer: WatchedCollection] = [:]
    private var thread: WorkThread?
    private let patience: UInt64

    /// - Parameters:
    ///   - environment: variables that credential plugins get beside those of this process.
    ///   - patienceMilliseconds: how long a watch may be silent before it is begun anew over a new connection. A server
    ///     sends bookmarks about once a minute; a peer that vanished sends nothing, not even an end.
    package init(
        _ access: ClusterAccess, environment: [(String, String)] = [], patienceMilliseconds: Int = 150_000
    ) throws(APIFault) {
        patience = UInt64(max(1, patienceMilliseconds))
        client = try APIClient(access, environment: environment)
        guard let multi = curl_multi_init() else { throw .notUnderstood("libcurl cannot be started: memory may "
            + "be short") }
        self.multi = multi
    }

    deinit { curl_multi_cleanup(multi) }

    /// Starts to watch a collection, also while the watcher runs.
    /// - Parameters:
    ///   - namespace: nil for all namespaces.
    ///   - labels: a label selector; empty for all objects.
    ///   - fields: a field selector; empty for all objects.
    ///   - deliver: called on the watcher's thread for each change. All watches wait while it runs, so it should do
    /// no more
    ///     than put the object into a map and its key into a queue.
    package func add(
        _ resource: APIResource, namespace: String?, labels: String = "", fields: String = "",
        deliver: @escaping @Sendable (WatchDelivery) -> Void
    ) {
        let collection = WatchedCollection(
            resource, namespace: namespace, labels: labels, fields: fields, deliver: deliver)
        orders.withLock { $0.append(.add(collection)) }
        curl_multi_wakeup(multi)
    }

    /// Begins. Call once. False when no thread can be started.
    package func start() -> Bool {
        thread = WorkThread { self.run() }
        return thread != nil
    }

    /// Ends all watches and waits for the thread; nothing is delivered afterwards.
    package func stop() {
        orders.withLock { $0.append(.stop) }
        curl_multi_wakeup(multi)
        thread?.join()
        thread = nil
    }

    // MARK: The thread

    private func run() {
        while takeOrders() {
            var running: Int32 = 0
            curl_multi_perform(multi, &running)
            finishTransfers()
            let now = MonotonicTime.milliseconds()
            for collection in collections where collection.due.map({ $0 <= now }) ?? false {
                collection.due = nil
                carryOut(collection.reflector.waited(random: Self.random()), collection)
            }
            for collection in collections where collection.isOverdue { end(collection) }
            for collection in collections where collection.silentAt(patience).map({ $0 <= now }) ?? false {
                giveUp(collection)
            }
            // Requests begun just now are sent by the next perform, which must not wait.
            curl_multi_poll(multi, nil, 0, timeToSleep(), nil)
        }
        for collection in collections { abandon(collection) }
        collections = []
    }

    /// Ends a watch that is silent for too long. One whose answer has begun goes on from where it was; one without any
    /// answer has failed.
    private func giveUp(_ collection: WatchedCollection) {
        guard let transfer = collection.transfer else { return }
        let cause = HTTPClientError.timeout(milliseconds: Int(patience))
        transfer.end = transfer.hasBegun ? .success(()) : .failure(.transport(cause, server: client.access.server))
        collection.mustReconnect = true
        end(collection)
    }

    /// False when it is time to end.
    private func takeOrders() -> Bool {
        let taken = orders.withLock { orders in
            defer { orders = [] }
            return orders
        }
        for order in taken {
            guard case .add(let collection) = order else { return false }
            collections.append(collection)
            carryOut(collection.reflector.start(), collection)
        }
        return true
    }

    private func timeToSleep() -> Int32 {
        if collections.contains(where: { $0.isNew || $0.isOverdue }) {
            for collection in collections { collection.isNew = false }
            return 0
        }
        let times = collections.compactMap(\.due) + collections.compactMap { $0.silentAt(patience) }
        guard let next = times.min() else { return 3_600_000 }
        let now = MonotonicTime.milliseconds()
        return next > now ? Int32(min(next - now, 3_600_000)) : 0
    }

    private static func random() -> UInt64 { .random(in: .min ... .max) }

    // MARK: Effects

    private func carryOut(_ effects: [Reflector.Effect], _ collection: WatchedCollection) {
        for effect in effects {
            switch effect {
            case .deliver(let delivery): collection.deliver(delivery)
            case .wait(let milliseconds): collection.due = MonotonicTime.milliseconds() + UInt64(max(0, milliseconds))
            case .abandonWatch: abandon(collection)
            case .list(let limit, let next): begin(collection, collection.listRequest(limit, next), isWatch: false)
            case .watch(let version, let seconds):
                begin(collection, collection.watchRequest(version, seconds), isWatch: true)
            }
        }
    }

    private func begin(_ collection: WatchedCollection, _ request: APIRequest, isWatch: Bool) {
        abandon(collection)
        do {
            guard let handle = curl_easy_init() else { throw APIFault.notUnderstood("libcurl has no memory") }
            let transfer = WatchTransfer(handle, isWatch: isWatch, limit: request.answerLimit)
            transfer.prepared = try client.prepare(handle, request)
            _ = ccurl_setopt_write(handle, receiveWatch)
            _ = ccurl_setopt_pointer(
                handle, CURLOPT_WRITEDATA, Unmanaged.passUnretained(collection).toOpaque())
            // Streams of one connection instead of a connection each, and a connection that notices a peer that
            // vanished.
            _ = ccurl_setopt_long(handle, CURLOPT_PIPEWAIT, 1)
            if collection.mustReconnect { _ = ccurl_setopt_long(handle, CURLOPT_FRESH_CONNECT, 1) }
            collection.mustReconnect = false
            _ = ccurl_setopt_long(handle, CURLOPT_TCP_KEEPALIVE, 1)
            _ = ccurl_setopt_long(handle, CURLOPT_TCP_KEEPIDLE, 30)
            _ = ccurl_setopt_long(handle, CURLOPT_TCP_KEEPINTVL, 10)
            collection.transfer = transfer
            collection.isNew = true
            byHandle[handle] = collection
            curl_multi_add_handle(multi, handle)
        } catch {
            let fault = error as? APIFault ?? .notUnderstood("\(error)")
            collection.transfer = nil
            report(collection, isWatch: isWatch, fault: fault, lasted: 0)
        }
    }

    private func report(_ collection: WatchedCollection, isWatch: Bool, fault: APIFault, lasted: Int) {
        let effects =
            isWatch
            ? collection.reflector.watchEnded(fault, lasted: lasted, random: Self.random())
            : collection.reflector.listFailed(fault, random: Self.random())
        carryOut(effects, collection)
    }

    private func abandon(_ collection: WatchedCollection) {
        guard let transfer = collection.transfer else { return }
        byHandle[transfer.handle] = nil
        curl_multi_remove_handle(multi, transfer.handle)
        collection.transfer = nil
    }

    // MARK: Answers

    private func finishTransfers() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle,
                let collection = byHandle[handle], let transfer = collection.transfer
            else { continue }
            // The message lives in the multi handle and is gone once its transfer is removed.
            let code = message.pointee.data.result
            transfer.end = transfer.refusal.map { .failure($0) } ?? ending(code, transfer)
            end(collection)
        }
        // Events are taken in outside of libcurl's callbacks, from which no transfer may be ended.
        for collection in collections { takeEvents(collection) }
    }

    private func ending(_ code: CURLcode, _ transfer: WatchTransfer) -> Result<Void, APIFault> {
        let status = transfer.status
        if status != 0, !(200...299).contains(status) {
            var retryAfter = 0
            _ = ccurl_getinfo_long(transfer.handle, CURLINFO_RETRY_AFTER, &retryAfter)
            if status == 401 { _ = client.renewCredentials() }
            return .failure(APIClient.fault(status: status, bytes: transfer.bytes, retryAfter: retryAfter))
        }
        // A watch that a restarting server cut off, and one that ran out of its time, go on from where they were.
        let isCutOff = code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_HTTP2_STREAM
        if code == CURLE_OK || transfer.isWatch && transfer.hasBegun && (isCutOff || code == CURLE_HTTP2) {
            return .success(())
        }
        guard let prepared = transfer.prepared else { return .success(()) }
        return .failure(client.fault(code, transfer.handle, prepared))
    }

    private func takeEvents(_ collection: WatchedCollection) {
        while let transfer = collection.transfer, transfer.isWatch, !transfer.events.isEmpty {
            let events = transfer.events
            transfer.events = []
            for event in events where collection.transfer === transfer {
                carryOut(collection.reflector.happened(event, random: Self.random()), collection)
            }
        }
    }

    /// Takes in the rest of a transfer that is over and tells the reflector.
    private func end(_ collection: WatchedCollection) {
        takeEvents(collection)
        guard let transfer = collection.transfer, let end = transfer.end ?? transfer.refusal.map({ .failure($0) })
        else { return }
        abandon(collection)
        let lasted = Int(MonotonicTime.milliseconds() - transfer.begun)
        if case .failure(.transport) = end { collection.mustReconnect = true }
        switch (end, transfer.isWatch) {
        case (.failure(let fault), let isWatch): report(collection, isWatch: isWatch, fault: fault, lasted: lasted)
        case (.success, true):
            carryOut(collection.reflector.watchEnded(nil, lasted: lasted, random: Self.random()), collection)
        case (.success, false):
            guard let page = ServerJSON.parse(transfer.bytes) else {
                report(
                    collection, isWatch: false, fault: .notUnderstood("a list is too large or no JSON"), lasted: lasted)
                return
            }
            carryOut(collection.reflector.listed(page, random: Self.random()), collection)
        }
    }
}
