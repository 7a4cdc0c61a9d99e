"""What users and administrators do to a cluster under a running controller: rights taken away, names that are taken,
Secrets deleted and rotated, specs that no validation saw."""

import base64
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from cluster import Refused  # noqa: E402
from fault_proxy import cut, event, refuse, watch, write  # noqa: E402
from harness import Authority, wait_until  # noqa: E402
from linked import LinkedCase  # noqa: E402

ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/skupper-controller"


def field(secret, key):
    return base64.b64decode(secret["data"][key]).decode()


class Refusals(LinkedCase):
    def tearDown(self):
        self.proxy.clear()
        self.cluster.use(self.stream)
        self.assertEqual(self.cluster.drops(wanted=("listener/unseen", "listener/foreign", "bad-")), [])

    def secret(self, name, namespace):
        return self.cluster.get("Secret", name, namespace)

    def replace(self, name, namespace, folder, authority=None):
        """Puts the files of a certificate into a Secret, as a person or another controller would."""
        data = {key: base64.b64encode((folder / key).read_bytes()).decode() for key in ("tls.crt", "tls.key")}
        data["ca.crt"] = base64.b64encode((authority or folder / "ca.crt").read_bytes()).decode()
        self.cluster.request("PATCH", f"{self.cluster.place('Secret', namespace)}/{name}", {"data": data},
                             "application/merge-patch+json")

    # --- Secrets ------------------------------------------------------------------------------------------------------

    def test_1_rotated_certificates_reach_the_router(self):
        """A new certificate of the same CA in a Link's Secret: the link stays, the router has the new one."""
        cluster = self.cluster
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            issuer = self.secret("skupper-site-ca", "west")
            authority = object.__new__(Authority)
            authority.folder, authority.certificate, authority.key = folder, folder / "ca.crt", folder / "ca.key"
            authority.certificate.write_text(field(issuer, "tls.crt"))
            authority.key.write_text(field(issuer, "tls.key"))
            fresh = authority.issue("rotated")
            self.replace("link", "east", fresh)
            wanted = (fresh / "tls.crt").read_text()
        pod = cluster.pods[1]
        place = pod.folder / "link-profile" / "tls.crt"
        wait_until("the new file", lambda: place.read_text() == wanted, 60)
        wait_until("the new profile", lambda: 'update sslProfile "link-profile"' in pod.adaptor.log(), 60)
        cluster.await_summary("Link", "link", "east", "Ready OK", 30)

    def test_2_a_ca_that_was_brought_is_rotated(self):
        """What the old CA signed is made anew by the new one."""
        cluster = self.cluster
        with tempfile.TemporaryDirectory() as folder:
            authorities = [Authority(pathlib.Path(folder) / name, f"CA {name}") for name in ("one", "two")]
            for number, authority in enumerate(authorities):
                text = authority.certificate.read_text()
                data = {"tls.crt": text, "tls.key": authority.key.read_text()}
                cluster.apply("apiVersion: v1\nkind: Secret\nmetadata:\n  name: my-ca\ntype: kubernetes.io/tls\n"
                              f"stringData: {json.dumps(data)}\n", "west")
                if number == 0:
                    cluster.apply(self.resource(
                        "Certificate", "leaf", ca="my-ca", subject="leaf", hosts=["leaf.example"], server=True), "west")
                wait_until(f"a leaf of CA {number}", lambda text=text: (
                    self.secret("leaf", "west") or {}).get("data") and field(
                        self.secret("leaf", "west"), "ca.crt") == text, 30)
                leaf = pathlib.Path(folder) / "leaf.crt"
                leaf.write_text(field(self.secret("leaf", "west"), "tls.crt"))
                subprocess.run(["openssl", "verify", "-CAfile", str(authority.certificate), str(leaf)], check=True,
                               capture_output=True, timeout=30)

    def test_3_secrets_that_are_deleted_come_back(self):
        """Routers keep what they have meanwhile, and what is signed afterwards fits."""
        cluster = self.cluster
        # Usually connections of the certificate before the last but one are closed.
        cluster.request("PATCH", f"{cluster.place('Site', 'west')}/west", {"spec": {"settings": {
            "tls-prior-valid-revisions": "20"}}}, "application/merge-patch+json")
        for names in (("skupper-site-server",), ("skupper-local-server",), ("skupper-site-ca", "skupper-site-server")):
            before = {name: self.secret(name, "west")["metadata"]["uid"] for name in names}
            for name in names:
                cluster.request("DELETE", f"{cluster.place('Secret', 'west')}/{name}")
            for name in names:
                wait_until(f"another {name}", lambda name=name: (self.secret(name, "west") or {}).get(
                    "metadata", {}).get("uid", before[name]) != before[name], 30)
            cluster.await_summary("Site", "west", "west", "Ready OK", 60)
        cluster.link("link-of-the-new-ca")
        # The CA alone: the server's certificate has to follow it.
        old = field(self.secret("skupper-site-server", "west"), "tls.crt")
        cluster.request("DELETE", f"{cluster.place('Secret', 'west')}/skupper-site-ca")
        wait_until("a server certificate of the new CA",
                   lambda: field(self.secret("skupper-site-server", "west"), "tls.crt") != old, 60)
        cluster.link("link-of-the-newest-ca")

    def test_4_a_status_map_that_is_deleted_comes_back(self):
        cluster = self.cluster
        place = f"{cluster.place('ConfigMap', 'east')}/skupper-network-status"
        cluster.request("DELETE", place)
        wait_until("the map", lambda: cluster.get("ConfigMap", "skupper-network-status", "east"), 30)
        cluster.await_summary("Site", "east", "east", "Ready OK", 30)
        cluster.request("PATCH", place, {"data": {"router.skupper-router": "nonsense"}},
                        "application/merge-patch+json")
        wait_until("the text", lambda: cluster.get("ConfigMap", "skupper-network-status", "east")["data"][
            "router.skupper-router"] != "nonsense", 30)
        cluster.await_summary("Listener", "backend", "east", "Ready OK", 30)

    # --- names that are taken ---------------------------------------------------------------

    def foreign_service(self, name, namespace="east"):
        return self.cluster.request("POST", self.cluster.place("Service", namespace), {
            "metadata": {"name": name}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 1}]}})

    def test_5_a_foreign_service_is_never_taken_over(self):
        """Also when it came while the controller did not see Services: there was none in its copy."""
        cluster = self.cluster
        # Seen first.
        mine = self.foreign_service("foreign")
        cluster.listen("foreign")
        cluster.await_summary("Listener", "foreign", "east", "Error Service foreign already exists in namespace", 30)
        # Not seen.
        hits = self.proxy.on(watch("/services"), refuse(), times=1000)
        self.proxy.on(event("/services"), cut())
        self.foreign_service("eye-opener", "west")
        wait_until("the watch of Services to be away", lambda: hits, 30)
        unseen = self.foreign_service("unseen")
        cluster.listen("unseen")
        cluster.await_summary("Listener", "unseen", "east", "Error Service unseen already exists in namespace", 30)
        self.proxy.clear()
        for name, made in (("foreign", mine), ("unseen", unseen)):
            cluster.request("DELETE", f"{cluster.place('Listener', 'east')}/{name}")
            wait_until("the listener to go", lambda name=name: cluster.get("Listener", name, "east") is None, 30)
            now = cluster.get("Service", name, "east")
            self.assertEqual((now["metadata"]["uid"], now["spec"]), (made["metadata"]["uid"], made["spec"]))
            # It goes, and the name is free.
            cluster.request("DELETE", f"{cluster.place('Service', 'east')}/{name}")
        cluster.listen("unseen")
        wait_until("our own Service", lambda: (cluster.get("Service", "unseen", "east") or {}).get(
            "spec", {}).get("selector", {}).get("application") == "skupper-router", 30)

    def test_6_of_two_sites_the_second_takes_over(self):
        cluster = self.cluster
        cluster.create_namespace("twice")
        cluster.apply(self.resource("Site", "first"), "twice")
        cluster.apply(self.resource("Listener", "a", routingKey="a", host="a", port=80), "twice")
        cluster.apply(self.resource("Listener", "b", routingKey="b", host="b", port=80), "twice")
        wait_until("Services", lambda: all(cluster.get("Service", name, "twice") for name in "ab"), 60)
        ports = {name: cluster.router_port(name, "twice") for name in "ab"}
        cluster.apply(self.resource("Site", "second"), "twice")
        cluster.await_summary(
            "Site", "second", "twice", "Error An active site already exists in the namespace (first)", 30)
        uid = cluster.get("Site", "second", "twice")["metadata"]["uid"]
        self.assertNotEqual(cluster.get("Deployment", "skupper-router", "twice")["metadata"]["ownerReferences"][0][
            "uid"], uid)
        cluster.request("DELETE", f"{cluster.place('Site', 'twice')}/first")
        cluster.await_summary("Site", "second", "twice", "Pending No router pod is ready", 30)
        self.assertEqual(cluster.get("Deployment", "skupper-router", "twice")["metadata"]["ownerReferences"], [
            {"apiVersion": "skupper.io/v2alpha1", "kind": "Site", "name": "second", "uid": uid}])
        self.assertEqual({name: cluster.router_port(name, "twice") for name in "ab"}, ports)
        cluster.request("DELETE", f"{cluster.place('Site', 'twice')}/second")
        wait_until("the end of the router", lambda: cluster.get("Deployment", "skupper-router", "twice") is None, 30)

    def test_6_what_is_gone_does_not_come_back(self):
        """The answer to a status that was written comes after the event that its Site is gone."""
        cluster = self.cluster
        cluster.create_namespace("late")
        told = threading.Event()

        def passing(exchange):
            exchange.send_chunk(exchange.line)
            if b'"DELETED"' in exchange.line and b'"namespace":"late"' in exchange.line:
                told.set()

        def too_late(exchange):
            code, headers, body = exchange.forward()
            cluster.request("DELETE", f"{cluster.place('Site', 'late')}/late")
            told.wait(30)
            exchange.respond(code, body, headers)

        self.proxy.on(event("/sites"), passing, times=1000)
        hits = self.proxy.on(write("/late/sites/late/status"), too_late)
        cluster.apply(self.resource("Site", "late"), "late")
        wait_until("the status", lambda: hits, 60)
        self.assertTrue(told.wait(60), "no event came")
        wait_until("the end of the router", lambda: cluster.get("Deployment", "skupper-router", "late") is None, 30)

    # --- rights ---------------------------------------------------------------

    def take_rights(self, resource, *verbs):
        """Takes verbs on a resource from the controller; gives them back at the end of the test."""
        role = self.cluster.request("GET", ROLE)
        rules = []
        for rule in role["rules"]:
            if resource in rule["resources"]:
                rest = [name for name in rule["resources"] if name != resource]
                rules += [{**rule, "resources": [resource], "verbs": [v for v in rule["verbs"] if v not in verbs]}]
                rules += [{**rule, "resources": rest}] if rest else []
            else:
                rules.append(rule)
        self.addCleanup(self.set_rules, role["rules"])
        self.set_rules(rules)
        return role["rules"]

    def set_rules(self, rules):
        self.cluster.request("PATCH", ROLE, {"rules": rules}, "application/merge-patch+json")

    def test_7_a_permission_that_is_missing_is_named(self):
        cluster = self.cluster
        all_rules = self.take_rights("services", "create", "patch", "update")
        cluster.listen("denied")
        wanted = 'cannot patch resource "services" in API group "" in the namespace "east"'
        wait_until("the log", lambda: wanted in cluster.controller.log(), 30)
        wait_until("the status", lambda: wanted in cluster.summary("Site", "east", "east"), 30)
        self.assertRegex(cluster.summary("Site", "east", "east"), "^Error permission missing: ")
        cluster.use(self.stream)
        self.set_rules(all_rules)
        cluster.await_summary("Site", "east", "east", "Ready OK", 90)
        cluster.await_summary("Listener", "denied", "east", "Ready OK", 90)

    def test_8_a_kind_that_may_not_be_read_stops_plans_and_no_router(self):
        """With half of the truth nothing is written at all."""
        cluster = self.cluster
        all_rules = self.take_rights("secrets", "list", "watch")
        cluster.controller.stop()
        count = len(self.proxy.seen)
        cluster.start_controller(wait=False)
        wanted = 'cannot list resource "secrets"'
        wait_until("the log", lambda: wanted in cluster.controller.log(), 30)

        def health():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{cluster.health_port}/healthz", timeout=5) as answer:
                    return answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.read().decode()

        wait_until("health", lambda: health().startswith("waiting for secrets (") and wanted in health(), 30)
        with urllib.request.urlopen(f"http://127.0.0.1:{cluster.health_port}/livez", timeout=5) as answer:
            self.assertEqual(answer.read(), b"ok\n")
        cluster.listen("unread")
        wait_until("the lead", lambda: "this replica leads" in cluster.controller.log(), 60)
        self.assertEqual([r for r in self.proxy.seen[count:] if r.is_write and "controller" in r.user], [])
        self.set_rules(all_rules)
        cluster.await_summary("Listener", "unread", "east", "Ready OK", 90)

    # --- specs that no validation saw ---------------------------------------------------------------

    GARBAGE = (None, {}, {"port": "abc", "host": 5, "routingKey": ["x"], "roles": "x", "endpoints": 7, "ports": {}},
               {"port": -1, "host": "x" * 5000, "routingKey": "\u0000\u00e4" * 300, "roles": [None, 1, {"name": {}}],
                "endpoints": [None, {"host": [], "port": {}}], "selector": "=,=,!", "tlsCredentials": 9, "cost": "high",
                "linkAccess": {"a": 1}, "ha": "yes", "url": 1, "code": [], "ca": {}, "subject": 4, "hosts": "h",
                "strategy": {"priority": 3, "weighted": {"routingKeys": [1]}}, "redemptionsAllowed": -5,
                "expirationWindow": "99999999h", "ports": [{"port": "x"}], "siteNamespace": 3,
                "settings": {"size": [], "router-logging": "loud", "tls-prior-valid-revisions": "many"}},
               {"host": "Not A Name", "port": 1 << 40, "x\u0000": 10 ** 20, "routingKey": "k", "cost": -(1 << 62),
                "roles": [{"name": "inter-router", "port": 1 << 33}],
                "endpoints": [{"name": "inter-router", "host": "", "port": "-1"}]})
    KINDS = ("Site", "Listener", "Connector", "Link", "MultiKeyListener", "AccessGrant", "AccessToken", "RouterAccess",
             "SecuredAccess", "Certificate", "AttachedConnector", "AttachedConnectorBinding")

    def test_9_specs_that_got_past_validation(self):
        """Definitions without a schema, as old servers and careless administrators have them."""
        cluster = self.cluster
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        loose = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        for item in cluster.request("GET", definitions)["items"]:
            if item["spec"]["group"] == "skupper.io":
                item["spec"]["versions"][0]["schema"] = loose
                cluster.request("PUT", f"{definitions}/{item['metadata']['name']}", item)
        # Nor does anything hold up who may write a ConfigMap somewhere.
        cluster.request("POST", cluster.place("ConfigMap", "default"), {
            "metadata": {"name": "nul"}, "data": {"k": "a\u0000b"}})
        made = []
        for kind in self.KINDS:
            for number, spec in enumerate(self.GARBAGE):
                item = {"apiVersion": "skupper.io/v2alpha1", "kind": kind, "metadata": {"name": f"bad-{number}"}}
                if spec is not None:
                    item["spec"] = spec
                wait_until(f"{kind} to take anything", lambda k=kind, i=item: self.create(k, i), 30)
                made.append((kind, f"bad-{number}"))
        pid = cluster.controller.pid
        cluster.listen("good")
        cluster.await_summary("Listener", "good", "east", "Ready OK", 60)
        for kind in ("Site", "Listener", "Connector", "Link", "MultiKeyListener", "RouterAccess"):
            for number in range(2, len(self.GARBAGE)):
                wait_until(f"{kind} {number} to be refused", lambda k=kind, n=number: cluster.summary(
                    k, f"bad-{n}", "east").startswith("Error"), 60)
        self.assertTrue(cluster.controller.is_alive())
        self.assertEqual(cluster.controller.pid, pid)
        cluster.await_traffic("good")
        for kind, name in made:
            cluster.request("DELETE", f"{cluster.place(kind, 'east')}/{name}")
        cluster.await_summary("Site", "east", "east", "Ready OK", 60)

    def create(self, kind, item):
        """False while the server still has the old schema."""
        try:
            self.cluster.request("POST", self.cluster.place(kind, "east"), item)
        except Refused as refusal:
            if refusal.code != 422:
                raise
            return False
        return True


if __name__ == "__main__":
    unittest.main(verbosity=2)
