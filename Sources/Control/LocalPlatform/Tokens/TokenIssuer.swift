import ControlIO
import Glibc
import SiteModel
import SiteTrust

/// Issues tokens: makes a grant, waits until the namespace's controller serves it, and writes the token.
package struct TokenIssuer: Sendable {
    /// What to issue.
    package struct Order: Hashable, Sendable {
        /// How often the token may be redeemed, at least 1.
        package var redemptionsAllowed: Int
        /// How long, as Go writes durations (`15m0s`).
        package var expirationWindow: String
        /// Cost of the links made with it; 0 leaves it out.
        package var linkCost: Int

        package init(redemptionsAllowed: Int = 1, expirationWindow: String = "15m0s", linkCost: Int = 1) {
            self.redemptionsAllowed = redemptionsAllowed
            self.expirationWindow = expirationWindow
            self.linkCost = linkCost
        }
    }

    /// An issued token.
    package struct Issued: Hashable, Sendable {
        /// Name of grant and token.
        package let name: String
        /// The token file's text; secret.
        package let text: String
        /// When it expires, RFC 3339.
        package let expiration: String
    }

    private let store: NamespaceStore

    /// Issues tokens for the site of a namespace.
    package init(store: NamespaceStore) { self.store = store }

    /// Makes a grant and writes its token to `path`, readable by its owner only; `-` writes no file: the caller
    /// prints `text`. Blocks for at most `timeoutSeconds`.
    ///
    /// Throws `LocalError`; the grant is taken back then, so that a failure leaves nothing behind.
    package func issue(_ order: Order, to path: String, timeoutSeconds: Int = 60) throws(LocalError) -> Issued {
        if path != "-" { try checkTarget(path) }
        let site = try readySite()
        var grant = AccessGrant(name: "\(site.name)-\(try uniquePart())", namespace: store.layout.namespace)
        grant.redemptionsAllowed = order.redemptionsAllowed
        grant.expirationWindow = order.expirationWindow
        do {
            try store.put(grant.resource)
        } catch {
            throw LocalError(
                what: "the grant cannot be written: \(error)", cause: "this user may not write to the namespace",
                remedy: "Run the command as the user who created the site")
        }
        do {
            let ready = try waitUntilReady(grant.name, timeoutSeconds: timeoutSeconds)
            let issued = TokenIssuer.token(of: ready, linkCost: order.linkCost)
            if path != "-" { try write(issued.text, to: path) }
            return issued
        } catch {
            _ = try? store.delete(.accessGrant, grant.name)
            throw error
        }
    }

    /// The token of a grant that is Ready.
    package static func token(of grant: AccessGrant, linkCost: Int) -> Issued {
        var token = AccessToken(name: grant.name)
        token.url = grant.statusURL
        token.code = grant.statusCode
        token.ca = grant.statusCA
        token.linkCost = linkCost
        if !grant.expirationTime.isEmpty {
            token.resource.setAnnotation(AccessToken.expirationAnnotation, grant.expirationTime)
        }
        return Issued(name: grant.name, text: token.fileText(), expiration: grant.expirationTime)
    }

    private func uniquePart() throws(LocalError) -> String {
        do {
            return try RandomValues.uuid4()
        } catch {
            throw LocalError(
                what: "no random name for the grant", cause: "\(error)", remedy: "Try again in a moment")
        }
    }

    private func readySite() throws(LocalError) -> Site {
        let namespace = store.layout.namespace
        guard let site = (try? store.list(Site.self, in: .input))?.first else {
            throw LocalError(
                what: "namespace \(namespace) has no site", cause: "none was created, or it was deleted",
                remedy: "Create one with \"skupper site create NAME -n \(namespace) --enable-link-access\"")
        }
        guard store.controller != nil else {
            throw LocalError(
                what: "site \"\(site.name)\" is not running",
                cause: "a token is served by the site's controller, and none runs for namespace \(namespace)",
                remedy: "Start it with \"skupper system start -n \(namespace)\"")
        }
        guard site.acceptsLinks else {
            throw LocalError(
                what: "site \"\(site.name)\" does not accept links", cause: "link access is not enabled",
                remedy: "Enable it with \"skupper site update \(site.name) --enable-link-access\"")
        }
        return site
    }

    private func waitUntilReady(_ name: String, timeoutSeconds: Int) throws(LocalError) -> AccessGrant {
        let deadline = MonotonicClock.now + Int64(timeoutSeconds) * 1000
        var message = "the controller has not looked at it yet"
        while MonotonicClock.now < deadline {
            if let grant = (try? store.get(AccessGrant.self, name, in: .runtime)) ?? nil {
                switch grant.resource.statusWord {
                case "Ready" where !grant.statusURL.isEmpty: return grant
                case "Error":
                    throw LocalError(
                        what: "the grant \"\(name)\" cannot be served: \(grant.resource.statusMessage)",
                        cause: "the site's controller refused it",
                        remedy: "Correct the cause and issue the token again")
                default: message = grant.resource.statusMessage
                }
            }
            usleep(50_000)
        }
        throw LocalError(
            what: "the grant \"\(name)\" did not become ready within \(timeoutSeconds) s (\(message))",
            cause: "the site's controller is busy, stuck, or cannot open its grant server's port",
            remedy: "See \(store.layout.controllerLog), or restart it with \"skupper system stop\" and \"start\"")
    }

    private func checkTarget(_ path: String) throws(LocalError) {
        if Files.kind(path) == .directory {
            throw LocalError(
                what: "\(path) is a directory", cause: "the name of the token file is missing in the path",
                remedy: "Give a file name, such as \(path)/token.yaml")
        }
        let directory = TokenIssuer.directory(of: path)
        guard Files.kind(directory) == .directory else {
            throw LocalError(
                what: "the directory \(directory) of the token file does not exist", cause: "the path is mistyped",
                remedy: "Make the directory or give another path")
        }
        let target = Files.exists(path) ? path : directory
        guard access(target, W_OK) == 0 else {
            throw LocalError.system("cannot write the token file", path: path, error: errno)
        }
    }

    private func write(_ text: String, to path: String) throws(LocalError) {
        do {
            try Files.write(path, text: text, mode: 0o600)
        } catch {
            throw LocalError(
                what: "the token file cannot be written: \(error)", cause: error.reason,
                remedy: "Give another path; the grant was taken back")
        }
    }

    private static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
