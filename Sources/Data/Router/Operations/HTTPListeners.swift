import Glibc
import HTTPServer
import RouterConfig
import Threading

/// Listeners that speak HTTP or, with an sslProfile, HTTPS.
extension Core {
    func createHTTPListener(_ entity: Entity) throws(EntityFailure) {
        let address = try bindAddress(of: entity)
        let endpoints = HTTPEndpoints(
            core: self, healthz: entity.boolean("healthz") ?? true, metrics: entity.boolean("metrics") ?? true,
            folder: Core.servedFolder(entity))
        let identity = try httpIdentity(entity)
        let webSockets = try webSocketService(entity, isSecure: identity != nil)
        if identity == nil, entity.boolean("authenticatePeer") == true {
            Log.write(
                .http, .warning,
                "listener '\(entity.name)': authenticatePeer has no effect on files, /healthz and /metrics in clear "
                    + "text; give it an sslProfile")
        }
        do throws(HTTPServerError) {
            let server = try HTTPServer(
                host: address.host, port: address.port, family: Core.httpFamily(entity), tls: identity,
                limits: HTTPLimits(connections: 64), webSockets: webSockets, handler: { endpoints.answer($0) })
            amqpListeners[entity.name] = AMQPListenerState(entity: entity, http: server)
            Log.write(
                .http, .info,
                "listening on \(entity[string: "host"] ?? ""):\(server.port) (\(entity.name), "
                    + "\(identity == nil ? "HTTP" : "HTTPS"))")
        } catch {
            throw EntityFailure(status: 400, text: "listener '\(entity.name)': \(error)")
        }
    }

    /// AMQP over WebSocket for clients, unless `websockets` is false; nil for none.
    ///
    /// - Parameter isSecure: the server speaks TLS, and has asked for a client's certificate if one must be there.
    private func webSocketService(_ listener: Entity, isSecure: Bool) throws(EntityFailure) -> WebSocketService? {
        // Sites' listeners for health and metrics are open to the cluster: they say "disabled", and offer no AMQP.
        let isGiven = listener.attributes["websockets"] != nil
        guard listener.boolean("websockets") ?? true, isGiven || listener[string: "httpRootDir"] != "disabled" else {
            return nil
        }
        var settings = try listenerSettings(listener)
        guard settings.role == .normal || settings.role == .routeContainer else { return nil }
        settings.tls = nil
        if isSecure {
            settings.requireTLS = false
            settings.authenticatePeer = false
        }
        // "binary" is what clients ask for that were made for a proxy between WebSocket and TCP.
        return WebSocketService(protocols: ["amqp", "binary"]) { [unowned self, settings] descriptor, peer in
            post { self.webSocketAccepted(descriptor, peer, settings) }
        }
    }

    private func webSocketAccepted(_ descriptor: Int32, _ peer: String, _ settings: ConnectionSettings) {
        guard amqpListeners[settings.entity]?.http != nil, policy.admitSocket() else {
            Glibc.close(descriptor)
            Log.write(
                .policy, .info,
                "DENY connection of \(peer) at listener \(settings.entity): it was deleted, or the policy's "
                    + "maxConnections are there already")
            return
        }
        let id = takeConnectionID()
        let worker = workers[Int(id % UInt64(workers.count))]
        worker.post { worker.takeOver(descriptor, id: id, settings: settings, connected: true, peer: peer) }
    }

    /// The folder whose files a listener serves, if any. One that is not there yet may still come.
    private static func servedFolder(_ listener: Entity) -> ServedFolder? {
        guard let path = listener[string: "httpRootDir"], !path.isEmpty, path != "disabled" else { return nil }
        let folder = ServedFolder(path: path)
        if let fault = folder.fault {
            Log.write(
                .http, .warning,
                "listener '\(listener.name)': no files can be served from httpRootDir \(path): \(fault); create the "
                    + "folder, or let this user read it")
        }
        return folder
    }

    /// The files of a listener's sslProfile may have changed: new connections are shown what is in them now.
    func renewIdentity(of server: HTTPServer, _ listener: Entity) throws(EntityFailure) {
        guard let identity = try httpIdentity(listener) else { return }
        do throws(HTTPServerError) {
            try server.replaceIdentity(identity)
        } catch {
            throw EntityFailure(status: 400, text: "listener '\(listener.name)': \(error)")
        }
    }

