import Glibc
import RouterConfig

/// An HTTP proxy that a connector dials through (`proxyProfile`), resolved at the time of dialling.
struct ProxySettings: Sendable {
    var host: String
    var port: UInt16
    /// User and password as basic authentication has them, nil for none.
    var authorization: String?

    var text: String { "proxy \(host):\(port)" }

    /// The settings of a `proxyProfile`; a password in a file is read now, so that a new one counts from the next dial.
    init(_ profile: Entity) throws(EntityFailure) {
        host = profile[string: "host"] ?? ""
        guard !host.isEmpty, let port = profile.port() else {
            throw EntityFailure(status: 400, text: "proxyProfile '\(profile.name)': host and port are needed")
        }
        self.port = port
        guard let user = profile[string: "username"], !user.isEmpty else { return }
        do {
            let password = try Password.resolve(profile[string: "password"] ?? "")
            authorization = ProxySettings.base64(Array("\(user):\(password)".utf8))
        } catch {
            throw EntityFailure(status: 400, text: "proxyProfile '\(profile.name)': \(error.text)")
        }
    }

    /// The request for a tunnel to `host` (RFC 9110 §9.3.6).
    func request(host: String, port: String) -> [UInt8] {
        let target = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        var text = "CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n"
        if let authorization { text += "Proxy-Authorization: Basic \(authorization)\r\n" }
        return Array((text + "\r\n").utf8)
    }

    /// What a proxy's answer means.
    enum Answer: Equatable {
        case incomplete
        case tunnel
        /// Why there is none, with the proxy's words.
        case refused(String)
    }

    /// Longest answer that is read, octets.
    static let answerMaximum = 8_192

    /// Judges what the proxy has sent so far. The peer behind it speaks only after us, so nothing follows the head.
    static func judge(_ octets: [UInt8]) -> Answer {
        let end: [UInt8] = [13, 10, 13, 10]
        guard let last = octets.indices.first(where: { octets[$0...].starts(with: end) }) else {
            return octets.count < answerMaximum ? .incomplete : .refused("its answer has no end")
        }
        let line = octets.prefix { $0 != 13 && $0 != 10 }
        let text = String(decoding: line.prefix(120).map { $0 < 32 || $0 > 126 ? 63 : $0 }, as: UTF8.self)
        let words = text.split(separator: " ", maxSplits: 2).map(String.init)
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            return .refused("it does not speak HTTP: \(text)")
        }
        guard (200..<300).contains(status) else { return .refused(words[1...].joined(separator: " ")) }
        return last + end.count == octets.count ? .tunnel : .refused("octets after its answer")
    }

    /// RFC 4648 §4.
    static func base64(_ octets: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var result: [UInt8] = []
        for start in stride(from: 0, to: octets.count, by: 3) {
            let part = octets[start..<min(start + 3, octets.count)]
            let bits = part.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - part.count))
            for index in 0..<4 {
                result.append(index <= part.count ? alphabet[bits >> (18 - 6 * index) & 63] : 61)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension AMQPConnection {
    /// Asks the proxy for a tunnel; TLS begins when it stands. The request fits every socket's empty buffer.
    func askProxy(_ proxy: ProxySettings) {
        phase = .proxy
        let request = proxy.request(host: settings.host, port: settings.port)
        guard let descriptor = poll?.descriptor else { return }
        let count = request.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if count != request.count { close("\(proxy.text): cannot write the request: \(Sockets.text(errno))") }
    }

    /// Reads the proxy's answer; true when the tunnel stands.
    func readProxyAnswer(_ descriptor: Int32) -> Bool {
        let text = settings.proxy?.text ?? "proxy"
        var buffer = [UInt8](repeating: 0, count: 1_024)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count == 0 {
                close("\(text) closed the connection before it was up")
                return false
            }
            guard count > 0 else {
                if errno != EAGAIN, errno != EINTR { close("\(text): read: \(Sockets.text(errno))") }
                return false
            }
            residue += buffer[..<count]
            switch ProxySettings.judge(residue) {
            case .incomplete: continue
            case .refused(let reason):
                close("\(text) refused the tunnel: \(reason)")
                return false
            case .tunnel:
                residue = []
                return true
            }
        }
    }
}
