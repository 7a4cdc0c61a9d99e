import ControlIO
import Glibc
import HTTPServer
import SiteModel
import SiteReconciler
import SiteTrust

extension SiteController {
    /// Reads the input and works out what the router should run; what cannot be done is noted in `problems`.
    func reconcile() {
        problems = []
        do {
            let loaded = try store.load(.input)
            problems += loaded.problems.map { "\($0.path): \($0.reason)" }
            resources = SiteController.unique(loaded.resources)
        } catch {
            // What was read before stays in force: a disk that cannot be read is no order to remove everything.
            problems.append("\(error)")
            logProblems()
            return
        }
        let sites = resources.compactMap { Site($0) }.sorted { $0.name < $1.name }
        guard let site = sites.first else {
            (reconciliation, linkEndpoints) = (nil, [])
            problems.append("namespace \(layout.namespace) has no site: create one with \"skupper site create\"")
            grants.serve(at: nil, issuing: nil, log: log)
            logProblems()
            return
        }
        siteFault = ""
        do {
            let settings = try SiteSettings(site)
            let identity = try SiteIdentity.load(layout, site: site)
            siteID = identity.id
            try reconcile(site, settings: settings, identity: identity)
        } catch {
            siteFault = "\(error)"
            problems.append(siteFault)
        }
        for note in certificates.takeNotes() { log.note(note) }
        logProblems()
    }

    private func reconcile(_ site: Site, settings: SiteSettings, identity: SiteIdentity) throws {
        let host = HostAddresses.current()
        let advertised = host.advertised(setting: settings.advertiseHost, bindHost: settings.bindHost)
        let names = host.certificateHosts(extra: [advertised, settings.bindHost ?? ""])
        if var access = SiteReconciler.defaultRouterAccess(resources, hosts: names) {
            access.roles = access.roles.filter { RouterAbilities.roles.contains($0.name) }
            if let bindHost = settings.bindHost { access.bindHost = bindHost }
            resources.append(access.resource)
        }
        leftOut = [:]
        for resource in resources { leftOut[resource.key] = RouterAbilities.fault(of: resource) }
        for (key, text) in leftOut.sorted(by: { $0.key < $1.key }) { problems.append("\(key): \(text)") }
        if let fault = leftOut[site.resource.key] { throw CertificateKeeper.Fault(description: fault) }
        let usable = resources.filter { leftOut[$0.key] == nil }.map(RouterAbilities.reduced)
        let chosen = try choosePorts(site, settings: settings)
        try provideCertificates(site, names: names)
        let state = HostState(
            namespace: layout.namespace, siteID: identity.id, routerIDSuffix: identity.routerSuffix,
            version: SiteController.version, localPort: Int(chosen.management), httpPort: Int(chosen.health),
            ports: chosen.access, certificateFolder: layout.runtimeCertificates,
            profiles: certificates.profiles(priorGenerations: SiteController.priorGenerations(site)),
            advertisedHosts: [advertised], activeSite: site.name)
        linkEndpoints = accessEndpoints(site, in: usable, ports: chosen.access, host: advertised)
        let result = try SiteReconciler.reconcile(usable, host: state)
        for (key, text) in result.errors.sorted(by: { $0.key < $1.key }) { problems.append("\(key): \(text)") }
        reconciliation = result
        setManagementPort(chosen.management)
        try serveGrants(site, settings: settings, advertised: advertised, names: names)
    }

    // MARK: Ports

