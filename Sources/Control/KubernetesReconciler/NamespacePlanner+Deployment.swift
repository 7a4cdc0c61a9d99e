import ControlIO
import SiteModel
import SiteReconciler

/// What runs the routers: Deployments, their account with its rights, and the local Service (sheet §4.2).
extension NamespacePlanner {
    private static let labels = [
        "app.kubernetes.io/name": "skupper-router", "app.kubernetes.io/part-of": "skupper",
    ]

    /// One image holds all programs: the containers then name theirs. Upstream's images start by themselves.
    private var isOwnImage: Bool { settings.routerImage == settings.adaptorImage }

    mutating func renderSite(_ site: Site) {
        if site.serviceAccount.isEmpty { renderAccount(site) }
        var local = object(
            "v1", "Service", "skupper-router-local", labels: NamespacePlanner.labels, owner: site.resource)
        local["spec"] = [
            "type": "ClusterIP", "selector": [Marks.component: "router"],
            "ports": [["name": "amqps", "port": 5671, "targetPort": 5671, "protocol": "TCP"]],
        ]
        if isForeign("Service", "skupper-router-local") {
            plan.notes.append("Service skupper-router-local belongs to somebody else and is left alone")
        } else {
            want(local)
        }
        let isOwn = snapshot.namespace == settings.controllerNamespace
        let maps = snapshot.shared + (isOwn ? snapshot.objects("ConfigMap") : [])
        let sizing = RouterSizing(maps, size: site.resource.settings["size"] ?? "")
        plan.notes += sizing.faults
        for group in groups { want(deployment(site, group: group, sizing: sizing)) }
    }

    private mutating func renderAccount(_ site: Site) {
        let name = "skupper-router"
        let group = "rbac.authorization.k8s.io"
        for kind in ["ServiceAccount", "Role", "RoleBinding"] where isForeign(kind, name) {
            plan.notes.append("\(kind) \(name) belongs to somebody else and is used as it is")
            return
        }
        want(object("v1", "ServiceAccount", name, labels: NamespacePlanner.labels, owner: site.resource))
        func rule(_ group: String, _ resources: [Document], _ verbs: [Document]) -> Document {
            ["apiGroups": [.string(group)], "resources": .list(resources), "verbs": .list(verbs)]
        }
        var role = object("\(group)/v1", "Role", name, owner: site.resource)
        role["rules"] = [
            rule("", ["secrets"], ["get", "list", "watch", "update", "delete"]),
            rule("", ["pods", "services"], ["get", "list", "watch"]),
            rule("", ["configmaps"], ["get", "list", "watch", "create", "update", "patch", "delete"]),
            rule("apps", ["deployments"], ["get"]),
            rule(
                "coordination.k8s.io", ["leases"], ["get", "list", "watch", "create", "update", "patch", "delete"]),
        ]
        want(role)
        var binding = object("\(group)/v1", "RoleBinding", name, owner: site.resource)
        binding["roleRef"] = ["apiGroup": .string(group), "kind": "Role", "name": .string(name)]
        binding["subjects"] = [
            ["kind": "ServiceAccount", "name": .string(name), "namespace": .string(snapshot.namespace)]
        ]
        want(binding)
    }

    private func deployment(_ site: Site, group: String, sizing: RouterSizing) -> Document {
        var deployment = object(
            "apps/v1", "Deployment", group, labels: NamespacePlanner.labels.merging([Marks.group: group]) { $1 },
            owner: site.resource)
        let podLabels = NamespacePlanner.labels.merging([
            "application": "skupper-router", Marks.component: "router", Marks.group: group, "skupper.io/type": "site",
        ]) { $1 }
        let settings = site.resource.settings
        let started = [
            site.edge ? "edge" : "interior", settings["router-data-connection-count"] ?? "",
            settings["router-logging"] ?? "",
        ].joined(separator: " ")
        var pod: Document = [
            "serviceAccountName": .string(site.serviceAccount.isEmpty ? "skupper-router" : site.serviceAccount),
            "enableServiceLinks": false,
            "initContainers": [sized(initContainer(site, group: group), sizing.adaptor)],
            "containers": [
                sized(routerContainer(site), sizing.router),
                sized(adaptorContainer(site, group: group), sizing.adaptor),
            ],
            "volumes": [
                ["name": "skupper-router-certs", "emptyDir": .emptyMap],
                ["name": "skupper-router-proxies", "emptyDir": .emptyMap],
            ],
        ]
        if !self.settings.omitsSecurityContext {
            pod["securityContext"] = ["runAsNonRoot": true, "seccompProfile": ["type": "RuntimeDefault"]]
        }
        if site.ha, settings["disable-anti-affinity"] == nil { pod["affinity"] = NamespacePlanner.antiAffinity }
        deployment["spec"] = [
            "replicas": 1, "selector": ["matchLabels": [Marks.component: "router"]],
            "template": [
                "metadata": [
                    "labels": Document(texts: podLabels),
                    "annotations": Document(texts: [
                        "prometheus.io/scrape": "true", "prometheus.io/port": "9090",
                        "skupper.io/config-digest": Digest.text(started),
                    ]),
                ],
                "spec": pod,
            ],
        ]
        return deployment
    }

