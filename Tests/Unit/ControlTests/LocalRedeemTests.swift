import ControlIO
import Foundation
import HTTPServer
import SiteModel
import SiteTrust
import Testing

@testable import LocalPlatform

/// Each fault of a token, of the way and of the issuing site has a text of its own.
@Suite struct LocalRedeemTests {
    private static let good = """
        apiVersion: skupper.io/v2alpha1
        kind: AccessToken
        metadata: {name: t}
        spec: {url: "https://127.0.0.1:1/x", code: abc, ca: PEM}
        """

    private func fault(_ home: TemporaryHome, _ text: String) throws -> String {
        let path = try home.write("token.yaml", text)
        do {
            _ = try TokenRedeemer(store: home.store()).redeem(file: path, timeoutSeconds: 1)
            return "redeemed"
        } catch {
            return "\(error)"
        }
    }

    @Test func everyFaultOfTheFileHasItsText() throws {
        let home = try TemporaryHome()
        let redeemer = TokenRedeemer(store: try home.store())
        var texts: [String] = []
        func expect(_ text: String, _ parts: String...) {
            for part in parts { #expect(text.contains(part), "\(part) in: \(text)") }
            texts.append(text)
        }
        #expect { try redeemer.redeem(file: "\(home.path)/none") } throws: { "\($0)".contains("does not exist") }
        #expect { try redeemer.redeem(file: home.path) } throws: { "\($0)".contains("is a directory") }
        expect(try fault(home, "a: ["), "is not YAML")
        expect(try fault(home, ""), "does not hold an AccessToken", "empty")
        expect(
            try fault(home, "kind: Link\napiVersion: skupper.io/v2alpha1\nmetadata: {name: x}\n"), "holds Link",
            "system apply")
        expect(try fault(home, "kind: ConfigMap\n"), "holds ConfigMap")
        for field in ["url", "code", "ca"] {
            let text = LocalRedeemTests.good.replacingOccurrences(of: "\(field):", with: "x\(field):")
            expect(try fault(home, text), "has no spec.\(field)")
        }
        expect(
            try fault(home, LocalRedeemTests.good.replacingOccurrences(of: "{name: t}", with: "{}")),
            "has no metadata.name")
        expect(
            try fault(home, LocalRedeemTests.good.replacingOccurrences(of: "https:", with: "http:")), "is not https")
        let old = "{name: t, annotations: {skupper.io/expiration: \"2020-01-01T00:00:00Z\"}}"
        expect(
            try fault(home, LocalRedeemTests.good.replacingOccurrences(of: "{name: t}", with: old)),
            "has expired at 2020-01-01T00:00:00Z")
        #expect(Set(texts).count == texts.count)
    }

    @Test func aGoodTokenGivesSecretAndLinkOnce() throws {
        let home = try TemporaryHome()
        let site = try IssuingSite(in: home)
        let store = try home.store()
        let path = try home.write("t.yaml", site.token().fileText())
        let outcome = try TokenRedeemer(store: store).redeem(file: path)
        #expect(outcome.links == ["west-token"])
        let link = try #require(try store.get(Link.self, "west-token", in: .input))
        #expect(link.cost == 3)
        #expect(link.endpoints == [Endpoint(name: "inter-router", host: "192.0.2.20", port: "55671", group: "west")])
        let secret = try #require(try store.get(Secret.self, "west-token", in: .input))
        let certificate = try CertificateInspection(pem: try #require(secret.textValue("tls.crt")))
        #expect(certificate.commonName == "east")
        #expect(
            try CertificateInspection.isSigned(
                try #require(secret.textValue("tls.crt")), by: try #require(secret.textValue("ca.crt"))))
        #expect(site.grants.grants.map(\.redemptions) == [1])
        // Again: the link is there, and nothing is asked of the server.
        #expect { try TokenRedeemer(store: store).redeem(file: path) } throws: {
            "\($0)".contains("already has a link")
        }
        // From elsewhere: used up.
        #expect { try TokenRedeemer(store: home.store("north")).redeem(file: path) } throws: {
            "\($0)".contains("has been used up")
        }
        #expect(try home.store("north").load(.input).resources.isEmpty)
    }

    @Test func everyRefusalHasItsText() throws {
        let home = try TemporaryHome()
        let store = try home.store()
        func refusal(_ token: AccessToken) -> String {
            do {
                _ = try TokenRedeemer(store: store).redeem(token, timeoutSeconds: 20)
                return "redeemed"
            } catch {
                return "\(error)"
            }
        }
        let site = try IssuingSite(in: home)
        var token = site.token()
        token.code = "wrong"
        #expect(refusal(token).contains("refused the code"))
        token = site.token()
        token.url += "0"
        #expect(refusal(token).contains("does not know this token ("))
        token = site.token()
        token.ca = try CertificateAuthority.makeAuthority(commonName: "other", nowUnix: WallClock.now).certificatePEM
        #expect(refusal(token).contains("is not signed by the token's CA"))
        token = site.token()
        token.url = token.url.replacingOccurrences(of: "127.0.0.1", with: "127.0.0.2")
        #expect(refusal(token) != "redeemed")
        let late = try IssuingSite(in: home, expiration: WallClock.now - 5)
        #expect(refusal(late.token()).contains("the token has expired"))
        let closed = try IssuingSite(in: home, endpoints: [])
        #expect(refusal(closed.token()).contains("cannot accept links"))
        #expect(closed.grants.grants.map(\.redemptions) == [0])
        // The failures have used up nothing.
        #expect(site.grants.grants.map(\.redemptions) == [0])
        #expect(refusal(site.token()) == "redeemed")
    }

    @Test func aSiteThatIsDownIsTriedAgainAndSaysSo() throws {
        let home = try TemporaryHome()
        let site = try IssuingSite(in: home)
        let token = site.token()
        site.http.stop()
        var reports: [String] = []
        #expect {
            try TokenRedeemer(store: home.store()).redeem(token, timeoutSeconds: 2) { reports.append($0) }
        } throws: { "\($0)".contains("cannot connect to the issuing site") && "\($0)".contains("attempts in 2 s") }
        #expect(reports.count >= 2)
        #expect(reports.allSatisfy { $0.contains("trying again") })
    }

