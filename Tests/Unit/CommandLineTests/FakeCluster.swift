import ControlIO
import SiteModel

@testable import skupper

/// A cluster in memory with a clock of its own. It keeps objects as an API server does (identities, generations, merge
/// patches), fails where it is told to, and lets a stand-in for the controller act whenever a command waits.
final class FakeCluster {
    struct Place: Hashable {
        let type: String
        let namespace: String
    }

    private(set) var objects: [Place: [String: Document]] = [:]
    /// Each request as `verb type[/name] namespace`.
    private(set) var requests: [String] = []
    /// Bodies of creations and patches, in order.
    private(set) var bodies: [Document] = []
    /// What requests that start with the key are answered with, instead of being carried out.
    var faults: [String: (status: Int, reason: String, message: String)] = [:]
    /// Types whose definitions are not installed.
    var missingTypes: Set<String> = []
    var logs: [String: String] = [:]
    /// Acts for the controller: called after each pause of a waiting command.
    var controller: (FakeCluster) -> Void = { _ in }
    private(set) var milliseconds: Int64 = 1_000_000
    private var identity = 0

    var pace: Pace {
        Pace(
            now: { self.milliseconds },
            pause: {
                self.milliseconds += Int64($0) / 1000
                self.controller(self)
            })
    }

    /// The milliseconds that commands have waited.
    var waited: Int64 { milliseconds - 1_000_000 }

    /// Runs a command line on platform kubernetes and gives its exit code and what it wrote.
    func run(_ line: String, namespace: String = "west") -> (code: Int32, output: String, notes: String) {
        let recorder = ConsoleRecorder()
        let code = Console.$recorder.withValue(recorder) {
            Frame.run(
                line.split(separator: " ").map(String.init), platformVariable: nil, pace: pace,
                connect: { (selection: ClusterSelection) throws(ClusterFault) in
                    FakeView(cluster: self, namespace: selection.namespace ?? namespace)
                })
        }
        return (code, recorder.output, recorder.notes)
    }

    // MARK: For tests

    func put(_ yaml: String, namespace: String = "west") {
        guard let documents = try? YAML.parse(yaml) else { preconditionFailure("the test's YAML is not YAML") }
        for document in documents { store(document, namespace) }
    }

    func object(_ kind: ResourceKind, _ name: String, namespace: String = "west") -> Resource? {
        objects[Place(type: kind.clusterType.qualifiedName, namespace: namespace)]?[name].flatMap {
            try? Resource(document: $0)
        }
    }

    func names(_ kind: ResourceKind, namespace: String = "west") -> [String] {
        (objects[Place(type: kind.clusterType.qualifiedName, namespace: namespace)] ?? [:]).keys.sorted()
    }

    func remove(_ kind: ResourceKind, _ name: String, namespace: String = "west") {
        objects[Place(type: kind.clusterType.qualifiedName, namespace: namespace)]?[name] = nil
    }

    /// Writes the status of a resource as a controller does.
    func setStatus(
        _ kind: ResourceKind, _ name: String, status: String, message: String = "OK",
        conditions: [(type: String, isTrue: Bool, message: String)] = [], more: [(String, Document)] = [],
        observedGeneration: Int64? = nil
    ) {
        let place = Place(type: kind.clusterType.qualifiedName, namespace: "west")
        guard var document = objects[place]?[name] else { return }
        let generation = observedGeneration ?? document.value(at: "metadata.generation")?.intValue ?? 0
        document["status"] = [:]
        document.set(.string(status), at: "status.status")
        document.set(.string(message), at: "status.message")
        let list = conditions.map { condition -> Document in
            [
                "type": .string(condition.type), "status": condition.isTrue ? "True" : "False",
                "reason": condition.isTrue ? "Ready" : "Pending", "message": .string(condition.message),
                "observedGeneration": .int(generation), "lastTransitionTime": "2026-01-01T00:00:00Z",
            ]
        }
        document.set(.list(list), at: "status.conditions")
        for (path, value) in more { document.set(value, at: "status." + path) }
        objects[place]?[name] = document
    }

    // MARK: For FakeView

    fileprivate func asked(_ verb: String, _ type: ClusterType, _ name: String, _ namespace: String)
        throws(ClusterFault)
    {
        let target = name.isEmpty ? type.qualifiedName : "\(type.qualifiedName)/\(name)"
        let request = "\(verb) \(target) \(namespace)"
        requests.append(request)
        let place = ClusterRequest(
            verb: verb, type: type, name: name, namespace: namespace, server: "https://192.0.2.1:6443")
        if missingTypes.contains(type.qualifiedName) {
            throw place.fault(status: 404, reason: "", message: "404 page not found")
        }
        for (start, fault) in faults where request.hasPrefix(start) {
            if fault.status == 0 { throw .withoutAnswer(fault.message, isTemporary: true) }
            throw place.fault(status: fault.status, reason: fault.reason, message: fault.message)
        }
    }

