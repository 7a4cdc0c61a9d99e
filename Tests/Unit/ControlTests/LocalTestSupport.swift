import Foundation
import HTTPServer
import SiteModel
import SiteTrust

@testable import LocalPlatform

/// A folder that goes when the test ends.
final class TemporaryHome {
    let home: DataHome

    init() throws {
        let path = NSTemporaryDirectory() + "/skupper-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        home = DataHome(path: path)
    }

    deinit { try? FileManager.default.removeItem(atPath: home.path) }

    var path: String { home.path }

    func store(_ namespace: String = "east") throws -> NamespaceStore {
        let store = try NamespaceStore(namespace: namespace, home: home)
        try store.layout.makeDirectories()
        return store
    }

    func write(_ name: String, _ text: String) throws -> String {
        let path = "\(home.path)/\(name)"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }
}

/// Waits until `condition` holds; false when the deadline passes first.
func holds(within seconds: Double, _ condition: () throws -> Bool) rethrows -> Bool {
    let deadline = Date().addingTimeInterval(seconds)
    while Date() < deadline {
        if try condition() { return true }
        usleep(5_000)
    }
    return try condition()
}

/// A grant server of another site on the loopback, with a CA of its own.
final class IssuingSite {
    static let uid = "4745a00d-d4e9-40a0-bd75-46347d8574d7"
    static let code = "Zk3u0ZqM1c8nYw5Xb7RtLpEe"

    let authority: KeyedCertificate
    let grants: GrantServer
    let http: HTTPServer

    init(
        in home: TemporaryHome, allowed: Int = 1, expiration: Int64? = nil,
        endpoints: [Endpoint] = [Endpoint(name: "inter-router", host: "192.0.2.20", port: "55671", group: "west")]
    ) throws {
        let now = WallClock.now
        authority = try CertificateAuthority.makeAuthority(commonName: "test grant CA", nowUnix: now)
        let leaf = try CertificateAuthority.issue(
            commonName: "grants", hosts: ["127.0.0.1", "localhost"], by: authority, nowUnix: now)
        let siteAuthority = try CertificateAuthority.makeAuthority(commonName: "west site CA", nowUnix: now)
        grants = GrantServer(path: "\(home.path)/grants-\(UUID().uuidString).yaml")
        try grants.update(grants: [
            GrantLedger.Grant(
                uid: IssuingSite.uid, namespace: "west", name: "west-grant", code: IssuingSite.code,
                expirationUnix: expiration ?? now + 600, redemptionsAllowed: allowed, redemptions: 0)
        ])
        grants.update(issuing: GrantServer.Issuing(authority: siteAuthority, endpoints: endpoints))
        let server = grants
        http = try HTTPServer(
            host: "127.0.0.1", port: 0,
            tls: TLSIdentity(certificatePEM: leaf.certificatePEM, privateKeyPEM: leaf.keyPEM)
        ) { server.respond(to: $0) }
    }

    deinit { http.stop() }

    func token(name: String = "west-token") -> AccessToken {
        var token = AccessToken(name: name)
        token.url = "https://127.0.0.1:\(http.port)/\(IssuingSite.uid)"
        token.code = IssuingSite.code
        token.ca = authority.certificatePEM
        token.linkCost = 3
        return token
    }
}
