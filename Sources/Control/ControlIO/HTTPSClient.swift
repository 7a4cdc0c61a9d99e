import CLibcurl
import Glibc

/// An HTTPS client over libcurl: one exchange per call, no redirects, no proxies from the environment, no state.
package struct HTTPSClient: Sendable {
    /// Largest accepted response body, bytes.
    package static let maximumResponseBytes = 1024 * 1024

    private static let isInitialized = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    /// A client; it holds nothing between calls.
    package init() {}

    /// Sends a POST and reads the whole response; blocks at most `timeoutMilliseconds`.
    /// - Parameters:
    ///   - url: must have scheme https.
    ///   - headers: names and values without line breaks.
    ///   - body: raw bytes.
    ///   - trustedCAPEM: the only CA certificates trusted; nil uses the system's.
    ///   - minimumTLS13: refuse older TLS versions.
    ///   - timeoutMilliseconds: for the whole exchange.
    /// - Returns: the status, also for 3xx, 4xx and 5xx, and the body.
    package func post(
        url: String, headers: [(String, String)], body: [UInt8], trustedCAPEM: String?, minimumTLS13: Bool,
        timeoutMilliseconds: Int
    ) throws(HTTPClientError) -> (status: Int, body: [UInt8]) {
        let target = try Self.target(of: url)
        guard Self.isInitialized, let handle = curl_easy_init() else {
            throw .other(detail: "libcurl cannot be started")
        }
        defer { curl_easy_cleanup(handle) }
        let list = try Self.headerList(headers)
        defer { curl_slist_free_all(list) }

        _ = ccurl_setopt_string(handle, CURLOPT_URL, url)
        _ = ccurl_setopt_string(handle, CURLOPT_PROTOCOLS_STR, "https")
        _ = ccurl_setopt_string(handle, CURLOPT_PROXY, "")
        _ = ccurl_setopt_long(handle, CURLOPT_NOSIGNAL, 1)
        _ = ccurl_setopt_long(handle, CURLOPT_FOLLOWLOCATION, 0)
        _ = ccurl_setopt_long(handle, CURLOPT_TIMEOUT_MS, max(1, timeoutMilliseconds))
        _ = ccurl_setopt_long(handle, CURLOPT_CONNECTTIMEOUT_MS, max(1, timeoutMilliseconds))
        _ = ccurl_setopt_pointer(handle, CURLOPT_HTTPHEADER, list)
        _ = ccurl_setopt_long(handle, CURLOPT_POST, 1)
        _ = ccurl_setopt_long(handle, CURLOPT_POSTFIELDSIZE, body.count)
        var content = body.isEmpty ? [0] : body
        _ = content.withUnsafeMutableBytes { ccurl_setopt_pointer(handle, CURLOPT_COPYPOSTFIELDS, $0.baseAddress) }
        try Self.setTrust(handle, trustedCAPEM, minimumTLS13: minimumTLS13)

        let response = ResponseCollector(limit: Self.maximumResponseBytes)
        _ = ccurl_setopt_write(handle, collectResponse)
        _ = ccurl_setopt_pointer(handle, CURLOPT_WRITEDATA, Unmanaged.passUnretained(response).toOpaque())
        let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        defer { errorText.deallocate() }
        _ = ccurl_setopt_pointer(handle, CURLOPT_ERRORBUFFER, errorText)

        let code = withExtendedLifetime(response) { curl_easy_perform(handle) }
        guard code == CURLE_OK else {
            if response.isTooLarge { throw .tooLarge(limitBytes: Self.maximumResponseBytes) }
            var systemError = 0
            _ = ccurl_getinfo_long(handle, CURLINFO_OS_ERRNO, &systemError)
            throw Self.cause(
                code, detail: String(cString: errorText), systemError: Int32(truncatingIfNeeded: systemError),
                host: target.host, port: target.port, timeoutMilliseconds: timeoutMilliseconds)
        }
        var status = 0
        _ = ccurl_getinfo_long(handle, CURLINFO_RESPONSE_CODE, &status)
        return (status, response.bytes)
    }

    private static func setTrust(
        _ handle: UnsafeMutableRawPointer, _ pem: String?, minimumTLS13: Bool
    ) throws(HTTPClientError) {
        _ = ccurl_setopt_long(handle, CURLOPT_SSL_VERIFYPEER, 1)
        _ = ccurl_setopt_long(handle, CURLOPT_SSL_VERIFYHOST, 2)
        let version = minimumTLS13 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2
        _ = ccurl_setopt_long(handle, CURLOPT_SSLVERSION, Int(version))
        guard let pem else { return }
        guard pem.contains("-----BEGIN CERTIFICATE-----") else {
            throw .caUnreadable(detail: "it is not in PEM form")
        }
        // The library's built-in folder of public CAs would be trusted beside ours.
        _ = ccurl_setopt_pointer(handle, CURLOPT_CAPATH, nil)
        var bytes = Array(pem.utf8)
        let count = bytes.count
        _ = bytes.withUnsafeMutableBytes { ccurl_setopt_blob(handle, CURLOPT_CAINFO_BLOB, $0.baseAddress, count) }
    }

    private static func headerList(
        _ headers: [(String, String)]
    ) throws(HTTPClientError) -> UnsafeMutablePointer<curl_slist>? {
        // Waiting for "100 Continue" would cost a second against servers that do not send it.
        var list = curl_slist_append(nil, "Expect:")
        for (name, value) in headers {
            guard !name.isEmpty, !name.contains(":"), !(name + value).utf8.contains(where: { $0 < 0x20 || $0 == 0x7f })
            else {
                curl_slist_free_all(list)
                throw .other(detail: "the HTTP header \"\(name)\" has characters that a header cannot carry")
            }
            // libcurl's way to send a header without a value is a semicolon.
            let next = curl_slist_append(list, value.isEmpty ? "\(name);" : "\(name): \(value)")
            if next != nil { list = next }
        }
        return list
    }

    private static func target(of url: String) throws(HTTPClientError) -> (host: String, port: Int) {
        guard url.lowercased().hasPrefix("https://") else {
            throw .invalidURL(detail: "the scheme of \"\(url)\" must be https")
        }
        let authority = url.dropFirst(8).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let place = authority.split(separator: "@", omittingEmptySubsequences: false).last ?? ""
        if place.hasPrefix("[") {
            let parts = place.dropFirst().split(separator: "]", maxSplits: 1, omittingEmptySubsequences: false)
            return (String(parts[0]), parts.count > 1 ? Int(parts[1].dropFirst()) ?? 443 : 443)
        }
        let parts = place.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let host = parts.first, !host.isEmpty else { throw .invalidURL(detail: "\"\(url)\" has no host") }
        return (String(host), parts.count > 1 ? Int(parts[1]) ?? 443 : 443)
    }

    /// What a result code of libcurl other than success means.
    /// - Parameters:
    ///   - detail: what libcurl wrote into its error buffer.
    ///   - systemError: `errno` of the connection attempt, 0 when unknown.
    package static func cause(
        _ code: CURLcode, detail: String, systemError: Int32, host: String, port: Int, timeoutMilliseconds: Int
    ) -> HTTPClientError {
        let text = detail.isEmpty ? String(cString: curl_easy_strerror(code)) : detail
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST: return .cannotResolve(host: host)
        case CURLE_COULDNT_CONNECT:
            let reason = systemError == 0 ? text : String(cString: strerror(systemError)).lowercased()
            return .cannotConnect(host: host, port: port, reason: reason)
        case CURLE_OPERATION_TIMEDOUT: return .timeout(milliseconds: timeoutMilliseconds)
        case CURLE_PEER_FAILED_VERIFICATION:
            let isName = text.contains("subject name") || text.contains("does not match")
            return isName ? .tlsNameMismatch(host: host) : .tlsUntrusted(detail: text)
        case CURLE_SSL_CACERT_BADFILE: return .caUnreadable(detail: text)
        case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CIPHER, CURLE_SSL_CERTPROBLEM:
            return .tlsOther(detail: text)
        case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL: return .invalidURL(detail: text)
        default: return .other(detail: text)
        }
    }
}
