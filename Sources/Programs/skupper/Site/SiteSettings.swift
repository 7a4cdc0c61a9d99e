/// Keys of `Site.spec.settings` that the linux platform reads.
enum SiteSettings {
    static let bindHost = "bind-host"
    static let advertiseHost = "advertise-host"
    static let linkPort = "link-port"
}