    private func choosePorts(
        _ site: Site, settings: SiteSettings
    ) throws -> (management: UInt16, health: UInt16, access: [String: Int]) {
        try Files.makeDirectory(layout.home.path)
        // Two namespaces that start together must not choose the same ports.
        let lock = try FileLock.acquire("\(layout.home.path)/ports.lock", within: 10)
        defer { withExtendedLifetime(lock) {} }
        let reserved = PortBook.reserved(in: layout.home, except: layout.namespace)
        let isRunning = isRouterRunning
        // Nobody else knows these two, so they may move when another program has taken them.
        for purpose in [PortBook.Purpose.management, .health] where !isRunning {
            if let port = ports.port(of: purpose), !PortBook.isFree(port, host: "127.0.0.1") { ports.forget(purpose) }
        }
        let management = try ports.choose(.management, reserved: reserved) { PortBook.isFree($0, host: "127.0.0.1") }
        let health = try ports.choose(.health, reserved: reserved) { PortBook.isFree($0, host: "127.0.0.1") }
        var access: [String: Int] = [:]
        for item in resources.compactMap({ RouterAccess($0) }) {
            let isDefault =
                item.name == site.name && (try? store.get(.routerAccess, item.name, in: .input)) ?? nil == nil
            for role in item.roles where role.name != "normal" {
                let purpose = PortBook.Purpose.access(item.name, role: role.name)
                let given = role.name == "edge" ? settings.edgePort : settings.port
                let fixed = isDefault ? given : (role.port > 0 ? UInt16(exactly: role.port) : nil)
                if let fixed, !isRunning, !PortBook.isFree(fixed, host: item.bindHost) {
                    problems.append(
                        "port \(fixed) of router access \(item.name) is in use by another program: stop that program, "
                            + "or set another port (\"skupper site update \(site.name) --port N\")")
                }
                let port = try ports.choose(purpose, fixed: fixed, reserved: reserved) {
                    PortBook.isFree($0, host: item.bindHost)
                }
                access["\(item.name)-\(role.name)"] = Int(port)
            }
        }
        if site.acceptsLinks {
            _ = try ports.choose(.grants, fixed: settings.grantPort, reserved: reserved) {
                PortBook.isFree($0, host: settings.bindHost ?? "")
            }
        }
        try ports.save(layout.portsFile)
        return (management, health, access)
    }

    /// Where other sites link to, as tokens say it: the roles as names, one group per router access.
    private func accessEndpoints(
        _ site: Site, in resources: [Resource], ports: [String: Int], host: String
    ) -> [Endpoint] {
        guard !site.edge else { return [] }
        let issuer = SiteController.issuer(site)
        var result: [Endpoint] = []
        for access in resources.compactMap({ RouterAccess($0) }) {
            // Certificates of another CA would not be accepted there.
            guard access.issuer.isEmpty || access.issuer == issuer else { continue }
            let isBound = !["", "0.0.0.0", "::"].contains(access.bindHost)
            for role in access.roles where role.name == "inter-router" || role.name == "edge" {
                let port = ports["\(access.name)-\(role.name)"] ?? role.effectivePort
                result.append(
                    Endpoint(
                        name: role.name, host: isBound && access.name != site.name ? access.bindHost : host,
                        port: String(port), group: access.name))
            }
        }
        return result
    }

    // MARK: Certificates