    @Test func aBusySiteIsAskedAgain() throws {
        let home = try TemporaryHome()
        let counter = Counter()
        let redeemer = TokenRedeemer(store: try home.store()) { _ in
            counter.next() < 2
                ? RedeemReply(status: 503, body: "Internal error\n")
                : RedeemReply(status: 404, body: "No such access granted\n")
        }
        var token = AccessToken(name: "t")
        (token.url, token.code, token.ca) = ("https://h/x", "c", "p")
        #expect { try redeemer.redeem(token, timeoutSeconds: 30) } throws: { "\($0)".contains("used up") }
        #expect(counter.value == 3)
    }

    @Test(arguments: [
        "", "kind: Secret\napiVersion: v1\nmetadata: {name: t}\n", "<html>", "a: [",
        "kind: Link\nmetadata: {name: t}\n",
    ])
    func anAnswerThatCannotBeUsedWritesNothing(_ body: String) throws {
        let home = try TemporaryHome()
        let store = try home.store()
        let redeemer = TokenRedeemer(store: store) { _ in RedeemReply(status: 200, body: body) }
        var token = AccessToken(name: "t")
        (token.url, token.code, token.ca) = ("https://h/x", "c", "p")
        #expect { try redeemer.redeem(token) } throws: { "\($0)".contains("cannot be used") }
        #expect(try store.load(.input).resources.isEmpty)
    }

    @Test func redemptionsSurviveARestartOfTheServer() throws {
        let home = try TemporaryHome()
        let path = "\(home.path)/g.yaml"
        let first = GrantServer(path: path)
        let grant = GrantLedger.Grant(
            uid: "u", namespace: "n", name: "g", code: "c", expirationUnix: WallClock.now + 60, redemptionsAllowed: 1,
            redemptions: 0)
        try first.update(grants: [grant])
        let authority = try CertificateAuthority.makeAuthority(commonName: "ca", nowUnix: WallClock.now)
        let issuing = GrantServer.Issuing(
            authority: authority, endpoints: [Endpoint(name: "edge", host: "h", port: "1", group: "g")])
        first.update(issuing: issuing)
        let request = HTTPRequest(method: "POST", path: "/u", body: Array("c".utf8))
        #expect(first.respond(to: request).status == 200)
        let second = GrantServer(path: path)
        second.update(issuing: issuing)
        // The resource still says 0 uses; the ledger knows better.
        try second.update(grants: [grant])
        let answer = second.respond(to: request)
        #expect(answer.status == 404)
        #expect(String(decoding: answer.body, as: UTF8.self) == "No such access granted\n")
        let asked = second.respond(
            to: HTTPRequest(method: "POST", path: "/u", headers: [("Skupper-Reason", "1")], body: Array("c".utf8)))
        #expect(String(decoding: asked.body, as: UTF8.self) == "No such access granted\nskupper-reason: used\n")
    }
}

private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var count = 0
    var value: Int { lock.withLock { count } }
    func next() -> Int {
        lock.withLock {
            defer { count += 1 }
            return count
        }
    }
}
