import ControlIO
import SiteModel

/// A token as it is brought by file, checked for everything that can be told without asking the issuing site.
package struct TokenFile: Hashable, Sendable {
    /// The token.
    package let token: AccessToken
    /// Where it came from, for texts; `-` for standard input.
    package let path: String
    /// When it expires, seconds since 1970; nil if the file does not say.
    package let expiration: Int64?

    /// Largest token file, octets. A token with a chain of CAs is far smaller.
    package static let sizeLimit = 256 << 10

    /// Reads and checks a token file; throws `LocalError`, with a text of its own for each fault.
    package static func read(_ path: String) throws(LocalError) -> TokenFile {
        switch Files.kind(path) {
        case nil:
            throw LocalError(
                what: "token file \(path) does not exist",
                cause: "the path is mistyped, or the file has not been brought to this host yet",
                remedy: "Check the path, or issue a token at the other site with \"skupper token issue FILE\" and "
                    + "copy the file here")
        case .directory:
            throw LocalError(
                what: "\(path) is a directory, not a token file", cause: "the name of the file is missing in the path",
                remedy: "Give the path of the file inside it")
        case .file, .other: break
        }
        let text: String
        do {
            text = try Files.readText(path, limit: sizeLimit)
        } catch {
            throw LocalError(
                what: "token file \(path) cannot be read", cause: error.reason,
                remedy: "Check the permissions (a token file belongs to who received it) and that it is a token file")
        }
        return try parse(text, path: path)
    }

    /// Checks the text of a token file.
    package static func parse(_ text: String, path: String) throws(LocalError) -> TokenFile {
        let documents: [Document]
        do {
            documents = try YAML.parse(text)
        } catch {
            throw LocalError(
                what: "token file \(path) is not YAML (\(error))",
                cause: "it was damaged on the way, or is another file",
                remedy: "Copy the file again as it is, or issue a new token at the other site")
        }
        guard let document = documents.first(where: { $0["kind"]?.scalarText == "AccessToken" }) else {
            throw wrongKind(documents, path: path)
        }
        let resource: Resource
        do {
            resource = try Resource(document: document)
        } catch {
            throw missing("metadata.name", path: path)
        }
        guard let token = AccessToken(resource) else {
            throw LocalError(
                what: "token file \(path) has apiVersion \"\(resource.apiVersion)\" instead of skupper.io/v2alpha1",
                cause: "it was issued by another version of Skupper, or edited",
                remedy: "Issue a token with a site of version 2")
        }
        for (field, value) in [("spec.url", token.url), ("spec.code", token.code), ("spec.ca", token.ca)]
        where value.isEmpty {
            throw missing(field, path: path)
        }
        guard let colon = token.url.firstIndex(of: ":"), token.url[..<colon].lowercased() == "https" else {
            throw LocalError(
                what: "token file \(path) has the URL \(token.url), which is not https",
                cause: "the file was edited; a code must not travel unencrypted",
                remedy: "Issue a new token at the other site and use its file unchanged")
        }
        return TokenFile(token: token, path: path, expiration: token.expiration.flatMap { Timestamp.parse($0) })
    }

    /// Throws the error for an expired token if the file itself says that its time is over.
    package func checkExpiration(now: Int64) throws(LocalError) {
        guard let expiration, expiration <= now else { return }
        throw LocalError(
            what: "the token in \(path) has expired at \(Timestamp.format(unix: expiration)), "
                + "\(TokenFile.span(now - expiration)) ago",
            cause: "tokens are valid for a limited time after they are issued (15 minutes unless asked otherwise)",
            remedy: "Issue a new token at the other site, with more time if needed: "
                + "\"skupper token issue FILE --expiration-window 60m\". If it was issued just now, compare the clocks "
                + "of the two hosts")
    }

    private static func wrongKind(_ documents: [Document], path: String) -> LocalError {
        let kinds = documents.compactMap { $0["kind"]?.scalarText }
        if kinds.isEmpty {
            return LocalError(
                what: "token file \(path) does not hold an AccessToken, nor any other resource",
                cause: documents.isEmpty ? "the file is empty" : "it is YAML of another sort",
                remedy: "Give the file that \"skupper token issue\" wrote at the other site")
        }
        let found = kinds.joined(separator: ", ")
        let isLink = kinds.contains("Link")
        return LocalError(
            what: "token file \(path) holds \(found) instead of an AccessToken",
            cause: isLink ? "it is a link definition, which needs no redeeming" : "it is another resource's file",
            remedy: isLink
                ? "Apply it with \"skupper system apply -f \(path)\""
                : "Give the file that \"skupper token issue\" wrote at the other site")
    }

    private static func missing(_ field: String, path: String) -> LocalError {
        LocalError(
            what: "the AccessToken in \(path) has no \(field)", cause: "the file is incomplete or was edited",
            remedy: "Copy the file again as it is, or issue a new token at the other site")
    }

    private static func span(_ seconds: Int64) -> String {
        switch seconds {
        case ..<120: "\(seconds) s"
        case ..<7200: "\(seconds / 60) minutes"
        case ..<172_800: "\(seconds / 3600) hours"
        default: "\(seconds / 86_400) days"
        }
    }
}
