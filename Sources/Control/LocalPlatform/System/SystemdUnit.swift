import ControlIO
import Glibc

/// The systemd unit of a namespace's controller, a system unit for root and a user unit for others.
struct SystemdUnit: Sendable {
    /// `skupper-<namespace>.service`.
    let name: String
    private let folder: String
    private let isUserUnit: Bool

    /// Whether systemd runs this host (and, for others than root, this user's session).
    static var isAvailable: Bool {
        guard Files.kind("/run/systemd/system") == .directory else { return false }
        return geteuid() == 0 || Files.exists("/run/user/\(geteuid())/systemd")
    }

    init(layout: NamespaceLayout) {
        name = "skupper-\(layout.namespace).service"
        isUserUnit = geteuid() != 0
        func value(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        folder =
            isUserUnit
            ? (value("XDG_CONFIG_HOME") ?? (value("HOME") ?? "/root") + "/.config") + "/systemd/user"
            : "/etc/systemd/system"
    }

    var isInstalled: Bool { Files.exists("\(folder)/\(name)") }

    /// The unit's text for a controller command.
    static func text(namespace: String, command: ChildCommand) -> String {
        let line = ([command.executable] + command.arguments).map(quoted).joined(separator: " ")
        let environment = command.environment.sorted { $0.key < $1.key }
            .map { "Environment=\(quoted("\($0.key)=\($0.value)"))\n" }.joined()
        return """
            [Unit]
            Description=Skupper site of namespace \(namespace)
            After=network-online.target
            Wants=network-online.target

            [Service]
            Type=simple
            ExecStart=\(line)
            \(environment)Restart=on-failure
            RestartSec=1
            # The router outlives a controller that crashes; the next controller takes it over.
            KillMode=process
            TimeoutStopSec=70

            [Install]
            WantedBy=default.target

            """
    }

    /// Writes, enables and starts the unit.
    func start(_ command: ChildCommand, namespace: String) throws {
        try Files.makeDirectory(folder)
        try Files.write("\(folder)/\(name)", text: SystemdUnit.text(namespace: namespace, command: command))
        try control(["daemon-reload"])
        try control(["enable", name])
        try control(["restart", name])
    }

    /// Stops, disables and removes the unit.
    func remove() throws {
        try? control(["stop", name])
        try? control(["disable", name])
        try Files.remove("\(folder)/\(name)")
        try? control(["daemon-reload"])
    }

    private func control(_ arguments: [String]) throws(LocalError) {
        let all = (isUserUnit ? ["--user"] : []) + arguments
        let process = try ChildProcess.start(
            ChildCommand(executable: "/usr/bin/env", arguments: ["systemctl"] + all))
        let deadline = MonotonicClock.now + 90_000
        while MonotonicClock.now < deadline {
            if let end = ChildProcess.reap(process.pid) {
                guard end == "exited with status 0" else {
                    throw LocalError(
                        what: "systemctl \(all.joined(separator: " ")) \(end)",
                        cause: "systemd refused the unit or its program ended at once",
                        remedy: "See \"journalctl \(isUserUnit ? "--user " : "")-u \(name)\"")
                }
                return
            }
            usleep(10_000)
        }
        throw LocalError(
            what: "systemctl \(all.joined(separator: " ")) did not end within 90 s", cause: "systemd is busy or stuck",
            remedy: "Look at \"systemctl status\"")
    }

    private static func quoted(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                || "-_./=:".utf8.contains(byte)
        }
        let escaped = text.flatMap { character -> [Character] in
            switch character {
            case "\"", "\\": ["\\", character]
            case "%": ["%", "%"]
            case "$": ["$", "$"]
            default: [character]
            }
        }
        return isPlain ? text : "\"\(String(escaped))\""
    }
}
