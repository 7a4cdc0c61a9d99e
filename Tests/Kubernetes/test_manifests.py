"""Every kind as a manifest, against a real API server with real routers: what each is documented to become."""

import base64
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from cluster import Refused, assets  # noqa: E402
from harness import Server, connect, receive_exactly, wait_until  # noqa: E402
from site_cluster import loopback  # noqa: E402

NAMESPACES = ("west", "east", "edge", "work")
WEST, WEST2, EAST, EDGE = (loopback() for _ in range(4))
DOMAIN = "in.example"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

# What kubectl is to print, in order.
COLUMNS = {
    "Site": ["Status", "Sites In Network", "Message"],
    "Link": ["Status", "Remote Site", "Message"],
    "Listener": ["Routing Key", "Port", "Host", "Status", "Has Matching Connector", "Message"],
    "Connector": ["Routing Key", "Port", "Host", "Selector", "Status", "Has Matching Listener", "Message"],
    "AccessGrant": ["Redemptions Allowed", "Redemptions Made", "Expiration", "Status", "Message"],
    "AccessToken": ["URL", "Redeemed", "Status", "Message"],
}


def named(name):
    """A server that tells who it is."""
    def handle(connection):
        connection.sendall(name.encode() + b"\n")
        connection.recv(1)
    return handle


