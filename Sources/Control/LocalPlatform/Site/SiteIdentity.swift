import ControlIO
import SiteModel
import SiteTrust

/// What a site keeps for its life: its id, and the end of its router's id.
package struct SiteIdentity: Hashable, Sendable {
    /// The id other sites know this one by; the resource's uid, or made once and remembered.
    package let id: String
    /// End of the router id, so that two sites of the same name do not collide.
    package let routerSuffix: String

    /// The identity of a site, made and written down if there is none.
    package static func load(_ layout: NamespaceLayout, site: Site) throws -> SiteIdentity {
        let document = try Files.readTextIfPresent(layout.siteFile).flatMap { try? YAML.parse($0).first }
        let id = site.uid.isEmpty ? document?["id"]?.scalarText : site.uid
        let suffix = document?["routerSuffix"]?.scalarText
        let identity = SiteIdentity(
            id: try id ?? RandomValues.uuid4(),
            routerSuffix: try suffix ?? String(RandomValues.uuid4().prefix(8)))
        let text = YAML.emit(["id": .string(identity.id), "routerSuffix": .string(identity.routerSuffix)])
        try Files.writeIfChanged(layout.siteFile, text: text)
        return identity
    }
}
