import KubernetesAPI
import KubernetesReconciler
import SiteModel

/// The kinds that the controller watches and writes.
enum WatchedKinds {
    /// Skupper's own.
    static let skupper = [
        ("sites", "Site"), ("links", "Link"), ("listeners", "Listener"), ("connectors", "Connector"),
        ("multikeylisteners", "MultiKeyListener"), ("accessgrants", "AccessGrant"), ("accesstokens", "AccessToken"),
        ("routeraccesses", "RouterAccess"), ("securedaccesses", "SecuredAccess"), ("certificates", "Certificate"),
        ("attachedconnectors", "AttachedConnector"), ("attachedconnectorbindings", "AttachedConnectorBinding"),
    ].map { APIResource("skupper.io", "v2alpha1", $0.0, $0.1) }

    static let routes = APIResource("route.openshift.io", "v1", "routes", "Route")
    static let proxies = APIResource("projectcontour.io", "v1", "httpproxies", "HTTPProxy")

    /// All kinds that the enabled access types need.
    static func all(_ settings: ClusterSettings) -> [APIResource] {
        var result = skupper
        result += [
            .configMaps, .secrets, .services, .serviceAccounts, .pods, .deployments, .roles, .roleBindings,
        ]
        let types = Set(settings.enabledAccessTypes)
        if types.contains("ingress") || types.contains("ingress-nginx") { result.append(.ingresses) }
        if types.contains("route"), settings.availableGroups.contains(routes.group) { result.append(routes) }
        if types.contains("contour-http-proxy"), settings.availableGroups.contains(proxies.group) {
            result.append(proxies)
        }
        return result
    }

    /// The collection of an object's kind.
    static func resource(_ kind: String) -> APIResource? {
        (skupper + [
            .configMaps, .secrets, .services, .serviceAccounts, .pods, .deployments, .roles, .roleBindings, .ingresses,
            routes, proxies,
        ]).first { $0.kind == kind }
    }
}
