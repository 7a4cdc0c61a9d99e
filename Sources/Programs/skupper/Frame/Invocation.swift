/// Everything one command needs to know about how it was called.
struct Invocation {
    let platform: Platform
    let arguments: [String]
    let flags: FlagValues
    /// The namespace given, or that of the kubeconfig context on kubernetes, or `default`.
    let namespace: String
    /// The resources of that namespace.
    let resources: any SiteResources
    /// The clock that waiting goes by.
    var pace = Pace.real

    /// The first argument; empty when there is none.
    var firstArgument: String { arguments.first ?? "" }

    /// The files of the namespace, for what there is on this host only.
    var files: SiteFiles { SiteFiles(namespace: namespace) }

    /// Whether the resources are in a cluster.
    var isOnCluster: Bool { platform == .kubernetes }

    /// The cluster to look things up in; nil where there is none.
    var cluster: ClusterResources? { resources as? ClusterResources }

    /// Prints the warnings for flags that only a cluster understands.
    func warnAboutClusterFlags() {
        guard platform != .kubernetes else { return }
        for name in ["context", "kubeconfig"] where flags.isGiven(name) {
            Console.note("Warning: --\(name) flag is not supported on this platform")
        }
    }
}

/// The complaints of a validation, in the order the user should read them.
struct Complaints {
    private(set) var texts: [String] = []

    mutating func add(_ text: String) {
        texts.append(text)
    }

    /// Adds `what: reason` when there is a reason.
    mutating func check(_ what: String, _ reason: String?) {
        if let reason { texts.append("\(what): \(reason)") }
    }
}
