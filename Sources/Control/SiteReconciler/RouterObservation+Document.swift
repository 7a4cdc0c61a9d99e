import ControlIO

/// An observation as text, by which the adaptor beside a router tells the controller what it sees. Bounded: tables
/// are cut at `limit` entries, texts at 200 characters, and all of it at `byteLimit`, so that it stays far from the
/// size limit of an object.
extension RouterObservation {
    /// Most entries of each table.
    package static let limit = 2_000

    /// Most octets: the two routers of a site write into one object of at most 1 MiB.
    package static let byteLimit = 400_000

    /// The observation as JSON with sorted keys, so that equal observations are equal texts.
    package func json() -> String {
        var limit = RouterObservation.limit
        while true {
            let text = json(limit: limit)
            if text.utf8.count <= RouterObservation.byteLimit || limit == 1 { return text }
            limit /= 2
        }
    }

    private func json(limit: Int) -> String {
        var document: Document = ["running": .bool(isRunning)]
        if !fault.isEmpty { document["fault"] = .string(RouterObservation.short(fault)) }
        document["links"] = RouterObservation.table(links, limit) { link in
            var node: Document = ["status": .string(link.connectionStatus), "up": .bool(link.isNeighbourUp)]
            let message = link.connectionMessage.isEmpty ? link.lastError : link.connectionMessage
            if !message.isEmpty { node["message"] = .string(RouterObservation.short(message)) }
            if !link.remoteRouterID.isEmpty { node["router"] = .string(link.remoteRouterID) }
            return node
        }
        document["routers"] = RouterObservation.table(
            Dictionary(routers.map { ($0.id, $0.metadata) }, uniquingKeysWith: { first, _ in first }), limit
        ) { .string($0) }
        document["addresses"] = RouterObservation.table(addresses, limit) {
            [.int(Int64($0.localConsumers)), .int(Int64($0.remoteConsumers)), .int(Int64($0.remoteListeners))]
        }
        document["listeners"] = RouterObservation.table(listeners, limit) {
            [.string($0.operStatus), .string(RouterObservation.short($0.message))]
        }
        document["faults"] = RouterObservation.table(linkListenerFaults, limit) {
            .string(RouterObservation.short($0))
        }
        return JSON.emit(document, pretty: false, sortedKeys: true)
    }

    /// Reads what `json()` wrote; nil if the text is something else. Unknown fields are left out.
    package init?(json text: String) {
        guard let document = try? JSON.parse(text), let isRunning = document["running"]?.boolValue else { return nil }
        self.init(isRunning: isRunning, fault: document["fault"]?.stringValue ?? "")
        for (name, node) in document["links"]?.mapValue?.entries ?? [] {
            links[name] = LinkObservation(
                connectionStatus: node["status"]?.stringValue ?? "",
                connectionMessage: node["message"]?.stringValue ?? "", isNeighbourUp: node["up"]?.boolValue ?? false,
                remoteRouterID: node["router"]?.stringValue ?? "")
        }
        for (id, node) in document["routers"]?.mapValue?.entries ?? [] {
            routers.append(RouterNode(id: id, metadata: node.stringValue ?? ""))
        }
        for (key, node) in document["addresses"]?.mapValue?.entries ?? [] {
            let counts = (node.listValue ?? []).map { Int($0.intValue ?? 0) }
            guard counts.count == 3 else { continue }
            addresses[key] = AddressObservation(
                localConsumers: counts[0], remoteConsumers: counts[1], remoteListeners: counts[2])
        }
        for (name, node) in document["listeners"]?.mapValue?.entries ?? [] {
            listeners[name] = ListenerObservation(
                operStatus: node[0]?.stringValue ?? "", message: node[1]?.stringValue ?? "")
        }
        for (name, node) in document["faults"]?.mapValue?.entries ?? [] {
            linkListenerFaults[name] = node.stringValue
        }
    }

    /// What two routers of one site see together: a link is up if either has it up, an address has the consumers of
    /// whichever sees more.
    package func merged(with other: RouterObservation) -> RouterObservation {
        guard isRunning else { return other.isRunning ? other : self }
        guard other.isRunning else { return self }
        var result = self
        result.links.merge(other.links) { $0.isNeighbourUp ? $0 : $1 }
        let known = Set(routers.map(\.id))
        result.routers += other.routers.filter { !known.contains($0.id) }
        result.addresses.merge(other.addresses) {
            AddressObservation(
                localConsumers: max($0.localConsumers, $1.localConsumers),
                remoteConsumers: max($0.remoteConsumers, $1.remoteConsumers),
                remoteListeners: max($0.remoteListeners, $1.remoteListeners))
        }
        result.listeners.merge(other.listeners) { first, _ in first }
        result.linkListenerFaults.merge(other.linkListenerFaults) { first, _ in first }
        return result
    }

    private static func short(_ text: String) -> String { text.count > 200 ? text.prefix(200) + "…" : text }

    private static func table<Value>(
        _ values: [String: Value], _ limit: Int, _ node: (Value) -> Document
    ) -> Document {
        .map(DocumentMap(values.sorted { $0.key < $1.key }.prefix(limit).map { ($0.key, node($0.value)) }))
    }
}