    private static func httpFamily(_ listener: Entity) -> HTTPAddressFamily {
        switch AddressFamily(name: listener[string: "socketAddressFamily"]) {
        case .any: .any
        case .ipv4: .ipv4
        case .ipv6: .ipv6
        }
    }

    /// What a listener's sslProfile is for HTTPS; nil for clear text.
    private func httpIdentity(_ listener: Entity) throws(EntityFailure) -> TLSIdentity? {
        guard let profile = try profile(listener[string: "sslProfile"]) else { return nil }
        let asksPeer = listener.boolean("authenticatePeer") == true
        do throws(TLSFailure) {
            // What can be wrong with a profile is found here, and said as it is of other listeners.
            _ = try TLSContext(profile: profile, server: true, requirePeer: asksPeer)
            var identity: TLSIdentity
            do throws(HTTPServerError) {
                identity = try TLSIdentity(
                    certificateFile: profile.certFile ?? "", privateKeyFile: profile.privateKeyFile ?? "",
                    clientCAFile: asksPeer ? profile.caCertFile : nil)
            } catch {
                throw TLSFailure(text: "sslProfile \(profile.name): \(error)")
            }
            (identity.minimumVersion, identity.maximumVersion) = try Core.httpVersions(profile)
            if let text = profile.password { identity.privateKeyPassword = try Password.resolve(text) }
            identity.ciphers = profile.ciphers
            return identity
        } catch {
            throw EntityFailure(status: 400, text: "listener '\(listener.name)': \(error.text)")
        }
    }

    /// The least and greatest version that a profile allows, of those that HTTPS has here.
    private static func httpVersions(
        _ profile: TLSProfile
    ) throws(TLSFailure) -> (TLSIdentity.Version, TLSIdentity.Version) {
        let names = (profile.protocols ?? "").split { $0 == " " || $0 == "," }
        switch (names.contains("TLSv1.2"), names.contains("TLSv1.3")) {
        case (true, false): return (.tls12, .tls12)
        case (false, true): return (.tls13, .tls13)
        case (false, false) where !names.isEmpty:
            throw TLSFailure(
                text: "sslProfile \(profile.name): protocols: HTTPS is served in TLSv1.2 and TLSv1.3 only; allow one "
                    + "of them")
        default: return (.tls12, .tls13)
        }
    }
}

/// `/healthz` and `/metrics`: each answer takes a round trip through the control thread, so that it proves life. All
/// other paths are for the folder, if there is one.
private final class HTTPEndpoints: Sendable {
    private unowned let core: Core
    private let healthz: Bool
    private let metrics: Bool
    private let folder: ServedFolder?
    /// Milliseconds the control thread has to answer.
    private static let patienceMilliseconds: UInt64 = 3000

    init(core: Core, healthz: Bool, metrics: Bool, folder: ServedFolder?) {
        self.core = core
        self.healthz = healthz
        self.metrics = metrics
        self.folder = folder
    }

    func answer(_ request: HTTPRequest) -> HTTPResponse {
        guard request.method == "GET" || request.method == "HEAD" else {
            var refusal = HTTPResponse.text("only GET and HEAD are answered here\n", status: 405)
            refusal.headers.append(("Allow", "GET, HEAD"))
            return refusal
        }
        switch request.path {
        case "/healthz" where healthz:
            let answer = Handover<String>()
            core.post { answer.give("OK\n") }
            return answer.wait(milliseconds: HTTPEndpoints.patienceMilliseconds).map { .text($0) }
                ?? .text("the control thread does not answer\n", status: 503)
        case "/metrics" where metrics:
            let answer = Handover<String>()
            core.collectCounters { answer.give($0.metricsText()) }
            return answer.wait(milliseconds: HTTPEndpoints.patienceMilliseconds).map { .text($0) }
                ?? .text("the router does not answer\n", status: 503)
        default:
            return folder?.answer(request) ?? .text("nothing here; try /healthz or /metrics\n", status: 404)
        }
    }
}