    private func provideCertificates(_ site: Site, names: [String]) throws {
        let now = WallClock.now
        _ = try siteAuthority(site, now: now)
        let local = try certificates.authority(
            CertificateKeeper.localAuthority, commonName: CertificateKeeper.localAuthority, now: now)
        var kept: Set<String> = [CertificateKeeper.localClient, "skupper-grant-server"]
        try certificates.leaf(
            profile: CertificateKeeper.localClient, commonName: CertificateKeeper.localClient, hosts: [], by: local,
            now: now)
        let secrets = Dictionary(
            resources.compactMap { Secret($0) }.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        for need in SiteReconciler.profileNeeds(resources) {
            kept.insert(need.profile)
            do {
                try provide(need, secret: secrets[need.secretName], site: site, local: local, names: names, now: now)
            } catch {
                problems.append("certificate \(need.profile): \(error)")
            }
        }
        certificates.removeAll(except: kept)
        try certificates.save()
    }

    private func provide(
        _ need: ProfileNeed, secret: Secret?, site: Site, local: KeyedCertificate, names: [String], now: Int64
    ) throws {
        if need.purpose == .local {
            try certificates.leaf(
                profile: need.profile, commonName: "skupper-router-local",
                hosts: ["127.0.0.1", "localhost", "skupper-router-local"], by: local, now: now)
            return
        }
        if let secret {
            try certificates.provide(secret, as: need.profile, withKey: need.needsKeyPair)
            return
        }
        switch need.purpose {
        case .routerAccess:
            let access = resources.compactMap { RouterAccess($0) }.first {
                $0.tlsCredentials == need.secretName || $0.name == need.secretName
            }
            let issuer = access.map(\.issuer).flatMap { $0.isEmpty ? nil : $0 } ?? SiteController.issuer(site)
            let authority =
                issuer == SiteController.issuer(site)
                ? try siteAuthority(site, now: now)
                : try certificates.authority(issuer, commonName: issuer, now: now)
            let extra = (access?.subjectAlternativeNames ?? []) + [access?.bindHost ?? ""]
            let hosts = Set(names + extra).filter { !["", "0.0.0.0", "::"].contains($0) }.sorted()
            try certificates.leaf(
                profile: need.profile, commonName: access?.name ?? need.profile, hosts: hosts, by: authority, now: now)
        case .link:
            // Only the other site can make it.
            _ = try certificates.takeBrought(need.profile)
        case .listener, .connector, .connectorAuthority:
            let authority = try certificates.authority(
                CertificateKeeper.serviceAuthority, commonName: CertificateKeeper.serviceAuthority, now: now)
            try certificates.leaf(
                profile: need.profile, commonName: need.secretName, hosts: names, by: authority, now: now)
        case .local: break
        }
    }

    private static func issuer(_ site: Site) -> String {
        site.defaultIssuer.isEmpty ? CertificateKeeper.siteAuthority : site.defaultIssuer
    }

    private func siteAuthority(_ site: Site, now: Int64) throws -> KeyedCertificate {
        try certificates.authority(
            SiteController.issuer(site), commonName: "\(site.name) site CA", now: now)
    }

    private static func priorGenerations(_ site: Site) -> Int64 {
        site.resource.settings["tls-prior-valid-revisions"].flatMap { Int64($0) }.map { max(0, $0) } ?? 2
    }

    // MARK: Grants

    private func serveGrants(_ site: Site, settings: SiteSettings, advertised: String, names: [String]) throws {
        let hasGrants = resources.contains { $0.knownKind == .accessGrant }
        guard site.acceptsLinks || hasGrants, let port = ports.port(of: .grants) else {
            grants.serve(at: nil, issuing: nil, log: log)
            return
        }
        let now = WallClock.now
        let authority = try certificates.authority(
            CertificateKeeper.grantAuthority, commonName: CertificateKeeper.grantAuthority, now: now)
        let profile = "skupper-grant-server"
        try certificates.leaf(profile: profile, commonName: profile, hosts: names, by: authority, now: now)
        try certificates.save()
        let folder = "\(layout.runtimeCertificates)/\(profile)"
        let identity = try TLSIdentity(
            certificateFile: "\(folder)/tls.crt", privateKeyFile: "\(folder)/tls.key", minimumVersion: .tls13)
        grants.serve(
            at: GrantDesk.Place(
                bindHost: settings.bindHost ?? "", port: port, urlHost: advertised, identity: identity,
                authorityPEM: authority.certificatePEM),
            issuing: GrantServer.Issuing(authority: try siteAuthority(site, now: now), endpoints: linkEndpoints),
            log: log)
        // A port that another program has taken is given up, unless tokens for it are abroad.
        if !grants.serverFault.isEmpty, settings.grantPort == nil, !grants.hasLiveGrants(now: now) {
            ports.forget(.grants)
            _ = try choosePorts(site, settings: settings)
        }
        tendGrants()
    }

    /// Brings the grants of the resources to the grant server and takes its records.
    func tendGrants() {
        let isEdge = resources.compactMap { Site($0) }.first?.edge ?? false
        grants.tend(
            resources.compactMap { AccessGrant($0) }, namespace: layout.namespace, isEdge: isEdge, now: WallClock.now,
            log: log)
    }

    // MARK: Parts

    /// Resources of known kinds, the first of each kind and name.
    private static func unique(_ resources: [Resource]) -> [Resource] {
        var seen: Set<ResourceKey> = []
        return resources.filter { $0.knownKind != nil && seen.insert($0.key).inserted }
    }

    private func logProblems() {
        for problem in problems where !loggedProblems.contains(problem) { log.warn(problem) }
        loggedProblems = Set(problems)
    }
}
