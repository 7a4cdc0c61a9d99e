import Glibc
import Router
import RouterConfig

/// The command line of the router, with skrouterd's flags.
enum RouterCommand {
    private struct Options {
        /// Nil = what the environment names: a router pod gives no arguments.
        var configuration: String?
        var daemon = false
        var pidFile: String?
        var user: String?
        /// Octets; nil = what the environment says.
        var memoryLimit: Int?
        /// Microseconds.
        var pollFor = RouterProcess.usualPolling
        var hasTestHooks = false
    }

    private static let usage = """
        Usage: skupper-router [flags]

        The data plane of one site: joins routers over mutual TLS and carries TCP services between them.

        Flags:
          -c, --config FILE     configuration, JSON (*.json) or skrouterd's text form
                                (default: what QDROUTERD_CONF says, else
                                /etc/skupper-router/skrouterd.conf)
          -I, --include PATH    no effect: names the Python modules of skrouterd; there are none here
          -d, --daemon          run in the background; returns when the router is up
          -P, --pidfile FILE    write the process id to FILE
          -U, --user NAME       give up root's rights and become NAME once started
          --max-memory SIZE     refuse streams for which no memory is left below SIZE, for
                                example 64MiB (KiB, MiB, GiB; at least 32MiB; default: no limit)
          --busy-poll MICROSECONDS
                                look for events this long before sleeping, while they come fast;
                                answers come sooner, processors are busier (0 to 1000; 0 = never;
                                default: 100)
          -T, --test-hooks      write a line to the log for each message that a client sends
                                to the address of tests; for tests of this program only
          -v, --version         print the version
          -h, --help [TYPE]     print this text, or the attributes of an entity type, such as
                                tcpListener, with their values, defaults and meanings

        Environment:
          QDROUTERD_CONF        the configuration itself, if there are braces in it; else files and
                                folders (their *.conf and *.json), with colons or commas between
          QDROUTERD_CONF_TYPE   json or conf: the form of all of it (default: as file names tell;
                                conf for the configuration itself)
          SKUPPER_ROUTER_MEMORY_CEILING
                                octets, as --max-memory; less than 32MiB means 32MiB
          Variables named in the configuration, $NAME or ${NAME}, are replaced; HOSTNAME_IP_ADDRESS
          and POD_ID, what follows the last hyphen of HOSTNAME, need not be set.

        Example:
          skupper-router -c runtime/router/skrouterd.json

        """

    /// Runs until SIGTERM, SIGINT or SIGQUIT. Exit codes: 0 stopped in order, 1 wrong usage or configuration.
    static func run(_ arguments: [String]) -> Int32 {
        var options = Options()
        var index = 1
        while index < arguments.count {
            var argument = arguments[index]
            var attached: String?
            if argument.hasPrefix("--"), let equals = argument.firstIndex(of: "=") {
                attached = String(argument[argument.index(after: equals)...])
                argument = String(argument[..<equals])
            }
            func value() -> String? {
                if let attached { return attached }
                index += 1
                return index < arguments.count ? arguments[index] : nil
            }
            switch argument {
            case "-h", "--help":
                let next = index + 1 < arguments.count ? arguments[index + 1] : nil
                return help(attached ?? next.flatMap { $0.hasPrefix("-") ? nil : $0 })
            case "-v", "--version":
                return say(RouterVersion.text + "\n", to: 1, code: 0)
            case "-d", "--daemon":
                options.daemon = true
            case "-T", "--test-hooks":
                options.hasTestHooks = true
            case "-c", "--config", "-I", "--include", "-P", "--pidfile", "-U", "--user":
                guard let value = value(), !value.isEmpty else {
                    return say("skupper-router: \(argument) needs a value; see skupper-router --help\n", to: 2, code: 1)
                }
                switch argument {
                case "-c", "--config": options.configuration = value
                case "-P", "--pidfile": options.pidFile = value
                case "-U", "--user": options.user = value
                default: break
                }
            case "--max-memory":
                guard let value = value(), let octets = octets(value), octets >= RouterProcess.leastMemoryLimit else {
                    return say(
                        "skupper-router: --max-memory needs a size of at least 32MiB, for example 64MiB\n", to: 2,
                        code: 1)
                }
                options.memoryLimit = octets
            case "--busy-poll":
                guard let value = value().flatMap({ Int($0) }), 0...RouterProcess.mostPolling ~= value else {
                    return say(
                        "skupper-router: --busy-poll needs a number of microseconds from 0 to "
                            + "\(RouterProcess.mostPolling), for example 100\n", to: 2, code: 1)
                }
                options.pollFor = value
            default:
                return say(
                    "skupper-router: unknown argument '\(argument)'; see skupper-router --help\n", to: 2, code: 1)
            }
            index += 1
        }
        return start(options)
    }