def definition(group, version, plural, kind):
    """An API that some clusters have, without rules for its fields."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}",
                     "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                 "versions": [{"name": version, "served": True, "storage": True, "subresources": {"status": {}},
                               "schema": {"openAPIV3Schema": {
                                   "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}


class Proxy:
    """An HTTP proxy that only knows CONNECT, and a user with a password."""

    def __init__(self, host, user, password):
        self.wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.tunnels = []
        self.refused = 0
        self.server = Server(self._serve, host=host)
        self.port = self.server.port

    def _serve(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        lines = head.decode().split("\r\n")
        if f"Proxy-Authorization: {self.wanted}" not in lines:
            self.refused += 1
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        self.tunnels.append(lines[0])
        host, port = lines[0].split()[1].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as other:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=self._pump, args=(other, connection), daemon=True).start()
            self._pump(connection, other)

    @staticmethod
    def _pump(source, target):
        try:
            source.settimeout(None)
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@unittest.skipIf(assets() is None, "KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver")
class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from site_cluster import SiteCluster
        cls.cluster = SiteCluster(NAMESPACES).start()
        cls.addClassCleanup(cls.cluster.stop)
        for name in NAMESPACES:
            cls.cluster.create_namespace(name)
        place = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for parts in (("route.openshift.io", "v1", "routes", "Route"),
                      ("projectcontour.io", "v1", "httpproxies", "HTTPProxy"),
                      ("gateway.networking.k8s.io", "v1", "gateways", "Gateway"),
                      ("gateway.networking.k8s.io", "v1alpha2", "tlsroutes", "TLSRoute")):
            cls.cluster.request("POST", place, definition(*parts))
            path = f"/apis/{parts[0]}/{parts[1]}/namespaces/west/{parts[2]}"
            wait_until(f"the API {parts[3]}", lambda path=path: cls.served(path), 60, every=0.2)
        cls.cluster.start_controller(
            SKUPPER_ENABLED_ACCESS_TYPES="local,loadbalancer,nodeport,route,ingress,ingress-nginx,"
            "contour-http-proxy,gateway", SKUPPER_DEFAULT_ACCESS_TYPE="loadbalancer",
            SKUPPER_CLUSTER_HOST="node.example", SKUPPER_INGRESS_DOMAIN=DOMAIN,
            SKUPPER_HTTP_PROXY_DOMAIN="px.example", SKUPPER_GATEWAY_CLASS="some-class")

    @classmethod
    def served(cls, path):
        try:
            return "items" in cls.cluster.request("GET", path)
        except Refused:
            return False

    # --- helpers ------------------------------------------------------------------------------------------------------

    def make(self, kind, name, namespace, spec):
        self.cluster.apply(self.yaml(kind, name, spec), namespace)

    @staticmethod
    def yaml(kind, name, spec):
        # JSON is YAML; only what `apply` looks for stands on lines of its own.
        return (f"apiVersion: skupper.io/v2alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n"
                f"spec: {json.dumps(spec)}\n")

    def plain(self, kind, name, namespace, **fields):
        """A ConfigMap or Secret."""
        metadata = fields.pop("metadata", {})
        self.cluster.request("POST", self.cluster.place(kind, namespace), {
            "apiVersion": "v1", "kind": kind, "metadata": {"name": name, **metadata}, **fields})

    def ready(self, kind, name, namespace, wanted="Ready OK"):
        return self.cluster.await_summary(kind, name, namespace, wanted, 90)

    def status(self, kind, name, namespace):
        return self.cluster.get(kind, name, namespace).get("status", {})

    def at(self, path):
        try:
            return self.cluster.request("GET", path)
        except Refused as refusal:
            if refusal.code == 404:
                return None
            raise

    def who(self, service, namespace, address):
        """What answers at a Service: its target port at the router's address."""
        port = self.cluster.get("Service", service, namespace)["spec"]["ports"][0]["targetPort"]
        with connect(port, host=address) as client:
            client.settimeout(20)
            data = b""
            while not data.endswith(b"\n"):
                part = client.recv(100)
                if not part:
                    break
                data += part
            return data.decode().strip()

    def answers(self, service, namespace, address, wanted):
        def asked():
            try:
                return self.who(service, namespace, address) == wanted
            except OSError:
                return False
        wait_until(f"{wanted} at {service}", asked, 60, every=0.2)

    def entities(self, namespace, kind, group="skupper-router"):
        text = self.cluster.get("ConfigMap", group, namespace)["data"]["skrouterd.json"]
        return {item[1]["name"]: item[1] for item in json.loads(text) if item[0] == kind}

    # --- sites --------------------------------------------------------------------------------------------------------

    def test_01_a_site_with_two_routers(self):
        cluster = self.cluster
        self.make("Site", "west", "west", {"linkAccess": "default", "ha": True})
        cluster.run_router("west", WEST)
        cluster.run_router("west", WEST2, "skupper-router-2")
        cluster.balance("skupper-router", "west", WEST)
        cluster.balance("skupper-router-2", "west", WEST2)
        self.ready("Site", "west", "west")
        wait_until("both routers' endpoints", lambda: {
            (e["group"], e["name"], e["host"], e["port"]) for e in self.status("Site", "west", "west")["endpoints"]
        } == {("skupper-router", "inter-router", WEST, "55671"), ("skupper-router", "edge", WEST, "45671"),
              ("skupper-router-2", "inter-router", WEST2, "55671"), ("skupper-router-2", "edge", WEST2, "45671")}, 60)
        pod = cluster.get("Deployment", "skupper-router-2", "west")["spec"]["template"]["spec"]
        self.assertIn("podAntiAffinity", pod["affinity"])
        # The second router dials the first.
        self.assertEqual(self.entities("west", "connector", "skupper-router-2")["skupper-router"]["host"],
                         "skupper-router")

    def test_02_grant_and_token_as_manifests(self):
        cluster = self.cluster
        self.make("AccessGrant", "my-grant", "west", {"expirationWindow": "1h", "redemptionsAllowed": 10})
        self.ready("AccessGrant", "my-grant", "west")
        grant = self.status("AccessGrant", "my-grant", "west")
        self.make("Site", "east", "east", {})
        cluster.run_router("east", EAST)
        self.make("Site", "edge", "edge", {"edge": True})
        cluster.run_router("edge", EDGE)
        for namespace in ("east", "edge"):
            self.make("AccessToken", "my-token", namespace, {
                "url": grant["url"], "code": grant["code"], "ca": grant["ca"], "linkCost": 3})
            self.ready("AccessToken", "my-token", namespace)
            for name in ("my-token-1", "my-token-2"):
                link = cluster.get("Link", name, namespace)
                self.assertEqual(link["spec"]["cost"], 3)
                if namespace == "edge":
                    continue
                self.ready("Link", name, namespace)
                self.assertEqual(link["spec"]["tlsCredentials"], "my-token")
                wait_until("the remote site", lambda n=name: self.status("Link", n, "east").get(
                    "remoteSiteName") == "west", 60)
        self.assertEqual(self.status("AccessGrant", "my-grant", "west")["redemptions"], 2)

    def test_03_an_edge_site(self):
        # One of its two links carries; the other one stands by.
        wait_until("a link of the edge", lambda: "Ready OK" in [
            self.cluster.summary("Link", n, "edge") for n in ("my-token-1", "my-token-2")], 90)
        self.ready("Site", "edge", "edge")
        self.assertEqual({c["role"] for c in self.entities("edge", "connector").values()}, {"edge"})
        self.make("AccessGrant", "none", "edge", {})
        self.ready("AccessGrant", "none", "edge", "Error Edge sites cannot accept incoming links from remote sites")
        self.make("RouterAccess", "none", "edge", {
            "roles": [{"name": "inter-router"}], "tlsCredentials": "none", "generateTlsCredentials": True})
        self.ready("RouterAccess", "none", "edge", "Error Edge sites cannot accept incoming links from remote sites")
        self.cluster.request("DELETE", f"{self.cluster.place('RouterAccess', 'edge')}/none")

    def test_04_the_network_is_in_the_status(self):
        sites = {"west", "east", "edge"}
        for namespace in sites:
            wait_until(f"the network at {namespace}", lambda n=namespace: {
                site["name"] for site in self.status("Site", n, n).get("network", [])} == sites, 90)
            self.assertEqual(self.status("Site", namespace, namespace)["sitesInNetwork"], 3)
        uid = self.cluster.get("Site", "west", "west")["metadata"]["uid"]
        own = next(s for s in self.status("Site", "west", "west")["network"] if s["name"] == "east")
        self.assertEqual(own["namespace"], "east")
        self.assertEqual(own["platform"], "kubernetes")
        self.assertEqual(own["links"], [
            {"name": name, "remoteSiteId": uid, "remoteSiteName": "west", "operational": True}
            for name in ("my-token-1", "my-token-2")])
        told = json.loads(self.cluster.get("ConfigMap", "skupper-network-status", "east")["data"]["NetworkStatus"])
        self.assertEqual({s["site"]["name"] for s in told["siteStatus"]}, sites)
        west = next(s for s in told["siteStatus"] if s["site"]["name"] == "west")
        self.assertEqual(len(west["routerStatus"]), 2)

    # --- services -----------------------------------------------------------------------------------------------------

    def test_05_connectors_select_pods(self):
        cluster = self.cluster
        with Server(named("web-0"), host="127.0.0.91") as first, \
                Server(named("web-1"), host="127.0.0.92", port=first.port):
            self.make("Connector", "backend", "west", {
                "routingKey": "backend", "selector": "app=backend", "port": first.port, "exposePodsByName": True})
            self.make("Listener", "backend", "east", {
                "routingKey": "backend", "host": "backend", "port": 8080, "exposePodsByName": True})
            self.make("Listener", "backend", "edge", {"routingKey": "backend", "host": "backend", "port": 8080})
            self.ready("Connector", "backend", "west", "Error No matches for selector")
            cluster.pod("web-0", "west", {"app": "backend"}, "127.0.0.91")
            cluster.pod("web-1", "west", {"app": "backend"}, "127.0.0.92", ready=False)
            self.ready("Connector", "backend", "west")
            self.assertEqual(self.status("Connector", "backend", "west")["selectedPods"],
                             [{"name": "web-0", "ip": "127.0.0.91"}])
            self.ready("Listener", "backend", "east")
            self.assertTrue(self.status("Listener", "backend", "east")["hasMatchingConnector"])
            self.answers("backend", "east", EAST, "web-0")
            self.ready("Listener", "backend", "edge")
            self.answers("backend", "edge", EDGE, "web-0")
            # A pod that is not ready is used when that is asked for, and each can be reached by its name.
            self.make("Connector", "backend", "west", {
                "routingKey": "backend", "selector": "app=backend", "port": first.port, "exposePodsByName": True,
                "includeNotReadyPods": True})
            wait_until("both pods", lambda: len(self.status("Connector", "backend", "west")["selectedPods"]) == 2, 60)
            for pod in ("web-0", "web-1"):
                wait_until(f"Service {pod}", lambda p=pod: cluster.get("Service", p, "east"), 90, every=0.2)
                self.answers(pod, "east", EAST, pod)
            cluster.request("DELETE", f"{cluster.place('Pod', 'west')}/web-1")
            wait_until("the pod's Service to go", lambda: cluster.get("Service", "web-1", "east") is None, 90)

    def test_06_a_connector_of_an_edge_site(self):
        with Server(named("at-the-edge"), host="127.0.0.93") as server:
            self.make("Connector", "far", "edge", {"routingKey": "far", "host": "127.0.0.93", "port": server.port})
            self.make("Listener", "far", "west", {"routingKey": "far", "host": "far", "port": 80})
            self.ready("Listener", "far", "west")
            self.answers("far", "west", WEST, "at-the-edge")
            self.ready("Connector", "far", "edge")
            self.assertTrue(self.status("Connector", "far", "edge")["hasMatchingListener"])

    def test_07_attached_connectors(self):
        cluster = self.cluster
        with Server(named("attached"), host="127.0.0.94") as server:
            self.make("AttachedConnectorBinding", "shared", "west", {
                "connectorNamespace": "work", "routingKey": "shared"})
            self.ready("AttachedConnectorBinding", "shared", "west", "Error No matching AttachedConnector")
            spec = {"siteNamespace": "west", "selector": "app=shared", "port": server.port}
            self.make("AttachedConnector", "shared", "work", spec)
            self.ready("AttachedConnector", "shared", "work", "Error No matches for selector")
            cluster.pod("shared-0", "work", {"app": "shared"}, "127.0.0.94")
            self.ready("AttachedConnector", "shared", "work")
            self.assertEqual(self.status("AttachedConnector", "shared", "work")["selectedPods"],
                             [{"name": "shared-0", "ip": "127.0.0.94"}])
            self.ready("AttachedConnectorBinding", "shared", "west", "Pending No matching listeners")
            self.make("Listener", "shared", "east", {"routingKey": "shared", "host": "shared", "port": 80})
            self.ready("AttachedConnectorBinding", "shared", "west")
            self.ready("Listener", "shared", "east")
            self.answers("shared", "east", EAST, "attached")
            # Both have to agree.
            self.make("AttachedConnector", "alone", "work", spec)
            self.ready("AttachedConnector", "alone", "work",
                       "Error No matching AttachedConnectorBinding in site namespace")
            self.make("AttachedConnectorBinding", "alone", "west", {
                "connectorNamespace": "elsewhere", "routingKey": "alone"})
            self.ready("AttachedConnector", "alone", "work", "Error AttachedConnectorBinding west/alone does not allow "
                       "AttachedConnector in work (only elsewhere)")
            cluster.request("DELETE", f"{cluster.place('AttachedConnector', 'work')}/shared")
            self.ready("Listener", "shared", "east", "Pending No matching connectors")

    def test_08_multi_key_listeners(self):
        cluster = self.cluster
        self.make("MultiKeyListener", "prio", "east", {
            "host": "prio", "port": 8080, "strategy": {"priority": {"routingKeys": ["first", "second"]}}})
        self.make("MultiKeyListener", "weighed", "east", {
            "host": "weighed", "port": 8081, "strategy": {"weighted": {"routingKeys": {"first": 1, "second": 2}}}})
        self.ready("MultiKeyListener", "prio", "east", "Pending No matching connectors")
        with Server(named("second"), host="127.0.0.95") as second:
            self.make("Connector", "second", "west", {
                "routingKey": "second", "host": "127.0.0.95", "port": second.port})
            self.ready("MultiKeyListener", "prio", "east")
            self.assertTrue(self.status("MultiKeyListener", "prio", "east")["hasDestination"])
            self.answers("prio", "east", EAST, "second")
            self.ready("Connector", "second", "west")
            with Server(named("first"), host="127.0.0.96") as first:
                self.make("Connector", "first", "east", {
                    "routingKey": "first", "host": "127.0.0.96", "port": first.port})
                wait_until("both keys", lambda: self.status("MultiKeyListener", "prio", "east")["strategy"] == {
                    "priority": {"routingKeysReachable": ["first", "second"]}}, 60)
                self.answers("prio", "east", EAST, "first")
                self.assertEqual({self.who("prio", "east", EAST) for _ in range(10)}, {"first"})
                wait_until("both weights", lambda: self.status("MultiKeyListener", "weighed", "east")["strategy"] == {
                    "weighted": {"routingKeysReachable": {"first": 1, "second": 2}}}, 60)
                seen = {}
                for _ in range(60):
                    name = self.who("weighed", "east", EAST)
                    seen[name] = seen.get(name, 0) + 1
                # Two of three go to the second; by chance alone fewer than 25 of 60 happen once in 100,000 times.
                self.assertEqual(sum(seen.values()), 60)
                self.assertGreaterEqual(seen.get("second", 0), 25, seen)
                self.assertGreaterEqual(seen.get("first", 0), 5, seen)
            cluster.request("DELETE", f"{cluster.place('Connector', 'east')}/first")
            self.answers("prio", "east", EAST, "second")
        with self.assertRaises(Refused):
            self.make("MultiKeyListener", "none", "east", {"host": "x", "port": 1, "strategy": {}})

    # --- access -------------------------------------------------------------------------------------------------------

    def test_09_every_access_type(self):
        cluster = self.cluster
        wait_until("the Gateway", lambda: self.at(
            "/apis/gateway.networking.k8s.io/v1/namespaces/skupper/gateways/skupper"), 60)
        cluster.request(
            "PATCH", "/apis/gateway.networking.k8s.io/v1/namespaces/skupper/gateways/skupper/status",
            {"status": {"addresses": [{"type": "IPAddress", "value": "192.0.2.9"}]}}, "application/merge-patch+json")
        types = {
            "local": ("ra-local.west", "6001"), "nodeport": ("node.example", None),
            "route": (f"ra-route-inter-router.{DOMAIN}", "443"),
            "ingress": (f"inter-router.west.{DOMAIN}", "443"),
            "ingress-nginx": (f"inter-router.west.{DOMAIN}", "443"),
            "contour-http-proxy": ("ra-contour-http-proxy-inter-router.west.px.example", "443"),
            "gateway": ("ra-gateway-inter-router.west.192.0.2.9.nip.io", "8443"),
        }
        for number, (word, (host, port)) in enumerate(types.items()):
            name = f"ra-{word}"
            self.make("RouterAccess", name, "west", {
                "accessType": word, "roles": [{"name": "inter-router", "port": 6001 + number}],
                "tlsCredentials": f"cred-{word}", "generateTlsCredentials": True})
            self.ready("RouterAccess", name, "west")
            self.ready("SecuredAccess", name, "west")
            first = next(e for e in self.status("RouterAccess", name, "west")["endpoints"]
                         if e["group"] == "skupper-router")
            self.assertEqual((first["name"], first["host"]), ("inter-router", host))
            service = cluster.get("Service", name, "west")
            self.assertEqual(service["spec"]["type"], "NodePort" if word == "nodeport" else "ClusterIP")
            self.assertEqual(service["spec"]["selector"]["skupper.io/group"], "skupper-router")
            wanted = port or str(service["spec"]["ports"][0]["nodePort"])
            self.assertEqual(first["port"], wanted)
            # The endpoint's host is in the certificate.
            secret = base64.b64decode(cluster.get("Secret", f"cred-{word}", "west")["data"]["tls.crt"])
            names = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=secret,
                                   capture_output=True, check=True, timeout=30).stdout.decode()
            self.assertIn(f"DNS:{host}", names)
            self.assertIn(f"ra-{word}-inter-router", self.entities("west", "listener"))
        spec = self.at("/apis/route.openshift.io/v1/namespaces/west/routes/ra-route-inter-router")["spec"]
        self.assertEqual(spec["tls"]["termination"], "passthrough")
        self.assertEqual(spec["to"]["name"], "ra-route")
        spec = self.at("/apis/networking.k8s.io/v1/namespaces/west/ingresses/ra-ingress-nginx")
        self.assertEqual(spec["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-passthrough"], "true")
        self.assertEqual(spec["spec"]["ingressClassName"], "nginx")
        place = "/apis/projectcontour.io/v1/namespaces/west/httpproxies/ra-contour-http-proxy-inter-router"
        self.assertTrue(self.at(place)["spec"]["virtualhost"]["tls"]["passthrough"])
        place = "/apis/gateway.networking.k8s.io/v1alpha2/namespaces/west/tlsroutes/ra-gateway-inter-router"
        self.assertEqual(self.at(place)["spec"]["rules"][0]["backendRefs"][0]["name"], "ra-gateway")
        self.make("RouterAccess", "ra-none", "west", {
            "accessType": "pigeon", "roles": [{"name": "inter-router", "port": 6100}], "tlsCredentials": "x"})
        wait_until("the refusal", lambda: cluster.summary("RouterAccess", "ra-none", "west").startswith(
            "Error unsupported access type pigeon"), 60)
        # What a RouterAccess made goes with it.
        for name in [f"ra-{word}" for word in types] + ["ra-none"]:
            cluster.request("DELETE", f"{cluster.place('RouterAccess', 'west')}/{name}")
        wait_until("the TLSRoute to go", lambda: self.at(place) is None, 60)
        wait_until("the Services to go", lambda: not any(
            cluster.get("Service", f"ra-{word}", "west") for word in types), 60)

    def test_10_certificates_are_renewed_under_traffic(self):
        cluster = self.cluster

        def echo(connection):
            while data := connection.recv(1000):
                connection.sendall(data)

        with Server(echo, host="127.0.0.97") as server:
            self.make("Connector", "echo", "west", {"routingKey": "echo", "host": "127.0.0.97", "port": server.port})
            self.make("Listener", "echo", "east", {"routingKey": "echo", "host": "echo", "port": 80})
            self.ready("Listener", "echo", "east")
            port = cluster.get("Service", "echo", "east")["spec"]["ports"][0]["targetPort"]
            with connect(port, host=EAST) as client:
                client.settimeout(30)
                client.sendall(b"before")
                self.assertEqual(receive_exactly(client, 6), b"before")
                secret = cluster.get("Secret", "skupper-site-server", "west")["data"]["tls.crt"]
                ordinal = self.entities("west", "sslProfile")["skupper-site-server"].get("ordinal", 0)
                cluster.request("DELETE", f"{cluster.place('Secret', 'west')}/skupper-site-server")
                wait_until("another certificate", lambda: (cluster.get(
                    "Secret", "skupper-site-server", "west") or {}).get("data", {}).get(
                        "tls.crt", secret) != secret, 60)
                wait_until("the next generation", lambda: int(self.entities("west", "sslProfile")[
                    "skupper-site-server"]["ordinal"]) == int(ordinal) + 1, 60)
                new = cluster.get("Secret", "skupper-site-server", "west")["data"]["tls.crt"]
                pod = cluster.pods[0]
                wait_until("the router's files", lambda: (
                    pod.folder / "skupper-site-server/tls.crt").read_bytes() == base64.b64decode(new), 60)
                client.sendall(b"after")
                self.assertEqual(receive_exactly(client, 5), b"after")
            for name in ("my-token-1", "my-token-2"):
                self.assertEqual(cluster.summary("Link", name, "east"), "Ready OK")

    # --- settings -----------------------------------------------------------------------------------------------------

    def test_11_a_link_through_a_proxy(self):
        cluster = self.cluster
        links = {name: cluster.get("Link", name, "east")["spec"] for name in ("my-token-1", "my-token-2")}
        proxy = Proxy("127.0.0.98", "user", "secret word")
        with proxy.server:
            spec = dict(links["my-token-1"], settings={"proxy-configuration": "my-proxy"})
            self.make("Link", "by-proxy", "east", spec)
            self.ready("Link", "by-proxy", "east", "Error Secret not found for proxy configuration")
            self.plain("Secret", "my-proxy", "east", type="kubernetes.io/basic-auth", stringData={
                "host": "127.0.0.98", "port": str(proxy.port), "username": "user", "password": "wrong"})
            wait_until("the proxy's refusal", lambda: "407 Proxy Authentication Required" in cluster.summary(
                "Link", "by-proxy", "east"), 60)
            self.assertFalse(proxy.tunnels)
            for name in links:
                cluster.request("DELETE", f"{cluster.place('Link', 'east')}/{name}")
            cluster.request(
                "PATCH", f"{cluster.place('Secret', 'east')}/my-proxy", {"stringData": {"password": "secret word"}},
                "application/merge-patch+json")
            self.ready("Link", "by-proxy", "east")
            endpoint = next(e for e in spec["endpoints"] if e["name"] == "inter-router")
            self.assertEqual(proxy.tunnels[0], f"CONNECT {endpoint['host']}:{endpoint['port']} HTTP/1.1")
            text = cluster.get("ConfigMap", "skupper-router", "east")["data"]["skrouterd.json"]
            self.assertNotIn("secret word", text)
            for name, spec in links.items():
                self.make("Link", name, "east", spec)
            for name in links:
                self.ready("Link", name, "east")
            cluster.request("DELETE", f"{cluster.place('Link', 'east')}/by-proxy")

    def test_12_labels_sizes_and_the_log_level(self):
        cluster = self.cluster
        self.plain("ConfigMap", "team", "skupper", data={"kind": "Service"}, metadata={
            "labels": {"skupper.io/label-template": "true", "team": "blue"}, "annotations": {"contact": "somebody"}})
        wait_until("the label", lambda: cluster.get("Service", "backend", "east")["metadata"].get(
            "labels", {}).get("team") == "blue", 60)
        self.assertEqual(cluster.get("Service", "backend", "east")["metadata"]["annotations"]["contact"], "somebody")
        cluster.request("DELETE", f"{cluster.place('ConfigMap', 'skupper')}/team")
        wait_until("the label to go", lambda: "team" not in cluster.get("Service", "backend", "east")[
            "metadata"].get("labels", {}), 60)
        # Secrets too, with the certificates that they have.
        data = cluster.get("Secret", "skupper-site-server", "west")["data"]
        self.plain("ConfigMap", "team", "west", data={"kind": "Secret"}, metadata={
            "labels": {"skupper.io/label-template": "true", "team": "red"}})

        def team():
            return cluster.get("Secret", "skupper-site-server", "west")["metadata"].get("labels", {}).get("team")

        wait_until("the Secret's label", lambda: team() == "red", 60)
        cluster.request("DELETE", f"{cluster.place('ConfigMap', 'west')}/team")
        wait_until("the Secret's label to go", lambda: team() is None, 60)
        self.assertEqual(cluster.get("Secret", "skupper-site-server", "west")["data"], data)
        self.plain("ConfigMap", "large", "skupper", metadata={"labels": {"skupper.io/site-sizing": "large"}}, data={
            "router-cpu-request": "1000m", "router-memory-limit": "1Gi", "adaptor-cpu-limit": "100m"})
        self.make("Site", "east", "east", {"settings": {"size": "large"}})

        def resources():
            containers = cluster.get("Deployment", "skupper-router", "east")["spec"]["template"]["spec"]["containers"]
            return [c.get("resources", {}) for c in containers]

        wait_until("the size", lambda: resources() == [
            {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}, {"limits": {"cpu": "100m"}}], 60)
        version = cluster.get("Deployment", "skupper-router", "east")["metadata"]["resourceVersion"]
        self.plain("ConfigMap", "skupper-log-config", "skupper", data={"CONTROLLER_LOG_LEVEL": "debug"})
        log = pathlib.Path(cluster.folder / "controller-1.log")
        wait_until("the log level", lambda: "log level debug" in log.read_text(), 60)
        self.make("Listener", "loud", "east", {"routingKey": "loud", "host": "loud", "port": 80})
        wait_until("a line for those who look for faults", lambda: " debug [" in log.read_text(), 60)
        # The API server writes 1000m as 1: that is no difference.
        self.assertEqual(cluster.get("Deployment", "skupper-router", "east")["metadata"]["resourceVersion"], version)

    def test_13_columns(self):
        for kind, columns in COLUMNS.items():
            for namespace in ("west", "east"):
                table = self.cluster.request("GET", self.cluster.place(kind, namespace), accept=TABLE)
                names = [column["name"] for column in table["columnDefinitions"]]
                self.assertEqual(names, ["Name", *columns], kind)
        rows = self.cluster.request("GET", self.cluster.place("Link", "east"), accept=TABLE)["rows"]
        self.assertIn(["my-token-1", "Ready", "west", "OK"], [row["cells"] for row in rows])
        kubectl = assets() / "kubectl"
        if not kubectl.exists():
            return
        done = subprocess.run(
            [kubectl, "get", "site,link,listener,connector,accessgrant,accesstoken"], text=True, capture_output=True,
            timeout=120, env=dict(os.environ, KUBECONFIG=str(self.cluster.kubeconfig("admin", "east"))))
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [line.split() for line in done.stdout.splitlines() if line]
        self.assertIn(["site.skupper.io/east", "Ready", "3", "OK"], lines)
        self.assertIn(["link.skupper.io/my-token-1", "Ready", "west", "OK"], lines)
        self.assertIn(["NAME", "ROUTING", "KEY", "PORT", "HOST", "STATUS", "HAS", "MATCHING", "CONNECTOR", "MESSAGE"],
                      lines)


if __name__ == "__main__":
    unittest.main(verbosity=2)