    fileprivate func record(_ body: Document) { bodies.append(body) }

    @discardableResult
    fileprivate func store(_ object: Document, _ namespace: String) -> Document {
        var object = object
        identity += 1
        object.set(.string(namespace), at: "metadata.namespace")
        object.set(.string("00000000-0000-4000-8000-\(100_000_000_000 + identity)"), at: "metadata.uid")
        if object.value(at: "metadata.generation") == nil { object.set(1, at: "metadata.generation") }
        let kind = object["kind"]?.stringValue ?? ""
        let types: [ClusterType] =
            [
                .pods, .services, .configMaps, .serviceAccounts, .events, .deployments, .replicaSets, .daemonSets,
                .statefulSets, .endpointSlices, .roles, .roleBindings,
            ] + ResourceKind.allCases.map(\.clusterType)
        guard let type = types.first(where: { $0.kind == kind }) else { preconditionFailure("no type for \(kind)") }
        let name = object.value(at: "metadata.name")?.stringValue ?? ""
        objects[Place(type: type.qualifiedName, namespace: namespace), default: [:]][name] = object
        return object
    }

    fileprivate func replace(_ object: Document, _ place: Place, _ name: String) { objects[place]?[name] = object }

    fileprivate func drop(_ place: Place, _ name: String) { objects[place]?[name] = nil }
}

/// A `FakeCluster` seen from one namespace.
struct FakeView: ClusterAPI {
    let cluster: FakeCluster
    let namespace: String

    private func place(_ type: ClusterType) -> FakeCluster.Place {
        FakeCluster.Place(type: type.qualifiedName, namespace: namespace)
    }

    private func missing(_ verb: String, _ type: ClusterType, _ name: String) -> ClusterFault {
        ClusterRequest(verb: verb, type: type, name: name, namespace: namespace, server: "https://192.0.2.1:6443")
            .fault(status: 404, reason: "NotFound", message: "\(type.qualifiedName) \"\(name)\" not found")
    }

    func get(_ type: ClusterType, _ name: String) throws(ClusterFault) -> Document {
        try cluster.asked("get", type, name, namespace)
        guard let object = cluster.objects[place(type)]?[name] else { throw missing("get", type, name) }
        return object
    }

    func list(_ type: ClusterType, labels: String, limit: Int) throws(ClusterFault) -> [Document] {
        try cluster.asked("list", type, "", namespace)
        return (cluster.objects[place(type)] ?? [:]).sorted { $0.key < $1.key }.prefix(limit).map(\.value)
    }

    func create(_ type: ClusterType, _ object: Document) throws(ClusterFault) -> Document {
        let name = object.value(at: "metadata.name")?.stringValue ?? ""
        try cluster.asked("create", type, name, namespace)
        cluster.record(object)
        guard cluster.objects[place(type)]?[name] == nil else {
            throw ClusterRequest(verb: "create", type: type, name: name, namespace: namespace, server: "")
                .fault(
                    status: 409, reason: "AlreadyExists", message: "\(type.qualifiedName) \"\(name)\" already exists")
        }
        return cluster.store(object, namespace)
    }

    func patch(_ type: ClusterType, _ name: String, _ patch: Document) throws(ClusterFault) -> Document {
        try cluster.asked("patch", type, name, namespace)
        cluster.record(patch)
        guard var object = cluster.objects[place(type)]?[name] else { throw missing("patch", type, name) }
        object = Self.merged(object, patch)
        let generation = object.value(at: "metadata.generation")?.intValue ?? 1
        object.set(.int(generation + 1), at: "metadata.generation")
        cluster.replace(object, place(type), name)
        return object
    }

    func delete(_ type: ClusterType, _ name: String) throws(ClusterFault) {
        try cluster.asked("delete", type, name, namespace)
        guard let object = cluster.objects[place(type)]?[name] else { throw missing("delete", type, name) }
        // With a finalizer an object stays until somebody takes that away.
        if object.value(at: "metadata.finalizers") == nil { cluster.drop(place(type), name) }
    }

    func log(pod: String, container: String, previous: Bool, limit: Int) throws(ClusterFault) -> [UInt8] {
        try cluster.asked("log", .pods, pod, namespace)
        return Array((cluster.logs["\(pod)/\(container)\(previous ? "/previous" : "")"] ?? "").utf8.suffix(limit))
    }

    func serverVersion() throws(ClusterFault) -> Document { ["gitVersion": "v1.30.1"] }

    func inNamespace(_ namespace: String) -> any ClusterAPI { FakeView(cluster: cluster, namespace: namespace) }

    /// RFC 7396.
    private static func merged(_ target: Document, _ patch: Document) -> Document {
        guard let changes = patch.mapValue else { return patch }
        var result = target.mapValue ?? DocumentMap()
        for (key, value) in changes.entries {
            result[key] = value == .null ? nil : merged(result[key] ?? .emptyMap, value)
        }
        return .map(result)
    }
}
