import Glibc
import SiteModel

/// The life of one invocation: choose the platform, parse, validate, run, wait. Spec: control-plane §2.1.
enum Frame {
    /// Runs a command line.
    /// - Parameters:
    ///   - platformVariable: the value of `SKUPPER_PLATFORM`; nil when unset.
    ///   - connect: opens the cluster that the flags choose.
    /// - Returns: the exit code: 0 done, 2 refused by validation, 1 anything else.
    static func run(
        _ arguments: [String], platformVariable: String?, pace: Pace = .real,
        connect: (ClusterSelection) throws(ClusterFault) -> any ClusterAPI
    ) -> Int32 {
        let platform = Platform.resolve(arguments: arguments, environment: platformVariable)
        let globalFlags = CommonFlags.global(on: platform)
        var parser = ArgumentParser(root: CommandTree.root(on: platform), globalFlags: globalFlags)
        let line: ParsedLine
        do {
            line = try parser.parse(arguments)
        } catch {
            return refuse("\(error)", usageOf: parser.pathSoFar, globalFlags)
        }
        guard !line.wantsHelp, case .command(let specification, let type)? = line.path.last?.content else {
            Console.write(HelpText.full(line.path, globalFlags: globalFlags), to: STDOUT_FILENO)
            return 0
        }
        if let unsupported = unsupportedPlatform(line.flags, platform, specification) {
            return refuse(unsupported, usageOf: line.path, globalFlags)
        }
        if platform == .kubernetes, specification.scope == .system {
            Console.print("This command does not support kubernetes platforms.")
            return 0
        }
        let given = line.flags.givenText("namespace").flatMap { $0.isEmpty ? nil : $0 }
        var resources: any SiteResources = SiteFiles(namespace: given ?? "default")
        var namespace = given ?? "default"
        if platform == .kubernetes, specification.scope == .site {
            do {
                let api = try connect(
                    ClusterSelection(
                        kubeconfig: line.flags.givenText("kubeconfig"), context: line.flags.givenText("context"),
                        namespace: given))
                resources = ClusterResources(api: api)
                namespace = api.namespace
            } catch {
                Console.print(error.description)
                return 1
            }
        }
        let invocation = Invocation(
            platform: platform, arguments: line.arguments, flags: line.flags, namespace: namespace,
            resources: resources, pace: pace)
        invocation.warnAboutClusterFlags()
        return execute(type.init(invocation), invocation)
    }

    private static func execute(_ command: any Command, _ invocation: Invocation) -> Int32 {
        var command = command
        do {
            var complaints = Complaints()
            complaints.check("namespace is not valid", FieldRules.namespace(invocation.namespace))
            let all = complaints.texts + (try validate(&command))
            if !all.isEmpty { throw CommandFailure.invalid(all.joined(separator: "\n")) }
            try command.run()
            try command.wait()
            return 0
        } catch let failure as CommandFailure {
            report(failure.message, for: command)
            return failure.exitCode
        } catch {
            report("\(error)", for: command)
            return 1
        }
    }

    /// A cluster that cannot be asked is a fault of validation while validating, as upstream has it.
    private static func validate(_ command: inout any Command) throws -> [String] {
        do {
            return try command.validate()
        } catch let fault as ClusterFault {
            throw CommandFailure.invalid(fault.description)
        }
    }

    /// Errors go to standard output, where upstream's scripts look for them, unless that carries data.
    private static func report(_ message: String, for command: any Command) {
        if command.reservesStandardOutput { Console.note(message) } else { Console.print(message) }
    }

    /// A line that cannot be run at all: the plain error on standard output, the error and the usage on standard error.
    private static func refuse(_ error: String, usageOf path: [CommandNode], _ globalFlags: [Flag]) -> Int32 {
        var text = error
        while text.last == "\n" { text.removeLast() }
        Console.note("Error: " + text)
        Console.write(HelpText.usage(path, globalFlags: globalFlags), to: STDERR_FILENO)
        Console.print(text)
        return 1
    }

    private static func unsupportedPlatform(
        _ flags: FlagValues, _ platform: Platform, _ specification: CommandSpecification
    ) -> String? {
        if let given = flags.givenText("platform"), Platform(rawValue: given) == nil {
            return "platform \"\(given)\" not supported"
        }
        guard platform == .podman || platform == .docker, specification.scope != .offline else { return nil }
        return "platform \"\(platform.rawValue)\" not supported: this build runs sites as processes on platform linux "
            + "(use --platform linux or SKUPPER_PLATFORM=linux)"
    }
}
