import ControlIO
import SiteModel
import Testing

/// Rules for values (sheet §2.1) and for resource files on hosts (§5.2): every text.
@Suite struct ModelRulesTests {
    private static let nameText =
        "value does not match this regular expression: "
        + "^[a-z0-9]([-a-z0-9]*[a-z0-9])*(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])*)*$"

    @Test(arguments: [
        ("a", true), ("a-b", true), ("a--b", true), ("a.b-c.d", true), ("0", true), ("", false), ("A", false),
        ("a-", false), ("-a", false), ("a..b", false), (".a", false), ("a.", false), ("a_b", false), ("a.-b", false),
        ("ä", false), ("a\n", false),
    ])
    func names(text: String, isGood: Bool) {
        #expect(FieldRules.name(text) == (isGood ? nil : Self.nameText))
    }

    @Test(arguments: [
        ("localhost", true), ("a.b-c", true), ("192.0.2.1", true), ("::1", true), ("2001:db8::192.0.2.1", true),
        ("1:2:3:4:5:6:7:8", true), ("a--b", false), ("a..b", false), ("-a", false), ("a.", false), ("", false),
        ("A", false), ("1::2::3", false), ("1:2:3:4:5:6:7:8:9", false), (":::", false), ("a_b", false),
        ("::ffff:300.1.1.1", false), ("12345::", false),
    ])
    func hosts(text: String, isGood: Bool) {
        #expect(
            FieldRules.host(text) == (isGood ? nil : "host is not valid: a valid IP address or hostname is expected"))
    }

    @Test func addressesHaveTheirBytes() {
        #expect(IPAddress.parse("192.0.2.255") == [192, 0, 2, 255])
        #expect(IPAddress.parse("192.0.2.256") == nil)
        #expect(IPAddress.parse("192.0.02.1") == nil)
        #expect(IPAddress.parse("::") == [UInt8](repeating: 0, count: 16))
        #expect(IPAddress.parse("1::2") == [0, 1] + [UInt8](repeating: 0, count: 12) + [0, 2])
        #expect(IPAddress.parse("::ffff:192.0.2.1") == [UInt8](repeating: 0, count: 10) + [255, 255, 192, 0, 2, 1])
        #expect(IPAddress.parse("fe80::1%eth0") == nil)
    }

    @Test func charactersOfOtherValues() {
        #expect(FieldRules.selector("app=x/y:z.1-2") == nil)
        for text in ["a,b", "a_b", "", "a b"] {
            #expect(
                FieldRules.selector(text) == "value does not match this regular expression: ^[A-Za-z0-9=:./-]+$")
        }
        #expect(FieldRules.filePath("~/t/x-1.yaml") == nil)
        for text in ["a_b", "a b", ""] {
            #expect(
                FieldRules.filePath(text) == "value does not match this regular expression: ^[A-Za-z0-9./~-]+$")
        }
        #expect(FieldRules.namespace("west-1") == nil)
        for text in ["west.1", "-", "", "W"] {
            #expect(
                FieldRules.namespace(text)
                    == "value does not match this regular expression: ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
        }
    }

    @Test func numbersAndDurations() {
        for text in ["0", "8080", "70000", "+5"] { #expect(FieldRules.number(text) == nil) }
        #expect(FieldRules.number("-1") == "value is not positive")
        for text in ["one", "", "-", "1.5", "1 "] {
            #expect(FieldRules.number(text) == "strconv.Atoi: parsing \"\(text)\": invalid syntax")
        }
        #expect(
            FieldRules.number("99999999999999999999")
                == "strconv.Atoi: parsing \"99999999999999999999\": value out of range")
        #expect(FieldRules.timeout(seconds: 10) == nil)
        #expect(FieldRules.timeout(seconds: 9) == "duration must not be less than 10s; got 9s")
        #expect(FieldRules.expirationWindow(seconds: 60) == nil)
        #expect(FieldRules.expirationWindow(seconds: 59) == "duration must not be less than 1m0s; got 59s")
    }

    @Test func optionsAndWorkloads() {
        #expect(FieldRules.option("json", of: FieldRules.outputs) == nil)
        #expect(
            FieldRules.option("x", of: FieldRules.linkAccessTypes)
                == "value x not allowed. It should be one of this options: [route loadbalancer default]")
        #expect(FieldRules.workload("Deployment/my_app.v1") == nil)
        for text in ["deployment", "pod/x", "service/", "service/a/b", "service/a b"] {
            #expect(FieldRules.workload(text) == "workload must include <resource-type>/<resource-name>")
        }
    }

    private func faults(_ kind: String, _ spec: String, name: String = "x") throws -> [String] {
        let text = "{apiVersion: skupper.io/v2alpha1, kind: \(kind), metadata: {name: \"\(name)\"}, spec: \(spec)}"
        return ResourceValidation.validate(try Resource.parseAll(yaml: text)[0])
    }

    @Test(arguments: [
        ("Site", "{edge: true}", []), ("Site", "{edge: true, ha: true}", ["Edge sites cannot have HA enabled"]),
        (
            "Link", "{}",
            [
                "tlsCredentials is required: name the Secret with tls.crt, tls.key and ca.crt",
                "at least one endpoint is required",
            ]
        ),
        (
            "Link", "{tlsCredentials: s, cost: -1, endpoints: [{name: edge, port: x}]}",
            [
                "endpoint \"edge\": host is required",
                "endpoint \"edge\": port \"x\" is not valid: a number from 1 to 65535 is expected",
                "cost is not valid: value is not positive",
            ]
        ),
        ("Link", "{tlsCredentials: s, endpoints: [{name: edge, host: h, port: \"1\"}]}", []),
        ("Listener", "{host: 0.0.0.0, port: 80, routingKey: k, type: tcp}", []),
        ("Listener", "{}", ["host is required", "port is required", "routingKey is required"]),
        (
            "Listener", "{host: a_b, port: 65536, routingKey: K, type: udp, observer: x}",
            [
                "host is not valid: a valid IP address or hostname is expected",
                "port 65536 is not valid: a number from 1 to 65535 is expected",
                "routing key is not valid: \(nameText)",
                "type is not valid: value udp not allowed. It should be one of this options: [tcp]",
                "observer \"x\" is not valid: use auto, none, http1 or http2",
            ]
        ),
        ("Connector", "{host: h, port: 80, routingKey: k}", []),
        (
            "Connector", "{selector: app=x, port: 80, routingKey: k}",
            ["host is required: selectors name pods and have no meaning on this platform"]
        ),
        ("Connector", "{}", ["host is required", "port is required", "routingKey is required"]),
        (
            "MultiKeyListener", "{host: h, port: 1, requireClientCert: true}",
            [
                "requireClientCert needs tlsCredentials: name the Secret with which the router speaks TLS",
                "strategy must have exactly one of priority and weighted",
            ]
        ),
        (
            "MultiKeyListener", "{host: h, port: 1, strategy: {priority: {routingKeys: []}}}",
            ["strategy priority must have 1 to 256 routing keys; it has 0"]
        ),
        (
            "MultiKeyListener", "{host: h, port: 1, strategy: {priority: {routingKeys: [a, a, B]}}}",
            ["strategy priority has a routing key twice", "routing key \"B\" is not valid: \(nameText)"]
        ),
        (
            "MultiKeyListener", "{host: h, port: 1, strategy: {weighted: {routingKeys: {a: 0, b: 1}}}}",
            ["weight of routing key \"a\" is not valid: a positive number is expected"]
        ),
        ("AccessGrant", "{expirationWindow: 15m, redemptionsAllowed: 2}", []),
        (
            "AccessGrant", "{expirationWindow: soon, redemptionsAllowed: -1}",
            [
                "redemptionsAllowed must not be negative",
                "Invalid duration \"soon\": write it as for example 15m or 1h30m",
            ]
        ),
        ("AccessToken", "{url: \"https://h/1\", code: c, ca: x}", []),
        ("AccessToken", "{}", ["url is required", "code is required", "token does not have a CA"]),
        (
            "AccessToken", "{url: \"http://h/1\", code: c, ca: x, linkCost: -2}",
            ["token url scheme must be https", "linkCost is not valid: value is not positive"]
        ),
        ("RouterAccess", "{roles: [{name: edge, port: 1}], bindHost: \"::\"}", []),
        ("RouterAccess", "{}", ["roles must not be empty: use inter-router, edge or both"]),
        (
            "RouterAccess", "{roles: [{name: normal, port: 70000}], bindHost: a_b, subjectAlternativeNames: [c_d]}",
            [
                "invalid role: normal (valid roles: edge, inter-router)",
                "port 70000 is not valid: a number from 1 to 65535 is expected",
                "invalid bindHost \"a_b\": a valid IP address or hostname is expected",
                "invalid subjectAlternativeName \"c_d\": a valid IP address or hostname is expected",
            ]
        ),
        ("Certificate", "{}", ["subject is required"]), ("Unknown", "{}", []),
    ])
    func resourceFiles(kind: String, spec: String, expected: [String]) throws {
        #expect(try faults(kind, spec) == expected)
    }

    @Test func namesAreLabels() throws {
        for name in ["a.b", "A", String(repeating: "a", count: 64), "-a"] {
            #expect(try faults("Site", "{}", name: name).first?.hasPrefix("invalid site name \"\(name)\": use") == true)
        }
        #expect(try faults("Site", "{}", name: String(repeating: "a", count: 63)) == [])
    }

    @Test func faultsOfTheWholeSet() throws {
        func texts(_ yaml: String) throws -> [String] {
            ResourceValidation.validate(set: try Resource.parseAll(yaml: yaml))
                .map { "\($0.key?.description ?? "-"): \($0.text)" }
        }
        let head = "apiVersion: skupper.io/v2alpha1"
        #expect(try texts("") == ["-: no valid site definition has been found"])
        #expect(
            try texts(
                """
                {\(head), kind: Site, metadata: {name: b, namespace: n1}}
                ---
                {\(head), kind: Site, metadata: {name: a, namespace: n2}}
                """) == [
                    "-: multiple sites found, but only one site is allowed per namespace: a, b",
                    "-: multiple namespaces found, but only one is allowed: n1, n2",
                ])
        #expect(
            try texts(
                """
                {\(head), kind: Site, metadata: {name: a}}
                ---
                {\(head), kind: Link, metadata: {name: l}, spec: {tlsCredentials: gone}}
                ---
                {\(head), kind: Listener, metadata: {name: two}, spec: {host: h, port: 80}}
                ---
                {\(head), kind: Listener, metadata: {name: one}, spec: {host: h, port: 80}}
                ---
                {\(head), kind: MultiKeyListener, metadata: {name: m}, spec: {host: h, port: 80}}
                ---
                {\(head), kind: Listener, metadata: {name: other}, spec: {host: i, port: 80}}
                """) == [
                    "Link/l: TLS credentials secret \"gone\" not found",
                    "Listener/two: port 80 is already mapped for host \"h\"",
                    "MultiKeyListener/m: port 80 is already mapped for host \"h\"",
                ])
    }

    @Test func theStrategyKindStays() throws {
        func listener(_ strategy: String) throws -> MultiKeyListener {
            let text =
                "{apiVersion: skupper.io/v2alpha1, kind: MultiKeyListener, metadata: {name: m}, "
                + "spec: {strategy: \(strategy)}}"
            return try #require(MultiKeyListener(try Resource.parseAll(yaml: text)[0]))
        }
        let priority = try listener("{priority: {routingKeys: [a]}}")
        let weighted = try listener("{weighted: {routingKeys: {a: 1}}}")
        #expect(ResourceValidation.strategyChange(from: priority, to: priority) == nil)
        #expect(
            ResourceValidation.strategyChange(from: priority, to: weighted)
                == "the strategy cannot be changed from priority to weighted: delete the MultiKeyListener and "
                + "create it again")
    }
}
