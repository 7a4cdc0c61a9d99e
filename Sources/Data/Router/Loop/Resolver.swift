import CLibuv
import Glibc

/// Turns host names into addresses on libuv's thread pool, so that no loop ever waits for DNS.
enum Resolver {
    private final class Request {
        let done: (Result<[SocketAddress], ResolveFailure>) -> Void
        let host: String
        init(host: String, done: @escaping (Result<[SocketAddress], ResolveFailure>) -> Void) {
            self.host = host
            self.done = done
        }
    }

    /// Resolves `host` to addresses of `family`; `done` runs on the loop's thread, at once for an address literal.
    static func resolve(
        loop: EventLoop, host: String, port: UInt16, family: AddressFamily = .any,
        done: @escaping (Result<[SocketAddress], ResolveFailure>) -> Void
    ) {
        if let literal = SocketAddress(literal: host, port: port) {
            guard family.admits(literal) else {
                return done(.failure(ResolveFailure(host: host, reason: "it is no \(family.words)address")))
            }
            return done(.success([literal]))
        }
        let request = UnsafeMutablePointer<uv_getaddrinfo_t>.allocate(capacity: 1)
        request.pointee.data = Unmanaged.passRetained(Request(host: host, done: done)).toOpaque()
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_family = family.hint
        let result = uv_getaddrinfo(loop.resolver, request, onResolved, host, String(port), &hints)
        if result != 0 { return finish(request, status: result, list: nil) }
        loop.resolutionStarted()
    }

    fileprivate static func finish(
        _ request: UnsafeMutablePointer<uv_getaddrinfo_t>, status: Int32, list: UnsafeMutablePointer<addrinfo>?
    ) {
        guard let data = request.pointee.data else { return }
        let context = Unmanaged<Request>.fromOpaque(data).takeRetainedValue()
        request.deallocate()
        guard status == 0 else {
            let reason = String(cString: uv_strerror(status))
            return context.done(.failure(ResolveFailure(host: context.host, reason: reason)))
        }
        let addresses = SocketAddress.all(in: list, atMost: 16)
        uv_freeaddrinfo(list)
        context.done(.success(addresses))
    }
}

/// A host name that could not be resolved.
struct ResolveFailure: Error {
    var host: String
    var reason: String
}

private let onResolved: uv_getaddrinfo_cb = { request, status, list in
    guard let request else { return }
    Resolver.finish(request, status: status, list: list)
}
