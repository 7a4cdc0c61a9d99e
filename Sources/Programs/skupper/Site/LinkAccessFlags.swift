import LocalPlatform
import SiteModel

/// The flags that decide how other sites reach a site: whether at all, and on this host at which address and port.
struct LinkAccessFlags {
    /// Where the flags beside `--enable-link-access` are kept, below `spec.settings`.
    private static let settings = [
        (flag: "bind-host", key: SiteSettings.bindHostKey),
        (flag: "advertise-host", key: SiteSettings.advertiseHostKey),
        (flag: "port", key: SiteSettings.portKey),
    ]

    static func flags(on platform: Platform) -> [Flag] {
        let enable = Flag.toggle("enable-link-access", "let other sites link to this site")
        if platform == .kubernetes {
            return [
                enable, .text("link-access-type", "how the site is reached: route, loadbalancer or default"),
                .toggle("enable-ha", "run two routers"),
            ]
        }
        return [
            enable,
            .text("bind-host", "the address of this host to listen on for links; else all"),
            .text("advertise-host", "the host name or address that tokens give to other sites; else found out"),
            .text("port", "the port for links; else 55671 or the next free one"),
        ]
    }

    let flags: FlagValues

    /// Checks the values given. `accessWillBeOn` tells whether the site has link access once the command is done.
    func validate(accessWillBeOn: Bool, _ complaints: inout Complaints) {
        let type = flags.text("link-access-type")
        if !type.isEmpty {
            let reason = FieldRules.option(type, of: FieldRules.linkAccessTypes)
            complaints.check("link access type is not valid", reason)
            if reason == nil, !flags.isOn("enable-link-access") {
                complaints.add(
                    "for the site to work with this type of linkAccess, "
                        + "the --enable-link-access option must be set to true")
            }
        }
        if let host = flags.givenText("bind-host"), !host.isEmpty, let reason = FieldRules.host(host) {
            complaints.add("bind " + reason)
        }
        if let host = flags.givenText("advertise-host"), !host.isEmpty, let reason = FieldRules.host(host) {
            complaints.add("advertised " + reason)
        }
        if let port = flags.givenText("port"), !port.isEmpty, !(1...65535).contains(Int(port) ?? 0) {
            complaints.add("port is not valid: \"\(port)\" is not a number from 1 to 65535")
        }
        if !accessWillBeOn {
            for (flag, _) in Self.settings where !(flags.givenText(flag) ?? "").isEmpty {
                complaints.add(
                    "for --\(flag) to have an effect, the --enable-link-access option must be set to true")
            }
        }
    }

    /// Writes what was given into a site; what was not given stays as it is.
    func apply(to site: inout Resource) {
        if flags.isGiven("enable-link-access") {
            let type = flags.text("link-access-type")
            let access = flags.isOn("enable-link-access") ? (type.isEmpty ? "default" : type) : "none"
            site.setSpec(.string(access), "linkAccess")
        }
        if flags.isGiven("enable-ha") { site.setSpec(.bool(flags.isOn("enable-ha")), "ha") }
        for (flag, key) in Self.settings {
            guard let value = flags.givenText(flag) else { continue }
            site.setSpec(value.isEmpty ? nil : .string(value), "settings", key)
        }
    }
}
