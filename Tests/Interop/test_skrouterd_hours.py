"""One network of both products for a long time, with links that fail and routers that are restarted.

It runs for SKUPPER_TEST_SOAK_SECONDS and is skipped without them. Traffic is light on purpose: what is looked for is
what only time shows, a failed exchange while nothing was wrong, a count that grows, memory that grows.
"""

import os
import threading
import time
import unittest

from skrouterd_case import OURS, THEIRS, MixedCase, needs_skrouterd

from harness import RANDOM, SLOWNESS, CountingProxy, Server, allow, echo, exchange, wait_until

SECONDS = int(os.environ.get("SKUPPER_TEST_SOAK_SECONDS", 0))
# From the end of one disturbance to the next.
QUIET = 20
# Between the exchanges of one client; there are two of them.
PAUSE = 0.4
SIZES = (1, 100, 5000, 5000, 100_000, 1_000_000)
MEGABYTES_OF_GROWTH = 8
# After a link is back: skrouterd looks at its tick which routers may send through it, and releases their streams till
# it has heard of the link from both sides, which takes two ticks.
TICKS = 2


@needs_skrouterd
@unittest.skipUnless(SECONDS, "set SKUPPER_TEST_SOAK_SECONDS to run a network of both products for so long")
class Hours(MixedCase):
    """A ring of two routers of each product, an edge router of each below it; a and b live from first to last."""

    def setUp(self):
        super().setUp()
        self.links = []
        self.exchanged = self.octets = 0
        self.failures = []
        self.windows = []
        self.over = threading.Event()
        self.lock = threading.Lock()

    def build(self):
        server = self.keep(Server(echo))
        ring = [self.make(product, name) for product, name in zip((OURS, THEIRS) * 2, "abcd")]
        for router in ring:
            router.link_port, router.edge_port = router.listen_for_routers(), router.listen_for_routers(role="edge")
        for index, router in enumerate(ring):
            proxy = self.keep(CountingProxy(ring[(index + 1) % 4].link_port))
            self.links.append(proxy)
            router.connect_to(proxy.port)
        for product, name, interiors in ((OURS, "e", "bd"), (THEIRS, "f", "ac")):
            edge = self.make(product, name, mode="edge")
            for interior in ring:
                if interior.name in interiors:
                    edge.connect_to(interior.edge_port, role="edge")
        for router in self.routers:
            router.tcp_connector(f"at-{router.name}", server.port)
        self.ways = {(near.name, far.name): near.tcp_listener(f"at-{far.name}")
                     for near in self.routers for far in self.routers if near is not far}
        self.start_all()
        self.named = {router.name: router for router in self.routers}

    def client(self, seed):
        names = sorted(self.ways)
        turn = seed
        while not self.over.wait(PAUSE * SLOWNESS):
            turn += 7
            way = names[turn % len(names)]
            size = SIZES[turn // 7 % len(SIZES)]
            data = (turn.to_bytes(8, "big") * (size // 8 + 1))[:size]
            started = time.monotonic()
            try:
                answer = exchange(self.ways[way], data, timeout=15)
                problem = None if answer == data else f"an answer of {len(answer)} octets"
            except OSError as error:
                problem = repr(error)
            with self.lock:
                self.exchanged += problem is None
                self.octets += 0 if problem else 2 * size
                if problem:
                    text = f"{way} with {size} octets at {time.strftime('%X')}: {problem}"
                    self.failures.append((started, time.monotonic(), text))

    def undisturbed_failures(self):
        """Failures of exchanges that had no disturbance in their time."""
        with self.lock:
            return [text for started, ended, text in self.failures
                    if not any(started <= last and ended >= first for first, last in self.windows)]

    def await_all_ways(self):
        for port in self.ways.values():
            self.await_exchange(port, 40)

    def await_ring(self):
        """Every link carries again. Every way may work before that, the other way round."""
        ring = "abcd"
        for index, name in enumerate(ring):
            costs = {ring[(index + step) % 4]: 2 if step == 2 else 1 for step in (1, 2, 3)}
            router = self.named[name]
            wait_until(f"{name} ({router.product}) to have the costs {costs}",
                       lambda router=router, costs=costs: costs == {
                           near: row["cost"] for near, row in self.nodes(router).items()}, 40, 0.1)

    def disturb(self, turn):
        """One disturbance, over when every way works again and every link is back."""
        kind = ("cut", "silence", "kill", "stop", "recreate")[turn % 5]
        first = time.monotonic() - 0.1
        self.windows.append((first, float("inf")))
        if kind == "cut":
            link = self.links[turn // 5 % 4]
            link.cut()
            time.sleep(RANDOM.choice((0.2, 2, 6)))
            link.mend()
        elif kind == "silence":
            link = self.links[turn // 5 % 4]
            link.silent.set()
            time.sleep(RANDOM.choice((1, 5)))
            link.silent.clear()
        elif kind in ("kill", "stop"):
            router = self.named["cdef"[turn // 5 % 4]]
            router.process.kill() if kind == "kill" else router.process.stop(20)
            router.start()
        else:
            router = self.named["abcd"[turn // 5 % 4]]
            connector = next(attributes for name, attributes in router.entities if name == "tcpConnector")
            with self.management(router) as management:
                management.delete("tcpConnector", connector["name"])
                time.sleep(1)
                management.create("tcpConnector", **connector)
        self.await_all_ways()
        self.await_ring()
        self.windows[-1] = (first, time.monotonic() + TICKS)
        return kind

    def counts(self, router):
        links = self.rows(router, "router.link", "linkType", "unsettledCount")
        return {"links": sum(row["linkType"] != "endpoint" for row in links),
                "unsettled": sum(row["unsettledCount"] or 0 for row in links if row["linkType"] != "endpoint"),
                "connections": len(self.rows(router, "connection", "container"))}

    @allow(SECONDS + 600)
    def test_a_mixed_network_for_hours(self):
        self.build()
        self.await_all_ways()
        lasting = [self.named["a"], self.named["b"]]
        clients = [threading.Thread(target=self.client, args=(seed,), daemon=True) for seed in (1, 500_000)]
        started = time.monotonic()
        for client in clients:
            client.start()
        resident, before, turn = [], None, 0
        while time.monotonic() - started < SECONDS:
            quiet = time.monotonic() + QUIET
            wait_until("the quiet time to pass", lambda: time.monotonic() >= quiet, QUIET + 5, 0.5)
            kind = self.disturb(turn)
            turn += 1
            resident.append({router.name: router.process.resident_kilobytes() // 1024 for router in lasting})
            # Every kind of disturbance has been at every place once: from here on nothing may grow.
            if turn == 20:
                before = {router.name: self.counts(router) for router in lasting}
            self.assertEqual(self.undisturbed_failures(), [])
            print(f"{time.monotonic() - started:.0f} s: {turn} disturbances ({kind}), {self.exchanged} exchanges, "
                  f"{self.octets >> 20} MiB, {len(self.failures)} failed in a disturbance, "
                  f"MB resident {resident[-1]}", flush=True)
        self.over.set()
        for client in clients:
            client.join(60)
        after = {}
        for router in lasting:
            wait_until(f"{router.name} to have settled everything",
                       lambda router=router: self.counts(router)["unsettled"] == 0, 30, 0.5)
            after[router.name] = self.counts(router)
        print(f"after {turn} disturbances and {self.exchanged} exchanges: {before} -> {after}", flush=True)
        if before is not None:
            self.assertLessEqual(after["a"]["connections"], before["a"]["connections"] + 2)
            self.assertLessEqual(after["a"]["links"], before["a"]["links"] + 40)
            self.assertLess(resident[-1]["a"] - resident[19]["a"], MEGABYTES_OF_GROWTH)


if __name__ == "__main__":
    unittest.main()
