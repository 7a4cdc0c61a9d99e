import KubernetesAPI
import KubernetesReconciler
import SiteModel

/// The kinds that the controller watches and writes.
enum WatchedKinds {
    /// One watch: of a kind, as few of its objects as will do.
    struct Order {
        let kind: APIResource
        var labels = ""
        var fields = ""
        /// Watched in the controller's own namespace only.
        var isOwn = false

        /// For texts and to tell watches apart.
        var name: String {
            let part = [labels, fields.contains("!=") ? "" : fields].filter { !$0.isEmpty }.joined(separator: " ")
            return part.isEmpty ? kind.plural : "\(kind.plural) (\(part))"
        }

        init(_ kind: APIResource, named name: String, isOwn: Bool = false) {
            self.kind = kind
            fields = "metadata.name=\(name)"
            self.isOwn = isOwn
        }

        init(_ kind: APIResource, labels: String = "", fields: String = "", isOwn: Bool = false) {
            self.kind = kind
            self.labels = labels
            self.fields = fields
            self.isOwn = isOwn
        }
    }

    /// Skupper's own.
    static let skupper = [
        ("sites", "Site"), ("links", "Link"), ("listeners", "Listener"), ("connectors", "Connector"),
        ("multikeylisteners", "MultiKeyListener"), ("accessgrants", "AccessGrant"), ("accesstokens", "AccessToken"),
        ("routeraccesses", "RouterAccess"), ("securedaccesses", "SecuredAccess"), ("certificates", "Certificate"),
        ("attachedconnectors", "AttachedConnector"), ("attachedconnectorbindings", "AttachedConnectorBinding"),
    ].map { APIResource("skupper.io", "v2alpha1", $0.0, $0.1) }

    static let routes = APIResource("route.openshift.io", "v1", "routes", "Route")
    static let proxies = APIResource("projectcontour.io", "v1", "httpproxies", "HTTPProxy")
    static let gateways = APIResource("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
    static let tlsRoutes = APIResource("gateway.networking.k8s.io", "v1alpha2", "tlsroutes", "TLSRoute")

    /// Kinds that a cluster may lack.
    static let optional: Set<String> = ["MultiKeyListener", "Route", "HTTPProxy", "Gateway", "TLSRoute"]

    /// The ConfigMap with the controller's log level, in its namespace.
    static let logConfig = "skupper-log-config"
    /// ConfigMaps with one of these labels count for many objects.
    static let sharedMarks = ["skupper.io/label-template", "skupper.io/site-sizing"]

    /// Secrets that cannot be credentials of links or services; some clusters have very many of them.
    private static let otherSecrets = [
        "helm.sh/release.v1", "kubernetes.io/service-account-token", "kubernetes.io/dockerconfigjson",
        "kubernetes.io/dockercfg", "kubernetes.io/ssh-auth", "bootstrap.kubernetes.io/token",
    ]

    /// All watches that the enabled access types need. Objects whose names are known are asked for by these; pods
    /// and Services may have any.
    static func all(_ settings: ClusterSettings) -> [Order] {
        var result = skupper.map { Order($0) }
        for name in ["skupper-router", "skupper-router-2", "skupper-network-status", "skupper"] {
            result.append(Order(.configMaps, named: name))
        }
        result += sharedMarks.map { Order(.configMaps, labels: $0) }
        result.append(Order(.configMaps, named: logConfig, isOwn: true))
        result.append(Order(.secrets, fields: otherSecrets.map { "type!=\($0)" }.joined(separator: ",")))
        result.append(Order(.services))
        result.append(Order(.pods, fields: "status.phase!=Succeeded,status.phase!=Failed"))
        result += [APIResource.serviceAccounts, .roles, .roleBindings].map { Order($0, named: "skupper-router") }
        result += ["skupper-router", "skupper-router-2"].map { Order(.deployments, named: $0) }
        let types = Set(settings.enabledAccessTypes)
        if types.contains("ingress") || types.contains("ingress-nginx") { result.append(Order(.ingresses)) }
        for (type, kind) in [("route", routes), ("contour-http-proxy", proxies), ("gateway", tlsRoutes)]
        where types.contains(type) && settings.mayHave(kind.group) {
            result.append(Order(kind))
        }
        if types.contains("gateway"), settings.mayHave(gateways.group) {
            result.append(Order(gateways, named: NamespacePlanner.gatewayName, isOwn: true))
        }
        return result
    }

    /// The collection of an object's kind.
    static func resource(_ kind: String) -> APIResource? {
        (skupper + [
            .configMaps, .secrets, .services, .serviceAccounts, .pods, .deployments, .roles, .roleBindings, .ingresses,
            routes, proxies, gateways, tlsRoutes,
        ]).first { $0.kind == kind }
    }
}
