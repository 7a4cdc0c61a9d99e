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

    /// Runs the program and reads what it prints. It has a minute, or three where it may ask its user.
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
        var outcome = Outcome()
        // What it asks of a user goes past us; otherwise what it complains about is part of the fault.
        let asks = mayAsk && isatty(0) == 1 && isatty(2) == 1
        guard let output = DescriptorPair(), let complaints = DescriptorPair() else {
            throw .credentials("no pipe to a credential plugin: this process has too many files open")
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, output.writing, 1)
        if !asks {
            posix_spawn_file_actions_adddup2(&actions, complaints.writing, 2)
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        var arguments = ([command] + self.arguments).map { strdup($0) } + [nil]
        var variables = Self.merged(variables).map { strdup($0) } + [nil]
        defer { for pointer in arguments + variables { free(pointer) } }
        var pid: pid_t = 0
        let failure = posix_spawnp(&pid, command, &actions, nil, &arguments, &variables)
        output.closeWriting()
        complaints.closeWriting()
        guard failure == 0 else {
            throw .credentials(
                "the credential plugin \(command) cannot be started: \(String(cString: strerror(failure))). "
                    + (installHint.isEmpty ? "Install it, or use another context" : installHint))
        }
        let isWhole = Self.drain(output.reading, complaints.reading, asks ? 180_000 : 60_000, &outcome)
        if !isWhole { kill(pid, SIGKILL) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let said = String(decoding: outcome.complaints.suffix(2000), as: UTF8.self)
            .split(whereSeparator: \.isNewline).joined(separator: "; ")
        let complaint = said.isEmpty ? "" : ": \(said)"
        guard isWhole else {
            throw .credentials("the credential plugin \(command) did not end in time, or printed too much\(complaint)")
        }
        guard status == 0 else {
            let how = status & 0x7f == 0 ? "status \((status >> 8) & 0xff)" : "signal \(status & 0x7f)"
            throw .credentials("the credential plugin \(command) failed (\(how))\(complaint)")
        }
        return outcome.output
    }

    private struct Outcome {
        var output: [UInt8] = []
        var complaints: [UInt8] = []
    }

    /// Reads both to their ends; false when that takes longer than so many milliseconds or is too much. Of complaints
    /// the last are kept.
    private static func drain(
        _ output: Int32, _ complaints: Int32, _ patience: UInt64, _ outcome: inout Outcome
    ) -> Bool {
        let deadline = MonotonicTime.milliseconds() + patience
        var block = [UInt8](repeating: 0, count: 16_384)
        var open = [output, complaints]
        while !open.isEmpty {
            let now = MonotonicTime.milliseconds()
            guard now < deadline else { return false }
            var waits = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            let ready = poll(&waits, nfds_t(waits.count), Int32(deadline - now))
            if ready < 0, errno != EINTR { return false }
            for wait in waits where ready > 0 && wait.revents != 0 {
                let count = read(wait.fd, &block, block.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else {
                    open.removeAll { $0 == wait.fd }
                    continue
                }
                if wait.fd == output {
                    outcome.output += block[..<count]
                    guard outcome.output.count <= outputLimit else { return false }
                } else {
                    outcome.complaints = Array((outcome.complaints + block[..<count]).suffix(8192))
                }
            }
        }
        return true
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

/// A pipe that no other child inherits, closed with this.
private final class DescriptorPair {
    let reading: Int32
    private(set) var writing: Int32

    init?() {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        reading = ends[0]
        writing = ends[1]
    }

    func closeWriting() {
        if writing >= 0 { close(writing) }
        writing = -1
    }

    deinit {
        closeWriting()
        close(reading)
    }
}
