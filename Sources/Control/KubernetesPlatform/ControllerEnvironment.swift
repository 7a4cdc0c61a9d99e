import Glibc
import KubernetesReconciler
import LocalPlatform
import SiteModel
import SiteTrust

/// What the controller's environment says (control-plane.md §3.2, §4.1).
package struct ControllerEnvironment: Sendable {
    /// Settings for plans.
    package var settings: ClusterSettings
    /// The controller's own namespace.
    package var namespace: String
    /// The namespace to look after; nil for all.
    package var watchedNamespace: String?
    /// Only namespaces whose ConfigMap `skupper` names this controller are looked after.
    package var requiresExplicitControl: Bool
    /// Where health is asked for.
    package var healthHost: String
    package var healthPort: UInt16
    /// Where the grant server listens; its URL if that is given and not found out.
    package var grantPort: UInt16
    package var grantHost: String
    package var grantBaseURL: String
    /// Validity of certificates that the controller makes, except for those of CAs, seconds. They are renewed when two
    /// thirds of it are over.
    package var certificateLifetime: Int64
    /// Unique among the replicas: the pod's name.
    package var identity: String

    /// What may be asked for: below, routers would do little else than take certificates in.
    private static let lifetimes: ClosedRange<Int64> = 20...CertificateAuthority.validitySeconds

    /// Reads the environment; `variable` is nil for what is not set.
    package init(namespace: String, variable: (String) -> String?) {
        func text(_ name: String, _ other: String = "") -> String {
            variable(name).flatMap { $0.isEmpty ? nil : $0 } ?? other
        }
        func list(_ name: String) -> [String] {
            text(name).split(separator: ",").map { $0.filter { $0 != " " } }.filter { !$0.isEmpty }
        }
        self.namespace = text("NAMESPACE", namespace)
        let watched = text("WATCH_NAMESPACE")
        watchedNamespace = watched.isEmpty ? nil : watched
        let registry = text("SKUPPER_IMAGE_REGISTRY", "localhost")
        let image = "\(registry)/skupper:\(SiteController.version)"
        let name = text("CONTROLLER_NAME", "skupper-controller")
        settings = ClusterSettings(
            routerImage: text("SKUPPER_ROUTER_IMAGE", image), adaptorImage: text("SKUPPER_KUBE_ADAPTOR_IMAGE", image),
            pullPolicy: text("SKUPPER_ROUTER_IMAGE_PULL_POLICY"), version: SiteController.version)
        let enabled = list("SKUPPER_ENABLED_ACCESS_TYPES")
        if !enabled.isEmpty { settings.enabledAccessTypes = enabled }
        settings.defaultAccessType = text("SKUPPER_DEFAULT_ACCESS_TYPE")
        settings.clusterHost = text("SKUPPER_CLUSTER_HOST")
        settings.ingressDomain = text("SKUPPER_INGRESS_DOMAIN")
        settings.ingressClass = text("SKUPPER_INGRESS_CLASS_NAME")
        settings.proxyDomain = text("SKUPPER_HTTP_PROXY_DOMAIN")
        settings.gatewayClass = text("SKUPPER_GATEWAY_CLASS")
        settings.gatewayDomain = text("SKUPPER_GATEWAY_DOMAIN")
        settings.gatewayPort = Int(text("SKUPPER_GATEWAY_PORT", "8443")) ?? 8443
        requiresExplicitControl = text("REQUIRE_EXPLICIT_CONTROL") == "true"
        settings.omitsSecurityContext = text("DISABLE_SECURITY_CONTEXT") == "true"
        settings.controllerName = name
        settings.controllerNamespace = self.namespace
        settings.grantsEnabled = text("SKUPPER_ENABLE_GRANTS") == "true"
        settings.publishesGrantServer = text("SKUPPER_GRANT_SERVER_AUTOCONFIGURE") == "true"
        settings.isClusterScoped = watchedNamespace == nil
        let parts = text("SKUPPER_METRICS_ADDRESS", ":9000").split(separator: ":", omittingEmptySubsequences: false)
        healthHost = parts.count == 2 ? String(parts[0]) : ""
        healthPort = parts.last.flatMap { UInt16($0) } ?? 9000
        grantPort = UInt16(text("SKUPPER_GRANT_SERVER_PORT", "9090")) ?? 9090
        grantHost = text("SKUPPER_GRANT_SERVER_ADDRESS")
        grantBaseURL = text("SKUPPER_GRANT_SERVER_BASE_URL")
        if !grantBaseURL.isEmpty {
            settings.grantHosts = [grantBaseURL.split(separator: ":").first.map(String.init) ?? grantBaseURL]
        }
        let lifetime = GoDuration.parseSeconds(text("SKUPPER_CERTIFICATE_LIFETIME")) ?? 0
        certificateLifetime =
            ControllerEnvironment.lifetimes.contains(lifetime) ? lifetime : CertificateAuthority.validitySeconds
        identity = text("HOSTNAME", "controller") + "-\(getpid())"
    }
}
