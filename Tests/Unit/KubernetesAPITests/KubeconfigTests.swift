import ControlIO
import Glibc
import KubernetesAPI
import Testing

@Suite("Kubeconfig files")
struct KubeconfigTests {
    /// Files in a folder of their own, gone afterwards.
    private func with(_ files: [String: String], _ body: (String) throws -> Void) throws {
        guard let text = strdup("/var/tmp/kube-" + String(repeating: "X", count: 6)), mkdtemp(text) != nil else {
            preconditionFailure("no temporary folder")
        }
        let folder = String(cString: text)
        free(text)
        defer { try? Files.removeTree(folder) }
        for (name, content) in files {
            let path = "\(folder)/\(name)"
            if let slash = path.lastIndex(of: "/") { try Files.makeDirectory(String(path[..<slash])) }
            try Files.write(path, text: content)
        }
        try body(folder)
    }

    private let config = """
        apiVersion: v1
        kind: Config
        current-context: blue
        clusters:
        - name: c1
          cluster: {server: "https://192.0.2.1:6443/", certificate-authority-data: Q0E=}
        - name: c2
          cluster: {server: "https://192.0.2.2", certificate-authority: ca.crt, tls-server-name: api.example}
        - name: c3
          cluster: {server: 192.0.2.3}
        users:
        - name: u1
          user: {token: abc}
        - name: u2
          user: {client-certificate: u2.crt, client-key-data: S0VZ}
        - name: u3
          user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, args: [a, 1],
            interactiveMode: Never}}
        contexts:
        - name: blue
          context: {cluster: c1, user: u1, namespace: west}
        - name: green
          context: {cluster: c2, user: u2}
        - name: plugin
          context: {cluster: c1, user: u3}
        - name: lost
          context: {cluster: none, user: u1}
        - name: odd
          context: {cluster: c3, user: u1}
        """

    private func choose(
        _ path: String?, context: String? = nil, namespace: String? = nil, _ variables: [String: String] = [:]
    ) throws -> ClusterAccess {
        try ClusterAccess.choose(
            kubeconfig: path, context: context, namespace: namespace, environment: { variables[$0] })
    }

    private func fault(_ body: () throws -> ClusterAccess) -> ClusterAccessFault? {
        do {
            _ = try body()
            return nil
        } catch {
            return error as? ClusterAccessFault
        }
    }

    @Test("the current context, another one, another namespace")
    func contexts() throws {
        try with(["config": config, "ca.crt": "CA2", "u2.crt": "CERT"]) { folder in
            let blue = try choose("\(folder)/config")
            #expect(blue.server == "https://192.0.2.1:6443")
            #expect(blue.namespace == "west")
            #expect(blue.authorityPEM == "CA")
            guard case .token("abc") = blue.credentials else { return #expect(Bool(false), "\(blue.credentials)") }
            let green = try choose("\(folder)/config", context: "green")
            #expect(green.namespace == "default")
            #expect(green.authorityPEM == "CA2")
            #expect(green.serverName == "api.example")
            #expect(green.clientCertificatePEM == "CERT")
            #expect(green.clientKeyPEM == "KEY")
            let east = try choose("\(folder)/config", namespace: "east")
            #expect(east.namespace == "east")
            let plugin = try choose("\(folder)/config", context: "plugin")
            guard case .plugin(let program) = plugin.credentials else { return #expect(Bool(false)) }
            #expect(program.command == "\(folder)/./login")
            #expect(program.arguments == ["a", "1"])
            #expect(!program.mayAsk)
        }
    }

    @Test("several files make one: the first to name something counts")
    func merged() throws {
        let first = """
            current-context: green
            users:
            - {name: u2, user: {token: first}}
            """
        try with(["a": first, "deep/b": config, "deep/ca.crt": "CA2", "deep/u2.crt": "X"]) { folder in
            let variables = ["KUBECONFIG": "\(folder)/a:\(folder)/missing:\(folder)/deep/b"]
            let access = try choose(nil, variables)
            #expect(access.contextName == "green")
            #expect(access.authorityPEM == "CA2", "relative to the file that names it")
            guard case .token("first") = access.credentials else { return #expect(Bool(false)) }
        }
    }

    @Test("the file of the home folder, and nothing at all")
    func home() throws {
        try with([".kube/config": config]) { folder in
            let blue = try choose(nil, ["HOME": folder])
            #expect(blue.contextName == "blue")
            let none = fault { try choose(nil, ["HOME": "\(folder)/none"]) }
            #expect(none?.kind == .nothingConfigured)
            #expect(none?.description.contains("\(folder)/none/.kube/config does not exist") == true)
            let named = fault { try choose(nil, ["HOME": folder, "KUBECONFIG": "\(folder)/x"]) }
            #expect(named?.kind == .nothingConfigured)
            #expect(named?.description.contains("KUBECONFIG names \(folder)/x") == true)
        }
    }

    @Test("faults name the file and what there is")
    func faults() throws {
        try with(["config": config, "bad": "a: [", "list": "- a\n", "empty": "current-context: ''\n"]) { folder in
            let path = "\(folder)/config"
            let context = fault { try choose(path, context: "red") }
            #expect(context?.kind == .unknownName)
            #expect(
                context?.description.contains("has no context \"red\"; there is: blue, green, lost, odd, plugin")
                    == true)
            #expect(fault { try choose(path, context: "lost") }?.description.contains("cluster \"none\"") == true)
            #expect(fault { try choose(path, context: "odd") }?.description.contains("\"192.0.2.3\"") == true)
            #expect(fault { try choose(path, context: "green") }?.description.contains("\(folder)/ca.crt") == true)
            #expect(fault { try choose("\(folder)/none") }?.kind == .unreadable)
            #expect(fault { try choose("\(folder)/bad") }?.description.contains("\(folder)/bad cannot be read") == true)
            #expect(fault { try choose("\(folder)/list") }?.description.contains("is no kubeconfig") == true)
            #expect(fault { try choose("\(folder)/empty") }?.description.contains("names no current context") == true)
        }
    }

    @Test("in a pod, its service account")
    func pod() throws {
        try with(["token": "t\n", "ca.crt": "CA", "namespace": "west\n"]) { folder in
            let variables = ["KUBERNETES_SERVICE_HOST": "2001:db8::1", "KUBERNETES_SERVICE_PORT": "443"]
            let access = try ClusterAccess.ofPod(namespace: nil, environment: { variables[$0] }, folder: folder)
            #expect(access?.server == "https://[2001:db8::1]:443")
            #expect(access?.namespace == "west")
            #expect(access?.authorityPEM == "CA")
            let outside = try ClusterAccess.ofPod(namespace: nil, environment: { _ in nil }, folder: folder)
            #expect(outside == nil)
        }
    }
}
