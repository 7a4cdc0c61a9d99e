import ControlIO
import RouterConfig
import SiteModel

/// The entities of a router in a pod (sheet §4.3): Services lead to its ports, pods are its servers.
extension ConfigurationBuilder {
    /// The router and its fixed listeners. `${HOSTNAME}` is the pod's name: the router puts it in.
    func clusterEntities() throws(ResourceFault) -> [Entity] {
        var result = [
            try routerEntity(platform: "kubernetes"),
            try entity("router.config.address", ["prefix": "mc", "distribution": "multicast"]),
            try entity(
                "listener",
                [
                    "name": "@9090", "role": "normal", "port": 9090, "http": true, "httpRootDir": "disabled",
                    "healthz": true, "metrics": true,
                ]),
            try entity(
                "listener", ["name": "amqp", "role": "normal", "host": "localhost", "port": .integer(5672)]),
        ]
        if let peer = host.cluster?.peerHost, !site.edge, let access = interRouterAccess() {
            let name = SiteReconciler.profile(of: access)
            if host.profiles[name]?.hasKeyPair == true {
                let port = access.roles.first { $0.name == "inter-router" }?.effectivePort ?? 55_671
                result.append(
                    try entity(
                        "connector",
                        [
                            "name": .string(peer), "role": "inter-router", "host": .string(peer),
                            "port": .string(String(port)), "cost": 1, "sslProfile": .string(name),
                        ]))
            }
        }
        return result
    }

    private func interRouterAccess() -> RouterAccess? {
        resources.compactMap(RouterAccess.init).first { access in
            host.faults[access.resource.key] == nil && access.roles.contains { $0.name == "inter-router" }
        }
    }

    /// The AMQPS listener for consoles and observers in the cluster.
    func clusterListener() throws(ResourceFault) -> Part {
        let name = SiteReconciler.localProfile
        let listener = try entity(
            "listener",
            [
                "name": "amqps", "role": "normal", "port": .integer(5671), "sslProfile": .string(name),
                "saslMechanisms": "EXTERNAL", "authenticatePeer": true,
            ])
        return Part(entities: [listener], profiles: [try profile(name, secret: name, needsKeyPair: true)])
    }

    /// The router's port for a Service port.
    func servicePort(_ key: String) throws(ResourceFault) -> Int {
        guard let port = host.cluster?.servicePorts[key] else {
            throw ResourceFault(text: "no router port is left for it: delete Listeners that are not used")
        }
        return port
    }

    /// One tcpListener for the Service, and one for each remote pod of it that is to be reached by name.
    func clusterListener(_ listener: Listener) throws(ResourceFault) -> Part {
        var result = Part()
        let pods = host.cluster?.remotePods[listener.name] ?? []
        let targets =
            [(name: listener.name, key: listener.routingKey, port: listener.name)]
            + pods.map {
                (
                    name: "\(listener.name)@\($0)", key: "\(listener.routingKey).\($0)",
                    port: ClusterState.portKey(listener: listener.name, pod: $0)
                )
            }
        for target in targets {
            var attributes: [String: AttributeValue] = [
                "name": .string("listener/\(target.name)"), "port": .string(String(try servicePort(target.port))),
                "address": .string(target.key), "siteId": .string(host.siteID),
            ]
            let part = try tcpListener(
                &attributes, credentials: listener.tlsCredentials, observer: listener.observer)
            result.entities += part.entities
            result.profiles = part.profiles
        }
        return result
    }

    /// One tcpConnector for each pod that a Connector selects.
    func clusterConnector(_ connector: Connector) throws(ResourceFault) -> Part {
        try podConnectors(connector, pods: host.cluster?.pods[connector.resource.key] ?? [])
    }

    private func podConnectors(_ connector: Connector, pods: [ClusterState.Pod]) throws(ResourceFault) -> Part {
        guard !pods.isEmpty else { throw ResourceFault(text: "No matches for selector") }
        var result = Part()
        let exposesPods = connector.resource.spec("exposePodsByName")?.boolValue ?? false
        for pod in pods.sorted(by: { ($0.name, $0.address) < ($1.name, $1.address) }) {
            var targets = [(name: pod.address, key: connector.routingKey)]
            if exposesPods { targets.append((name: pod.name, key: "\(connector.routingKey).\(pod.name)")) }
            for target in targets {
                var attributes: [String: AttributeValue] = [
                    "name": .string("connector/\(connector.name)@\(target.name)"), "host": .string(pod.address),
                    "port": .string(String(connector.port)), "address": .string(target.key),
                    "siteId": .string(host.siteID), "processId": .string(pod.uid),
                ]
                result.profiles = try secure(&attributes, of: connector)
                result.entities.append(try entity("tcpConnector", attributes))
            }
        }
        return result
    }

    /// The servers of an AttachedConnector, under the routing key that the binding in this namespace gives them.
    func attached(_ binding: Resource) throws(ResourceFault) -> Part {
        guard let other = host.cluster?.attached[binding.name] else {
            throw ResourceFault(text: "No matching AttachedConnector")
        }
        return try podConnectors(
            SiteReconciler.connector(of: binding, attached: other), pods: host.cluster?.pods[binding.key] ?? [])
    }
}

extension SiteReconciler {
    /// A binding and its AttachedConnector as the Connector they amount to.
    package static func connector(of binding: Resource, attached: Resource) -> Connector {
        var connector = Connector(name: binding.name)
        connector.resource.document["spec"] = attached.document["spec"]
        connector.routingKey = binding.spec("routingKey")?.scalarText ?? ""
        connector.resource.setSpec(binding.spec("exposePodsByName"), "exposePodsByName")
        return connector
    }
}
