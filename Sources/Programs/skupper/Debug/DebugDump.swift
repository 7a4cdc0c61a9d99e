import ControlIO
import Glibc
import LocalPlatform
import SiteModel

/// `skupper debug dump [file]`
struct DebugDump: Command {
    static func specification(on platform: Platform) -> CommandSpecification {
        CommandSpecification(
            "dump", arguments: "[file]", summary: "Collect what support needs to know about a site",
            details: """
                Write an archive with the resources, the state, the logs and the certificates of the namespace.
                Private keys, codes and passwords are left out.
                """,
            example: "skupper debug dump -n west\nskupper debug dump ./fault -n west")
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) {
        self.invocation = invocation
    }

    func validate() throws -> [String] {
        var complaints = Complaints()
        if invocation.arguments.count > 1 {
            complaints.add("only one argument is allowed for this command")
        } else if let name = invocation.arguments.first, let reason = TokenTarget.pathComplaint(name) {
            complaints.add("file name is not valid: \(reason)")
        }
        return complaints.texts
    }

    func run() throws {
        let now = Int64(time(nil))
        let files: [(path: String, bytes: [UInt8])]
        if let cluster = invocation.cluster {
            var dump = ClusterDump(cluster.api)
            try dump.collect()
            files = dump.files
        } else {
            files = try namespaceFiles()
        }
        let stamp = Timestamp.format(unix: now).filter { $0.isASCII && $0.isNumber }
        let prefix = invocation.firstArgument.isEmpty ? "skupper-dump" : invocation.firstArgument
        let path = "\(prefix)-\(invocation.namespace)-\(stamp).tar.gz"
        var archive = TarArchive(time: now)
        for file in files { archive.add("\(invocation.namespace)/\(file.path)", file.bytes) }
        try Files.write(path, bytes: archive.gzipped(), mode: 0o600)
        Console.print("Skupper dump details written to compressed archive: \(path)")
    }

    /// What there is on this host.
    private func namespaceFiles() throws -> [(path: String, bytes: [UInt8])] {
        let store = try invocation.files.requiredStore()
        guard store.exists else {
            throw CommandFailure.failed(
                "namespace \"\(invocation.namespace)\" does not exist at \(store.layout.root)")
        }
        var dump = NamespaceDump(store.layout)
        dump.collect()
        let status = LocalSystem(store: store).status()
        let versions =
            "skupper \(VersionCommand.version)\nplatform \(invocation.platform.rawValue)\n"
            + "controller \(status.controller.map(String.init) ?? "stopped")\n"
            + "router \(status.router.map(String.init) ?? "stopped")\n"
        return [("versions.txt", Array(versions.utf8))] + dump.files
    }
}
