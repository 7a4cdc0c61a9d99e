import ControlIO
import Glibc

/// The ports a namespace listens on: chosen once, kept in a file, so that links made to them stay valid.
package struct PortBook: Hashable, Sendable {
    /// What a port is for.
    package enum Purpose: Hashable, Sendable, CustomStringConvertible {
        /// Inter-router or edge listener of a router access.
        case access(String, role: String)
        /// Local AMQP management over TLS, 127.0.0.1.
        case management
        /// Health and metrics over HTTP.
        case health
        /// The grant server.
        case grants

        package var description: String {
            switch self {
            case .access(let name, let role): "\(name)-\(role)"
            case .management: "skupper-local"
            case .health: "health"
            case .grants: "grant-server"
            }
        }

        /// The port tried first.
        package var usual: UInt16 {
            switch self {
            case .access(_, "edge"): 45671
            case .access: 55671
            case .management: 5671
            case .health, .grants: 9090
            }
        }
    }

    /// How many ports above the usual one are tried.
    static let span: UInt16 = 1_000

    /// Ports by the text of their purpose.
    package private(set) var ports: [String: UInt16]

    package init(ports: [String: UInt16] = [:]) { self.ports = ports }

    /// The book in a file; empty if there is none or it cannot be read.
    package static func load(_ path: String) -> PortBook {
        guard let text = try? Files.readText(path), let document = try? YAML.parse(text).first else {
            return PortBook()
        }
        var ports: [String: UInt16] = [:]
        for (key, value) in document["ports"]?.mapValue?.entries ?? [] {
            if let number = value.intValue, let port = UInt16(exactly: number), port > 0 { ports[key] = port }
        }
        return PortBook(ports: ports)
    }

    /// Writes the book.
    package func save(_ path: String) throws(FileError) {
        var map = DocumentMap()
        for (key, port) in ports.sorted(by: { $0.key < $1.key }) { map[key] = .int(Int64(port)) }
        try Files.writeIfChanged(path, text: YAML.emit(["ports": .map(map)]))
    }

    /// The remembered port of a purpose.
    package func port(of purpose: Purpose) -> UInt16? { ports[purpose.description] }

    /// Forgets a purpose.
    package mutating func forget(_ purpose: Purpose) { ports[purpose.description] = nil }

    /// The port of a purpose: the fixed one, else the remembered one, else the first free one from the usual one on.
    ///
    /// - Parameters:
    ///   - fixed: a port the user asks for.
    ///   - reserved: ports that other namespaces remember, in use or not.
    ///   - isFree: whether a port can be bound now.
    /// Throws `LocalError` if none is free.
    package mutating func choose(
        _ purpose: Purpose, fixed: UInt16? = nil, reserved: Set<UInt16>, isFree: (UInt16) -> Bool
    ) throws(LocalError) -> UInt16 {
        if let fixed {
            ports[purpose.description] = fixed
            return fixed
        }
        if let known = port(of: purpose) { return known }
        let own = Set(ports.values)
        for offset in 0..<PortBook.span {
            let (candidate, isOver) = purpose.usual.addingReportingOverflow(offset)
            guard !isOver else { break }
            guard !own.contains(candidate), !reserved.contains(candidate), isFree(candidate) else { continue }
            ports[purpose.description] = candidate
            return candidate
        }
        throw LocalError(
            what: "no free port for \(purpose) from \(purpose.usual) on",
            cause: "the \(PortBook.span) ports tried are taken by other programs or namespaces",
            remedy: "Stop what uses them, or give a port in the site's settings")
    }

    /// Ports that the other namespaces of a data home remember.
    package static func reserved(in home: DataHome, except namespace: String) -> Set<UInt16> {
        var result: Set<UInt16> = []
        for name in (try? home.namespaces()) ?? [] where name != namespace {
            guard let layout = try? home.layout(of: name) else { continue }
            result.formUnion(load(layout.portsFile).ports.values)
        }
        return result
    }

    /// Whether a TCP port can be bound on `host` (empty: any address) now.
    package static func isFree(_ port: UInt16, host: String) -> Bool {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        hints.ai_family = host.isEmpty ? AF_INET : AF_UNSPEC
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host.isEmpty ? nil : host, String(port), &hints, &list) == 0 else { return false }
        defer { freeaddrinfo(list) }
        guard let info = list?.pointee else { return false }
        let descriptor = socket(info.ai_family, info.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), info.ai_protocol)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        // Connections of a listener that has ended may linger; they do not keep a new listener away.
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        return bind(descriptor, info.ai_addr, info.ai_addrlen) == 0 && listen(descriptor, 1) == 0
    }
}
