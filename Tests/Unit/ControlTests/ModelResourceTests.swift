import ControlIO
import SiteModel
import Testing

/// Resources as documents: upstream's shapes, unknown fields, typed views.
@Suite struct ModelResourceTests {
    private static let token = """
        apiVersion: skupper.io/v2alpha1
        kind: AccessToken
        metadata:
          name: west-5b1c8f0e-2f5e-4d7c-9b0a-6f7d1f2a3b4c
        spec:
          ca: |
            -----BEGIN CERTIFICATE-----
            MIIB
            -----END CERTIFICATE-----
          code: Zk3u0ZqM1c8nYw5Xb7RtLpEe
          linkCost: 1
          url: https://192.0.2.10:9090/0d0c6f5e-8f0b-4a51-9f5c-6d7d0c6a4f52

        """

    @Test func theTokenFileOfUpstreamReadsAndWritesUnchanged() throws {
        let token = try #require(AccessToken(try Resource.parseAll(yaml: Self.token)[0]))
        #expect(token.url == "https://192.0.2.10:9090/0d0c6f5e-8f0b-4a51-9f5c-6d7d0c6a4f52")
        #expect(token.code == "Zk3u0ZqM1c8nYw5Xb7RtLpEe")
        #expect(token.ca == "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        #expect(token.linkCost == 1)
        #expect(token.fileText() == Self.token)
        #expect(token.resource.yaml() == Self.token)
    }

