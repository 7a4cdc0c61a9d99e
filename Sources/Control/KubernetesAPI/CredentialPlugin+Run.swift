import ControlIO
import Glibc

extension CredentialPlugin {
    /// What a plugin has printed (kind ExecCredential).
    struct Printed {
        var token: String?
        var certificatePEM: String?
        var keyPEM: String?
    }

    /// The most a plugin may print, octets.
    private static let outputLimit = 1 << 20
    /// The longest a plugin may take, milliseconds. It may wait for its user.
    private static let patience: Int32 = 180_000

    /// Runs the program and reads what it prints. Its standard error is the user's.
    func run(environment extra: [(String, String)]) throws(APIFault) -> Printed {
        let request: Document = [
            "apiVersion": .string(apiVersion), "kind": "ExecCredential",
            "spec": ["interactive": .bool(mayAsk && isatty(0) == 1)],
        ]
        let output = try output(
            of: extra + environment.map { ($0.name, $0.value) }
                + [("KUBERNETES_EXEC_INFO", JSON.emit(request, pretty: false))])
        guard let text = String(validating: output, as: UTF8.self), let document = try? JSON.parse(text),
            document["kind"]?.stringValue == "ExecCredential", let status = document["status"]
        else { throw .credentials("the credential plugin \(command) printed no ExecCredential with a status") }
        let printed = Printed(
            token: status["token"]?.stringValue, certificatePEM: status["clientCertificateData"]?.stringValue,
            keyPEM: status["clientKeyData"]?.stringValue)
        guard printed.token != nil || printed.certificatePEM != nil else {
            throw .credentials("the credential plugin \(command) printed neither a token nor a certificate")
        }
        return printed
    }

    private func output(of variables: [(String, String)]) throws(APIFault) -> [UInt8] {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw .credentials("no pipe to a credential plugin: out of files") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        if !mayAsk { posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) }
        var arguments = ([command] + self.arguments).map { strdup($0) } + [nil]
        var variables = Self.merged(variables).map { strdup($0) } + [nil]
        defer { for pointer in arguments + variables { free(pointer) } }
        var pid: pid_t = 0
        let failure = posix_spawnp(&pid, command, &actions, nil, &arguments, &variables)
        close(ends[1])
        defer { close(ends[0]) }
        guard failure == 0 else {
            throw .credentials(
                "the credential plugin \(command) cannot be started: \(String(cString: strerror(failure))). "
                    + (installHint.isEmpty ? "Install it, or use another context" : installHint))
        }
        let result = Self.drain(ends[0])
        if result == nil { kill(pid, SIGTERM) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard let result else {
            throw .credentials("the credential plugin \(command) did not end in time, or printed too much")
        }
        guard status == 0 else {
            throw .credentials(
                "the credential plugin \(command) failed (status \((status >> 8) & 0xff)); what it says stands above")
        }
        return result
    }

    /// Reads to the end; nil when that takes too long or is too much.
    private static func drain(_ descriptor: Int32) -> [UInt8]? {
        var result: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16_384)
        while true {
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&wait, 1, patience)
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else { return nil }
            let count = read(descriptor, &block, block.count)
            if count == 0 { return result }
            if count < 0 {
                if errno == EINTR { continue }
                return nil
            }
            result += block[..<count]
            if result.count > outputLimit { return nil }
        }
    }

    private static func merged(_ extra: [(String, String)]) -> [String] {
        var result: [String] = []
        let names = Set(extra.map(\.0))
        var entry = environ
        while let text = entry.pointee {
            let line = String(cString: text)
            if !names.contains(String(line.prefix { $0 != "=" })) { result.append(line) }
            entry += 1
        }
        var last: [String: String] = [:]
        for (name, value) in extra { last[name] = value }
        return result + last.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    }
}
