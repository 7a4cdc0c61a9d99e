import ControlIO
import Glibc
import KubernetesAPI
import Threading

/// Carries out the commands of a test.
final class ClusterProbe {
    private let access: ClusterAccess
    private let client: APIClient
    private let watcher: ClusterWatcher
    private var electors: [String: LeaderElector] = [:]
    private static let output = Locked(())

    init(_ access: ClusterAccess) throws(APIFault) {
        self.access = access
        client = try APIClient(access)
        let patience = getenv("PROBE_PATIENCE").flatMap { Int(String(cString: $0)) }
        watcher = try ClusterWatcher(access, patienceMilliseconds: patience ?? 150_000)
        _ = watcher.start()
        Self.say(["id": "start", "namespace": .string(access.namespace), "server": .string(access.server)])
    }

    /// Writes one line, from any thread.
    static func say(_ line: Document) {
        // Not through stdio: flushing it waits for the thread that reads commands.
        var bytes = Array(JSON.emit(line, pretty: false).utf8) + [UInt8(ascii: "\n")]
        output.withLock { _ in
            while !bytes.isEmpty {
                let count = write(1, bytes, bytes.count)
                guard count > 0 else { return }
                bytes.removeFirst(count)
            }
        }
    }

    func stop() {
        for elector in electors.values { elector.stop() }
        watcher.stop()
    }

    func take(_ line: String) {
        guard let command = try? JSON.parse(line), let id = command["id"]?.stringValue else { return }
        var answer: Document = ["id": .string(id)]
        do {
            answer["result"] = try result(of: command)
        } catch {
            let fault = error
            answer["fault"] = .string(fault.description)
            answer["status"] = fault.status.map { .int(Int64($0)) } ?? .null
            answer["reason"] = .string(fault.reason)
            answer["conflict"] = .bool(fault.isConflict)
            answer["temporary"] = .bool(fault.isTemporary)
        }
        Self.say(answer)
    }

    private func resource(_ command: Document) -> APIResource {
        let words = command["resource"]?.listValue?.map { $0.stringValue ?? "" } ?? []
        let known = words + [String](repeating: "", count: max(0, 4 - words.count))
        return APIResource(
            known[0], known[1], known[2], known[3], isNamespaced: command["namespace"]?.stringValue != nil)
    }

    private func result(of command: Document) throws(APIFault) -> Document {
        let resource = resource(command)
        let namespace = command["namespace"]?.stringValue
        let name = command["name"]?.stringValue ?? ""
        let object = command["object"] ?? .null
        let part = command["subresource"]?.stringValue
        let manager = command["manager"]?.stringValue ?? "probe"
        switch command["do"]?.stringValue {
        case "get": return try client.get(resource, namespace: namespace, name: name)
        case "getIfExists": return try client.getIfExists(resource, namespace: namespace, name: name) ?? .null
        case "list":
            return .list(try client.list(resource, namespace: namespace, labels: command["labels"]?.stringValue ?? ""))
        case "create": return try client.create(resource, namespace: namespace, object)
        case "update": return try client.update(resource, namespace: namespace, object, subresource: part)
        case "merge":
            return try client.merge(resource, namespace: namespace, name: name, object, subresource: part)
        case "apply":
            return try client.apply(
                resource, namespace: namespace, object, fieldManager: manager,
                force: command["force"]?.boolValue ?? true, subresource: part)
        case "delete":
            return .bool(
                try client.delete(resource, namespace: namespace, name: name, uid: command["uid"]?.stringValue))
        case "text":
            let path = command["path"]?.listValue?.compactMap(\.stringValue) ?? []
            let limit = Int(command["limit"]?.intValue ?? 1000)
            return .string(String(decoding: try client.text(path, query: [], limit: limit), as: UTF8.self))
        case "watch":
            watch(command, resource, namespace)
        case "stand":
            return .bool(try stand(command, namespace ?? "", name))
        case "withdraw":
            electors.removeValue(forKey: command["identity"]?.stringValue ?? "")?.stop()
        default: throw .notUnderstood("no such command")
        }
        return .bool(true)
    }

    private func watch(_ command: Document, _ resource: APIResource, _ namespace: String?) {
        let label = command["watch"] ?? .null
        watcher.add(
            resource, namespace: command["everywhere"] == true ? nil : namespace,
            labels: command["labels"]?.stringValue ?? ""
        ) { delivery in
            switch delivery {
            case .changed(let object): Self.say(["watch": label, "what": "changed", "object": object])
            case .removed(let object): Self.say(["watch": label, "what": "removed", "object": object])
            case .synced: Self.say(["watch": label, "what": "synced"])
            case .troubled(let fault): Self.say(["watch": label, "what": "troubled", "fault": .string("\(fault)")])
            case .recovered: Self.say(["watch": label, "what": "recovered"])
            }
        }
    }

    private func stand(_ command: Document, _ namespace: String, _ name: String) throws(APIFault) -> Bool {
        let identity = command["identity"]?.stringValue ?? ""
        var timing = LeaseMachine.Timing()
        if let seconds = command["seconds"]?.intValue {
            // Tests do not wait for half a minute.
            timing.duration = Int(seconds) * 1000
            timing.deadline = timing.duration * 2 / 3
            timing.period = timing.duration / 4
            timing.retry = timing.duration / 10
        }
        let elector = LeaderElector(
            try APIClient(access), namespace: namespace, name: name, identity: identity, timing: timing
        ) { change in
            switch change {
            case .lead: Self.say(["lease": .string(identity), "what": "lead"])
            case .resign(let reason): Self.say(["lease": .string(identity), "what": "resign", "why": .string(reason)])
            case .follow(let holder): Self.say(["lease": .string(identity), "what": "follow", "of": .string(holder)])
            case .troubled(let fault):
                Self.say(["lease": .string(identity), "what": "troubled", "fault": .string("\(fault)")])
            }
        }
        electors[identity] = elector
        return elector.start()
    }
}