    @Test func aTokenFileLeavesOutWhatIsEmpty() throws {
        var token = AccessToken(name: "t", namespace: "west")
        token.url = "https://h/1"
        token.code = "c"
        token.ca = "x\n"
        token.linkCost = 0
        token.resource.setStatus("Ready", "status")
        token.resource.setAnnotation(AccessToken.expirationAnnotation, "2026-11-25T04:00:00Z")
        #expect(
            token.fileText() == """
                apiVersion: skupper.io/v2alpha1
                kind: AccessToken
                metadata:
                  annotations:
                    skupper.io/expiration: "2026-11-25T04:00:00Z"
                  name: t
                spec:
                  ca: |
                    x
                  code: c
                  url: https://h/1

                """)
        #expect(token.expiration == "2026-11-25T04:00:00Z")
    }

    @Test func theAnswerOfUpstreamIsRead() throws {
        let text = """
            ---
            apiVersion: v1
            kind: Secret
            metadata: {name: t, creationTimestamp: null}
            type: kubernetes.io/tls
            data: {ca.crt: Y2E=, tls.crt: Y2VydA==, tls.key: a2V5}
            ---
            apiVersion: skupper.io/v2alpha1
            kind: Link
            metadata: {name: t, creationTimestamp: null}
            spec:
              endpoints:
              - {name: inter-router, host: 192.0.2.20, port: "55671", group: skupper-router}
              - {name: edge, host: 192.0.2.20, port: "45671", group: skupper-router}
              tlsCredentials: t
            status: {}
            """
        var response = try RedeemResponse(parsing: text)
        #expect(response.secret.textValue("tls.crt") == "cert")
        #expect(response.secret.textValue("tls.key") == "key")
        #expect(response.secret.textValue("ca.crt") == "ca")
        #expect(response.secret.value("none") == nil)
        #expect(response.links.count == 1)
        #expect(response.links[0].cost == 0)
        #expect(response.links[0].effectiveCost == 1)
        #expect(
            response.links[0].endpoints == [
                Endpoint(name: "inter-router", host: "192.0.2.20", port: "55671", group: "skupper-router"),
                Endpoint(name: "edge", host: "192.0.2.20", port: "45671", group: "skupper-router"),
            ])
        response.setCost(0)
        #expect(response.links[0].cost == 0)
        response.setCost(7)
        #expect(response.links[0].cost == 7)
    }

    @Test func ourAnswerHasUpstreamsShape() throws {
        let response = RedeemResponse(
            name: "t", certificatePEM: "cert", keyPEM: "key", caPEM: "ca",
            endpoints: [
                Endpoint(name: "inter-router", host: "192.0.2.20", port: "55671", group: "g1"),
                Endpoint(name: "normal", host: "192.0.2.20", port: "5671", group: "g1"),
                Endpoint(name: "edge", host: "192.0.2.20", port: "45671", group: "g1"),
            ])
        #expect(
            response.text() == """
                ---
                apiVersion: v1
                data:
                  ca.crt: Y2E=
                  tls.crt: Y2VydA==
                  tls.key: a2V5
                kind: Secret
                metadata:
                  name: t
                type: kubernetes.io/tls
                ---
                apiVersion: skupper.io/v2alpha1
                kind: Link
                metadata:
                  name: t
                spec:
                  endpoints:
                  - group: g1
                    host: 192.0.2.20
                    name: inter-router
                    port: "55671"
                  - group: g1
                    host: 192.0.2.20
                    name: edge
                    port: "45671"
                  tlsCredentials: t

                """)
        let again = try RedeemResponse(parsing: response.text())
        #expect(again == response)
    }

    @Test func severalGroupsGiveSeveralLinks() {
        let response = RedeemResponse(
            name: "t", certificatePEM: "", keyPEM: "", caPEM: "",
            endpoints: [
                Endpoint(name: "inter-router", host: "a", port: "1", group: "z"),
                Endpoint(name: "inter-router", host: "b", port: "2", group: "a"),
                Endpoint(name: "edge", host: "a", port: "3", group: "z"),
            ])
        #expect(response.links.map(\.name) == ["t-1", "t-2"])
        #expect(response.links[0].endpoints.map(\.port) == ["1", "3"])
        #expect(response.links.allSatisfy { $0.tlsCredentials == "t" })
    }

    @Test(arguments: ["", "---\nkind: Secret\napiVersion: v1\nmetadata: {name: a}\n", "not a resource"])
    func anAnswerWithoutSecretOrLinkIsAnError(text: String) {
        #expect(throws: ResourceError.self) { try RedeemResponse(parsing: text) }
    }

    @Test func unknownFieldsSurvive() throws {
        let text = """
            apiVersion: skupper.io/v2alpha1
            future: [1, 2]
            kind: Listener
            metadata:
              labels: {a: b}
              name: backend
            spec:
              host: 0.0.0.0
              newThing: {x: y}
              port: 8080
              routingKey: backend
            """
        var listener = try #require(Listener(try Resource.parseAll(yaml: text)[0]))
        listener.port = 9090
        listener.resource.setCondition(.configured, .ready, nowUnix: 0)
        let again = try Resource.parseAll(yaml: listener.resource.yaml())[0]
        #expect(again.document["future"] == [1, 2])
        #expect(again.spec("newThing", "x") == "y")
        #expect(again.document.value(at: "metadata.labels.a") == "b")
        #expect(again.spec("port") == 9090)
    }

    @Test func kindsAreToldByGroup() throws {
        func kind(_ apiVersion: String, _ kind: String) throws -> ResourceKind? {
            try Resource(document: [
                "apiVersion": .string(apiVersion), "kind": .string(kind), "metadata": ["name": "x"],
            ]).knownKind
        }
        #expect(try kind("skupper.io/v2alpha1", "Site") == .site)
        #expect(try kind("v1", "Secret") == .secret)
        #expect(try kind("v1", "Site") == nil)
        #expect(try kind("other.io/v1", "Listener") == nil)
        #expect(try kind("v1", "ConfigMap") == nil)
        #expect(Site(Resource(kind: .link, name: "x")) == nil)
    }

    @Test(arguments: [
        ("[1]", "a resource must be a YAML map"), ("a: 1", "no \"kind\""),
        ("kind: Site", "the Site has no \"metadata.name\""), ("a: [", "the YAML cannot be read: line"),
    ])
    func textsThatAreNoResources(text: String, part: String) {
        do {
            _ = try Resource.parseAll(yaml: text)
            Issue.record("accepted: \(text)")
        } catch {
            #expect("\(error)".contains(part))
        }
    }

    @Test func listsAreTakenApart() throws {
        let text = "{kind: List, items: [{kind: Site, metadata: {name: a}}, {kind: Link, metadata: {name: b}}]}"
        #expect(try Resource.parseAll(yaml: text).map(\.key.description) == ["Site/a", "Link/b"])
    }

    @Test func viewsWriteTheirFields() throws {
        var access = RouterAccess(name: "west", namespace: "ns")
        access.roles = [.init(name: "inter-router", port: 0), .init(name: "edge", port: 45672)]
        access.tlsCredentials = "skupper-site-server"
        access.generateTlsCredentials = true
        access.subjectAlternativeNames = ["h"]
        #expect(
            access.resource.yaml() == """
                apiVersion: skupper.io/v2alpha1
                kind: RouterAccess
                metadata:
                  name: west
                  namespace: ns
                spec:
                  generateTlsCredentials: true
                  roles:
                  - name: inter-router
                  - name: edge
                    port: 45672
                  subjectAlternativeNames:
                  - h
                  tlsCredentials: skupper-site-server

                """)
        #expect(access.roles.map(\.effectivePort) == [55671, 45672])
        var certificate = Certificate(name: "c")
        certificate.hosts = ["a", "b"]
        certificate.signing = true
        #expect(certificate.hosts == ["a", "b"] && certificate.signing && !certificate.server)
        var site = Site(name: "s")
        #expect(!site.acceptsLinks)
        site.linkAccess = "none"
        #expect(!site.acceptsLinks)
        site.linkAccess = "default"
        #expect(site.acceptsLinks)
        var secret = Secret(name: "s")
        secret.resource.document["stringData"] = ["k": "plain"]
        #expect(secret.textValue("k") == "plain")
        secret.setValue("k", [1, 2, 255])
        #expect(secret.value("k") == [1, 2, 255])
        #expect(secret.textValue("k") == nil)
    }

    @Test func multiKeyListenerStrategies() throws {
        func strategy(_ text: String) throws -> MultiKeyListener.Strategy? {
            let yaml = "{apiVersion: skupper.io/v2alpha1, kind: MultiKeyListener, metadata: {name: m}, spec: \(text)}"
            return try #require(MultiKeyListener(try Resource.parseAll(yaml: yaml)[0])).strategy
        }
        #expect(try strategy("{strategy: {priority: {routingKeys: [b, a]}}}") == .priority(["b", "a"]))
        #expect(
            try strategy("{strategy: {weighted: {routingKeys: {b: 3, a: 1}}}}")
                == .weighted([.init(key: "b", weight: 3), .init(key: "a", weight: 1)]))
        #expect(try strategy("{}") == nil)
        #expect(try strategy("{strategy: {priority: {routingKeys: [a]}, weighted: {routingKeys: {a: 1}}}}") == nil)
    }

    @Test func base64BothWays() {
        for count in 0..<40 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 200) }
            #expect(Base64.decode(Base64.encode(bytes)) == bytes)
        }
        #expect(Base64.encode(Array("foobar".utf8)) == "Zm9vYmFy")
        #expect(Base64.encode(Array("fooba".utf8)) == "Zm9vYmE=")
        #expect(Base64.encode([0xfb, 0xff]) == "+/8=")
        #expect(Base64.decode("Zm9v\n YmE=") == Array("fooba".utf8))
        for text in ["Zg", "Zg=", "Z===", "Zg==Zg==", "Zm9v!", "Zm9vYg="] { #expect(Base64.decode(text) == nil) }
    }

    @Test func printerColumnsOfEveryKind() throws {
        let expected: [ResourceKind: [String]] = [
            .site: ["Status", "Sites In Network", "Message"], .link: ["Status", "Remote Site", "Message"],
            .listener: ["Routing Key", "Port", "Host", "Status", "Has Matching Connector", "Message"],
            .connector: ["Routing Key", "Port", "Host", "Selector", "Status", "Has Matching Listener", "Message"],
            .multiKeyListener: ["Status", "Message", "HasDestination"],
            .accessGrant: ["Redemptions Allowed", "Redemptions Made", "Expiration", "Status", "Message"],
            .accessToken: ["URL", "Redeemed", "Status", "Message"], .routerAccess: ["Status", "Message"],
            .securedAccess: ["Status", "Message"],
            .certificate: ["CA", "Server", "Client", "Signing", "Status", "Expiration", "Message"],
            .attachedConnector: ["Port", "Selector", "Site Namespace", "Status"],
            .attachedConnectorBinding: ["Routing Key", "Connector Namespace", "Status", "Has Matching Listener"],
            .secret: [],
        ]
        for kind in ResourceKind.allCases { #expect(PrinterColumns.titles(kind) == expected[kind]) }
        var listener = Listener(name: "l")
        listener.routingKey = "key"
        listener.port = 80
        #expect(PrinterColumns.cells(listener.resource) == ["key", "80", "", "", "", ""])
        #expect(PrinterColumns.paths(.link) == ["status.status", "status.remoteSiteName", "status.message"])
    }
}
