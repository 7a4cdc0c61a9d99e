import SiteModel

/// Flags that many commands share, with their checks.
enum CommonFlags {
    static let platformNames = "kubernetes, linux"

    /// The flags every command has on a platform. Those of a cluster are accepted everywhere, so that a script written
    /// for both platforms runs, but listed only where they have an effect.
    static func global(on platform: Platform) -> [Flag] {
        [
            .text("namespace", short: "n", "the namespace of the site"),
            .text(
                "platform", short: "p",
                "where sites run: \(platformNames); also from SKUPPER_PLATFORM; else kubernetes"),
            .text("context", short: "c", hidden: platform != .kubernetes, "the kubeconfig context to use"),
            .text("kubeconfig", hidden: platform != .kubernetes, "the path of the kubeconfig file"),
        ]
    }

    static func timeout(_ value: String) -> Flag {
        .duration("timeout", default: value, "give up waiting after this time, at least 10s")
    }

    static func wait(_ value: String) -> Flag {
        .text("wait", default: value, "what to wait for: ready, configured or none")
    }

    static let waitForDeletion = Flag.toggle("wait", default: true, "wait until the deletion has taken effect")

    static func output(default value: String = "") -> Flag {
        .text("output", short: "o", default: value, "print the resource as json or yaml")
    }

    /// Checks `--timeout`, when the command has it.
    static func checkTimeout(_ flags: FlagValues, _ complaints: inout Complaints) {
        complaints.check("timeout is not valid", FieldRules.timeout(seconds: flags.seconds("timeout")))
    }

    /// Checks `--wait ready|configured|none`.
    static func checkWait(_ flags: FlagValues, _ complaints: inout Complaints) {
        complaints.check(
            "status is not valid", FieldRules.option(flags.text("wait"), of: FieldRules.waits))
    }

    /// Checks `--output` when it was given or has a default.
    static func checkOutput(_ flags: FlagValues, _ complaints: inout Complaints) {
        guard flags.isGiven("output") || !flags.text("output").isEmpty else { return }
        complaints.check("output type is not valid", FieldRules.option(flags.text("output"), of: FieldRules.outputs))
    }
}
