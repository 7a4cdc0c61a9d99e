import SiteModel

/// What distinguishes the two nouns that name services: connectors (servers) and listeners (clients' side).
struct ServiceNoun {
    let kind: ResourceKind
    /// The noun as typed.
    let word: String

    static let connector = ServiceNoun(kind: .connector, word: "connector")
    static let listener = ServiceNoun(kind: .listener, word: "listener")

    /// How a deletion without a name is refused, after upstream.
    func missingNameForDelete(on platform: Platform) -> String {
        kind == .connector && platform != .kubernetes
            ? "connector name must be configured" : "\(word) name must be specified"
    }

    /// The noun with a capital first letter, as in success texts.
    var title: String { kind.rawValue }

    /// The host of a new resource when none is given.
    func defaultHost(on platform: Platform, name: String) -> String {
        switch (kind, platform) {
        case (.listener, .kubernetes): name
        case (.listener, _): "0.0.0.0"
        case (_, .kubernetes): ""
        default: "localhost"
        }
    }

    /// The default of `--host` as the help tells it.
    func hostFlag(on platform: Platform) -> Flag {
        let purpose =
            switch (kind, platform) {
            case (.listener, .kubernetes): "the name of the Service that clients use; else the listener's name"
            case (.listener, _): "the address of this host that clients connect to"
            case (_, .kubernetes): "the host name or address of the server, instead of a selector"
            default: "the host name or address of the server"
            }
        return .text("host", default: platform == .kubernetes ? "" : defaultHost(on: platform, name: ""), purpose)
    }
}
