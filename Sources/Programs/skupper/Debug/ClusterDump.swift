import ControlIO
import SiteModel

/// Picks from a namespace of a cluster what helps to find a fault: Skupper's objects, what they have to do with, and
/// the logs of routers and controller. Secrets stay where they are. What may not be read is named and left out.
struct ClusterDump {
    /// The most objects of one type that are taken.
    private static let countLimit = 500
    /// The most of one log that is taken, octets.
    private static let logLimit = 1 << 20
    /// The most that is taken altogether, octets.
    private static let totalLimit = 256 << 20

    private let api: any ClusterAPI
    /// What belongs into the archive: paths and contents.
    private(set) var files: [(path: String, bytes: [UInt8])] = []
    private var listing = ""
    private var total = 0
    /// Secrets that Skupper's resources name.
    private var namedSecrets: Set<String> = []

    init(_ api: any ClusterAPI) {
        self.api = api
    }

    /// Reads the namespace, and that of the controller.
    /// - Throws: `ClusterFault` when the cluster cannot be asked at all.
    mutating func collect() throws {
        let version = try api.serverVersion()
        var controllerNamespace = "skupper"
        for kind in ResourceKind.allCases where kind != .secret {
            for object in take(kind.clusterType, of: api) {
                remember(object)
                if kind == .site, let named = object.value(at: "status.controller.namespace")?.stringValue {
                    controllerNamespace = named
                }
            }
        }
        let types: [ClusterType] = [
            ResourceKind.secret.clusterType, .configMaps, .services, .endpointSlices, .serviceAccounts, .deployments,
            .replicaSets, .statefulSets, .daemonSets, .roles, .roleBindings, .pods, .events,
        ]
        for type in types { take(type, of: api) }
        logs(of: api)
        if controllerNamespace != api.namespace {
            let other = api.inNamespace(controllerNamespace)
            for type in [ClusterType.deployments, .pods, .configMaps, .services, .events] { take(type, of: other) }
            logs(of: other)
        }
        let server = version["gitVersion"]?.scalarText ?? "unknown"
        add("versions.txt", Array("skupper \(VersionCommand.version)\nplatform kubernetes\nserver \(server)\n".utf8))
        listing += "Statistics of the routers (skstat) are not collected.\n"
        files.append(("files.txt", Array(listing.utf8)))
    }

    /// Takes the objects of a type that concern Skupper.
    @discardableResult
    private mutating func take(_ type: ClusterType, of api: any ClusterAPI) -> [Document] {
        let objects: [Document]
        do {
            objects = try api.list(type, labels: "", limit: Self.countLimit)
        } catch {
            listing += "\(api.namespace)/\(type.qualifiedName) left out: \(error)\n"
            return []
        }
        var taken: [Document] = []
        for var object in objects {
            if object["kind"] == nil { object["kind"] = .string(type.kind) }
            if object["apiVersion"] == nil { object["apiVersion"] = .string(type.apiVersion) }
            let name = object.value(at: "metadata.name")?.stringValue ?? ""
            let isOurs = type.group == "skupper.io" || Self.isOurs(object)
            guard isOurs || !["Secret", "ConfigMap"].contains(type.kind) || namedSecrets.contains(name) else {
                continue
            }
            taken.append(object)
            let text = YAML.emit(Redaction.object(object, isOurs: isOurs), sortedKeys: true)
            add("\(place(api))\(type.qualifiedName)/\(name).yaml", Array(text.utf8))
        }
        listing += "\(api.namespace)/\(type.qualifiedName) \(taken.count) of \(objects.count) objects\n"
        if objects.count >= Self.countLimit {
            listing +=
                "\(api.namespace)/\(type.qualifiedName) more than \(Self.countLimit) objects: the rest left out\n"
        }
        return taken
    }

    /// The logs of the pods in which Skupper's programs run, of the run before too where there was one.
    private mutating func logs(of api: any ClusterAPI) {
        let pods = (try? api.list(.pods, labels: "", limit: Self.countLimit)) ?? []
        for pod in pods where Self.isOurs(pod) {
            let name = pod.value(at: "metadata.name")?.stringValue ?? ""
            let containers = ["initContainers", "containers"].flatMap { pod["spec"]?[$0]?.listValue ?? [] }
            let states = ["initContainerStatuses", "containerStatuses"].flatMap { pod["status"]?[$0]?.listValue ?? [] }
            for container in containers.compactMap({ $0["name"]?.stringValue }) {
                let restarts = states.first { $0["name"]?.stringValue == container }?["restartCount"]?.intValue ?? 0
                for previous in restarts > 0 ? [false, true] : [false] {
                    let path = "\(place(api))logs/\(name)-\(container)\(previous ? "-previous" : "").log"
                    do {
                        add(
                            path,
                            try api.log(
                                pod: name, container: container, previous: previous, limit: Self.logLimit))
                    } catch {
                        listing += "\(path) left out: \(error)\n"
                    }
                }
            }
        }
    }

    private mutating func add(_ path: String, _ bytes: [UInt8]) {
        guard total + bytes.count <= Self.totalLimit else {
            listing += "\(path) left out: the archive is full\n"
            return
        }
        total += bytes.count
        files.append((path, bytes))
    }

    private func place(_ other: any ClusterAPI) -> String {
        other.namespace == api.namespace ? "" : "controller-\(other.namespace)/"
    }

    private mutating func remember(_ object: Document) {
        for field in ["tlsCredentials", "certificate", "issuer", "defaultIssuer", "ca"] {
            guard let name = object["spec"]?[field]?.stringValue, name.count < 254 else { continue }
            namedSecrets.insert(name)
        }
    }

    /// Whether an object is Skupper's: by its name, its labels and annotations, or whom it belongs to.
    private static func isOurs(_ object: Document) -> Bool {
        let metadata = object["metadata"]
        if metadata?["name"]?.stringValue?.hasPrefix("skupper") == true { return true }
        for field in ["labels", "annotations"] {
            let keys = metadata?[field]?.mapValue?.keys ?? []
            if keys.contains(where: { $0.contains("skupper.io/") }) { return true }
        }
        if metadata?["labels"]?["application"]?.stringValue?.hasPrefix("skupper") == true { return true }
        return (metadata?["ownerReferences"]?.listValue ?? []).contains {
            $0["apiVersion"]?.stringValue?.hasPrefix("skupper.io/") == true
        }
    }
}
