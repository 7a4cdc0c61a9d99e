import ControlIO
import Glibc
import SiteModel
import Testing

@testable import skupper

@Suite("Tokens and links on a cluster")
struct ClusterLinkTests {
    private static let readySite: [(type: String, isTrue: Bool, message: String)] = [
        ("Configured", true, "OK"), ("Running", true, "OK"), ("Resolved", true, "OK"), ("Ready", true, "OK"),
    ]

    /// A cluster with a site that is ready and, if wanted, can be linked to.
    private func cluster(endpoints: Bool = true) -> FakeCluster {
        let cluster = FakeCluster()
        cluster.put(
            "{apiVersion: skupper.io/v2alpha1, kind: Site, metadata: {name: west}, spec: {linkAccess: default}}")
        let list: Document = [
            ["name": "inter-router", "host": "192.0.2.20", "port": "55671", "group": "skupper-router"],
            ["name": "edge", "host": "192.0.2.20", "port": "45671", "group": "skupper-router"],
        ]
        cluster.setStatus(
            .site, "west", status: "Ready", conditions: Self.readySite,
            more: endpoints ? [("endpoints", list), ("defaultIssuer", "skupper-site-ca")] : [])
        return cluster
    }

    private func withFolder(_ body: (String) throws -> Void) rethrows {
        guard let text = strdup("/var/tmp/link-" + String(repeating: "X", count: 6)), mkdtemp(text) != nil else {
            preconditionFailure("no temporary folder")
        }
        let folder = String(cString: text)
        free(text)
        defer { try? Files.removeTree(folder) }
        try body(folder)
    }

    private func grantReady(_ cluster: FakeCluster, after milliseconds: Int64 = 1000) {
        cluster.controller = { cluster in
            guard cluster.waited >= milliseconds, let name = cluster.names(.accessGrant).first else { return }
            cluster.setStatus(
                .accessGrant, name, status: "Ready",
                conditions: [("Processed", true, "OK"), ("Resolved", true, "OK"), ("Ready", true, "OK")],
                more: [
                    ("url", "https://192.0.2.10:9090/0d0c6f5e"), ("code", "Zk3u0ZqM1c8nYw5Xb7RtLpEe"),
                    ("ca", "-----BEGIN CERTIFICATE-----\n"), ("expirationTime", "2999-01-01T00:00:00Z"),
                ])
        }
    }

    @Test("issue makes a grant, waits for it and writes a token that only its owner can read")
    func issue() throws {
        let cluster = cluster()
        grantReady(cluster)
        try withFolder { folder in
            let answer = cluster.run(
                "token issue \(folder)/west.yaml --expiration-window 60m --redemptions-allowed 3 --cost 7")
            #expect(answer.code == 0, "\(answer)")
            let name = try #require(cluster.names(.accessGrant).first)
            #expect(name.hasPrefix("west-"))
            #expect(answer.output.hasPrefix("\nGrant \"\(name)\" is ready\nToken file \(folder)/west.yaml created\n"))
            #expect(answer.output.contains("The token expires after 3 use(s) or after 1h0m0s.\n"))
            let grant = cluster.object(.accessGrant, name)
            #expect(grant?.spec("redemptionsAllowed") == 3)
            #expect(grant?.spec("expirationWindow") == "1h0m0s")
            let token = try Resource.parseAll(yaml: Files.readText("\(folder)/west.yaml"))[0]
            #expect(token.name == name)
            #expect(token.spec("code") == "Zk3u0ZqM1c8nYw5Xb7RtLpEe")
            #expect(token.spec("linkCost") == 7)
            #expect(token.namespace == "")
            var status = stat()
            #expect(stat("\(folder)/west.yaml", &status) == 0 && status.st_mode & 0o777 == 0o600)
        }
    }

    @Test("issue to standard output prints the token there and the rest elsewhere")
    func issueToOutput() throws {
        let cluster = cluster()
        grantReady(cluster)
        let answer = cluster.run("token issue -")
        #expect(answer.code == 0)
        #expect(try Resource.parseAll(yaml: answer.output).map(\.kind) == ["AccessToken"])
        #expect(answer.notes.contains("The token expires after 1 use(s) or after 15m0s."))
    }

