"""What an idle controller costs, and what 500 Listeners, 500 Connectors and 100 sites do."""

import json
import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import SANITIZED, allow, wait_until  # noqa: E402
from linked import LinkedCase  # noqa: E402

CONTROLLER = "skupper:skupper-controller"
MANY = 500
SITES = 100
MEBIBYTE = 1 << 20


class Scale(LinkedCase):
    def rest(self, what):
        """A minute in which nothing changes: the lease and nothing else, from the controller and two adaptors. Gives
        what the controller has resident, kilobytes."""
        cluster = self.cluster
        cluster.settle()
        begun = time.monotonic()
        ticks = self.ticks(cluster.controller.pid)
        # The minute is what is measured; nothing is waited for.
        time.sleep(60)
        asked = self.proxy.requests(lambda r: not r.is_watch, begun)
        others = [r for r in asked if not r.is_lease]
        watches = self.proxy.requests(lambda r: r.is_watch, begun)
        spent = self.ticks(cluster.controller.pid) - ticks
        memory = cluster.controller.resident_kilobytes()
        print(f"{what}, 60 s: {len(asked)} requests, {len(watches)} watches begun anew, {spent * 10} ms of processor "
              f"time, {memory / 1024:.1f} MiB resident", flush=True)
        self.assertEqual(others, [])
        self.assertLess(len(asked), 10)
        self.assertLessEqual(len(watches), 12)
        self.assertLess(spent, 50)
        cluster.use(self.stream)
        return memory

    def test_1_idle(self):
        memory = self.rest("idle")
        if not SANITIZED:
            self.assertLess(memory, 40 * 1024)

    @staticmethod
    def ticks(pid):
        return sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[11:13]))

    def size(self, kind, name, namespace):
        return len(self.cluster.request("GET", f"{self.cluster.place(kind, namespace)}/{name}", raw=True))

    def entities(self, namespace, kind):
        text = self.cluster.get("ConfigMap", "skupper-router", namespace)["data"]["skrouterd.json"]
        return sum(entry[0] == kind for entry in json.loads(text))

    @allow(900)
    def test_2_many_services(self):
        cluster = self.cluster
        cluster.settle()
        begun = time.monotonic()
        ticks = self.ticks(cluster.controller.pid)
        for number in range(MANY):
            name = f"s{number:03}"
            cluster.apply(self.resource("Listener", name, routingKey=name, host=name, port=8080), "east")
            cluster.apply(self.resource("Connector", name, routingKey=name, selector="app=web",
                                        port=cluster.server_of_workload.port), "west")
        created = time.monotonic()

        def ready(kind, namespace):
            items = cluster.request("GET", cluster.place(kind, namespace))["items"]
            return sum(item.get("status", {}).get("status") == "Ready" for item in items) > MANY

        wait_until("all connectors", lambda: ready("Connector", "west"), 600, every=1)
        wait_until("all listeners", lambda: ready("Listener", "east"), 600, every=1)
        done = time.monotonic()
        cluster.settle()
        cluster.await_traffic("s499")
        writes = self.proxy.requests(lambda r: r.is_write and r.user == CONTROLLER, begun)
        reports = self.proxy.requests(lambda r: r.is_write and r.user != CONTROLLER, begun)
        reads = self.proxy.requests(lambda r: r.method == "GET" and not r.is_watch and not r.is_lease, begun)
        maps = [r for r in writes if "/configmaps/" in r.path]
        spent = (self.ticks(cluster.controller.pid) - ticks) / 100
        sizes = {f"{kind} {namespace}/{name}": self.size(kind, name, namespace) for kind, name, namespace in (
            ("ConfigMap", "skupper-router", "east"), ("ConfigMap", "skupper-router", "west"),
            ("ConfigMap", "skupper-network-status", "east"), ("ConfigMap", "skupper-network-status", "west"),
            ("Site", "east", "east"), ("Site", "west", "west"))}
        memory = cluster.controller.resident_kilobytes()
        print(f"{MANY} listeners and {MANY} connectors: created in {created - begun:.0f} s, all Ready "
              f"{done - created:.0f} s later; controller: {len(writes)} writes ({len(maps)} of router configurations), "
              f"{len(reads)} reads, {spent:.1f} s of processor time, {memory / 1024:.0f} MiB; adaptors: {len(reports)} "
              f"writes; largest objects: {sizes}", flush=True)
        self.assertEqual(self.entities("east", "tcpListener"), MANY + 1)
        self.assertEqual(self.entities("west", "tcpConnector"), MANY + 1)
        # A Service and at most three statuses for a Listener, three statuses for a Connector, and what is shared.
        self.assertLess(len(writes) - len(maps), MANY * 7 + 50)
        self.assertLess(max(sizes.values()), MEBIBYTE // 2)
        self.assertEqual(len(cluster.request("GET", cluster.place("Listener", "east"))["items"]), MANY + 1)
        self.assertEqual(cluster.drops(), [])
        cluster.use(self.stream)

    def test_3_one_more_among_many(self):
        """A change costs what changes, not the namespace."""
        cluster = self.cluster
        cluster.settle()
        begun = time.monotonic()
        ticks = self.ticks(cluster.controller.pid)
        cluster.listen("one-more", key="s000")
        cluster.await_summary("Listener", "one-more", "east", "Ready OK", 60)
        took = time.monotonic() - begun
        cluster.settle()
        writes = self.proxy.requests(lambda r: r.is_write and r.user == CONTROLLER, begun)
        spent = (self.ticks(cluster.controller.pid) - ticks) * 10
        print(f"one more listener: Ready after {took:.1f} s, {len(writes)} writes, {spent} ms of processor time",
              flush=True)
        self.assertLess(len(writes), 12, writes)

    def test_4_many_sites(self):
        """The report of a router that sees 100 sites, each with five services, in a namespace without pods."""
        cluster = self.cluster
        cluster.create_namespace("wide")
        cluster.apply(self.resource("Site", "wide"), "wide")
        for number in range(50):
            cluster.apply(self.resource("Listener", f"a{number}", routingKey=f"a{number}", host=f"a{number}", port=80),
                          "wide")
        cluster.pod("router-0", "wide", {"skupper.io/component": "router", "skupper.io/group": "skupper-router"},
                    "127.0.0.9")
        report = {
            "running": True, "faults": {}, "listeners": {f"listener/a{n}": ["up", ""] for n in range(50)},
            "links": {f"link-{n}": {"status": "SUCCESS", "up": True, "router": f"r{n}"} for n in range(SITES - 1)},
            "routers": {f"site-{n}-skupper-router-5d4f-abcde": json.dumps({
                "id": f"00000000-0000-0000-0000-{n:012}", "version": "2.3.0", "platform": "kubernetes"})
                for n in range(SITES)},
            "addresses": {f"a{n}": [0, 1, 1] for n in range(SITES * 5)}}
        begun = time.monotonic()
        cluster.request("POST", cluster.place("ConfigMap", "wide"), {
            "metadata": {"name": "skupper-network-status"}, "data": {"router.skupper-router": json.dumps(report)}})
        wait_until("the number of sites", lambda: (cluster.get("Site", "wide", "wide") or {}).get("status", {}).get(
            "sitesInNetwork") == SITES, 60)
        cluster.await_summary("Listener", "a49", "wide", "Ready OK", 60)
        took = time.monotonic() - begun
        cluster.settle()
        writes = self.proxy.requests(lambda r: r.is_write and "/wide/" in r.path and r.user == CONTROLLER, begun)
        sizes = {name: self.size(*name.split("/"), "wide") for name in (
            "Site/wide", "ConfigMap/skupper-network-status", "ConfigMap/skupper-router")}
        print(f"{SITES} sites: seen after {took:.1f} s, {len(writes)} writes, sizes {sizes}", flush=True)
        # A Service and at most three statuses for each Listener, and what is shared.
        self.assertLess(len(writes), 50 * 4 + 20)
        self.assertLess(max(sizes.values()), MEBIBYTE // 8)

    @allow(600)
    def test_5_one_controller_for_many_sites(self):
        """At rest it asks for no more than with two."""
        cluster = self.cluster
        begun = time.monotonic()
        for number in range(SITES):
            cluster.create_namespace(f"n{number:03}")
            cluster.apply(self.resource("Site", "site"), f"n{number:03}")

        def waiting():
            items = cluster.request("GET", "/apis/skupper.io/v2alpha1/sites")["items"]
            return sum(item.get("status", {}).get("message") == "No router pod is ready" for item in items)

        def certified():
            """A key takes a busy machine seconds, in which the controller asks for nothing."""
            selector = "fieldSelector=metadata.name%3Dskupper-local-server"
            items = cluster.request("GET", f"/api/v1/secrets?{selector}")["items"]
            return sum(item["metadata"]["namespace"].startswith("n") for item in items) >= SITES

        wait_until("all sites", lambda: waiting() >= SITES, 240, every=1)
        wait_until("all certificates", certified, 240, every=1)
        writes = self.proxy.requests(lambda r: r.is_write and r.user == CONTROLLER, begun)
        print(f"{SITES} sites made in {time.monotonic() - begun:.0f} s, {len(writes)} writes", flush=True)
        self.rest(f"{SITES} sites")


if __name__ == "__main__":
    unittest.main(verbosity=2)
