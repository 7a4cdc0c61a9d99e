import SiteModel

/// What `Site.spec.settings` (or annotations `skupper.io/<key>`) say about this host's listeners.
package struct SiteSettings: Hashable, Sendable {
    /// Key: address to listen on for links and grants; all when absent.
    package static let bindHostKey = "bind-host"
    /// Key: host name or address that other sites are told.
    package static let advertiseHostKey = "advertise-host"
    /// Key: port of the inter-router listener.
    package static let portKey = "port"
    /// Key: port of the edge listener.
    package static let edgePortKey = "edge-port"
    /// Key: port of the grant server.
    package static let grantPortKey = "grant-port"

    package let bindHost: String?
    package let advertiseHost: String?
    package let port: UInt16?
    package let edgePort: UInt16?
    package let grantPort: UInt16?

    /// Reads the settings of a site; throws `LocalError` naming the first value that cannot be.
    package init(_ site: Site) throws(LocalError) {
        func value(_ key: String) -> String? {
            let text = site.resource.settings[key] ?? site.resource.annotation("skupper.io/\(key)")
            return text.flatMap { $0.isEmpty ? nil : $0 }
        }
        func host(_ key: String) throws(LocalError) -> String? {
            guard let text = value(key) else { return nil }
            guard FieldRules.host(text) == nil || text == "::" else {
                throw LocalError(
                    what: "setting \(key) of site \"\(site.name)\" is \"\(text)\"",
                    cause: "that is neither a host name nor an IP address",
                    remedy: "Set it with \"skupper site update \(site.name) --\(key) ADDRESS\"")
            }
            return text
        }
        func port(_ key: String) throws(LocalError) -> UInt16? {
            guard let text = value(key) else { return nil }
            guard let number = UInt16(text), number > 0 else {
                throw LocalError(
                    what: "setting \(key) of site \"\(site.name)\" is \"\(text)\"",
                    cause: "a port is a number from 1 to 65535",
                    remedy: "Correct it under spec.settings of the site")
            }
            return number
        }
        bindHost = try host(SiteSettings.bindHostKey)
        advertiseHost = try host(SiteSettings.advertiseHostKey)
        self.port = try port(SiteSettings.portKey)
        edgePort = try port(SiteSettings.edgePortKey)
        grantPort = try port(SiteSettings.grantPortKey)
    }
}
