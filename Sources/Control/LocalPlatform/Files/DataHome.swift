import ControlIO
import Glibc

/// The directory under which all namespaces of this host (for this user) live (control-plane.md §5.1).
package struct DataHome: Hashable, Sendable {
    /// Absolute path.
    package let path: String

    /// A data home at a given path.
    package init(path: String) { self.path = path }

    /// The data home of this process: `$SKUPPER_OUTPUT_PATH`, else `/var/lib/skupper` for root, else
    /// `${XDG_DATA_HOME:-$HOME/.local/share}/skupper`.
    package static func current() -> DataHome {
        resolve(userID: geteuid()) { getenv($0).map { String(cString: $0) } }
    }

    /// The rule behind `current()`, for given surroundings.
    package static func resolve(userID: uid_t, environment: (String) -> String?) -> DataHome {
        func value(_ name: String) -> String? { environment(name).flatMap { $0.isEmpty ? nil : $0 } }
        if let path = value("SKUPPER_OUTPUT_PATH") { return DataHome(path: absolute(path)) }
        if userID == 0 { return DataHome(path: "/var/lib/skupper") }
        if let path = value("XDG_DATA_HOME") { return DataHome(path: absolute(path) + "/skupper") }
        return DataHome(path: absolute(value("HOME") ?? ".") + "/.local/share/skupper")
    }

    /// The directories of one namespace; throws if the name cannot be one.
    package func layout(of namespace: String) throws(LocalError) -> NamespaceLayout {
        try NamespaceLayout(home: self, namespace: namespace)
    }

    /// Names of all namespaces that have a directory.
    package func namespaces() throws(FileError) -> [String] {
        try Files.listIfPresent(path + "/namespaces").filter { NamespaceLayout.isValid($0) }
    }

    /// Names of the namespaces that have been started on the linux platform.
    package func startedNamespaces() throws(FileError) -> [String] {
        try namespaces().filter { name in
            (try? layout(of: name)).map { Files.exists($0.platformFile) } ?? false
        }
    }

    private static func absolute(_ path: String) -> String {
        var result = Substring(path)
        while result.count > 1, result.hasSuffix("/") { result = result.dropLast() }
        if result.hasPrefix("/") { return String(result) }
        guard let here = getcwd(nil, 0) else { return String(result) }
        defer { free(here) }
        return result == "." ? String(cString: here) : String(cString: here) + "/" + result
    }
}

/// Where the files of one namespace are (control-plane.md §5.1).
package struct NamespaceLayout: Hashable, Sendable {
    /// Name of the namespace.
    package let namespace: String
    /// `<data home>/namespaces/<namespace>`.
    package let root: String
    /// The data home it is in.
    package let home: DataHome

    /// Throws if `namespace` cannot be the name of one.
    package init(home: DataHome, namespace: String) throws(LocalError) {
        guard NamespaceLayout.isValid(namespace) else {
            throw LocalError(
                what: "namespace \"\(namespace)\" is not valid",
                cause: "a namespace is named with 1 to 63 small letters, digits and hyphens, hyphens not at the ends",
                remedy: "Choose another name for --namespace")
        }
        self.home = home
        self.namespace = namespace
        root = "\(home.path)/namespaces/\(namespace)"
    }

    /// Whether a name can be that of a namespace; such a name is safe as a path component too.
    package static func isValid(_ name: String) -> Bool {
        let letters = Array(name.utf8)
        guard (1...63).contains(letters.count) else { return false }
        func isAlphanumeric(_ letter: UInt8) -> Bool {
            (0x61...0x7a).contains(letter) || (0x30...0x39).contains(letter)
        }
        return letters.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") } && isAlphanumeric(letters[0])
            && isAlphanumeric(letters[letters.count - 1])
    }

    /// What the user wrote: resources as `<Kind>-<name>.yaml`.
    package var inputResources: String { root + "/input/resources" }
    /// Certificates the user brings, a directory each.
    package var inputCertificates: String { root + "/input/certs" }
    /// CAs the user brings, a directory each.
    package var inputIssuers: String { root + "/input/issuers" }
    /// Proxy profiles the user brings.
    package var inputProxies: String { root + "/input/proxies" }
    /// Resources with their status.
    package var runtimeResources: String { root + "/runtime/resources" }
    /// Certificates of the router, a directory per sslProfile.
    package var runtimeCertificates: String { root + "/runtime/certs" }
    /// CAs, a directory each.
    package var runtimeIssuers: String { root + "/runtime/issuers" }
    /// Static link files, for sites that cannot redeem a token.
    package var runtimeLinks: String { root + "/runtime/links" }
    /// Proxy profiles as the router reads them.
    package var runtimeProxies: String { root + "/runtime/proxies" }
    /// Directory of the router's own files.
    package var router: String { root + "/runtime/router" }
    /// The router's configuration.
    package var routerConfiguration: String { router + "/skrouterd.json" }
    /// What the router writes to its standard output and error.
    package var routerLog: String { router + "/router.log" }
    /// Pid and start time of the running router.
    package var routerProcess: String { router + "/router.pid" }
    /// Files of the controller that outlive a restart.
    package var state: String { root + "/internal" }
    /// One line, `platform: linux`; there once the namespace has been started.
    package var platformFile: String { state + "/platform.yaml" }
    /// Ports chosen for this namespace.
    package var portsFile: String { state + "/ports.yaml" }
    /// Identity of the site.
    package var siteFile: String { state + "/site.yaml" }
    /// Grants and how often each has been redeemed.
    package var grantsFile: String { state + "/grants.yaml" }
    /// Tokens that have been redeemed here, so that none is redeemed twice.
    package var redeemedFile: String { state + "/redeemed.yaml" }
    /// What the controller's last pass came to.
    package var reportFile: String { state + "/report.yaml" }
    /// Held by the controller of this namespace.
    package var controllerLock: String { state + "/controller.lock" }
    /// The controller's log when it runs in the background.
    package var controllerLog: String { state + "/controller.log" }

    /// Makes all directories.
    package func makeDirectories() throws(FileError) {
        for path in [
            inputResources, inputCertificates, inputIssuers, inputProxies, runtimeResources, runtimeLinks,
            runtimeProxies, router,
        ] {
            try Files.makeDirectory(path)
        }
        // Private keys are below these.
        for path in [runtimeCertificates, runtimeIssuers, state] { try Files.makeDirectory(path, mode: 0o700) }
    }
}