    private func sized(_ container: Document, _ resources: Document?) -> Document {
        var result = container
        if let resources { result["resources"] = resources }
        return result
    }

    private static let antiAffinity: Document = [
        "podAntiAffinity": [
            "preferredDuringSchedulingIgnoredDuringExecution": [
                [
                    "weight": 100,
                    "podAffinityTerm": [
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": ["matchLabels": [Marks.component: "router"]],
                    ],
                ]
            ]
        ]
    ]

    private func initContainer(_ site: Site, group: String) -> Document {
        var container = adaptorBase("config-init", site: site, group: group)
        if isOwnImage {
            container["command"] = ["/usr/bin/skupper-controller"]
            container["args"] = ["--platform", "adaptor", "--init"]
        } else {
            container["command"] = ["/app/kube-adaptor", "-init"]
        }
        return container
    }

    private func adaptorContainer(_ site: Site, group: String) -> Document {
        var container = adaptorBase("kube-adaptor", site: site, group: group)
        if isOwnImage {
            container["command"] = ["/usr/bin/skupper-controller"]
            container["args"] = ["--platform", "adaptor"]
        }
        container["ports"] = [
            ["name": "adaptor-health", "containerPort": 9191, "protocol": "TCP"],
            ["name": "adaptor-metrics", "containerPort": 9000, "protocol": "TCP"],
        ]
        container["readinessProbe"] = [
            "httpGet": ["path": "/healthz", "port": 9191], "initialDelaySeconds": 1, "periodSeconds": 5,
        ]
        return container
    }

    private func adaptorBase(_ name: String, site: Site, group: String) -> Document {
        var container = base(name, image: settings.adaptorImage)
        container["env"] = [
            ["name": "SKUPPER_NAMESPACE", "value": .string(snapshot.namespace)],
            ["name": "SKUPPER_SITE_ID", "value": .string(site.uid)],
            ["name": "SKUPPER_SITE_NAME", "value": .string(site.name)],
            ["name": "SKUPPER_ROUTER_CONFIG", "value": .string(group)],
            ["name": "SKUPPER_ROUTER_DEPLOYMENT", "value": .string(group)],
        ]
        return container
    }

    private func routerContainer(_ site: Site) -> Document {
        var container = base("router", image: settings.routerImage)
        if isOwnImage {
            container["command"] = ["/usr/bin/skupper-router"]
            container["args"] = ["--config", .string("\(NamespacePlanner.certificateFolder)/skrouterd.json")]
        }
        container["env"] = [
            ["name": "QDROUTERD_CONF", "value": .string("\(NamespacePlanner.certificateFolder)/skrouterd.json")],
            ["name": "QDROUTERD_CONF_TYPE", "value": "json"],
            ["name": "SKUPPER_SITE_ID", "value": .string(site.uid)],
        ]
        container["ports"] = [
            ["name": "amqps", "containerPort": 5671, "protocol": "TCP"],
            ["name": "http", "containerPort": 9090, "protocol": "TCP"],
            ["name": "inter-router", "containerPort": 55671, "protocol": "TCP"],
            ["name": "edge", "containerPort": 45671, "protocol": "TCP"],
        ]
        container["livenessProbe"] = [
            "httpGet": ["path": "/healthz", "port": 9090], "initialDelaySeconds": 60, "periodSeconds": 10,
        ]
        container["readinessProbe"] = [
            "httpGet": ["path": "/healthz", "port": 9090], "initialDelaySeconds": 1, "periodSeconds": 5,
        ]
        return container
    }

    private func base(_ name: String, image: String) -> Document {
        var container: Document = [
            "name": .string(name), "image": .string(image),
            "volumeMounts": [
                ["name": "skupper-router-certs", "mountPath": "/etc/skupper-router-certs"],
                ["name": "skupper-router-proxies", "mountPath": "/etc/skupper-router-proxies"],
            ],
        ]
        if !settings.pullPolicy.isEmpty { container["imagePullPolicy"] = .string(settings.pullPolicy) }
        if !settings.omitsSecurityContext {
            var context: Document = ["allowPrivilegeEscalation": false, "capabilities": ["drop": ["ALL"]]]
            context["runAsNonRoot"] = true
            if isOwnImage { context["readOnlyRootFilesystem"] = true }
            container["securityContext"] = context
        }
        return container
    }
}
