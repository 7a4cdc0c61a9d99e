import ControlIO

/// What a router's id and metadata say about its site.
struct RemoteSite {
    /// Site id from the metadata; nil when there is none.
    let id: String?
    /// Name of the site, as far as the router id shows it.
    let name: String

    init(router: RouterNode) {
        id = (try? JSON.parse(router.metadata))?["id"]?.stringValue
        name = RemoteSite.siteName(routerID: router.id)
    }

    /// `west` of `west-1764042363-123456789`, `west-a1b2c3` and `west-skupper-router-6d5f7c-x2x9z`.
    static func siteName(routerID: String) -> String {
        let parts = routerID.split(separator: "-", omittingEmptySubsequences: false)
        for index in parts.indices.dropFirst() where index + 1 < parts.count {
            if parts[index] == "skupper", parts[index + 1] == "router" { return parts[..<index].joined(separator: "-") }
        }
        var kept = parts[...]
        while kept.count > 1, parts.count - kept.count < 2, let last = kept.last, isNumber(last) { kept.removeLast() }
        // Ids of our own end in one part that names the start.
        if kept.count == parts.count, kept.count > 1 { kept.removeLast() }
        return kept.joined(separator: "-")
    }

    private static func isNumber(_ text: Substring) -> Bool {
        text.utf8.count >= 6 && text.utf8.allSatisfy { (48...57).contains($0) }
    }
}
