import COpenSSL
import Glibc

/// Milliseconds that only go forward.
func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

/// A TCP connection, with TLS when credentials are given, read and written with deadlines from one thread.
final class BlockingStream {
    /// Why a step failed, before it is known what the caller was waiting for.
    enum Failure: Error {
        case timedOut
        case failed(String)
        case ended
    }

    private let descriptor: Int32
    private var context: OpaquePointer?
    private var session: OpaquePointer?

    /// Connects, and with credentials shakes hands and checks the router's certificate and host name.
    init(to address: ManagementAddress, deadline: Int64) throws(Failure) {
        descriptor = try BlockingStream.connect(address, deadline: deadline)
        guard let credentials = address.credentials else { return }
        do {
            try startTLS(credentials, host: address.host, deadline: deadline)
        } catch {
            release()
            throw error
        }
    }

    deinit { release() }

    /// Reads what is there, waiting for at least one octet; empty never.
    func read(deadline: Int64) throws(Failure) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            guard let session else {
                let count = recv(descriptor, &buffer, buffer.count, 0)
                if count > 0 { return Array(buffer[..<count]) }
                if count == 0 { throw .ended }
                try waitAfterError(for: Int16(POLLIN), deadline: deadline)
                continue
            }
            ERR_clear_error()
            let count = SSL_read(session, &buffer, Int32(buffer.count))
            if count > 0 { return Array(buffer[..<Int(count)]) }
            try waitForTLS(session, result: count, deadline: deadline)
        }
    }

    /// Writes all of `bytes`.
    func write(_ bytes: [UInt8], deadline: Int64) throws(Failure) {
        var offset = 0
        while offset < bytes.count {
            guard let session else {
                let count = bytes[offset...].withUnsafeBytes {
                    send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if count >= 0 {
                    offset += count
                } else {
                    try waitAfterError(for: Int16(POLLOUT), deadline: deadline)
                }
                continue
            }
            ERR_clear_error()
            let count = bytes[offset...].withUnsafeBytes { SSL_write(session, $0.baseAddress, Int32($0.count)) }
            if count > 0 {
                offset += Int(count)
            } else {
                try waitForTLS(session, result: count, deadline: deadline)
            }
        }
    }

    // MARK: TCP

    private static func connect(_ address: ManagementAddress, deadline: Int64) throws(Failure) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let failure = getaddrinfo(address.host, String(address.port), &hints, &list)
        guard failure == 0 else { throw .failed(String(cString: gai_strerror(failure))) }
        defer { freeaddrinfo(list) }
        var last = Failure.failed("the name has no address")
        var entry = list
        while let info = entry {
            do {
                return try connect(info.pointee, deadline: deadline)
            } catch {
                last = error
            }
            entry = info.pointee.ai_next
        }
        throw last
    }

    private static func connect(_ info: addrinfo, deadline: Int64) throws(Failure) -> Int32 {
        let type = info.ai_socktype | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(info.ai_family, type, info.ai_protocol)
        guard descriptor >= 0 else { throw .failed(text(errno)) }
        do {
            if Glibc.connect(descriptor, info.ai_addr, info.ai_addrlen) != 0 {
                guard errno == EINPROGRESS else { throw Failure.failed(text(errno)) }
                try wait(descriptor, for: Int16(POLLOUT), deadline: deadline)
                var code: Int32 = 0
                var size = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
                guard code == 0 else { throw Failure.failed(text(code)) }
            }
            // Requests are small and each waits for its answer: nothing to gather.
            var on: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
            return descriptor
        } catch {
            close(descriptor)
            throw error as? Failure ?? .ended
        }
    }

    private static func wait(_ descriptor: Int32, for events: Int16, deadline: Int64) throws(Failure) {
        while true {
            let rest = deadline - monotonicMilliseconds()
            guard rest > 0 else { throw .timedOut }
            var entry = pollfd(fd: descriptor, events: events, revents: 0)
            let count = poll(&entry, 1, Int32(clamping: rest))
            if count > 0 { return }
            if count < 0, errno != EINTR { throw .failed(text(errno)) }
        }
    }

    private func waitAfterError(for events: Int16, deadline: Int64) throws(Failure) {
        switch errno {
        case EAGAIN, EINTR: try BlockingStream.wait(descriptor, for: events, deadline: deadline)
        case let code: throw .failed(BlockingStream.text(code))
        }
    }

    private static func text(_ code: Int32) -> String { String(cString: strerror(code)).lowercased() }

    // MARK: TLS

    private func startTLS(
        _ credentials: ManagementAddress.Credentials, host: String, deadline: Int64
    ) throws(Failure) {
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw .failed(tlsText()) }
        self.context = context
        _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        guard SSL_CTX_load_verify_file(context, credentials.caFile) == 1 else {
            throw .failed("the CA file \(credentials.caFile) cannot be used (\(tlsText()))")
        }
        guard SSL_CTX_use_certificate_chain_file(context, credentials.certificateFile) == 1,
            SSL_CTX_use_PrivateKey_file(context, credentials.keyFile, SSL_FILETYPE_PEM) == 1
        else { throw .failed("the certificate \(credentials.certificateFile) cannot be used (\(tlsText()))") }
        guard let session = SSL_new(context) else { throw .failed(tlsText()) }
        self.session = session
        SSL_set_fd(session, descriptor)
        if X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host) != 1 {
            ERR_clear_error()
            SSL_set1_host(session, host)
            _ = host.withCString {
                SSL_ctrl(
                    session, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
                    UnsafeMutableRawPointer(mutating: $0))
            }
        }
        while true {
            ERR_clear_error()
            let result = SSL_connect(session)
            if result == 1 { return }
            try waitForTLS(session, result: result, deadline: deadline)
        }
    }

    private func waitForTLS(_ session: OpaquePointer, result: Int32, deadline: Int64) throws(Failure) {
        let systemError = errno
        switch SSL_get_error(session, result) {
        case SSL_ERROR_WANT_READ: try BlockingStream.wait(descriptor, for: Int16(POLLIN), deadline: deadline)
        case SSL_ERROR_WANT_WRITE: try BlockingStream.wait(descriptor, for: Int16(POLLOUT), deadline: deadline)
        case SSL_ERROR_ZERO_RETURN: throw .ended
        case SSL_ERROR_SYSCALL where systemError == 0: throw .ended
        case SSL_ERROR_SYSCALL: throw .failed(BlockingStream.text(systemError))
        default:
            let verification = SSL_get_verify_result(session)
            if verification != 0 {
                throw .failed("certificate: \(String(cString: X509_verify_cert_error_string(verification)))")
            }
            throw .failed(tlsText())
        }
    }

    private func tlsText() -> String {
        let code = ERR_get_error()
        guard code != 0, let text = ERR_reason_error_string(code) else { return "TLS failed" }
        return "TLS: \(String(cString: text))"
    }

    private func release() {
        if let session { SSL_free(session) }
        if let context { SSL_CTX_free(context) }
        session = nil
        context = nil
        close(descriptor)
    }
}
