import ControlIO
import KubernetesReconciler
import SiteModel
import TestKit
import Testing

/// What we write for adaptors has the types that upstream's adaptor wants: its decoder refuses a whole configuration
/// in which a text is a number or the reverse.
@Suite struct UpstreamFormTests {
    private enum Kind { case text, number, truth }

    /// Attributes that the adaptor decodes, by entity.
    private static let decoded: [String: [String: Kind]] = [
        "router": [
            "id": .text, "mode": .text, "helloMaxAgeSeconds": .text, "dataConnectionCount": .text,
            "metadata": .text,
        ],
        "sslProfile": [
            "name": .text, "certFile": .text, "privateKeyFile": .text, "caCertFile": .text,
            "ordinal": .number, "oldestValidOrdinal": .number,
        ],
        "proxyProfile": ["name": .text, "host": .text, "port": .text, "username": .text, "password": .text],
        "listener": [
            "name": .text, "role": .text, "host": .text, "port": .number, "http": .truth, "cost": .number,
            "sslProfile": .text, "saslMechanisms": .text, "authenticatePeer": .truth, "httpRootDir": .text,
            "healthz": .truth, "metrics": .truth,
        ],
        "connector": [
            "name": .text, "role": .text, "host": .text, "port": .text, "cost": .number,
            "verifyHostname": .truth, "sslProfile": .text, "proxyProfile": .text,
        ],
        "address": ["prefix": .text, "distribution": .text],
        "tcpListener": [
            "name": .text, "host": .text, "port": .text, "address": .text, "siteId": .text,
            "sslProfile": .text, "observer": .text, "authenticatePeer": .truth, "multiAddressStrategy": .text,
        ],
        "tcpConnector": [
            "name": .text, "host": .text, "port": .text, "address": .text, "siteId": .text,
            "sslProfile": .text, "processId": .text, "verifyHostname": .truth,
        ],
        "listenerAddress": ["name": .text, "address": .text, "value": .number, "listener": .text],
        "log": ["module": .text, "enable": .text],
    ]

    @Test func everyAttributeHasTheTypeThatUpstreamDecodes() throws {
        var cluster = try ClusterInMemory(
            "kind: Site, metadata: {name: west}, spec: {linkAccess: local, settings: {"
                + "router-data-connection-count: \"2\", router-logging: \"ROUTER_CORE:debug,info\"}}",
            Sample.listener, Sample.secret,
            "kind: Link, metadata: {name: link-1}, spec: {tlsCredentials: link-1, cost: 2, settings: {"
                + "proxy-configuration: px}, endpoints: [{name: inter-router, host: 192.0.2.7, port: \"55671\"}]}",
            "kind: Secret, metadata: {name: px}, data: {host: cHg=, port: MzEyOA==, username: dQ==, password: cA==}",
            "kind: Connector, metadata: {name: db}, spec: {routingKey: db, selector: app=db, port: 5432, "
                + "tlsCredentials: link-1, verifyHostname: false}",
            "kind: MultiKeyListener, metadata: {name: m}, spec: {host: m, port: 80, requireClientCert: true, "
                + "tlsCredentials: link-1, strategy: {weighted: {routingKeys: {a: 1}}}}")
        try cluster.pod("db-0", labels: "app: db", ip: "10.0.0.7")
        try cluster.routerPod()
        cluster.settle()
        let text =
            cluster.get("ConfigMap", "skupper-router")?.document.value(at: ["data", "skrouterd.json"])?
            .stringValue ?? ""
        var seen: Set<String> = []
        for item in try JSON.parse(text).listValue ?? [] {
            let type = item[0]?.stringValue ?? ""
            seen.insert(type)
            for (name, value) in item[1]?.mapValue?.entries ?? [] {
                let kind: Kind
                switch value {
                case .string: kind = .text
                case .int, .double: kind = .number
                case .bool: kind = .truth
                default:
                    Issue.record("\(type).\(name) is neither text, number nor truth")
                    continue
                }
                #expect(Self.decoded[type]?[name] == kind, "\(type).\(name) = \(value)")
            }
        }
        #expect(seen == Set(Self.decoded.keys))
    }
}
