"""The procedure of the founding document, "Linking sites on Kubernetes using the Skupper CLI", by our command line
only, with our controller, routers and adaptors; the parts of a cluster that are missing here act meanwhile."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from cluster import assets  # noqa: E402
from harness import BIN, SLOWNESS, Server, connect, echo, receive_exactly, wait_until  # noqa: E402

NAMESPACES = ("west", "east", "north")
HEAD = "NAME                                            STATUS  COST    MESSAGE"


@unittest.skipIf(assets() is None, "KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver")
class Procedure(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from site_cluster import SiteCluster, loopback
        cls.cluster = SiteCluster(NAMESPACES).start()
        cls.addClassCleanup(cls.cluster.stop)
        cls.addresses = {name: loopback() for name in (*NAMESPACES, "workload")}
        for name in NAMESPACES:
            cls.cluster.create_namespace(name)
        cls.cluster.start_controller()
        folder = tempfile.TemporaryDirectory(prefix="procedure-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        for name in ("build", "output"):
            (cls.folder / name).mkdir()

    def run_skupper(self, namespace, *arguments):
        """As a user does whose kubeconfig names the namespace; gives exit code and text."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SKUPPER_", "XDG_", "KUBE"))}
        environment["KUBECONFIG"] = str(self.cluster.kubeconfig("admin", namespace))
        done = subprocess.run([BIN / "skupper", *map(str, arguments)], env=environment, cwd=self.folder, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=200 * SLOWNESS)
        return done.returncode, done.stdout

    def skupper(self, namespace, *arguments):
        code, text = self.run_skupper(namespace, *arguments)
        self.assertEqual(code, 0, f"{arguments}: {text}\n{self.cluster.controller.log_tail()}")
        return text

    def meanwhile(self, act, *arguments):
        """Does what another part of the cluster does while a command waits for it."""
        faults = []

        def work():
            try:
                act(*arguments)
            except Exception as error:
                faults.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(lambda: self.assertEqual(faults, []))
        self.addCleanup(thread.join)
        return thread

    def links(self, namespace):
        head, *rows = self.skupper(namespace, "link", "status").splitlines()
        self.assertEqual(head, HEAD)
        return [row.split(maxsplit=3) for row in rows]

    def renamed(self, path, name):
        """A copy of a token file for a site that has redeemed the token already."""
        copy = path.with_name(f"{name}.yaml")
        copy.write_text(re.sub(r"(?m)^(  name:) .*", rf"\1 {name}", path.read_text(), count=1))
        return copy

    def grants(self):
        items = self.cluster.request("GET", self.cluster.place("AccessGrant", "west"))["items"]
        return {item["metadata"]["name"]: item for item in items}

    def test_1_sites(self):
        for name in NAMESPACES:
            thread = self.meanwhile(self.cluster.run_router, name, self.addresses[name])
            self.assertEqual(self.skupper(name, "site", "create", name), f'Site "{name}" is ready.\n')
            thread.join()
        code, text = self.run_skupper("west", "token", "issue", "early.yaml")
        self.assertNotEqual(code, 0)
        self.assertIn("You must enable link access for this site before you can create a token", text)

    def test_2_tokens(self):
        self.meanwhile(self.cluster.balance, "skupper-router", "west", self.addresses["west"])
        self.assertEqual(self.skupper("west", "site", "update", "--enable-link-access"), 'Site "west" is updated\n')
        wait_until("an endpoint", lambda: self.cluster.get("Site", "west", "west")["status"].get("endpoints"), 60)
        for file, flags, said in (
                ("west.yaml", (), "after 1 use(s) or after 15m0s"),
                ("build/west.yaml", ("--expiration-window", "60m"), "after 1 use(s) or after 1h0m0s"),
                ("output/west.yaml", ("--redemptions-allowed", "3"), "after 3 use(s) or after 15m0s")):
            before = self.grants()
            text = self.skupper("west", "token", "issue", file, *flags)
            (name,) = self.grants().keys() - before.keys()
            self.assertRegex(name, "^west-[0-9a-f-]{36}$")
            self.assertIn(f'Grant "{name}" is ready\nToken file {file} created\n', text)
            self.assertIn(f"The token expires {said}.", text)
            self.assertIn(f"name: {name}\n", (self.folder / file).read_text())

    def test_3_link(self):
        router = self.cluster.pods[0].router
        token = self.folder / "west.yaml"
        name = re.search(r"name: (\S+)", token.read_text()).group(1)
        # The other site's router answers nothing yet.
        router.send(signal.SIGSTOP)
        self.addCleanup(router.send, signal.SIGCONT)
        self.assertEqual(self.skupper("east", "token", "redeem", token), f'Token "{name}" has been redeemed\n')
        wait_until("the link", lambda: self.links("east"), 30)
        ((seen, *rest),) = self.links("east")
        self.assertEqual(seen, name)
        self.assertRegex(" ".join(rest), "(?i)^Pending 1 Not Operational")
        router.send(signal.SIGCONT)
        wait_until("the link to be Ready", lambda: self.links("east") == [[name, "Ready", "1", "OK"]], 60)

    def test_4_traffic(self):
        workload = self.addresses["workload"]
        self.cluster.pod("web-0", "west", {"app": "web"}, workload)
        with Server(echo, host=workload) as server:
            self.skupper("west", "connector", "create", "backend", server.port, "--selector", "app=web")
            self.skupper("east", "listener", "create", "backend", "8080")
            self.cluster.await_summary("Listener", "backend", "east", "Ready OK", 60)
            self.assertRegex(self.skupper("east", "listener", "status"), r"(?m)^backend\s+Ready\s")
            port = self.cluster.get("Service", "backend", "east")["spec"]["ports"][0]["targetPort"]
            with connect(port, host=self.addresses["east"]) as stream:
                stream.sendall(b"across two namespaces")
                self.assertEqual(receive_exactly(stream, 21), b"across two namespaces")

    def test_5_a_token_is_used_as_often_as_it_allows(self):
        used = self.folder / "west.yaml"
        code, text = self.run_skupper("north", "token", "redeem", used)
        self.assertEqual(code, 1)
        self.assertIn("404 (Not Found) No such access granted", text)
        thrice = self.folder / "output/west.yaml"
        for namespace, path in (("east", thrice), ("north", thrice), ("north", self.renamed(thrice, "again"))):
            self.skupper(namespace, "token", "redeem", path)
        wait_until("the links", lambda: {row[1] for row in self.links("east") + self.links("north")} == {"Ready"}, 90)
        code, text = self.run_skupper("north", "token", "redeem", self.renamed(thrice, "too-often"))
        self.assertEqual(code, 1)
        self.assertIn("404 (Not Found) No such access granted", text)
        self.assertEqual(len(self.links("north")), 2)

    def test_6_a_token_has_its_time(self):
        path = self.folder / "build/west.yaml"
        name = re.search(r"name: (\S+)", path.read_text()).group(1)
        # An hour later, as the grant has it.
        self.cluster.request(
            "PATCH", f"{self.cluster.place('AccessGrant', 'west')}/{name}/status",
            {"status": {"expirationTime": "2026-01-01T00:00:00Z"}}, "application/merge-patch+json")
        code, text = self.run_skupper("north", "token", "redeem", path)
        self.assertEqual(code, 1)
        self.assertIn("404 (Not Found) No such claim", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