    @Test("issue needs a site that is ready and can be linked to")
    func issueWithoutAccess() {
        let empty = FakeCluster()
        #expect(
            empty.run("token issue -").notes == "A site must exist in namespace west before a token can be created\n")
        let closed = cluster(endpoints: false).run("token issue -")
        #expect(closed.notes == "You must enable link access for this site before you can create a token.\n")
        #expect(closed.code == 2)
        empty.put("{apiVersion: skupper.io/v2alpha1, kind: Site, metadata: {name: west}}")
        #expect(empty.run("token issue -").notes == "there is no active skupper site in this namespace\n")
        let wrong = cluster().run("token issue - --redemptions-allowed 0 --expiration-window 30s --cost x --timeout 1s")
        #expect(wrong.notes.split(separator: "\n").count == 4)
    }

    @Test("a grant that is refused ends the waiting; one that nobody serves is told of with a remedy")
    func grantFails() throws {
        let refused = cluster()
        refused.controller = { cluster in
            guard let name = cluster.names(.accessGrant).first else { return }
            cluster.setStatus(.accessGrant, name, status: "Error", message: "AccessGrants are not enabled")
        }
        var answer = refused.run("token issue -")
        #expect(answer.code == 1)
        #expect(answer.notes.contains("AccessGrants are not enabled"))
        #expect(refused.waited < 1000)

        let alone = cluster()
        answer = alone.run("token issue - --timeout 20s")
        let name = try #require(alone.names(.accessGrant).first)
        #expect(answer.notes.hasPrefix("grant \"\(name)\" not ready yet, check the status for more information\n"))
        #expect(answer.notes.contains("Waited 20s"))
        #expect(answer.notes.contains("kubectl delete accessgrant \(name) -n west"))
    }

    private func token(_ folder: String) throws -> String {
        let path = "\(folder)/token.yaml"
        try Files.write(
            path,
            text: """
                apiVersion: skupper.io/v2alpha1
                kind: AccessToken
                metadata: {name: east-1, namespace: elsewhere}
                spec: {ca: "-----BEGIN CERTIFICATE-----", code: abc, linkCost: 2, url: "https://192.0.2.10:9090/a"}

                """, mode: 0o600)
        return path
    }

    @Test("redeem stores the token in this namespace and waits until it is redeemed")
    func redeem() throws {
        try withFolder { folder in
            let cluster = cluster()
            cluster.controller = {
                guard $0.waited > 1500 else { return }
                $0.setStatus(.accessToken, "east-1", status: "Ready", conditions: [("Redeemed", true, "OK")])
            }
            let path = try token(folder)
            let answer = cluster.run("token redeem \(path)")
            #expect(answer.output == "Token \"east-1\" has been redeemed\n")
            #expect(cluster.object(.accessToken, "east-1")?.spec("linkCost") == 2)
            #expect(cluster.bodies.first?.value(at: "metadata.namespace") == "west")
            // Once more is no fault: the link is there.
            #expect(cluster.run("token redeem \(path)").code == 0)
        }
    }

    @Test("a refusal by the other site is told at once, anything else when the time is up")
    func redeemFails() throws {
        try withFolder { folder in
            let path = try token(folder)
            let refused = cluster()
            refused.controller = {
                $0.setStatus(
                    .accessToken, "east-1", status: "Error",
                    message: "Controller got failed response: 404 (Not Found) No such access granted",
                    conditions: [("Redeemed", false, "x")])
            }
            var answer = refused.run("token redeem \(path)")
            #expect(answer.code == 1)
            #expect(answer.output.contains("No such access granted"))
            #expect(answer.output.contains("issue a new one there"))
            #expect(refused.waited < 1000)

            let unreachable = cluster()
            unreachable.controller = {
                $0.setStatus(
                    .accessToken, "east-1", status: "Error", message: "Controller got error: connection refused",
                    conditions: [("Redeemed", false, "x")])
            }
            answer = unreachable.run("token redeem \(path) --timeout 15s")
            #expect(answer.output.hasPrefix(
                "Token \"east-1\" redeem not ready yet, check the status for more information\n"))
            #expect(answer.output.contains("connection refused"))
            #expect((15_000...16_000).contains(unreachable.waited))
        }
    }

    @Test("redeem needs a file and a site")
    func redeemValidation() {
        let answer = FakeCluster().run("token redeem nowhere.yaml")
        #expect(answer.code == 2)
        #expect(answer.output.contains("A site must exist in namespace west before a token can be redeemed"))
        #expect(answer.output.contains("token file does not exist: "))
    }

    @Test("link status as the founding document prints it")
    func status() {
        let cluster = cluster()
        #expect(cluster.run("link status").output == "There are no link resources in the namespace\n")
        let name = "west-12f75bc8-5dda-4256-88f8-9df48150281a"
        cluster.put("{apiVersion: skupper.io/v2alpha1, kind: Link, metadata: {name: \(name)}, spec: {endpoints: []}}")
        #expect(
            cluster.run("link status").output == """
                NAME                                            STATUS  COST    MESSAGE
                \(name)       Pending 1       Not Operational

                """)
        cluster.setStatus(.link, name, status: "Ready")
        #expect(
            cluster.run("link status").output == """
                NAME                                            STATUS  COST    MESSAGE
                \(name)       Ready   1       OK

                """)
        let single = cluster.run("link status \(name)").output
        #expect(single == "Name\t: \(name)\nStatus\t: Ready\nCost\t: 1\nMessage\t: OK\n")
        #expect(cluster.run("link status other").output == "links.skupper.io \"other\" not found\n")
        let siteless = FakeCluster().run("link status")
        #expect(siteless.output == "there is no skupper site available\n")
        #expect(siteless.code == 2)
    }

    @Test("update of the cost leaves the credentials, update of the credentials leaves the cost")
    func update() {
        let cluster = cluster()
        cluster.put(
            """
            apiVersion: skupper.io/v2alpha1
            kind: Link
            metadata: {name: a}
            spec: {endpoints: [{name: edge, host: h, port: "1"}], cost: 3, tlsCredentials: old}
            """)
        cluster.controller = {
            $0.setStatus(
                .link, "a", status: "Ready",
                conditions: [("Configured", true, "OK"), ("Operational", true, "OK"), ("Ready", true, "OK")])
        }
        #expect(cluster.run("link update a --cost 9").output == "Link \"a\" is updated\n")
        #expect(cluster.bodies.last == ["spec": ["cost": 9]])
        let answer = cluster.run("link update a --tls-credentials new")
        #expect(answer.output.contains("the TLS secret \"new\" is not available in the namespace"))
        #expect(answer.code == 2)
        cluster.put("{apiVersion: v1, kind: Secret, metadata: {name: new}}")
        #expect(cluster.run("link update a --tls-credentials new").code == 0)
        #expect(cluster.object(.link, "a")?.spec("cost") == 9)
        #expect(cluster.run("link delete a").output == "Link \"a\" is deleted\n")
        #expect(cluster.names(.link) == [])
        #expect(cluster.run("link delete a").code == 2)
    }

    @Test("generate prints the link and the Secret that the controller makes for it")
    func generate() throws {
        let cluster = cluster()
        cluster.controller = {
            guard $0.names(.certificate) == ["link-west"], $0.names(.secret).isEmpty else { return }
            let data = "{tls.crt: YQ==, tls.key: Yg==, ca.crt: Yw==}"
            $0.put("{apiVersion: v1, kind: Secret, metadata: {name: link-west}, data: \(data)}")
        }
        let answer = cluster.run("link generate --cost 4")
        #expect(answer.code == 0, "\(answer)")
        let printed = try Resource.parseAll(yaml: answer.output)
        #expect(printed.map(\.kind) == ["Link", "Secret"])
        #expect(printed[0].name == "link-west-skupper-router")
        #expect(printed[0].spec("cost") == 4)
        #expect(printed[1].document.value(at: ["data", "tls.key"]) == "Yg==")
        #expect(cluster.object(.certificate, "link-west")?.spec("ca") == "skupper-site-ca")

        let closed = self.cluster(endpoints: false).run("link generate")
        #expect(closed.output.hasPrefix("A link cannot be generated because link access is not enabled."))
        let slow = self.cluster()
        let late = slow.run("link generate --timeout 10s")
        #expect(late.output.hasPrefix("TLS secret \"link-west\" not ready yet, check the status for more information"))
    }
}