    /// A size such as 64MiB, in octets; a number without a unit is octets.
    private static func octets(_ text: String) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let units = ["": 0, "KiB": 10, "MiB": 20, "GiB": 30]
        guard let number = Int(digits), let shift = units[String(text.dropFirst(digits.count))],
            number < 1 << (50 - shift)
        else { return nil }
        return number << shift
    }

    /// The usage, or what the schema says of one entity type.
    private static func help(_ name: String?) -> Int32 {
        guard let name, !name.isEmpty else { return say(usage, to: 1, code: 0) }
        if let type = Schema.type(named: name) { return say(Schema.helpText(type), to: 1, code: 0) }
        let hint = Schema.suggestedType(for: name).map { "; did you mean '\($0)'?" } ?? ""
        return say(
            "skupper-router: no entity type '\(name)'\(hint) There are:\n\(Schema.typeList())", to: 2, code: 1)
    }

    /// The file given, or what the environment says.
    private static func load(
        _ path: String?, _ environment: StartEnvironment
    ) throws(ConfigError) -> RouterConfiguration {
        func value(_ name: String) -> String? {
            environment.value(of: name, hostName: HostFacts.name, hostAddresses: HostFacts.addresses)
        }
        if let path { return try RouterConfiguration.load(path: path, value: value) }
        let usual = StartEnvironment.Source.places(["/etc/skupper-router/skrouterd.conf"], nil)
        return try RouterConfiguration.load(
            from: environment.source ?? usual, warnings: environment.warnings, value: value)
    }

    private static func start(_ options: Options) -> Int32 {
        let environment = StartEnvironment(environmentVariables())
        let ceiling = environment.memoryCeiling.map { max($0, RouterProcess.leastMemoryLimit) }
        let configuration: RouterConfiguration
        do {
            configuration = try load(options.configuration, environment)
        } catch {
            return say("skupper-router: \(error)\n", to: 2, code: 1)
        }
        var report: Int32?
        if options.daemon {
            switch Daemon.split() {
            case .command(let code): return code
            case .router(let descriptor): report = descriptor
            case .failed(let reason):
                return say("skupper-router: cannot go to the background: \(reason)\n", to: 2, code: 1)
            }
        }
        // Blocked before any thread starts, so that only this thread takes them.
        var stopSignals = sigset_t()
        sigemptyset(&stopSignals)
        for number in [SIGTERM, SIGINT, SIGQUIT] { sigaddset(&stopSignals, number) }
        pthread_sigmask(SIG_BLOCK, &stopSignals, nil)
        signal(SIGHUP, SIG_IGN)
        let router = RouterProcess(
            configuration: configuration, memoryLimit: options.memoryLimit ?? ceiling ?? 0, pollFor: options.pollFor,
            hasTestHooks: options.hasTestHooks)
        if let failure = router.apply() {
            router.stop()
            return say("skupper-router: \(failure)\n", to: 2, code: 1)
        }
        if let failure = finishStart(options) {
            router.stop()
            return say("skupper-router: \(RouterProcess.startFailed(failure))\n", to: 2, code: 1)
        }
        if let report { Daemon.isUp(report) }
        var received: Int32 = 0
        sigwait(&stopSignals, &received)
        router.stop()
        if let pidFile = options.pidFile { unlink(pidFile) }
        return 0
    }

    /// Pid file and user; the text says what failed.
    private static func finishStart(_ options: Options) -> String? {
        if let path = options.pidFile {
            let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else {
                return
                    "cannot write pid file \(path): \(String(cString: strerror(errno))); name a file in a "
                        + "writable directory"
            }
            let text = "\(getpid())\n"
            _ = text.withCString { write(descriptor, $0, strlen($0)) }
            close(descriptor)
        }
        if let user = options.user {
            guard let entry = getpwnam(user) else {
                return "no user '\(user)' on this host; name an existing one with -U"
            }
            guard setgid(entry.pointee.pw_gid) == 0, setuid(entry.pointee.pw_uid) == 0 else {
                return "cannot become user '\(user)': \(String(cString: strerror(errno))); only root can change users"
            }
        }
        return nil
    }

    private static func environmentVariables() -> [String: String] {
        var result: [String: String] = [:]
        var entry = environ
        while let pointer = entry.pointee {
            let text = String(cString: pointer)
            if let equals = text.firstIndex(of: "=") {
                result[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            entry += 1
        }
        return result
    }

    private static func say(_ text: String, to descriptor: Int32, code: Int32) -> Int32 {
        _ = text.withCString { write(descriptor, $0, strlen($0)) }
        return code
    }
}
