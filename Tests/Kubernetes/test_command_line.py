"""The `skupper` program, and our definitions and manifests, against a real API server.

Where a command waits for the controller, a hand writes the status that a controller would: these tests ask what the
program asks for, understands and says. The controller has tests of its own.
"""

import base64
import io
import json
import os
import pathlib
import ssl
import subprocess
import tarfile
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from cluster import ROOT, Cluster, Refused, assets
from fault_proxy import FaultProxy, lose, refuse, write
from harness import BIN, SLOWNESS, Authority, wait_until

GROUP = "/apis/skupper.io/v2alpha1"
READY = {"status": "Ready", "message": "OK"}


def condition(kind, is_true=True, message="OK", generation=1):
    return {"type": kind, "status": "True" if is_true else "False", "reason": "Ready" if is_true else "Pending",
            "message": message, "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"}


class ClusterCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if assets() is None:
            raise unittest.SkipTest("KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver")
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.token("jane")
        cls.cluster.token("limited")
        cls.cluster.start()
        for name in ("west", "east"):
            cls.cluster.create_namespace(name)
        cls.before_definitions()
        cls.cluster.apply_definitions()

    @classmethod
    def before_definitions(cls):
        pass

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cli-"))
        self.addCleanup(lambda: subprocess.run(["rm", "-rf", self.folder], check=True))

    @classmethod
    def run_skupper(cls, *arguments, user="admin", namespace="west", kubeconfig=None, folder=None, seconds=60, **more):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SKUPPER_", "XDG_", "KUBE"))}
        environment.update(KUBECONFIG=str(kubeconfig or cls.cluster.kubeconfig(user, namespace)), **more)
        done = subprocess.run([BIN / "skupper", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=seconds * SLOWNESS, env=environment, cwd=folder)
        return done

    def skupper(self, *arguments, **more):
        return self.run_skupper(*arguments, folder=self.folder, **more)

    def ok(self, *arguments, **more):
        done = self.skupper(*arguments, **more)
        self.assertEqual(done.returncode, 0, f"skupper {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def place(self, plural, name="", namespace="west"):
        group = "/api/v1" if plural in ("secrets", "configmaps", "pods") else GROUP
        return f"{group}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")

    def get(self, plural, name, namespace="west"):
        return self.cluster.request("GET", self.place(plural, name, namespace))

    def names(self, plural, namespace="west"):
        return [item["metadata"]["name"] for item in
                self.cluster.request("GET", self.place(plural, "", namespace))["items"]]

    def set_status(self, plural, name, status, namespace="west"):
        self.cluster.request("PATCH", self.place(plural, name, namespace) + "/status", {"status": status},
                             "application/merge-patch+json")

    def clean(self, *plurals):
        for namespace in ("west", "east"):
            for plural in plurals:
                for name in self.names(plural, namespace):
                    self.cluster.request("DELETE", self.place(plural, name, namespace))

    def hand(self, act):
        """Calls `act` again and again until the test ends; what it cannot find yet comes later."""
        end = threading.Event()

        def work():
            while not end.wait(0.1):
                try:
                    act()
                except (Refused, OSError, IndexError):
                    pass

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(end.set)

    def make_site(self, namespace="west", endpoints=False):
        self.cluster.apply(f"apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: {namespace}\n"
                           "spec:\n  linkAccess: default\n", namespace)
        self.site_ready(namespace, endpoints)

    def site_ready(self, namespace="west", endpoints=False):
        status = {**READY, "conditions": [condition(c) for c in ("Configured", "Running", "Resolved", "Ready")]}
        if endpoints:
            status["endpoints"] = [{"name": "inter-router", "host": "192.0.2.20", "port": "55671", "group": "a"}]
        self.set_status("sites", namespace, status, namespace)


class Trouble(ClusterCase):
    @classmethod
    def before_definitions(cls):
        cls.early = {words: cls.run_skupper(*words) for words in
                     ((("site", "status"), ("site", "create", "west"), ("listener", "create", "a", "80")))}

    def test_definitions_that_are_not_installed(self):
        for words, done in self.early.items():
            self.assertRegex(done.stdout, r"does not know (sites|listeners)\.skupper\.io: the Skupper CRDs are not ")
            self.assertIn("kubectl apply -f deploy/kubernetes/install.yaml", done.stdout)
            self.assertEqual(done.returncode, 1 if words[1] == "status" else 2, words)

    def test_permission_that_is_missing(self):
        done = self.skupper("site", "create", "west", user="jane")
        self.assertIn('You are not allowed to list sites.skupper.io in namespace "west"', done.stdout)
        self.assertIn('User "jane" cannot list resource "sites"', done.stdout)
        self.assertEqual(done.returncode, 2)
        # What the message advises helps, up to the next verb.
        self.cluster.apply(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: skupper-user\nrules:\n"
            "- apiGroups: [skupper.io]\n  resources: [sites]\n  verbs: [list]\n---\n"
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata:\n  name: skupper-user\nroleRef:\n"
            "  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: skupper-user\nsubjects:\n"
            "- kind: User\n  apiGroup: rbac.authorization.k8s.io\n  name: limited\n", "east")

        def tried():
            self.last = self.skupper("site", "create", "east", user="limited", namespace="east")
            return "You are not allowed to create sites.skupper.io in namespace \"east\"" in self.last.stdout

        wait_until("the rule to count", tried, 10)
        self.assertEqual(self.last.returncode, 1)

    def test_credentials_that_nobody_knows(self):
        kubeconfig = self.cluster.kubeconfig("stranger", token="nonsense")
        done = self.skupper("site", "status", kubeconfig=kubeconfig)
        self.assertIn("does not accept your credentials (401 Unauthorized)", done.stdout)
        self.assertEqual(done.returncode, 1)

    def test_namespace_that_is_not_there(self):
        done = self.skupper("site", "create", "mars", "-n", "mars")
        self.assertIn('namespace "mars" does not exist in the cluster', done.stdout)
        self.assertEqual(done.returncode, 1)

    def kubeconfig_with(self, **changes):
        config = json.loads(pathlib.Path(self.cluster.kubeconfig()).read_text())
        config["clusters"][0]["cluster"].update(changes)
        path = self.folder / "changed"
        path.write_text(json.dumps(config))
        return path

    def test_server_that_is_away_or_another_one(self):
        done = self.skupper("site", "status", kubeconfig=self.kubeconfig_with(server="https://127.0.0.1:1"))
        self.assertIn("The API server https://127.0.0.1:1 does not answer: connect 127.0.0.1:1: connection refused",
                      done.stdout)
        other = Authority(self.folder / "other").certificate.read_bytes()
        wrong = self.kubeconfig_with(**{"certificate-authority-data": base64.b64encode(other).decode()})
        done = self.skupper("site", "status", kubeconfig=wrong)
        self.assertIn("its certificate is not trusted", done.stdout)
        named = self.kubeconfig_with(**{"tls-server-name": "elsewhere.example"})
        done = self.skupper("site", "status", kubeconfig=named)
        self.assertIn("is not valid for", done.stdout)
        self.ok("site", "status", kubeconfig=self.kubeconfig_with(**{"tls-server-name": "kubernetes.default.svc"}))

    def test_an_answer_that_is_lost(self):
        """The command looks whether its object was made, and makes it if not; it takes nobody else's for its own."""
        proxy = FaultProxy(self.cluster)
        self.addCleanup(proxy.stop)
        kubeconfig = self.cluster.kubeconfig("admin", "west", proxy.url)

        def create(name, act, times=1):
            self.clean("listeners")
            proxy.clear()
            hits = proxy.on(lambda r: write("/listeners")(r) and r.method == "POST", act, times=times)
            done = self.skupper("listener", "create", name, "80", "--wait", "none", kubeconfig=kubeconfig)
            self.assertEqual(len(hits), times)
            return done

        for name, act, times in (("stored", lose(), 1), ("not-stored", refuse(), 2)):
            done = create(name, act, times)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(self.names("listeners"), [name])

        def taken(exchange):
            """Somebody else is quicker."""
            self.cluster.apply(
                "apiVersion: skupper.io/v2alpha1\nkind: Listener\nmetadata:\n  name: taken\nspec:\n"
                "  routingKey: other\n  host: other\n  port: 81\n", "west")
            exchange.hang_up()

        done = create("taken", taken)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('listeners.skupper.io "taken" already exists', done.stdout)
        self.assertEqual(self.get("listeners", "taken")["spec"]["routingKey"], "other")

    def test_server_that_restarts_while_a_command_waits(self):
        self.clean("listeners")
        waiting = threading.Thread(target=lambda: setattr(self, "done", self.skupper(
            "listener", "create", "patient", "80", "--timeout", "60s", seconds=120)))
        waiting.start()
        self.addCleanup(waiting.join)
        wait_until("the listener", lambda: "patient" in self.names("listeners"), 20)
        self.cluster.kill_server()
        time.sleep(2)
        self.assertTrue(waiting.is_alive(), f"it gave up: {getattr(self, 'done', None)}")
        self.cluster.start_server()
        self.set_status("listeners", "patient", {"status": "Pending", "conditions": [condition("Configured")]})
        waiting.join()
        self.assertEqual(self.done.stdout, 'Listener "patient" is configured.\n')


class Credentials(ClusterCase):
    def test_client_certificate(self):
        folder = self.cluster.client_certificate("jane")
        kubeconfig = self.cluster.kubeconfig(
            "jane", **{"client-certificate": str(folder / "tls.crt"), "client-key": str(folder / "tls.key")})
        done = self.skupper("site", "status", kubeconfig=kubeconfig)
        self.assertIn('User "jane" cannot list', done.stdout)

    def plugin(self, text):
        program = self.folder / "login"
        program.write_text("#!/bin/sh\n" + text)
        program.chmod(0o755)
        return self.cluster.kubeconfig("plugin", exec={
            "apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "interactiveMode": "Never",
            "env": [{"name": "WHO", "value": "admin"}]})

    def test_credential_plugin(self):
        credential = ('{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
                      '"status":{"token":"token-of-\'$WHO\'"}}')
        self.ok("site", "status", kubeconfig=self.plugin(
            f"echo \"$KUBERNETES_EXEC_INFO\" | grep -q ExecCredential || exit 3\necho '{credential}'\n"))

    def test_credential_plugin_that_fails(self):
        done = self.skupper("site", "status", kubeconfig=self.plugin("echo log in first >&2\nexit 5\n"))
        self.assertIn("failed (status 5)", done.stdout)
        self.assertIn("log in first", done.stdout)
        self.assertEqual(done.returncode, 1)
        done = self.skupper("site", "status", kubeconfig=self.plugin("echo nothing useful\n"))
        self.assertIn("printed no ExecCredential", done.stdout)


class Procedure(ClusterCase):
    """The founding document's procedure, between two namespaces of one cluster."""

    def setUp(self):
        super().setUp()
        self.clean("sites", "accessgrants", "accesstokens", "links", "listeners", "connectors")

    def test_sites(self):
        self.hand(self.site_ready)
        self.assertEqual(self.ok("site", "create", "west"), 'Site "west" is ready.\n')
        self.assertEqual(self.skupper("site", "create", "more").returncode, 2)
        self.cluster.request("PATCH", self.place("sites", "west"), {"spec": {"settings": {"size": "small"}}},
                             "application/merge-patch+json")
        self.assertEqual(self.ok("site", "update", "--enable-link-access", "--wait", "none"), "")
        spec = self.get("sites", "west")["spec"]
        self.assertEqual(spec, {"linkAccess": "default", "settings": {"size": "small"}})
        self.assertEqual(self.ok("site", "status").split(), ["NAME", "STATUS", "MESSAGE", "west", "Ready", "OK"])
        self.assertIn("linkAccess: default", self.ok("site", "status", "-o", "yaml"))

    def test_deletion_takes_all(self):
        self.make_site()
        self.cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: Listener\nmetadata:\n  name: a\n"
                           "spec: {routingKey: a, port: 80, host: a}\n", "west")
        self.assertEqual(self.ok("site", "delete", "--all"), 'Site "west" is deleted\n')
        self.assertEqual(self.names("sites") + self.names("listeners"), [])
        self.assertEqual(self.skupper("site", "delete").returncode, 2)

    def test_token_and_link(self):
        self.make_site("west", endpoints=True)
        self.make_site("east")

        def grant():
            name = self.names("accessgrants")[0]
            self.set_status("accessgrants", name, {
                **READY, "url": "https://192.0.2.10:9090/x", "code": "Zk3u0ZqM1c8nYw5Xb7RtLpEe",
                "ca": "-----BEGIN CERTIFICATE-----\n", "expirationTime": "2999-01-01T00:00:00Z",
                "conditions": [condition(c) for c in ("Processed", "Resolved", "Ready")]})

        self.hand(grant)
        out = self.ok("token", "issue", "west.yaml", "--expiration-window", "60m", "--redemptions-allowed", "3")
        self.assertIn("The token expires after 3 use(s) or after 1h0m0s.", out)
        spec = self.get("accessgrants", self.names("accessgrants")[0])["spec"]
        self.assertEqual(spec, {"redemptionsAllowed": 3, "expirationWindow": "1h0m0s"})
        self.assertEqual((self.folder / "west.yaml").stat().st_mode & 0o777, 0o600)

        def redeem():
            name = self.names("accesstokens", "east")[0]
            self.set_status("accesstokens", name, {
                **READY, "redeemed": True, "conditions": [condition("Redeemed")]}, "east")
            if not self.names("links", "east"):
                self.cluster.apply(f"apiVersion: skupper.io/v2alpha1\nkind: Link\nmetadata:\n  name: {name}\n"
                                   "spec:\n  endpoints: []\n", "east")

        self.assertEqual(self.ok("link", "status", "-n", "east"), "There are no link resources in the namespace\n")
        self.hand(redeem)
        name = self.names("accessgrants")[0]
        self.assertEqual(self.ok("token", "redeem", "west.yaml", "-n", "east"),
                         f'Token "{name}" has been redeemed\n')
        wait_until("the link", lambda: self.names("links", "east"), 10)
        head, row = self.ok("link", "status", "-n", "east").splitlines()
        self.assertEqual(head, "NAME                                            STATUS  COST    MESSAGE")
        self.assertEqual(row.split(), [name, "Pending", "1", "Not", "Operational"])
        self.set_status("links", name, READY, "east")
        self.assertEqual(self.ok("link", "status", "-n", "east").splitlines()[1].split(), [name, "Ready", "1", "OK"])
        self.assertEqual(self.ok("link", "delete", name, "-n", "east"), f'Link "{name}" is deleted\n')

    def test_token_that_is_refused(self):
        self.make_site()
        (self.folder / "t.yaml").write_text(
            "apiVersion: skupper.io/v2alpha1\nkind: AccessToken\nmetadata:\n  name: used\n"
            "spec:\n  url: https://192.0.2.1:9090/x\n  code: abc\n  ca: '-----BEGIN CERTIFICATE-----'\n")
        self.hand(lambda: self.set_status("accesstokens", "used", {
            "status": "Error", "message": "Controller got failed response: 404 (Not Found) No such access granted",
            "conditions": [condition("Redeemed", False, "x")]}))
        started = time.monotonic()
        done = self.skupper("token", "redeem", "t.yaml")
        self.assertEqual(done.returncode, 1)
        self.assertIn("No such access granted", done.stdout)
        self.assertLess(time.monotonic() - started, 20 * SLOWNESS)

    def test_services(self):
        def configure():
            for plural in ("listeners", "connectors"):
                for name in self.names(plural):
                    generation = self.get(plural, name)["metadata"]["generation"]
                    self.set_status(plural, name, {
                        "status": "Pending", "message": "No matching", "conditions": [
                            condition("Configured", generation=generation)]})

        self.hand(configure)
        self.assertEqual(self.ok("listener", "create", "backend", "8080"), 'Listener "backend" is configured.\n')
        self.assertEqual(self.ok("listener", "update", "backend", "--port", "9090"), 'Listener "backend" is updated\n')
        self.assertEqual(self.get("listeners", "backend")["spec"],
                         {"routingKey": "backend", "host": "backend", "port": 9090, "type": "tcp"})
        self.assertIn("backend", self.ok("listener", "status"))
        self.cluster.request("POST", "/apis/apps/v1/namespaces/west/deployments", {
            "metadata": {"name": "shop"}, "spec": {
                "selector": {"matchLabels": {"app": "x"}}, "template": {
                    "metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
        self.assertEqual(self.ok("connector", "create", "backend", "8080", "--workload", "deployment/shop"),
                         'Connector "backend" is configured.\n')
        self.assertEqual(self.get("connectors", "backend")["spec"]["selector"], "app=x")
        self.ok("connector", "update", "backend", "--host", "db")
        self.assertNotIn("selector", self.get("connectors", "backend")["spec"])
        done = self.skupper("listener", "create", "wrong", "70000")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r'"wrong" is invalid: spec.port')
        self.assertEqual(self.ok("listener", "delete", "backend"), 'Listener "backend" deleted\n')
        self.assertEqual(self.ok("connector", "delete", "backend"), 'Connector "backend" deleted\n')

    def test_many_listeners_are_listed_in_pages(self):
        for number in range(230):
            self.cluster.request("POST", self.place("listeners"), {
                "apiVersion": "skupper.io/v2alpha1", "kind": "Listener", "metadata": {"name": f"l{number:03}"},
                "spec": {"routingKey": "a", "host": f"l{number:03}", "port": 80}})
        lines = self.ok("listener", "status").splitlines()
        self.assertEqual([line.split()[0] for line in lines[1:]], [f"l{number:03}" for number in range(230)])

    def test_dump_gives_no_secret_away(self):
        self.make_site()
        self.cluster.apply("apiVersion: v1\nkind: Secret\nmetadata:\n  name: skupper-site-server\n"
                           "stringData:\n  tls.key: hidden-1\n  tls.crt: shown\n", "west")
        self.cluster.apply("apiVersion: skupper.io/v2alpha1\nkind: AccessGrant\nmetadata:\n  name: g\n"
                           "spec:\n  code: hidden-2\n", "west")
        out = self.ok("debug", "dump", "fault")
        path = self.folder / out.split(": ")[1].strip()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
            texts = {entry.name: tar.extractfile(entry).read().decode() for entry in tar}
        self.assertIn("west/sites.skupper.io/west.yaml", texts)
        self.assertIn("west/secrets/skupper-site-server.yaml", texts)
        for name, text in texts.items():
            self.assertNotIn("hidden-", text, name)
            self.assertNotIn("aGlkZGVu", text, f"{name}: Base64 of hidden")


class Manifests(ClusterCase):
    COLUMNS = {
        "sites": "Status, Sites In Network, Message",
        "links": "Status, Remote Site, Message",
        "listeners": "Routing Key, Port, Host, Status, Has Matching Connector, Message",
        "connectors": "Routing Key, Port, Host, Selector, Status, Has Matching Listener, Message",
        "accessgrants": "Redemptions Allowed, Redemptions Made, Expiration, Status, Message",
        "accesstokens": "URL, Redeemed, Status, Message",
        "multikeylisteners": "Status, Message, HasDestination",
        "routeraccesses": "Status, Message",
        "securedaccesses": "Status, Message",
        "certificates": "CA, Server, Client, Signing, Status, Expiration, Message",
        "attachedconnectors": "Port, Selector, Site Namespace, Status",
        "attachedconnectorbindings": "Routing Key, Connector Namespace, Status, Has Matching Listener",
    }

    def test_columns(self):
        for plural, wanted in self.COLUMNS.items():
            context = ssl.create_default_context(cafile=str(self.cluster.authority.certificate))
            request = urllib.request.Request(self.cluster.url + self.place(plural), headers={
                "Authorization": f"Bearer {self.cluster.tokens['admin']}",
                "Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                table = json.load(answer)
            self.assertEqual([c["name"] for c in table["columnDefinitions"]], ["Name", *wanted.split(", ")], plural)

    def test_short_names(self):
        listed = self.cluster.request("GET", GROUP)["resources"]
        short = {r["name"]: r.get("shortNames", []) for r in listed if "/" not in r["name"]}
        self.assertEqual(short, {
            "sites": ["st"], "links": ["ln"], "listeners": ["lnr"], "connectors": ["cnr"],
            "accessgrants": ["grant", "gr"], "accesstokens": ["token", "to"], "attachedconnectors": ["acnr"],
            "attachedconnectorbindings": ["acnrb"], "multikeylisteners": [], "routeraccesses": [],
            "securedaccesses": [], "certificates": []})
        self.assertEqual({r["name"].split("/")[1] for r in listed if "/" in r["name"]}, {"status"})

    def create(self, kind, spec):
        plural = kind.lower() + ("es" if kind.endswith("s") else "s")
        return self.cluster.request("POST", self.place(plural), {
            "apiVersion": "skupper.io/v2alpha1", "kind": kind, "metadata": {"generateName": "x-"}, "spec": spec})

    def test_what_is_wrong_is_refused(self):
        for kind, spec, field in (
                ("Connector", {"routingKey": "a", "port": 80}, "spec"),
                ("Connector", {"routingKey": "a", "port": 80, "host": "h", "selector": "a=b"}, "spec"),
                ("Connector", {"port": 80, "host": "h"}, "spec.routingKey"),
                ("Listener", {"routingKey": "a", "port": 0, "host": "h"}, "spec.port"),
                ("Listener", {"routingKey": "a", "port": 80}, "spec.host"),
                ("Listener", {"routingKey": "a", "port": 80, "host": "h", "observer": "all"}, "spec.observer"),
                ("MultiKeyListener", {"host": "a", "port": 80, "strategy": {}}, "spec.strategy"),
                ("MultiKeyListener", {"host": "a", "port": 80, "strategy": {
                    "priority": {"routingKeys": ["a"]}, "weighted": {"routingKeys": {"a": 1}}}}, "spec.strategy"),
                ("MultiKeyListener", {"host": "a", "port": 80, "strategy": {
                    "weighted": {"routingKeys": {"a": 0}}}}, "spec.strategy"),
                ("AccessGrant", {"expirationWindow": "soon"}, "spec.expirationWindow"),
                ("AccessToken", {"url": "https://x", "code": "a"}, "spec.ca"),
                ("Link", {"cost": 1}, "spec.endpoints"),
                ("RouterAccess", {"roles": [{"port": 1}], "tlsCredentials": "a"}, "spec.roles"),
                ("AttachedConnector", {"port": 80, "selector": "a=b"}, "spec.siteNamespace"),
                ("Certificate", {"ca": "a"}, "spec.subject")):
            with self.assertRaises(Refused, msg=f"{kind} {spec}") as refused:
                self.create(kind, spec)
            self.assertEqual(refused.exception.code, 422, refused.exception)
            self.assertIn(field, refused.exception.body)

    def test_what_is_right_is_taken_whole(self):
        for kind, spec in (
                ("Site", {"linkAccess": "route", "ha": True, "edge": False, "serviceAccount": "s",
                          "defaultIssuer": "i", "settings": {"router-logging": "info"}}),
                ("Link", {"cost": 2, "tlsCredentials": "a", "endpoints": [
                    {"name": "edge", "host": "h", "port": "45671", "group": "g"}]}),
                ("Listener", {"routingKey": "a.b", "port": 65535, "host": "h", "type": "tcp", "observer": "http2",
                              "exposePodsByName": True, "tlsCredentials": "c", "settings": {"a": "b"}}),
                ("Connector", {"routingKey": "a", "port": 1, "selector": "a=b,c=d", "includeNotReadyPods": True,
                               "exposePodsByName": True, "useClientCert": True, "verifyHostname": True}),
                ("MultiKeyListener", {"host": "a", "port": 80, "requireClientCert": True, "strategy": {
                    "priority": {"routingKeys": ["a", "b"]}}}),
                ("AccessGrant", {"redemptionsAllowed": 2, "expirationWindow": "1h30m0s", "code": "c", "issuer": "i"}),
                ("AccessToken", {"url": "https://x", "code": "a", "ca": "b", "linkCost": 3}),
                ("RouterAccess", {"roles": [{"name": "inter-router", "port": 55671}, {"name": "edge"}],
                                  "tlsCredentials": "a", "generateTlsCredentials": True, "issuer": "i",
                                  "accessType": "nodeport", "bindHost": "::", "subjectAlternativeNames": ["a"]}),
                ("SecuredAccess", {"ports": [{"name": "a", "port": 1, "targetPort": 2, "protocol": "TCP"}],
                                   "selector": {"a": "b"}, "issuer": "i", "certificate": "c", "accessType": "local"}),
                ("Certificate", {"ca": "a", "subject": "s", "hosts": ["h"], "client": True, "server": True,
                                 "signing": True}),
                ("AttachedConnector", {"siteNamespace": "east", "port": 80, "selector": "a=b", "type": "tcp",
                                       "tlsCredentials": "c", "useClientCert": True, "includeNotReadyPods": True}),
                ("AttachedConnectorBinding", {"connectorNamespace": "east", "routingKey": "a",
                                              "exposePodsByName": True})):
            self.assertEqual(self.create(kind, spec)["spec"], spec, kind)

    def test_manifests_apply_and_the_controller_may_do_its_work(self):
        self.cluster.apply((ROOT / "deploy/kubernetes/install.yaml").read_text())
        deployment = self.cluster.request("GET", "/apis/apps/v1/namespaces/skupper/deployments/skupper-controller")
        pod = deployment["spec"]["template"]["spec"]
        self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        for container in pod["containers"]:
            self.assertEqual(container["securityContext"], {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
        self.assertTrue(self.is_allowed("system:serviceaccount:skupper:skupper-controller", "west", "deployments"))
        self.assertFalse(self.is_allowed("system:serviceaccount:skupper:other", "west", "deployments"))
        # The other way: one namespace and no more.
        self.cluster.apply((ROOT / "deploy/kubernetes/install-namespaced.yaml").read_text(), "east")
        self.assertTrue(self.is_allowed("system:serviceaccount:east:skupper-controller", "east", "deployments"))
        self.assertFalse(self.is_allowed("system:serviceaccount:east:skupper-controller", "west", "deployments"))

        # It holds every right that it hands out to router pods, in either installation, and cannot hand out more.
        for user, place in (("skupper", "west"), ("east", "east")):
            self.assertEqual(self.give_role(user, place, "router", self.ROUTER_RULES), 201)
            self.assertEqual(self.give_role(user, place, "more", [
                {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}]), 403)

    # What router pods get, as control-plane.md has it.
    ROUTER_RULES = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "update", "delete"]},
        {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["configmaps"],
         "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
         "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]},
    ]

    def give_role(self, controller, namespace, name, rules):
        """Makes a role in the name of a controller's service account; returns the status of the answer."""
        request = urllib.request.Request(
            f"{self.cluster.url}/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles", method="POST",
            data=json.dumps({"metadata": {"name": name}, "rules": rules}).encode(), headers={
                "Authorization": f"Bearer {self.cluster.tokens['admin']}", "Content-Type": "application/json",
                "Impersonate-User": f"system:serviceaccount:{controller}:skupper-controller"})
        context = ssl.create_default_context(cafile=str(self.cluster.authority.certificate))
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def is_allowed(self, user, namespace, resource):
        review = self.cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
                "user": user, "groups": ["system:serviceaccounts"], "resourceAttributes": {
                    "namespace": namespace, "verb": "create", "group": "apps", "resource": resource}}})
        return review["status"]["allowed"]


if __name__ == "__main__":
    unittest.main()
