"""The controller and the adaptors against an API server that refuses, loses, cuts, slows down, forgets and restarts.

One pair of linked sites for all tests; after each, the same stream still carries data and nothing was taken from a
running router.
"""

import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from fault_proxy import answer, cut, delay, event, expire, lose, read, refuse, watch, write  # noqa: E402
from harness import RANDOM, wait_until  # noqa: E402
from linked import LinkedCase  # noqa: E402


class Faults(LinkedCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.names = (f"more-{number}" for number in range(1000))

    def setUp(self):
        self.ports = {name: self.cluster.router_port(name) for name in self.listeners()}

    def tearDown(self):
        self.proxy.clear()
        if not self.cluster.server.is_alive():
            self.cluster.start_server()
        self.cluster.use(self.stream)
        self.assertEqual(self.cluster.drops(), [])
        self.assertEqual({name: self.cluster.router_port(name) for name in self.ports}, self.ports)

    def listeners(self):
        """Those that have a Service; after a test that failed some may have none."""
        names = [item["metadata"]["name"] for item in self.items("Service")]
        return [item["metadata"]["name"] for item in self.items("Listener") if item["metadata"]["name"] in names]

    def items(self, kind):
        return self.cluster.request("GET", self.cluster.place(kind, "east"))["items"]

    def add(self, count=1):
        made = [next(self.names) for _ in range(count)]
        for name in made:
            self.cluster.listen(name)
        return made

    def settle(self, names, seconds=60):
        for name in names:
            self.cluster.await_summary("Listener", name, "east", "Ready OK", seconds)
            self.cluster.await_traffic(name)

    def test_conflicts_and_errors_on_writes(self):
        """Each kind of write is refused at first, with 409 and with 500, and done in the end."""
        for code, reason in ((409, "Conflict"), (500, "InternalError")):
            hits = [self.proxy.on(write(part), answer(code, reason), times=2)
                    for part in ("/services/", "/configmaps/skupper-router", "/listeners/")]
            self.settle(self.add())
            self.assertEqual([len(hit) for hit in hits], [2, 2, 2], f"{code} was not given everywhere")

    def test_nothing_else_happens_after_a_refusal(self):
        """No write succeeds, so no event comes that would have a plan made: what failed is tried again by itself."""
        for code, reason in ((409, "Conflict"), (500, "InternalError")):
            hits = self.proxy.on(write("/namespaces/east/"), answer(code, reason), times=10_000)
            names = self.add()
            wait_until(f"three attempts after {code}", lambda hits=hits: max(
                [sum(r.path == hit.path for r in hits) for hit in list(hits)], default=0) >= 3, 60)
            self.proxy.clear()
            self.settle(names)

    def test_an_answer_that_is_lost_is_no_second_object(self):
        hits = self.proxy.on(write(), lose(), times=5)
        self.settle(self.add())
        self.assertEqual(len(hits), 5)

    def test_a_server_that_is_too_busy_is_left_alone(self):
        """429 with Retry-After: no other write of the controller comes before that time."""
        hits = self.proxy.on(write("/namespaces/east/"), answer(429, "TooManyRequests", retry_after=2), times=1)
        names = self.add()
        wait_until("the refusal", lambda: hits, 30)
        self.settle(names)
        after = [r for r in self.proxy.requests(lambda r: r.is_write and "/east/" in r.path, hits[0].begun + 0.001)
                 if "skupper-network-status" not in r.path]
        self.assertGreater(after[0].begun - hits[0].ended, 1.9)

    def test_a_server_that_stays_too_busy_is_asked_little(self):
        """The plan is given up at the first object, not tried with each."""
        hits = self.proxy.on(write("/namespaces/east/services"), answer(429, "TooManyRequests", retry_after=1),
                             times=10_000)
        names = self.add(10)
        wait_until("several refusals", lambda: len(hits) >= 5, 60)
        spent = hits[-1].begun - hits[0].begun
        self.assertLess(len(hits), 3 + spent * 1.2, f"{len(hits)} attempts in {spent:.1f} s")
        self.proxy.clear()
        self.settle(names)

    def test_versions_that_are_too_old(self):
        """410, as an event of a watch and as the answer to one: listed anew, and nothing said twice or lost."""
        for part in ("/listeners", "/secrets", "/configmaps", "/services"):
            self.proxy.on(event(part), expire())
            self.proxy.on(watch(part), expire())
        begun = time.monotonic()
        self.proxy.drop_connections()
        self.settle(self.add())
        self.settle(self.add())
        wait_until("lists", lambda: self.proxy.requests(read("/listeners"), begun), 60)

    def test_watches_cut_in_the_middle_of_an_object(self):
        hits = [self.proxy.on(event(part), cut(), times=2) for part in ("/listeners", "/configmaps", "/pods")]
        self.settle(self.add())
        self.settle(self.add())
        self.assertEqual([len(hits[0]), len(hits[1])], [2, 2])

    def test_lists_cut_in_the_middle(self):
        """Half a list is no list: nothing counts as deleted."""
        for part in ("/listeners", "/services", "/secrets"):
            self.proxy.on(event(part), expire())
            self.proxy.on(watch(part), expire())
        hits = self.proxy.on(read("/listeners"), cut(), times=2)
        self.proxy.drop_connections()
        self.settle(self.add())
        wait_until("the half lists", lambda: len(hits) == 2, 60)
        self.settle(self.add())

    def test_slow_answers(self):
        self.proxy.pause = 0.7
        self.settle(self.add(3), 120)

    def test_connections_that_end_at_any_time(self):
        self.proxy.on(write(), refuse(), times=3)
        names = self.add(3)
        for _ in range(5):
            self.proxy.drop_connections()
            count = len(self.proxy.seen)
            wait_until("requests", lambda count=count: len(self.proxy.seen) > count, 60)
        self.settle(names)

    def test_all_of_it_at_random(self):
        def chance(matches, act, share):
            self.proxy.on(lambda r: matches(r) and RANDOM.random() < share, act, times=100_000)

        for act in (answer(409, "Conflict"), answer(500, "InternalError"), lose(), refuse(), delay(0.5),
                    answer(429, "TooManyRequests", retry_after=1), answer(503, "ServiceUnavailable")):
            chance(write(), act, 0.05)
        for act in (answer(500, "InternalError"), cut(), refuse()):
            chance(read(), act, 0.05)
        for act in (expire(), refuse(), answer(500, "InternalError")):
            chance(watch(), act, 0.1)
        for act in (expire(), cut()):
            chance(event(), act, 0.05)
        names = self.add(10)
        for name in names:
            self.cluster.await_summary("Listener", name, "east", "Ready OK", 240)
        self.proxy.clear()
        self.settle(names, 120)

    def test_the_server_ends_and_comes_back(self):
        """kube-apiserver is killed under everybody: traffic goes on meanwhile, work goes on afterwards."""
        names = self.add(2)
        self.cluster.kill_server()
        self.cluster.use(self.stream)
        self.cluster.await_traffic_to(self.ports["backend"])
        wait_until("the loss to be noticed", lambda: "does not answer" in self.cluster.controller.log()
                   or "watch of" in self.cluster.controller.log(), 60)
        self.cluster.start_server()
        self.settle(names, 90)
        self.settle(self.add(), 60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
