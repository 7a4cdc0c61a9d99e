import ControlIO

/// What the controller's last pass over the input came to; kept in a file for the programs that wait for it.
package struct ReconcileReport: Hashable, Sendable {
    /// Pid of the controller.
    package var controller: Int64
    /// Grows by one with each report of a controller.
    package var pass: Int64
    /// Whether the router runs with the configuration that the input asks for.
    package var isApplied: Bool
    /// What could not be done, as sentences.
    package var problems: [String]

    package init(controller: Int64, pass: Int64, isApplied: Bool, problems: [String]) {
        self.controller = controller
        self.pass = pass
        self.isApplied = isApplied
        self.problems = problems
    }

    /// The report in a namespace; nil if there is none.
    package static func load(_ layout: NamespaceLayout) -> ReconcileReport? {
        guard let text = try? Files.readText(layout.reportFile), let document = try? YAML.parse(text).first,
            let controller = document["controller"]?.intValue, let pass = document["pass"]?.intValue
        else { return nil }
        return ReconcileReport(
            controller: controller, pass: pass, isApplied: document["applied"]?.boolValue ?? false,
            problems: (document["problems"]?.listValue ?? []).compactMap(\.scalarText))
    }

    /// Writes the report.
    func save(_ layout: NamespaceLayout) throws(FileError) {
        try Files.write(
            layout.reportFile,
            text: YAML.emit([
                "controller": .int(controller), "pass": .int(pass), "applied": .bool(isApplied),
                "problems": .list(problems.map { .string($0) }),
            ]))
    }
}
