import SiteModel

/// What the controller was told for all sites: its environment, and what it found out about the cluster (sheet §4.1).
package struct ClusterSettings: Hashable, Sendable {
    /// Images of the two containers of a router pod.
    package var routerImage: String
    package var adaptorImage: String
    /// `imagePullPolicy`; "" for the cluster's default.
    package var pullPolicy: String
    /// Access types in force, first the preferred one.
    package var enabledAccessTypes: [String]
    /// The type for `default`; "" lets `resolvedAccessType` choose.
    package var defaultAccessType: String
    /// Host for endpoints of type nodeport.
    package var clusterHost: String
    /// Domain for routes and ingresses.
    package var ingressDomain: String
    /// Ingress class; "" for none of its own.
    package var ingressClass: String
    /// Domain for Contour's HTTPProxies.
    package var proxyDomain: String
    /// Class of the Gateway that TLSRoutes go through, their domain ("" for the Gateway's own address), and its port.
    package var gatewayClass = ""
    package var gatewayDomain = ""
    package var gatewayPort = 8443
    /// API groups that the cluster has; empty when that is not known.
    package var availableGroups: Set<String>
    /// Leave out security contexts, for clusters that set their own.
    package var omitsSecurityContext: Bool
    /// Identity of the controller, for `Site.status.controller`.
    package var controllerName: String
    package var controllerNamespace: String
    /// Version for router metadata and statuses.
    package var version: String
    /// AccessGrants are served.
    package var grantsEnabled: Bool
    /// The grant server gets a SecuredAccess of its own in the controller's namespace.
    package var publishesGrantServer: Bool
    /// Hosts under which the grant server is advertised beside those of its Service.
    package var grantHosts: [String]
    /// Labels of the controller's pods.
    package var controllerLabels: [String: String]
    /// The controller may read pods of all namespaces; false makes AttachedConnectors an error.
    package var isClusterScoped: Bool

    /// Settings with upstream's defaults.
    package init(
        routerImage: String, adaptorImage: String, pullPolicy: String = "",
        enabledAccessTypes: [String] = ["local", "loadbalancer", "route"], defaultAccessType: String = "",
        clusterHost: String = "", ingressDomain: String = "", ingressClass: String = "", proxyDomain: String = "",
        availableGroups: Set<String> = [], omitsSecurityContext: Bool = false,
        controllerName: String = "skupper-controller", controllerNamespace: String = "skupper",
        version: String, grantsEnabled: Bool = true, publishesGrantServer: Bool = false,
        grantHosts: [String] = [], controllerLabels: [String: String] = ["application": "skupper-controller"],
        isClusterScoped: Bool = true
    ) {
        self.routerImage = routerImage
        self.adaptorImage = adaptorImage
        self.pullPolicy = pullPolicy
        self.enabledAccessTypes = enabledAccessTypes
        self.defaultAccessType = defaultAccessType
        self.clusterHost = clusterHost
        self.ingressDomain = ingressDomain
        self.ingressClass = ingressClass
        self.proxyDomain = proxyDomain
        self.availableGroups = availableGroups
        self.omitsSecurityContext = omitsSecurityContext
        self.controllerName = controllerName
        self.controllerNamespace = controllerNamespace
        self.version = version
        self.grantsEnabled = grantsEnabled
        self.publishesGrantServer = publishesGrantServer
        self.grantHosts = grantHosts
        self.controllerLabels = controllerLabels
        self.isClusterScoped = isClusterScoped
    }

    /// Faults that make the settings unusable, in the words of sheet §4.6.
    package var faults: [String] {
        var result: [String] = []
        if !defaultAccessType.isEmpty, !enabledAccessTypes.contains(defaultAccessType) {
            result.append("Default access type \"\(defaultAccessType)\" is not in enabled list.")
        }
        if enabledAccessTypes.contains("nodeport"), clusterHost.isEmpty {
            result.append("Cluster host must be set to enable nodeport access type.")
        }
        if enabledAccessTypes.contains("gateway"), gatewayClass.isEmpty {
            result.append("Gateway class must be set to enable gateway access type.")
        }
        return result
    }

    /// Whether the cluster has an API group, or may have it where that is not known.
    package func mayHave(_ group: String) -> Bool { availableGroups.isEmpty || availableGroups.contains(group) }

    /// The type that "" and `default` stand for.
    package var resolvedDefault: String {
        if !defaultAccessType.isEmpty { return defaultAccessType }
        if enabledAccessTypes.contains("route"), availableGroups.contains("route.openshift.io") { return "route" }
        if enabledAccessTypes.contains("loadbalancer") { return "loadbalancer" }
        return enabledAccessTypes.first ?? "local"
    }

    /// The access type that a text of a resource means; nil when it is not enabled.
    package func accessType(_ text: String) -> AccessType? {
        let word = text.isEmpty || text == "default" ? resolvedDefault : text
        return enabledAccessTypes.contains(word) ? AccessType(rawValue: word) : nil
    }
}

/// How a Service is reached from outside (sheet §4.6).
package enum AccessType: String, Hashable, Sendable, CaseIterable {
    case local
    case loadbalancer
    case nodeport
    case route
    case ingress
    case ingressNginx = "ingress-nginx"
    case contour = "contour-http-proxy"
    case gateway

    /// The API group of the objects it makes, beyond Kubernetes' own.
    var group: String? {
        switch self {
        case .route: "route.openshift.io"
        case .contour: "projectcontour.io"
        case .gateway: "gateway.networking.k8s.io"
        default: nil
        }
    }

    /// `spec.type` of the Service.
    var serviceType: String {
        switch self {
        case .loadbalancer: "LoadBalancer"
        case .nodeport: "NodePort"
        default: "ClusterIP"
        }
    }
}
