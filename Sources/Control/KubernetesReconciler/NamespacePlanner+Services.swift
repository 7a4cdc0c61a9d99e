import ControlIO
import SiteModel
import SiteReconciler

/// Listeners → Services with router ports that stay (sheet §4.3, §4.4).
extension NamespacePlanner {
    /// First router port given to a Listener, and the last.
    static let servicePorts = 1024...65_535
    /// Router ports that its own listeners have.
    static let takenPorts: Set<Int> = [5671, 5672, 9000, 9090, 9191, 45_671, 55_671]

    /// Most pods of other sites that one Listener gives Services.
    static let podLimit = 200

    /// One port of one Service.
    private struct Wish {
        let resource: Resource
        let host: String
        let port: Int
        let key: String
    }

    /// Plans the Services and gives the router ports by key.
    mutating func planServices() -> [String: Int] {
        guard servesSite else { return [:] }
        let wishes = usableWishes()
        let ports = allocate(wishes.map(\.key))
        for (host, group) in Dictionary(grouping: wishes, by: \.host).sorted(by: { $0.key < $1.key }) {
            if snapshot.object("Service", host) == nil {
                for wish in group where wish.resource.spec("host")?.scalarText == host {
                    serviceWaits[wish.resource.key] = "waiting for Service \(host)"
                }
            }
            var service = object(
                "v1", "Service", host, labels: [Marks.listener: group[0].resource.name], owner: site?.resource)
            var names: Set<String> = []
            let nodes = group.compactMap { wish -> Document? in
                guard let port = ports[wish.key] else { return nil }
                var name = wish.resource.name
                if !names.insert(name).inserted {
                    name = String("mk-\(name)".prefix(63))
                    names.insert(name)
                }
                return [
                    "name": .string(name), "port": .int(Int64(wish.port)), "targetPort": .int(Int64(port)),
                    "protocol": "TCP",
                ]
            }
            guard !nodes.isEmpty else { continue }
            service["spec"] = [
                "type": "ClusterIP", "ports": .list(nodes),
                "selector": ["application": "skupper-router", Marks.component: "router"],
            ]
            want(service)
        }
        return ports
    }

    /// Listeners and MultiKeyListeners whose Service can be had, older ones first.
    private mutating func usableWishes() -> [Wish] {
        let ordered = (snapshot.objects("Listener") + snapshot.objects("MultiKeyListener"))
            .filter { !$0.isGoing && $0.knownKind != nil }
            .sorted { ($0.created, $0.key) < ($1.created, $1.key) }
        let remotePods = remotePods()
        var owners: [String: Resource] = [:]
        var result: [Wish] = []
        for resource in ordered {
            let texts = ResourceValidation.validate(resource, onCluster: true)
            let host = resource.spec("host")?.scalarText ?? ""
            let port = Int(resource.spec("port")?.intValue ?? 0)
            if !texts.isEmpty {
                faults[resource.key] = texts.joined(separator: "; ")
            } else if !NamespacePlanner.isServiceName(host) {
                faults[resource.key] =
                    "host \"\(host)\" cannot be the name of a Service: use lower case letters, digits and hyphens, "
                    + "beginning with a letter, at most 63"
            } else if let owner = owners["\(host) \(port)"] {
                faults[resource.key] =
                    "\(owner.kind) \(owner.name) with host \(host) and port \(port) already exists in namespace"
            } else if isForeignService(host) {
                faults[resource.key] = "Service \(host) already exists in namespace"
            } else {
                owners["\(host) \(port)"] = resource
                let key =
                    resource.kind == "Listener"
                    ? resource.name : ClusterState.portKey(multiKeyListener: resource.name)
                result.append(Wish(resource: resource, host: host, port: port, key: key))
                for pod in remotePods[resource.name] ?? [] {
                    let podKey = ClusterState.portKey(listener: resource.name, pod: pod)
                    if resource.kind != "Listener" || isForeignService(pod) { continue }
                    if owners.updateValue(resource, forKey: "\(pod) \(port)") != nil { continue }
                    result.append(Wish(resource: resource, host: pod, port: port, key: podKey))
                }
            }
        }
        return result
    }

    /// Names of pods of other sites that Listeners with `exposePodsByName` reach: addresses below their routing key.
    func remotePods() -> [String: [String]] {
        let listeners = snapshot.resources.compactMap(Listener.init).filter {
            $0.resource.spec("exposePodsByName")?.boolValue ?? false
        }
        if listeners.isEmpty { return [:] }
        let addresses = observation.addresses.filter { $0.value.localConsumers + $0.value.remoteConsumers > 0 }
        var result: [String: [String]] = [:]
        for listener in listeners {
            let prefix = "\(listener.routingKey)."
            let names = addresses.keys.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
            result[listener.name] = Array(
                names.filter(NamespacePlanner.isServiceName).sorted().prefix(NamespacePlanner.podLimit))
        }
        return result
    }

    /// A Service that is not a Listener's: somebody else's, or one of the site's own.
    private func isForeignService(_ name: String) -> Bool {
        if desired.contains(ResourceKey(kind: "Service", name: name)) || name == "skupper-router-local" { return true }
        return isForeign("Service", name)
    }

    static func isServiceName(_ text: String) -> Bool {
        FieldRules.isServiceLabel(text)
    }

    /// The remembered port of each key, else the lowest free one.
    private func allocate(_ keys: [String]) -> [String: Int] {
        let remembered = NamespacePlanner.rememberedPorts(snapshot.object("ConfigMap", "skupper-router"))
        var result: [String: Int] = [:]
        var taken = NamespacePlanner.takenPorts
        for access in routerAccesses { taken.formUnion(access.roles.map(\.effectivePort)) }
        for key in keys {
            guard let port = remembered[key], taken.insert(port).inserted else { continue }
            result[key] = port
        }
        var next = NamespacePlanner.servicePorts.lowerBound
        for key in keys where result[key] == nil {
            while taken.contains(next) { next += 1 }
            guard next <= NamespacePlanner.servicePorts.upperBound else { break }
            taken.insert(next)
            result[key] = next
        }
        return result
    }

    /// The ports in a router configuration, by key: what a controller that was restarted knows.
    static func rememberedPorts(_ map: Resource?) -> [String: Int] {
        var result: [String: Int] = [:]
        for item in routerEntities(map) where item[0]?.stringValue == "tcpListener" {
            guard let name = item[1]?["name"]?.stringValue, let text = item[1]?["port"]?.scalarText,
                let port = Int(text), servicePorts.contains(port)
            else { continue }
            if name.hasPrefix("listener/") { result[String(name.dropFirst(9))] = port }
            if name.hasPrefix("multiAddress/") {
                result[ClusterState.portKey(multiKeyListener: String(name.dropFirst(13)))] = port
            }
        }
        return result
    }

    /// The entities of a ConfigMap's router configuration, as pairs of type and attributes.
    static func routerEntities(_ map: Resource?) -> [Document] {
        guard let text = map?.document.value(at: ["data", "skrouterd.json"])?.stringValue,
            let document = try? JSON.parse(text)
        else { return [] }
        return document.listValue ?? []
    }
}

extension FieldRules {
    /// Whether a text can be a Service's name (RFC 1035 label).
    static func isServiceLabel(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, let last = bytes.last, bytes.count <= 63, (97...122).contains(first),
            last != 45
        else { return false }
        return bytes.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
    }
}
