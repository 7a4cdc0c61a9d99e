import ControlIO
import SiteModel

/// Kubeconfig files: several make one, in which the first to name something counts, as with kubectl.
package struct Kubeconfig {
    private struct Entry {
        let value: Document
        /// The folder that relative paths of the entry are relative to.
        let folder: String
    }

    private var clusters: [String: Entry] = [:]
    private var users: [String: Entry] = [:]
    private var contexts: [String: Entry] = [:]
    private var currentContext = ""
    private var paths: [String] = []

    /// Reads the files that count: the one that is named, else those of `KUBECONFIG`, else `~/.kube/config`.
    /// - Parameters:
    ///   - path: what `--kubeconfig` names; nil when it was not given. It must exist.
    ///   - environment: looks up a variable; nil when unset.
    /// - Returns: nil when no file is named and none exists.
    package static func load(path: String?, environment: (String) -> String?) throws(ClusterAccessFault) -> Kubeconfig?
    {
        if let path {
            guard Files.exists(path) else {
                throw ClusterAccessFault(.unreadable, "the kubeconfig \(path) does not exist: check --kubeconfig")
            }
            return try read([path])
        }
        let listed = (environment("KUBECONFIG") ?? "").split(separator: ":").map(String.init)
        let home = environment("HOME") ?? "/root"
        let candidates = listed.isEmpty ? ["\(home)/.kube/config"] : listed
        let present = candidates.filter { Files.exists($0) }
        return present.isEmpty ? nil : try read(present)
    }

    private static func read(_ paths: [String]) throws(ClusterAccessFault) -> Kubeconfig {
        var result = Kubeconfig()
        for path in paths {
            let documents: [Document]
            do {
                documents = try YAML.parse(try Files.readText(path))
            } catch {
                throw ClusterAccessFault(.unreadable, "the kubeconfig \(path) cannot be read: \(error)")
            }
            guard documents.count == 1, documents[0].mapValue != nil else {
                throw ClusterAccessFault(.unreadable, "\(path) is no kubeconfig: it holds no single map of settings")
            }
            result.add(documents[0], from: path)
        }
        return result
    }

    private mutating func add(_ document: Document, from path: String) {
        paths.append(path)
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        if currentContext.isEmpty { currentContext = document["current-context"]?.stringValue ?? "" }
        func entries(_ list: String, _ field: String) -> [(String, Entry)] {
            (document[list]?.listValue ?? []).compactMap { item in
                guard let name = item["name"]?.scalarText, let value = item[field] else { return nil }
                return (name, Entry(value: value, folder: folder))
            }
        }
        for (name, entry) in entries("clusters", "cluster") where clusters[name] == nil { clusters[name] = entry }
        for (name, entry) in entries("users", "user") where users[name] == nil { users[name] = entry }
        for (name, entry) in entries("contexts", "context") where contexts[name] == nil { contexts[name] = entry }
    }

    private var place: String { "the kubeconfig \(paths.joined(separator: ":"))" }

    /// The access that a context stands for.
    /// - Parameters:
    ///   - context: nil takes the current one.
    ///   - namespace: nil takes that of the context.
    package func access(context: String?, namespace: String?) throws(ClusterAccessFault) -> ClusterAccess {
        let known = contexts.keys.sorted().joined(separator: ", ")
        let name = context ?? currentContext
        guard !name.isEmpty else {
            throw ClusterAccessFault(
                .unknownName,
                "\(place) names no current context: choose one with --context or kubectl config use-context; there is: "
                    + (known.isEmpty ? "none" : known))
        }
        guard let chosen = contexts[name] else {
            throw ClusterAccessFault(
                .unknownName, "\(place) has no context \"\(name)\"; there is: \(known.isEmpty ? "none" : known)")
        }
        let clusterName = chosen.value["cluster"]?.scalarText ?? ""
        guard let cluster = clusters[clusterName] else {
            throw ClusterAccessFault(
                .unknownName, "context \"\(name)\" of \(place) is for cluster \"\(clusterName)\", which is not there")
        }
        let server = cluster.value["server"]?.stringValue ?? ""
        guard server.hasPrefix("https://") || server.hasPrefix("http://") else {
            throw ClusterAccessFault(
                .unusable,
                "cluster \"\(clusterName)\" of \(place) has the server address \"\(server)\": it must start "
                    + "with https://")
        }
        var access = ClusterAccess(server: server.hasSuffix("/") ? String(server.dropLast()) : server)
        access.contextName = name
        let contextNamespace = chosen.value["namespace"]?.scalarText ?? ""
        access.namespace = namespace ?? (contextNamespace.isEmpty ? "default" : contextNamespace)
        access.authorityPEM = try content("certificate-authority", of: cluster)
        access.skipsVerification = cluster.value["insecure-skip-tls-verify"]?.boolValue ?? false
        access.serverName = cluster.value["tls-server-name"]?.stringValue
        access.proxy = cluster.value["proxy-url"]?.stringValue
        let userName = chosen.value["user"]?.scalarText ?? ""
        guard !userName.isEmpty else { return access }
        guard let user = users[userName] else {
            throw ClusterAccessFault(
                .unknownName, "context \"\(name)\" of \(place) is for user \"\(userName)\", who is not there")
        }
        try fill(&access, user, userName)
        return access
    }

    private func fill(_ access: inout ClusterAccess, _ user: Entry, _ name: String) throws(ClusterAccessFault) {
        access.clientCertificatePEM = try content("client-certificate", of: user)
        access.clientKeyPEM = try content("client-key", of: user)
        access.impersonatedUser = user.value["as"]?.scalarText ?? ""
        access.impersonatedGroups = (user.value["as-groups"]?.listValue ?? []).compactMap(\.scalarText)
        if let token = user.value["token"]?.scalarText, !token.isEmpty {
            access.credentials = .token(token)
        } else if let file = user.value["tokenFile"]?.stringValue, !file.isEmpty {
            access.credentials = .tokenFile(Self.resolved(file, in: user.folder))
        } else if let plugin = user.value["exec"] {
            access.credentials = .plugin(try Self.plugin(plugin, in: user.folder, of: name))
        } else if let login = user.value["username"]?.scalarText, !login.isEmpty {
            access.credentials = .basic(user: login, password: user.value["password"]?.scalarText ?? "")
        } else if user.value["auth-provider"] != nil, access.clientCertificatePEM == nil {
            throw ClusterAccessFault(
                .unusable,
                "user \"\(name)\" of \(place) logs in with an auth-provider, which Kubernetes gave up in "
                    + "version 1.26: use a credential plugin (exec) or a token")
        }
    }

    private static func plugin(
        _ settings: Document, in folder: String, of user: String
    ) throws(ClusterAccessFault) -> CredentialPlugin {
        let command = settings["command"]?.stringValue ?? ""
        guard !command.isEmpty else {
            throw ClusterAccessFault(.unusable, "user \"\(user)\" has a credential plugin without a command")
        }
        // A name is looked for in PATH; a path is relative to the file that names it.
        var plugin = CredentialPlugin(
            command: command.contains("/") ? resolved(command, in: folder) : command,
            apiVersion: settings["apiVersion"]?.stringValue ?? "client.authentication.k8s.io/v1")
        plugin.arguments = (settings["args"]?.listValue ?? []).compactMap(\.scalarText)
        plugin.environment = (settings["env"]?.listValue ?? []).compactMap { item in
            item["name"]?.scalarText.map { ($0, item["value"]?.scalarText ?? "") }
        }
        plugin.mayAsk = settings["interactiveMode"]?.stringValue != "Never"
        plugin.installHint = settings["installHint"]?.stringValue ?? ""
        return plugin
    }

    /// The text that stands in `<field>-data` in Base64, or in the file that `<field>` names.
    private func content(_ field: String, of entry: Entry) throws(ClusterAccessFault) -> String? {
        if let data = entry.value["\(field)-data"]?.scalarText, !data.isEmpty {
            let joined = data.filter { !$0.isWhitespace }
            guard let bytes = Base64.decode(joined), let text = String(validating: bytes, as: UTF8.self) else {
                throw ClusterAccessFault(.unusable, "\(place): \(field)-data is not Base64 text")
            }
            return text
        }
        guard let file = entry.value[field]?.stringValue, !file.isEmpty else { return nil }
        let path = Self.resolved(file, in: entry.folder)
        do {
            return try Files.readText(path)
        } catch {
            throw ClusterAccessFault(.unreadable, "\(place) names the file \(path) as \(field): \(error)")
        }
    }

    private static func resolved(_ path: String, in folder: String) -> String {
        path.hasPrefix("/") ? path : "\(folder)/\(path)"
    }
}

