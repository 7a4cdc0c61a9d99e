import CLibcurl
import ControlIO
import Glibc
import SiteModel

/// One request to an API server.
package struct APIRequest: Sendable {
    package enum Method: String, Sendable {
        case get = "GET"
        case post = "POST"
        case put = "PUT"
        case patch = "PATCH"
        case delete = "DELETE"
    }

    package var method: Method
    /// Path segments, without any encoding: `["api", "v1", "namespaces", "west", "pods"]`.
    package var path: [String]
    package var query: [(name: String, value: String)] = []
    package var body: Document?
    /// The media type of the body.
    package var contentType = "application/json"
    /// The media type wanted.
    package var accept = "application/json"
    /// The largest answer that is read, octets.
    package var answerLimit = 4 << 20
    /// The longest that the whole exchange may take, milliseconds.
    package var timeoutMilliseconds = 30_000
    /// How often the request is sent when the server is too busy for it and says for how long to wait.
    package var attempts = 4

    package init(_ method: Method, _ path: [String]) {
        self.method = method
        self.path = path
    }
}

/// Talks to one API server over one kept connection. Blocking; for one thread.
///
/// A request that the server is too busy for (429, 503 with a pause asked for) is repeated up to three times.
/// Credentials that the server no longer takes are fetched anew once where a program gives them.
package final class APIClient {
    package let access: ClusterAccess
    private let handle: UnsafeMutableRawPointer
    private let environment: [(String, String)]
    private var printed: CredentialPlugin.Printed?
    /// Set after a request without an answer: the connection may be dead without having been closed.
    private var mustReconnect = false
    private static let isInitialized = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    /// - Parameter environment: variables that credential plugins get beside those of this process.
    package init(_ access: ClusterAccess, environment: [(String, String)] = []) throws(APIFault) {
        guard Self.isInitialized, let handle = curl_easy_init() else {
            throw .notUnderstood("libcurl cannot be started: memory may be short")
        }
        self.access = access
        self.environment = environment
        self.handle = handle
    }

    deinit { curl_easy_cleanup(handle) }

    /// Sends a request that is answered with an object.
    package func object(_ request: APIRequest) throws(APIFault) -> Document {
        let bytes = try send(request)
        guard let document = ServerJSON.parse(bytes) else {
            throw .notUnderstood(
                "the API server \(access.server) answered with something else than JSON: its address may be that of "
                    + "another program")
        }
        return document
    }

    /// Sends a request and gives the octets of the answer.
    package func send(_ request: APIRequest) throws(APIFault) -> [UInt8] {
        var busy = 1
        var renewed = false
        while true {
            let answer = try exchange(request)
            if (200...299).contains(answer.status) { return answer.bytes }
            let fault = Self.fault(answer)
            if answer.status == 401, case .plugin = access.credentials, printed != nil, !renewed {
                renewed = true
                printed = nil
                continue
            }
            guard answer.status == 429 || answer.status == 503, answer.retryAfter > 0, busy < request.attempts
            else { throw fault }
            busy += 1
            sleep(UInt32(min(answer.retryAfter, 5)))
        }
    }

    private struct Answer {
        var status = 0
        var bytes: [UInt8] = []
        var retryAfter = 0
    }

    private static func fault(_ answer: Answer) -> APIFault {
        fault(status: answer.status, bytes: answer.bytes, retryAfter: answer.retryAfter)
    }

    /// What an answer other than success says.
    static func fault(status: Int, bytes: [UInt8], retryAfter: Int) -> APIFault {
        let text = String(decoding: bytes.prefix(64 << 10), as: UTF8.self)
        guard let content = try? JSON.parse(text), content["kind"]?.stringValue == "Status" else {
            let line = text.prefix(200).split(separator: "\n").first.map(String.init) ?? ""
            return .answer(status: status, reason: "", message: line, retryAfterSeconds: retryAfter)
        }
        return .answer(
            status: status, reason: content["reason"]?.stringValue ?? "",
            message: content["message"]?.stringValue ?? "", retryAfterSeconds: retryAfter)
    }

    /// Makes the next request fetch credentials anew where a program gives them; false when none does.
    func renewCredentials() -> Bool {
        guard case .plugin = access.credentials, printed != nil else { return false }
        printed = nil
        return true
    }

    // MARK: One exchange

    private func exchange(_ request: APIRequest) throws(APIFault) -> Answer {
        // Keeps the connection, forgets everything else.
        curl_easy_reset(handle)
        let prepared = try prepare(handle, request)
        if mustReconnect { _ = ccurl_setopt_long(handle, CURLOPT_FRESH_CONNECT, 1) }
        let collector = ResponseCollector(limit: request.answerLimit)
        _ = ccurl_setopt_write(handle, collectResponse)
        _ = ccurl_setopt_pointer(handle, CURLOPT_WRITEDATA, Unmanaged.passUnretained(collector).toOpaque())
        let code = withExtendedLifetime((collector, prepared)) { curl_easy_perform(handle) }
        mustReconnect = code != CURLE_OK
        guard code == CURLE_OK else {
            if collector.isTooLarge {
                throw .transport(.tooLarge(limitBytes: request.answerLimit), server: access.server)
            }
            throw fault(code, handle, prepared)
        }
        var answer = Answer(bytes: collector.bytes)
        _ = ccurl_getinfo_long(handle, CURLINFO_RESPONSE_CODE, &answer.status)
        _ = ccurl_getinfo_long(handle, CURLINFO_RETRY_AFTER, &answer.retryAfter)
        return answer
    }

    /// Says everything about a request to a fresh or reset handle, except where its answer goes.
    ///
    /// What it gives must live until the request is over.
    func prepare(_ handle: UnsafeMutableRawPointer, _ request: APIRequest) throws(APIFault) -> PreparedRequest {
        let target = target(of: request)
        let prepared = PreparedRequest(
            host: target.host, port: target.port, timeoutMilliseconds: request.timeoutMilliseconds)
        prepared.headers = try headerList(request)
        _ = ccurl_setopt_string(handle, CURLOPT_URL, target.url)
        if let connectTo = target.connectTo {
            prepared.connectTo = curl_slist_append(nil, connectTo)
            _ = ccurl_setopt_pointer(handle, CURLOPT_CONNECT_TO, prepared.connectTo)
        }
        if let proxy = access.proxy { _ = ccurl_setopt_string(handle, CURLOPT_PROXY, proxy) }
        _ = ccurl_setopt_string(handle, CURLOPT_PROTOCOLS_STR, "https,http")
        _ = ccurl_setopt_long(handle, CURLOPT_NOSIGNAL, 1)
        _ = ccurl_setopt_long(handle, CURLOPT_FOLLOWLOCATION, 0)
        _ = ccurl_setopt_long(handle, CURLOPT_TIMEOUT_MS, max(1, request.timeoutMilliseconds))
        _ = ccurl_setopt_long(handle, CURLOPT_CONNECTTIMEOUT_MS, max(1, min(10_000, request.timeoutMilliseconds)))
        _ = ccurl_setopt_pointer(handle, CURLOPT_HTTPHEADER, prepared.headers)
        _ = ccurl_setopt_pointer(handle, CURLOPT_ERRORBUFFER, prepared.errorText)
        setMethod(handle, request)
        try setTrust(handle)
        return prepared
    }

    /// Why a request that ended with this code got no answer.
    func fault(_ code: CURLcode, _ handle: UnsafeMutableRawPointer, _ prepared: PreparedRequest) -> APIFault {
        var systemError = 0
        _ = ccurl_getinfo_long(handle, CURLINFO_OS_ERRNO, &systemError)
        let cause = HTTPSClient.cause(
            code, detail: String(cString: prepared.errorText), systemError: Int32(truncatingIfNeeded: systemError),
            host: prepared.host, port: prepared.port, timeoutMilliseconds: prepared.timeoutMilliseconds)
        return .transport(cause, server: access.server)
    }

    private func setMethod(_ handle: UnsafeMutableRawPointer, _ request: APIRequest) {
        if let body = request.body {
            var content = Array(JSON.emit(body, pretty: false).utf8)
            _ = ccurl_setopt_long(handle, CURLOPT_POST, 1)
            _ = ccurl_setopt_long(handle, CURLOPT_POSTFIELDSIZE, content.count)
            _ = content.withUnsafeMutableBytes {
                ccurl_setopt_pointer(handle, CURLOPT_COPYPOSTFIELDS, $0.baseAddress)
            }
        }
        if request.method != .get || request.body != nil {
            _ = ccurl_setopt_string(handle, CURLOPT_CUSTOMREQUEST, request.method.rawValue)
        }
    }

    private func setTrust(_ handle: UnsafeMutableRawPointer) throws(APIFault) {
        _ = ccurl_setopt_long(handle, CURLOPT_SSL_VERIFYPEER, access.skipsVerification ? 0 : 1)
        _ = ccurl_setopt_long(handle, CURLOPT_SSL_VERIFYHOST, access.skipsVerification ? 0 : 2)
        _ = ccurl_setopt_long(handle, CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        if let authority = access.authorityPEM {
            guard authority.contains("-----BEGIN CERTIFICATE-----") else {
                throw .credentials("the certificate-authority of the kubeconfig is not a PEM certificate")
            }
            // The library's built-in folder of public CAs would be trusted beside ours.
            _ = ccurl_setopt_pointer(handle, CURLOPT_CAPATH, nil)
            blob(handle, CURLOPT_CAINFO_BLOB, authority)
        }
        let certificate = printed?.certificatePEM ?? access.clientCertificatePEM
        let key = printed?.keyPEM ?? access.clientKeyPEM
        guard let certificate else { return }
        guard let key else {
            throw .credentials("the kubeconfig has a client certificate and no client-key for it")
        }
        _ = ccurl_setopt_string(handle, CURLOPT_SSLCERTTYPE, "PEM")
        _ = ccurl_setopt_string(handle, CURLOPT_SSLKEYTYPE, "PEM")
        blob(handle, CURLOPT_SSLCERT_BLOB, certificate)
        blob(handle, CURLOPT_SSLKEY_BLOB, key)
    }

    private func blob(_ handle: UnsafeMutableRawPointer, _ option: CURLoption, _ text: String) {
        var bytes = Array(text.utf8)
        let count = bytes.count
        _ = bytes.withUnsafeMutableBytes { ccurl_setopt_blob(handle, option, $0.baseAddress, count) }
    }

    // MARK: Headers

    private func headerList(_ request: APIRequest) throws(APIFault) -> UnsafeMutablePointer<curl_slist>? {
        // Waiting for "100 Continue" would cost a second against servers that do not send it.
        var lines = ["Expect:", "Accept: \(request.accept)", "User-Agent: skupper"]
        if request.body != nil { lines.append("Content-Type: \(request.contentType)") }
        if let authorization = try authorization() { lines.append("Authorization: \(authorization)") }
        if !access.impersonatedUser.isEmpty { lines.append("Impersonate-User: \(access.impersonatedUser)") }
        lines += access.impersonatedGroups.map { "Impersonate-Group: \($0)" }
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines {
            guard !line.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) else {
                curl_slist_free_all(list)
                throw .credentials("the credentials of the kubeconfig hold characters that a request cannot carry")
            }
            let next = curl_slist_append(list, line)
            if next != nil { list = next }
        }
        return list
    }

    private func authorization() throws(APIFault) -> String? {
        switch access.credentials {
        case .none:
            return nil
        case .token(let token):
            return "Bearer \(token)"
        case .tokenFile(let path):
            do {
                return "Bearer \(try Files.readText(path, limit: 1 << 16).filter { !$0.isWhitespace })"
            } catch {
                throw .credentials("the token of the API server cannot be read: \(error)")
            }
        case .basic(let user, let password):
            return "Basic \(Base64.encode(Array("\(user):\(password)".utf8)))"
        case .plugin(let plugin):
            if printed == nil { printed = try plugin.run(environment: environment) }
            return printed?.token.map { "Bearer \($0)" }
        }
    }

    // MARK: Addresses

    /// The URL of a request, and where to connect to for it when the certificate is for another name than the address.
    private func target(of request: APIRequest) -> (url: String, host: String, port: Int, connectTo: String?) {
        let isSecure = access.server.hasPrefix("https://")
        let afterScheme = access.server.dropFirst(isSecure ? 8 : 7)
        let authority = afterScheme.prefix { $0 != "/" }
        let prefix = afterScheme.dropFirst(authority.count)
        var host = String(authority)
        var port = isSecure ? 443 : 80
        if let colon = authority.lastIndex(of: ":"), let number = Int(authority[authority.index(after: colon)...]) {
            host = String(authority[..<colon])
            port = number
        }
        let path = prefix + "/" + request.path.map(Self.encoded).joined(separator: "/")
        let query = request.query.map { "\(Self.encoded($0.name))=\(Self.encoded($0.value))" }.joined(separator: "&")
        let rest = path + (query.isEmpty ? "" : "?" + query)
        let scheme = isSecure ? "https" : "http"
        let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        guard let name = access.serverName, !name.isEmpty else {
            return ("\(scheme)://\(authority)\(rest)", bare, port, nil)
        }
        return ("\(scheme)://\(name):\(port)\(rest)", bare, port, "\(name):\(port):\(host):\(port)")
    }

    /// RFC 3986 §2.1, all but the unreserved characters encoded.
    private static func encoded(_ text: String) -> String {
        var result = ""
        for octet in text.utf8 {
            switch octet {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(octet))
            default:
                let digits = String(octet, radix: 16, uppercase: true)
                result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }
}

/// What libcurl keeps pointers to while a request goes on, and what its errors are about.
final class PreparedRequest {
    let host: String
    let port: Int
    let timeoutMilliseconds: Int
    fileprivate(set) var headers: UnsafeMutablePointer<curl_slist>?
    fileprivate(set) var connectTo: UnsafeMutablePointer<curl_slist>?
    let errorText: UnsafeMutablePointer<CChar>

    init(host: String, port: Int, timeoutMilliseconds: Int) {
        self.host = host
        self.port = port
        self.timeoutMilliseconds = timeoutMilliseconds
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    }

    deinit {
        curl_slist_free_all(headers)
        curl_slist_free_all(connectTo)
        errorText.deallocate()
    }
}
