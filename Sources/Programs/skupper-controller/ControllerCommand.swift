import Glibc
import LocalPlatform

/// The command line of `skupper-controller`.
enum ControllerCommand {
    private static let help = """
        skupper-controller: turns the resources of Skupper sites into running routers.

        usage: skupper-controller [--platform linux] [--namespace NAME] [--foreground]
               skupper-controller --platform kubernetes [--kubeconfig FILE]
               skupper-controller --platform adaptor [--init]

          --platform NAME     linux (default): the namespaces of this host's data home.
                              kubernetes: the sites of a cluster.
                              adaptor: runs beside a router in its pod.
          -n, --namespace NAME
                              serve one namespace. Without it, every namespace that has been
                              started is served, each by a process of its own.
          --kubeconfig FILE   the cluster; else KUBECONFIG, ~/.kube/config, or the pod's own.
          --init              adaptor: write configuration and certificates, and end.
          --foreground        write the log to standard error as it is (for systemd and terminals).
          -h, --help          this text
          -v, --version       the version

        environment:
          SKUPPER_PLATFORM      as --platform
          SKUPPER_OUTPUT_PATH   the data home; else /var/lib/skupper for root, else
                                ${XDG_DATA_HOME:-~/.local/share}/skupper
          SKUPPER_ROUTER        path of skupper-router; else beside this program, else in PATH

        Signals: TERM and INT stop the site and its router in order; HUP reads the input anew.
        "skupper system start" and "skupper system stop" run this program as needed.

        """

    private struct Arguments {
        var platform = "linux"
        var namespace: String?
        var isForeground = false
        var kubeconfig: String?
        var isInit = false
        var wantsHelp = false
        var wantsVersion = false
    }

    /// Runs the program and gives its exit status: 0 stopped in order, 1 failed, 2 wrong arguments.
    static func run(_ arguments: [String]) -> Int32 {
        let parsed: Arguments
        switch parse(arguments) {
        case .success(let value): parsed = value
        case .failure(let error):
            write("skupper-controller: \(error.text)\n", to: 2)
            return 2
        }
        if parsed.wantsHelp {
            write(help, to: 1)
            return 0
        }
        if parsed.wantsVersion {
            write("\(SiteController.version)\n", to: 1)
            return 0
        }
        switch parsed.platform {
        case "linux": break
        case "kubernetes", "adaptor": break
        default:
            write(
                "skupper-controller: --platform is \"\(parsed.platform)\": there is linux, kubernetes and adaptor. "
                    + "Use --platform linux.\n", to: 2)
            return 2
        }
        do {
            if parsed.platform == "kubernetes" {
                try ClusterCommand.controller(kubeconfig: parsed.kubeconfig, namespace: parsed.namespace)
            } else if parsed.platform == "adaptor" {
                try ClusterCommand.adaptor(
                    kubeconfig: parsed.kubeconfig, namespace: parsed.namespace, isInit: parsed.isInit)
            } else if let namespace = parsed.namespace {
                try serve(namespace, isForeground: parsed.isForeground)
            } else {
                try serveAll()
            }
            return 0
        } catch {
            write("skupper-controller: \(error)\n", to: 2)
            return 1
        }
    }

    private static func serve(_ namespace: String, isForeground: Bool) throws {
        let store = try NamespaceStore(namespace: namespace)
        let isOwnLog = !isForeground && isatty(2) == 0
        let log = ControllerLog(namespace: namespace, file: isOwnLog ? store.layout.controllerLog : nil)
        let controller = try SiteController(store: store, routerPath: try RouterLocator.router(), log: log)
        controller.run(signals: try ControllerSignals())
    }

    /// One process for each namespace, so that none can hold up another.
    private static func serveAll() throws {
        let home = DataHome.current()
        let group = try ControllerGroup(home: home, program: try RouterLocator.thisProgram())
        group.run(signals: try ControllerSignals())
    }

    private struct UsageError: Error {
        let text: String
    }

    private static func parse(_ arguments: [String]) -> Result<Arguments, UsageError> {
        var result = Arguments()
        if let value = getenv("SKUPPER_PLATFORM") { result.platform = String(cString: value) }
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let given = argument.hasPrefix("--") && parts.count == 2 ? String(parts[1]) : nil
            switch argument.hasPrefix("--") ? String(parts[0]) : argument {
            case "--platform", "-platform", "-p":
                guard let value = given ?? rest.popFirst() else { return missing(argument) }
                result.platform = value
            case "--namespace", "-n":
                guard let value = given ?? rest.popFirst() else { return missing(argument) }
                result.namespace = value
            case "--kubeconfig", "-kubeconfig":
                guard let value = given ?? rest.popFirst() else { return missing(argument) }
                result.kubeconfig = value
            case "--init": result.isInit = true
            case "--foreground": result.isForeground = true
            case "--help", "-h", "help": result.wantsHelp = true
            case "--version", "-v": result.wantsVersion = true
            default:
                return .failure(
                    UsageError(text: "unknown argument \"\(argument)\"; see skupper-controller --help"))
            }
        }
        return .success(result)
    }

    private static func missing(_ flag: String) -> Result<Arguments, UsageError> {
        .failure(UsageError(text: "\(flag) needs a value; see skupper-controller --help"))
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var octets = Array(text.utf8)[...]
        while !octets.isEmpty {
            let count = octets.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            octets = octets.dropFirst(count)
        }
    }
}