extension ClusterAccess {
    private static let podFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// Chooses the cluster as kubectl does: by kubeconfig, else as the pod that this runs in.
    /// - Parameters: see `Kubeconfig`.
    package static func choose(
        kubeconfig: String?, context: String?, namespace: String?, environment: (String) -> String?
    ) throws(ClusterAccessFault) -> ClusterAccess {
        if let file = try Kubeconfig.load(path: kubeconfig, environment: environment) {
            return try file.access(context: context, namespace: namespace)
        }
        if let access = try ofPod(namespace: namespace, environment: environment) { return access }
        let listed = environment("KUBECONFIG") ?? ""
        let looked =
            listed.isEmpty
            ? "KUBECONFIG is not set and \(environment("HOME") ?? "/root")/.kube/config does not exist"
            : "KUBECONFIG names \(listed), which does not exist"
        throw ClusterAccessFault(
            .nothingConfigured,
            "No cluster is configured: \(looked), and this is no pod of a cluster. Name a kubeconfig "
                + "with --kubeconfig or KUBECONFIG")
    }

    /// What a pod finds in itself; nil when this is none.
    package static func ofPod(
        namespace: String?, environment: (String) -> String?, folder: String = podFolder
    ) throws(ClusterAccessFault) -> ClusterAccess? {
        guard let host = environment("KUBERNETES_SERVICE_HOST"), let port = environment("KUBERNETES_SERVICE_PORT"),
            !host.isEmpty, Files.exists("\(folder)/token")
        else { return nil }
        var access = ClusterAccess(server: "https://\(host.contains(":") ? "[\(host)]" : host):\(port)")
        do {
            access.authorityPEM = try Files.readText("\(folder)/ca.crt")
            let own = Files.exists("\(folder)/namespace") ? try Files.readText("\(folder)/namespace") : ""
            let trimmed = own.filter { !$0.isWhitespace }
            access.namespace = namespace ?? (trimmed.isEmpty ? "default" : trimmed)
        } catch {
            throw ClusterAccessFault(.unreadable, "the service account of this pod cannot be read: \(error)")
        }
        access.credentials = .tokenFile("\(folder)/token")
        return access
    }
}
