import ControlIO
import Glibc
import SiteTrust
import Testing

/// The HTTPS client against OpenSSL's own test server.
@Suite(.serialized) struct IOHTTPSTests {
    private static let now = Int64(time(nil))

    @Test func aTrustedServerIsHeard() throws {
        let authority = try CertificateAuthority.makeAuthority(commonName: "grants", nowUnix: Self.now - 60)
        let server = try TestServer(
            authority: authority, hosts: ["127.0.0.1", "localhost"],
            response: "HTTP/1.1 403 Forbidden\\r\\nContent-Length: 7\\r\\n\\r\\nrefused")
        let answer = try server.post(host: "127.0.0.1", trusting: authority.certificatePEM)
        #expect(answer.status == 403)
        #expect(answer.body == Array("refused".utf8))
    }

    @Test func redirectsAreNotFollowed() throws {
        let authority = try CertificateAuthority.makeAuthority(commonName: "grants", nowUnix: Self.now - 60)
        let server = try TestServer(
            authority: authority, hosts: ["localhost"],
            response: "HTTP/1.1 302 Found\\r\\nLocation: https://localhost:1/\\r\\nContent-Length: 0\\r\\n\\r\\n")
        #expect(try server.post(host: "localhost", trusting: authority.certificatePEM).status == 302)
    }

    @Test func anotherAuthorityIsNotTrusted() throws {
        let authority = try CertificateAuthority.makeAuthority(commonName: "grants", nowUnix: Self.now - 60)
        let other = try CertificateAuthority.makeAuthority(commonName: "other", nowUnix: Self.now - 60)
        let server = try TestServer(authority: authority, hosts: ["127.0.0.1"], response: "")
        #expect(throws: HTTPClientError.self) { try server.post(host: "127.0.0.1", trusting: other.certificatePEM) }
        let second = try TestServer(authority: authority, hosts: ["127.0.0.1"], response: "")
        do {
            _ = try second.post(host: "127.0.0.1", trusting: other.certificatePEM)
        } catch let error as HTTPClientError {
            guard case .tlsUntrusted = error else {
                Issue.record("\(error)")
                return
            }
            #expect(!error.isTemporary)
        }
    }

    @Test func anotherNameOrAddressIsAMismatch() throws {
        let authority = try CertificateAuthority.makeAuthority(commonName: "grants", nowUnix: Self.now - 60)
        for (host, names) in [("127.0.0.1", ["192.0.2.1"]), ("localhost", ["elsewhere"])] {
            let server = try TestServer(authority: authority, hosts: names, response: "")
            #expect(throws: HTTPClientError.tlsNameMismatch(host: host)) {
                try server.post(host: host, trusting: authority.certificatePEM)
            }
        }
    }

    @Test func faultsBeforeTLS() throws {
        let client = HTTPSClient()
        func fault(
            _ url: String, headers: [(String, String)] = [], trusting pem: String? = nil, milliseconds: Int = 3000
        ) -> HTTPClientError? {
            do {
                _ = try client.post(
                    url: url, headers: headers, body: [], trustedCAPEM: pem, minimumTLS13: true,
                    timeoutMilliseconds: milliseconds)
                return nil
            } catch {
                return error
            }
        }
        let port = try freePort()
        #expect(
            fault("https://127.0.0.1:\(port)/x")
                == .cannotConnect(host: "127.0.0.1", port: port, reason: "connection refused"))
        #expect(fault("https://no-such-host.invalid/") == .cannotResolve(host: "no-such-host.invalid"))
        guard case .invalidURL = fault("http://127.0.0.1/") else {
            Issue.record("http was not refused")
            return
        }
        #expect(
            fault("https://127.0.0.1:\(port)/", headers: [("a", "b\r\nc: d")]).map { "\($0)" }?.contains("header")
                == true)
        let silent = try SilentListener()
        #expect(fault("https://127.0.0.1:\(silent.port)/", milliseconds: 200) == .timeout(milliseconds: 200))
        for damaged in ["not PEM", "-----BEGIN CERTIFICATE-----\nMIIDNz… Q=\n-----END CERTIFICATE-----\n"] {
            guard case .caUnreadable = fault("https://127.0.0.1:\(silent.port)/", trusting: damaged) else {
                Issue.record("a CA that is none was not named")
                return
            }
        }
    }
}

/// A socket that accepts in the kernel and says nothing.
private final class SilentListener {
    let descriptor: Int32
    let port: Int

    init() throws {
        (descriptor, port) = try boundSocket()
        #expect(listen(descriptor, 4) == 0)
    }

    deinit { _ = close(descriptor) }
}

private func boundSocket() throws -> (Int32, Int) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    try #require(descriptor >= 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
        }
    }
    try #require(isBound)
    return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
}

private func freePort() throws -> Int {
    let (descriptor, port) = try boundSocket()
    _ = close(descriptor)
    return port
}

/// `openssl s_server` that sends one fixed response, as soon as a client is there.
private final class TestServer {
    private let folder: ControlTestFolder
    private let process: pid_t
    private let port: Int

    init(authority: KeyedCertificate, hosts: [String], response: String) throws {
        let now = Int64(time(nil))
        folder = try ControlTestFolder()
        let leaf = try CertificateAuthority.issue(commonName: "server", hosts: hosts, by: authority, nowUnix: now - 30)
        try Files.write(folder.path + "/crt", text: leaf.certificatePEM)
        try Files.write(folder.path + "/key", text: leaf.keyPEM, mode: 0o600)
        port = try freePort()
        let script =
            "{ printf '\(response)'; exec sleep 20; } | exec openssl s_server -accept 127.0.0.1:\(port) -tls1_3 "
            + "-cert \(folder.path)/crt -key \(folder.path)/key -quiet >/dev/null 2>&1"
        process = try spawn(["/bin/sh", "-c", script])
    }

    deinit {
        // The shell leads a group of its own: server and sleep go with it.
        kill(-process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
    }

    func post(host: String, trusting ca: String) throws -> (status: Int, body: [UInt8]) {
        let deadline = time(nil) + 15
        while true {
            do {
                return try HTTPSClient().post(
                    url: "https://\(host):\(port)/uid", headers: [("name", "x"), ("subject", "")],
                    body: Array("code".utf8), trustedCAPEM: ca, minimumTLS13: true, timeoutMilliseconds: 5000)
            } catch {
                guard case .cannotConnect = error, time(nil) < deadline else { throw error }
                usleep(20_000)
            }
        }
    }
}

/// Starts a program in a process group of its own.
private func spawn(_ arguments: [String]) throws -> pid_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    posix_spawnattr_setpgroup(&attributes, 0)
    defer { posix_spawnattr_destroy(&attributes) }
    var strings: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { strings.forEach { free($0) } }
    var process: pid_t = 0
    try #require(posix_spawn(&process, arguments[0], nil, &attributes, &strings, environ) == 0)
    return process
}
