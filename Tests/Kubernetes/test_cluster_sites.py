"""Two sites in two namespaces of a real API server, linked by token, carrying traffic."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from cluster import assets  # noqa: E402
from harness import Server, connect, echo, wait_until  # noqa: E402
from site_cluster import loopback  # noqa: E402

WEST, EAST, ALONE, WORKLOAD = (loopback() for _ in range(4))


@unittest.skipIf(assets() is None, "KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver")
class Sites(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from site_cluster import NAMESPACES, SiteCluster
        cls.cluster = SiteCluster().start()
        cls.addClassCleanup(cls.cluster.stop)
        for name in NAMESPACES:
            cls.cluster.create_namespace(name)
        cls.cluster.start_controller()

    def skupper(self, *arguments, namespace, code=0):
        from site_cluster import BIN
        environment = dict(os.environ, KUBECONFIG=str(self.cluster.kubeconfig("admin", namespace)),
                           SKUPPER_PLATFORM="kubernetes", SWIFT_BACKTRACE="enable=no")
        done = subprocess.run([BIN / "skupper", *arguments, "-n", namespace], env=environment, text=True,
                              capture_output=True, timeout=120)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}"
                         f"\n{self.cluster.controller.log_tail()}")
        return done.stdout

    def versions(self, namespace):
        result = {}
        for kind in ("Site", "Link", "Listener", "Connector", "RouterAccess", "SecuredAccess", "Certificate",
                     "AccessGrant", "AccessToken", "ConfigMap", "Service", "Secret", "Deployment"):
            for item in self.cluster.request("GET", self.cluster.place(kind, namespace))["items"]:
                result[f"{kind}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
        return result

    def test_1_link_by_token(self):
        cluster = self.cluster
        cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: west\nspec:\n"
                      "  linkAccess: default\n", "west")
        cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: east\n", "east")
        cluster.await_summary("Site", "west", "west", "Pending No router pod is ready", 90)
        cluster.run_router("west", WEST)
        cluster.await_summary(
            "Site", "west", "west", "Pending waiting for external address of Service skupper-router", 90)
        cluster.balance("skupper-router", "west", WEST)
        cluster.await_summary("Site", "west", "west", "Ready OK", 90)
        cluster.run_router("east", EAST)
        cluster.await_summary("Site", "east", "east", "Ready OK", 90)
        token = cluster.folder / "token.yaml"
        self.skupper("token", "issue", str(token), namespace="west")
        self.skupper("token", "redeem", str(token), namespace="east")
        links = cluster.request("GET", cluster.place("Link", "east"))["items"]
        self.assertEqual(len(links), 1)
        type(self).link = links[0]["metadata"]["name"]
        cluster.await_summary("Link", self.link, "east", "Ready OK", 90)
        wait_until("both sites in the network", lambda: cluster.get("Site", "east", "east")["status"].get(
            "sitesInNetwork") == 2, 90)
        self.assertEqual(cluster.get("Link", self.link, "east")["status"]["remoteSiteName"], "west")
        self.assertRegex(self.skupper("link", "status", namespace="east"), rf"{self.link}\s+Ready\s+1\s+OK")
        # The token is used up.
        cluster.apply(token.read_text().replace(self.link, "again"), "east")
        wait_until("the refusal", lambda: cluster.summary("AccessToken", "again", "east").startswith("Error"), 90)
        self.assertIn("404 (Not Found) No such access granted", cluster.summary("AccessToken", "again", "east"))

    def test_2_traffic(self):
        cluster = self.cluster
        with Server(echo, host=WORKLOAD) as server:
            cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: Listener\nmetadata:\n  name: backend\nspec:\n"
                          "  routingKey: backend\n  host: backend\n  port: 8080\n", "east")
            cluster.await_summary("Listener", "backend", "east", "Pending No matching connectors", 90)
            cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: Connector\nmetadata:\n  name: backend\nspec:\n"
                          f"  routingKey: backend\n  selector: app=web\n  port: {server.port}\n", "west")
            cluster.await_summary("Connector", "backend", "west", "Error No matches for selector", 90)
            cluster.pod("web-0", "west", {"app": "web"}, WORKLOAD)
            cluster.await_summary("Connector", "backend", "west", "Ready OK", 90)
            cluster.await_summary("Listener", "backend", "east", "Ready OK", 90)
            target = cluster.get("Service", "backend", "east")["spec"]["ports"][0]["targetPort"]
            with connect(target, host=EAST) as client:
                client.sendall(b"across two namespaces")
                self.assertEqual(client.recv(100), b"across two namespaces")

    def test_3_nothing_is_written_when_nothing_changes(self):
        """Plans are made, since a Site has a new annotation each time, and there is nothing in them."""
        cluster = self.cluster
        cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: skupper-log-config\ndata:\n"
                      "  CONTROLLER_LOG_LEVEL: debug\n", "skupper")
        wait_until("the log level", lambda: "log level debug" in cluster.controller.log(), 60)

        def others(namespace):
            return {name: version for name, version in self.versions(namespace).items() if not name.startswith("Site/")}

        def look(namespace, number):
            """The lines of the plans that a change of nothing makes; None when something was written meanwhile."""
            mark, before = len(cluster.controller.log()), others(namespace)
            cluster.request("PATCH", f"{cluster.place('Site', namespace)}/{namespace}",
                            {"metadata": {"annotations": {"looked-at": str(number)}}}, "application/merge-patch+json")
            wait_until(f"a plan of {namespace}", lambda: f"namespace {namespace}: " in
                       cluster.controller.log_since(mark), 30)
            lines = [line.partition(f"namespace {namespace}: ")[2] for line in
                     cluster.controller.log_since(mark).splitlines() if f"namespace {namespace}: " in line]
            return lines if before == others(namespace) else None

        nothing = "0 to apply, 0 certificates, 0 to delete, 0 statuses, 0 faults"
        for namespace in ("west", "east"):
            # What the routers learn of the network arrives some seconds after Ready.
            numbers = iter(range(1000))
            wait_until(f"nothing to write in {namespace}", lambda n=namespace, i=numbers: all(
                look(n, next(i)) == [nothing] for _ in range(3)), 60)
        cluster.request("DELETE", f"{cluster.place('ConfigMap', 'skupper')}/skupper-log-config")
        self.assertLess(self.cluster.controller.resident_kilobytes(), 40 * 1024)

    def test_4_a_controller_that_was_killed_goes_on(self):
        cluster = self.cluster
        before = {name: self.versions(name) for name in ("west", "east")}
        ports = cluster.get("Service", "backend", "east")["spec"]["ports"]
        cluster.controller.kill()
        cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: Listener\nmetadata:\n  name: a-new-one\nspec:\n"
                      "  routingKey: new\n  host: new\n  port: 80\n", "east")
        cluster.start_controller()
        cluster.await_summary("Listener", "a-new-one", "east", "Pending No matching connectors", 60)
        self.assertEqual(cluster.get("Service", "backend", "east")["spec"]["ports"], ports)
        after = self.versions("west")
        self.assertEqual(before["west"], after)

    def test_5_a_foreign_service_and_a_second_site_are_refused(self):
        cluster = self.cluster
        cluster.apply("apiVersion: v1\nkind: Service\nmetadata:\n  name: foreign\n"
                      "spec:\n  ports:\n  - port: 1\n    protocol: TCP\n", "east")
        cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: Listener\nmetadata:\n  name: foreign\nspec:\n"
                      "  routingKey: f\n  host: foreign\n  port: 80\n", "east")
        cluster.await_summary("Listener", "foreign", "east", "Error Service foreign already exists in namespace", 90)
        cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: another\n", "east")
        cluster.await_summary(
            "Site", "another", "east", "Error An active site already exists in the namespace (east)", 90)
        self.assertEqual(cluster.summary("Site", "east", "east"), "Ready OK")

    def test_6_a_deleted_site_leaves_nothing(self):
        cluster = self.cluster
        cluster.pods[1].stop()
        for name in ("another", "east"):
            cluster.request("DELETE", f"{cluster.place('Site', 'east')}/{name}")
        wait_until("the router to go", lambda: cluster.get("Deployment", "skupper-router", "east") is None, 90)
        wait_until("the Service to go", lambda: cluster.get("Service", "backend", "east") is None, 90)
        cluster.await_summary("Listener", "backend", "east", "Error No active site in namespace", 90)
        self.assertIsNotNone(cluster.get("Service", "foreign", "east"))

    def test_7_a_controller_of_one_namespace(self):
        from cluster import ROOT
        cluster = self.cluster
        cluster.controller.stop()
        cluster.create_namespace("alone")
        cluster.apply((ROOT / "deploy/kubernetes/install-namespaced.yaml").read_text(), "alone")
        cluster.start_controller("alone", WATCH_NAMESPACE="alone")
        cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: alone\nspec:\n"
                      "  linkAccess: local\n", "alone")
        cluster.run_router("alone", ALONE)
        cluster.await_summary("Site", "alone", "alone", "Ready OK", 90)
        cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: AttachedConnector\nmetadata:\n  name: a\nspec:\n"
                      "  siteNamespace: west\n  selector: app=x\n  port: 80\n", "alone")
        wait_until("the refusal", lambda: cluster.summary("AttachedConnector", "a", "alone").startswith(
            "Error AttachedConnectors need a controller"), 90)


if __name__ == "__main__":
    unittest.main(verbosity=2)
