"""The module KubernetesAPI against a real API server, through the program cluster-probe."""

import json
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time
import unittest

from cluster import Cluster, Refused, assets
from harness import BIN, SLOWNESS, Unfinished, wait_until

CONFIG_MAPS = ["", "v1", "configmaps", "ConfigMap"]
NAMESPACES = ["", "v1", "namespaces", "Namespace"]
SITES = ["skupper.io", "v2alpha1", "sites", "Site"]
LISTENERS = ["skupper.io", "v2alpha1", "listeners", "Listener"]
MAPS = "/api/v1/namespaces/{}/configmaps"


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


PROBE = os.environ.get("SKUPPER_CLUSTER_PROBE", BIN / "cluster-probe")


class Probe:
    """A running cluster-probe: `ask` sends a command and waits for its answer, `next` for what a watch says."""

    def __init__(self, kubeconfig, **environment):
        self.child = subprocess.Popen([PROBE, kubeconfig], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True,
                                      env={**os.environ, "SWIFT_BACKTRACE": "enable=no", **environment})
        self.count = 0
        self.answers = queue.Queue()
        self.said = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.started = self.answers.get(timeout=20 * SLOWNESS)

    def _read(self):
        for line in self.child.stdout:
            message = json.loads(line)
            if "id" in message:
                self.answers.put(message)
            else:
                self.said.append(message)

    def ask(self, do, resource=None, **fields):
        self.count += 1
        command = {"id": str(self.count), "do": do, **fields}
        if resource:
            command["resource"] = resource
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        answer = self.answers.get(timeout=60 * SLOWNESS)
        assert answer["id"] == command["id"], answer
        return answer

    def result(self, do, resource=None, **fields):
        answer = self.ask(do, resource, **fields)
        if "result" not in answer:
            raise AssertionError(f"{do}: {answer}")
        return answer["result"]

    def wait_said(self, what, condition, seconds=30):
        """Waits until the list of what was said fulfils the condition."""
        try:
            return wait_until(what, lambda: condition(self.said), seconds)
        except Unfinished as error:
            raise Unfinished(f"{error}; it said {json.dumps(self.said)[-1500:]}") from None

    def close(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.stdin.close()
            try:
                self.child.wait(timeout=20 * SLOWNESS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                raise AssertionError("cluster-probe did not end with its input") from None
        self.reader.join(timeout=10)
        self.child.stdout.close()


def names(said, watch, what):
    return [m["object"]["metadata"]["name"] for m in said if m.get("watch") == watch and m["what"] == what]


def whats(said, watch):
    return [m["what"] for m in said if m.get("watch") == watch]


@unittest.skipIf(assets() is None, "KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver")
class ClientCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        for user in ("viewer", "stranger"):
            cls.cluster.token(user)
        cls.cluster.start()
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.apply_definitions()
        cls.numbers = iter(range(1, 1000))

    def setUp(self):
        self.namespace = f"n{next(self.numbers)}"
        self.cluster.create_namespace(self.namespace)
        self.maps = MAPS.format(self.namespace)
        self.probe = self.probe_as("admin")

    def probe_as(self, user, **entry):
        probe = Probe(self.cluster.kubeconfig(user, self.namespace, **entry))
        self.addCleanup(probe.close)
        return probe


class Objects(ClientCase):
    def test_create_get_update_merge_delete(self):
        probe, place = self.probe, {"namespace": self.namespace}
        self.assertEqual(probe.started["namespace"], self.namespace)
        made = probe.result("create", CONFIG_MAPS, object=config_map("a", x="1"), **place)
        self.assertEqual(probe.result("get", CONFIG_MAPS, name="a", **place)["metadata"]["uid"],
                         made["metadata"]["uid"])
        made["data"] = {"x": "2", "y": "ü ✓"}
        updated = probe.result("update", CONFIG_MAPS, object=made, **place)
        self.assertEqual(updated["data"], {"x": "2", "y": "ü ✓"})
        conflict = probe.ask("update", CONFIG_MAPS, object=made, **place)
        self.assertEqual((conflict["status"], conflict["reason"], conflict["conflict"]), (409, "Conflict", True))
        merged = probe.result("merge", CONFIG_MAPS, name="a", object={"data": {"x": None, "z": "3"}}, **place)
        self.assertEqual(merged["data"], {"y": "ü ✓", "z": "3"})
        taken = probe.ask("create", CONFIG_MAPS, object=config_map("a"), **place)
        self.assertEqual((taken["status"], taken["reason"], taken["conflict"]), (409, "AlreadyExists", False))
        wrong = probe.ask("delete", CONFIG_MAPS, name="a", uid="00000000-0000-0000-0000-000000000000", **place)
        self.assertEqual((wrong["status"], wrong["conflict"]), (409, True))
        self.assertTrue(probe.result("delete", CONFIG_MAPS, name="a", **place))
        self.assertFalse(probe.result("delete", CONFIG_MAPS, name="a", **place))
        self.assertIsNone(probe.result("getIfExists", CONFIG_MAPS, name="a", **place))
        missing = probe.ask("get", CONFIG_MAPS, name="a", **place)
        self.assertEqual((missing["status"], missing["reason"]), (404, "NotFound"))
        self.assertIn('configmaps "a" not found', missing["fault"])

    def test_lists_of_several_pages_are_whole_and_labels_select(self):
        for number in range(230):
            labels = {"half": str(number % 2)}
            self.cluster.request("POST", self.maps, {"metadata": {"name": f"m{number:03}", "labels": labels}})
        found = self.probe.result("list", CONFIG_MAPS, namespace=self.namespace)
        mine = [o["metadata"]["name"] for o in found if o["metadata"]["name"].startswith("m")]
        self.assertEqual(mine, [f"m{number:03}" for number in range(230)])
        self.assertEqual({(o["kind"], o["apiVersion"]) for o in found}, {("ConfigMap", "v1")})
        self.assertEqual(len(self.probe.result("list", CONFIG_MAPS, namespace=self.namespace, labels="half=1")), 115)
        spaces = self.probe.result("list", NAMESPACES)
        self.assertIn(self.namespace, [o["metadata"]["name"] for o in spaces])

    def test_apply_makes_changes_and_removes_its_own_fields_only(self):
        place = {"namespace": self.namespace}
        first = self.probe.result("apply", CONFIG_MAPS, object=config_map("a", mine="1", gone="1"), **place)
        self.cluster.request("PATCH", f"{self.maps}/a", {"data": {"theirs": "2"}}, "application/merge-patch+json")
        second = self.probe.result("apply", CONFIG_MAPS, object=config_map("a", mine="1"), **place)
        self.assertEqual(second["data"], {"mine": "1", "theirs": "2"})
        again = self.probe.result("apply", CONFIG_MAPS, object=config_map("a", mine="1"), **place)
        self.assertEqual(again["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"])
        self.assertNotEqual(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"])
        refused = self.probe.ask("apply", CONFIG_MAPS, object=config_map("a", theirs="3"), manager="other",
                                 force=False, **place)
        self.assertEqual((refused["status"], refused["reason"]), (409, "Conflict"))
        self.probe.result("apply", CONFIG_MAPS, object=config_map("a", theirs="3"), manager="other", **place)

    def test_the_status_of_our_kinds_is_apart(self):
        place = {"namespace": self.namespace}
        site = {"metadata": {"name": "west"}, "spec": {"linkAccess": "default"}, "status": {"message": "early"}}
        site.update(apiVersion="skupper.io/v2alpha1", kind="Site")
        made = self.probe.result("create", SITES, object=site, **place)
        self.assertNotIn("status", made)
        status = {"metadata": {"name": "west"}, "status": {"message": "OK", "status": "Ready"}}
        applied = self.probe.result("apply", SITES, object=status, subresource="status", **place)
        self.assertEqual((applied["status"]["message"], applied["spec"]), ("OK", {"linkAccess": "default"}))
        self.assertEqual(applied["metadata"]["generation"], 1)
        made = applied
        made["status"]["message"] = "better"
        updated = self.probe.result("update", SITES, object=made, subresource="status", **place)
        self.assertEqual(updated["status"]["message"], "better")
        bad = self.probe.ask("create", LISTENERS, object={
            "apiVersion": "skupper.io/v2alpha1", "kind": "Listener", "metadata": {"name": "l"},
            "spec": {"host": "h", "port": "x", "routingKey": "k"}}, **place)
        self.assertEqual((bad["status"], bad["reason"]), (422, "Invalid"))
        self.assertIn("spec.port", bad["fault"])

    def test_text_has_a_limit(self):
        self.assertEqual(self.probe.result("text", path=["healthz"]), "ok")
        self.assertIn("larger than 1 bytes", self.probe.ask("text", path=["healthz"], limit=1)["fault"])


class Credentials(ClientCase):
    def test_what_is_not_allowed_is_named(self):
        answer = self.probe_as("stranger").ask("list", SITES, namespace=self.namespace)
        self.assertEqual((answer["status"], answer["reason"], answer["temporary"]), (403, "Forbidden", False))
        for word in ("stranger", "list", "sites", "skupper.io", self.namespace):
            self.assertIn(word, answer["fault"])

    def test_wrong_token_is_401(self):
        answer = self.probe_as("admin", token="nonsense").ask("list", SITES, namespace=self.namespace)
        self.assertEqual((answer["status"], answer["reason"]), (401, "Unauthorized"))

    def test_client_certificate_token_file_and_plugin(self):
        identity = self.cluster.client_certificate("stranger")
        by_certificate = self.probe_as("stranger", **{
            "client-certificate": str(identity / "tls.crt"), "client-key": str(identity / "tls.key")})
        self.assertIn('User "stranger"', by_certificate.ask("list", SITES, namespace=self.namespace)["fault"])

        file = self.cluster.folder / "token"
        file.write_text(self.cluster.tokens["stranger"] + "\n")
        by_file = self.probe_as("stranger", tokenFile=str(file))
        self.assertEqual(by_file.ask("list", SITES, namespace=self.namespace)["status"], 403)
        file.write_text(self.cluster.tokens["admin"])
        self.assertEqual(by_file.result("list", SITES, namespace=self.namespace), [])

        plugin = self.cluster.folder / "plugin"
        plugin.write_text("#!/bin/sh\necho '" + json.dumps({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"token": self.cluster.tokens["admin"]}}) + "'\n")
        plugin.chmod(0o700)
        entry = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
        self.assertEqual(self.probe_as("admin", exec=entry).result("list", SITES, namespace=self.namespace), [])
        plugin.write_text("#!/bin/sh\necho 'log in first' >&2\nexit 3\n")
        failed = self.probe_as("admin", exec=entry).ask("list", SITES, namespace=self.namespace)
        self.assertIn("log in first", failed["fault"])
        self.assertIn("status 3", failed["fault"])


class Watches(ClientCase):
    def watch(self, label, resource=CONFIG_MAPS, probe=None, **fields):
        probe = probe or self.probe
        fields.setdefault("namespace", self.namespace)
        probe.result("watch", resource, watch=label, **fields)
        probe.wait_said("the first list", lambda said: "synced" in whats(said, label))

    def post(self, name, **labels):
        self.cluster.request("POST", self.maps, {"metadata": {"name": name, "labels": labels}})

    def test_what_is_there_then_what_happens(self):
        self.post("old", kind="x")
        self.watch("w", labels="kind=x")
        self.assertEqual(whats(self.probe.said, "w"), ["changed", "synced"])
        self.post("new", kind="x")
        self.post("other", kind="y")
        self.cluster.request("DELETE", f"{self.maps}/old")
        self.cluster.request("PATCH", f"{self.maps}/new", {"data": {"a": "1"}}, "application/merge-patch+json")
        self.probe.wait_said("both changes", lambda said: names(said, "w", "changed") == ["old", "new", "new"])
        self.probe.wait_said("the deletion", lambda said: names(said, "w", "removed") == ["old"])
        last = [m for m in self.probe.said if m["what"] == "changed"][-1]["object"]
        self.assertEqual((last["kind"], last["data"]), ("ConfigMap", {"a": "1"}))
        self.assertNotIn("managedFields", last["metadata"])

    def test_many_watches_share_one_connection(self):
        kinds = [SITES, LISTENERS, CONFIG_MAPS, ["", "v1", "secrets", "Secret"], ["", "v1", "services", "Service"],
                 ["apps", "v1", "deployments", "Deployment"], ["", "v1", "pods", "Pod"]]
        for number, kind in enumerate(kinds):
            self.watch(f"w{number}", kind)
        pid = self.probe.child.pid

        def connections():
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
            lines = pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
            return sum(line.split()[9] in sockets and line.split()[3] == "01" for line in lines)

        self.assertLessEqual(connections(), 2, "seven watches and the commands")
        before = os.times()
        ticks = sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[11:13]))
        voluntary = self.switches(pid)
        time.sleep(3)
        self.assertLessEqual(
            sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[11:13])) - ticks, 2)
        self.assertLess(self.switches(pid) - voluntary, 30, f"idle watches wake up, measured since {before.elapsed}")

    def switches(self, pid):
        total = 0
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
        return total

    def test_a_kind_that_is_forbidden_is_reported_once_and_works_when_allowed(self):
        probe = self.probe_as("viewer")
        probe.result("watch", CONFIG_MAPS, watch="w", namespace=self.namespace)
        probe.wait_said("trouble", lambda said: whats(said, "w") == ["troubled"])
        fault = probe.said[0]["fault"]
        self.assertIn('cannot list resource "configmaps"', fault)
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/" + self.namespace
        self.cluster.request("POST", f"{rbac}/roles", {"metadata": {"name": "view"}, "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]})
        self.cluster.request("POST", f"{rbac}/rolebindings", {
            "metadata": {"name": "view"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                                                      "name": "view"},
            "subjects": [{"kind": "User", "name": "viewer"}]})
        probe.wait_said("the list", lambda said: whats(said, "w")[-2:] == ["synced", "recovered"], 60)
        self.post("later")
        probe.wait_said("the event", lambda said: names(said, "w", "changed")[-1:] == ["later"])

    def test_server_killed_and_everything_compacted_meanwhile(self):
        """The watch goes on after 410: what was deleted meanwhile is removed, what stayed is not said again."""
        for name in ("stays", "goes", "changes"):
            self.post(name)
        self.watch("w")
        known = len(self.probe.said)
        self.probe.child.send_signal(signal.SIGSTOP)
        self.cluster.kill_server()
        self.cluster.start_server()
        self.cluster.request("DELETE", f"{self.maps}/goes")
        self.cluster.request("PATCH", f"{self.maps}/changes", {"data": {"a": "1"}}, "application/merge-patch+json")
        self.post("comes")
        self.cluster.compact()
        self.cluster.kill_server()
        self.cluster.start_server()
        self.probe.child.send_signal(signal.SIGCONT)
        self.probe.wait_said("the deletion", lambda said: names(said[known:], "w", "removed") == ["goes"], 60)
        self.probe.wait_said(
            "the changes", lambda said: sorted(names(said[known:], "w", "changed")) == ["changes", "comes"])
        self.post("last")
        self.probe.wait_said("a later event", lambda said: names(said, "w", "changed")[-1:] == ["last"])
        self.assertEqual(whats(self.probe.said, "w").count("synced"), 1)

    def test_server_away_for_a_while_is_trouble_once(self):
        self.watch("w")
        self.cluster.kill_server()
        self.probe.wait_said("trouble", lambda said: "troubled" in whats(said, "w"))
        answer = self.probe.ask("get", CONFIG_MAPS, name="x", namespace=self.namespace)
        self.assertTrue(answer["temporary"])
        self.assertIn("connection refused", answer["fault"])
        self.cluster.start_server()
        self.post("after")
        self.probe.wait_said("the event", lambda said: names(said, "w", "changed")[-1:] == ["after"], 90)
        self.assertEqual(whats(self.probe.said, "w").count("troubled"), 1)
        self.assertEqual(whats(self.probe.said, "w").count("recovered"), 1)

    def test_a_server_that_falls_silent_is_noticed(self):
        """Stopped by SIGSTOP the server's host still answers for it: only silence tells."""
        probe = Probe(self.cluster.kubeconfig("admin", self.namespace), PROBE_PATIENCE="3000")
        self.addCleanup(probe.close)
        self.watch("w", probe=probe)
        self.addCleanup(self.cluster.server.send, signal.SIGCONT)
        self.cluster.server.send(signal.SIGSTOP)
        probe.wait_said("trouble", lambda said: whats(said, "w")[-1] == "troubled", 40)
        self.cluster.server.send(signal.SIGCONT)
        self.post("after")
        probe.wait_said("the event", lambda said: names(said, "w", "changed")[-1:] == ["after"], 60)
        self.assertEqual(whats(probe.said, "w").count("synced"), 1)

    def test_a_deleted_kind_is_trouble_and_comes_back(self):
        place = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/multikeylisteners.skupper.io"
        kind = ["skupper.io", "v2alpha1", "multikeylisteners", "MultiKeyListener"]
        self.watch("w", kind)
        self.cluster.request("DELETE", place)
        self.addCleanup(self.cluster.apply_definitions)
        self.probe.wait_said("trouble", lambda said: "troubled" in whats(said, "w"), 60)

        def is_gone():
            try:
                self.cluster.request("GET", place)
            except Refused as refusal:
                return refusal.code == 404
            return False

        wait_until("the end of the definition", is_gone, 60)
        self.cluster.apply_definitions()
        self.probe.wait_said("recovery", lambda said: whats(said, "w")[-1] == "recovered", 90)


class Leases(ClientCase):
    SECONDS = 8

    def stand(self, probe, identity):
        probe.result("stand", namespace=self.namespace, name="leader", identity=identity, seconds=self.SECONDS)

    def leads(self, probe):
        said = [m["what"] for m in probe.said if m.get("lease") and m["what"] in ("lead", "resign")]
        return said[-1:] == ["lead"]

    def test_one_leads_and_hands_over(self):
        one, two = self.probe, self.probe_as("admin")
        self.stand(one, "one")
        one.wait_said("the first leader", lambda said: self.leads(one))
        self.stand(two, "two")
        two.wait_said("a follower", lambda said: {"lease": "two", "what": "follow", "of": "one"} in said)
        one.result("withdraw", identity="one")
        self.assertFalse(self.leads(one))
        two.wait_said("the second leader", lambda said: self.leads(two), self.SECONDS)
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/leader"
        self.assertEqual(self.cluster.request("GET", path)["spec"]["holderIdentity"], "two")

    def test_a_leader_that_vanished_is_followed_and_never_two_lead(self):
        one, two = self.probe, self.probe_as("admin")
        self.stand(one, "one")
        one.wait_said("the first leader", lambda said: self.leads(one))
        self.stand(two, "two")
        two.wait_said("a follower", lambda said: any(m.get("of") == "one" for m in said))
        stopped = time.monotonic()
        one.child.send_signal(signal.SIGSTOP)
        two.wait_said("the second leader", lambda said: self.leads(two), self.SECONDS * 3)
        self.assertGreater(time.monotonic() - stopped, self.SECONDS / 2)
        one.child.send_signal(signal.SIGCONT)
        one.wait_said("the end of the first", lambda said: not self.leads(one), 15)
        self.assertTrue(self.leads(two))

    def test_no_rights_to_leases_is_named(self):
        probe = self.probe_as("stranger")
        self.stand(probe, "s")
        probe.wait_said("trouble", lambda said: any(
            m["what"] == "troubled" and 'cannot get resource "leases"' in m["fault"] for m in said))
