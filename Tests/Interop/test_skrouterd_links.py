"""skupper-router as a neighbour: connections, costs, restarts, silence, doubles. See docs/compatibility.md."""

import signal
import time
import unittest

from skrouterd_case import BOTH_WAYS, OURS, THEIRS, MixedCase, needs_skrouterd

from harness import RANDOM, Server, echo, exchange, is_refused, wait_until

OTHER = {OURS: THEIRS, THEIRS: OURS}


class LinkCase(MixedCase):
    def setUp(self):
        super().setUp()
        self.server = self.keep(Server(echo))

    def two(self, dialler, acceptor, count="auto", **attributes):
        """Two routers with services in both directions, not started: the one that dials and the one that accepts."""
        one = self.make(dialler, f"d-{dialler}", dataConnectionCount=count)
        two = self.make(acceptor, f"a-{acceptor}", dataConnectionCount=count)
        one.link_port = two.listen_for_routers(cost=2)
        one.connect_to(one.link_port, cost=3, **attributes)
        self.services(one, two)
        return one, two

    def services(self, one, two):
        one.service = one.tcp_listener("at-two")
        two.service = two.tcp_listener("at-one")
        two.tcp_connector("at-two", self.server.port)
        one.tcp_connector("at-one", self.server.port)

    def await_both(self, one, two, seconds=20):
        for router in (one, two):
            self.await_exchange(router.service, seconds)


@needs_skrouterd
class Neighbour(LinkCase):
    def test_mutual_tls_costs_and_data_connections(self):
        for dialler, acceptor in BOTH_WAYS:
            for count in ("auto", "0", "1", "4"):
                with self.part(dialler=dialler, dataConnectionCount=count):
                    one, two = self.two(dialler, acceptor, count)
                    self.start_all(two, one)
                    for router, other in ((one, two), (two, one)):
                        # The larger of 2 and 3 on both sides.
                        node = self.await_nodes(router, other.name)[other.name]
                        self.assertEqual((node["cost"], node["nextHop"]), (3, None))
                    self.check_connections(one, two, count)
                    for router in (one, two):
                        self.exchanges(router.service, (1, 100_000, 1_000_000))

    def check_connections(self, one, two, count):
        attributes = ("role", "dir", "container", "sasl", "user", "isEncrypted", "isAuthenticated", "opened",
                      "sslProto")

        def between(router, other):
            return [row for row in self.rows(router, "connection", *attributes) if row["container"] == other.name]

        expected = {"0": 1, "1": 2, "4": 5}.get(count)
        for router, other, direction in ((one, two, "out"), (two, one, "in")):
            rows = wait_until(
                "all connections", lambda router=router, other=other:
                (lambda found: found if len(found) == (expected or len(found)) and len(found) > 0 else None)(
                    between(router, other)), 10)
            self.assertEqual([row["role"] for row in rows].count("inter-router"), 1, rows)
            self.assertEqual({row["role"] for row in rows} - {"inter-router", "inter-router-data"}, set())
            for row in rows:
                self.assertEqual(row["dir"], direction)
                self.assertTrue(row["isEncrypted"] and row["opened"], row)
                self.assertEqual(row["sslProto"], "TLSv1.3")
                if direction == "in":
                    self.assertEqual((row["sasl"], row["isAuthenticated"]), ("EXTERNAL", True))
                    self.assertIn(other.name, row["user"])

    def test_both_dial(self):
        one, two = self.make(OURS, "one"), self.make(THEIRS, "two")
        one.connect_to(two.listen_for_routers())
        two.connect_to(one.listen_for_routers())
        self.services(one, two)
        self.start_all()
        self.await_both(one, two)
        # Stable over some hello intervals, not two routers that close each other's connection in turn.
        end = time.monotonic() + 6
        while time.monotonic() < end:
            for router in (one, two):
                data = RANDOM.randbytes(10_000)
                self.assertEqual(exchange(router.service, data), data)
            time.sleep(0.1)
        self.await_nodes(one, "two")
        self.await_nodes(two, "one")
        two.process.kill()
        wait_until("the loss to be seen", lambda: not self.nodes(one), 10)
        two.start()
        self.await_both(one, two)

    def test_connector_deleted_and_made_again(self):
        for dialler, acceptor in BOTH_WAYS:
            with self.part(dialler=dialler):
                one, two = self.two(dialler, acceptor)
                self.start_all()
                self.await_both(one, two)
                name = next(kind[1]["name"] for kind in one.entities if kind[0] == "connector")
                connector = next(kind[1] for kind in one.entities if kind[0] == "connector")
                for _ in range(3):
                    with self.management(one) as management:
                        management.delete("connector", name)
                    for router in (one, two):
                        wait_until(f"the loss to be seen by {router.name}", lambda: is_refused(router.service), 10)
                    with self.management(one) as management:
                        management.create("connector", **connector)
                    self.await_both(one, two)


@needs_skrouterd
class Failures(LinkCase):
    def test_restart_of_either_side(self):
        for dialler, acceptor in BOTH_WAYS:
            with self.part(dialler=dialler):
                one, two = self.two(dialler, acceptor)
                self.start_all()
                self.await_both(one, two)
                for dying, living in ((one, two), (two, one)):
                    before = self.await_nodes(living, dying.name)[dying.name]["instance"]
                    for orderly in (False, True):
                        dying.process.stop() if orderly else dying.process.kill()
                        wait_until("the service to be withdrawn", lambda: is_refused(living.service), 10)
                        dying.start()
                        self.await_both(one, two)
                    after = self.await_nodes(living, dying.name)[dying.name]["instance"]
                    self.assertGreater(after, before)

    def test_quick_restart_is_seen_as_a_new_instance(self):
        # The address numbers of the new run begin at 1 again; a neighbour that went on with the old ones misses them.
        for dialler, acceptor in BOTH_WAYS:
            for first in (True, False):
                with self.part(dialler=dialler, dying="dialler" if first else "acceptor"):
                    pair = self.two(dialler, acceptor)
                    dying, living = pair if first else pair[::-1]
                    self.start_all()
                    self.await_both(*pair)
                    for number in range(3):
                        port = living.tcp_listener(f"new-{number}")
                        with self.management(living) as management:
                            management.create("tcpListener", **living.entities[-1][1])
                        dying.tcp_connector(f"new-{number}", self.server.port)
                        dying.process.kill()
                        dying.start()
                        self.await_exchange(port)

    def test_silent_death(self):
        for dialler, acceptor in BOTH_WAYS:
            for first in (True, False):
                with self.part(dialler=dialler, silent="dialler" if first else "acceptor"):
                    pair = self.two(dialler, acceptor)
                    silent, watching = pair if first else pair[::-1]
                    self.start_all()
                    self.await_both(*pair)
                    silent.process.send(signal.SIGSTOP)
                    started = time.monotonic()
                    try:
                        wait_until("the loss to be seen", lambda: is_refused(watching.service), 10)
                        took = time.monotonic() - started
                    finally:
                        silent.process.send(signal.SIGCONT)
                    # helloMaxAge is 3 s and looked at once a second; their addresses go one more second later.
                    self.assertLess(took, 4.2 if watching.product == OURS else 6.0)
                    self.assertGreater(took, 1.5, "lost with its HELLO under way")
                    self.await_both(*pair)

    def test_silence_longer_than_the_idle_time(self):
        one, two = self.two(OURS, THEIRS)
        self.start_all()
        self.await_both(one, two)
        for silent, watching in ((one, two), (two, one)):
            silent.process.send(signal.SIGSTOP)
            try:
                wait_until("the connection to be dropped", lambda: not [
                    row for row in self.rows(watching, "connection", "container")
                    if row["container"] == silent.name], 40, 0.5)
            finally:
                silent.process.send(signal.SIGCONT)
            self.await_both(one, two, 30)


@needs_skrouterd
class OneIdTwice(LinkCase):
    def test_both_say_so_and_the_network_stays_up(self):
        for middle in (OURS, THEIRS):
            with self.part(middle=middle):
                # twin1 and twin2 are neighbours of the middle and of each other; `other` is at the middle too.
                centre, other = self.make(middle, "centre"), self.make(OTHER[middle], "other")
                port = centre.listen_for_routers()
                other.connect_to(port)
                self.services(centre, other)
                self.start_all()
                self.await_both(centre, other)
                twins = [self.make(OURS, "twin-a"), self.make(THEIRS, "twin-b")]
                twins[0].connect_to(twins[1].listen_for_routers())
                for twin in twins:
                    twin.entities[0][1]["id"] = "twin"
                    twin.connect_to(port)
                twins[0].start()
                time.sleep(1.1)  # Another start time in seconds, which is what tells the two apart.
                twins[1].start()
                for twin in twins:
                    wait_until(f"{twin.name} ({twin.product}) to say that its id is used twice",
                               lambda twin=twin: "uplicate" in twin.process.log()
                               or "same id" in twin.process.log(), 15)
                self.assert_management_says_so(twins[0], centre)
                end = time.monotonic() + 8
                while time.monotonic() < end:
                    for router in (centre, other):
                        data = RANDOM.randbytes(10_000)
                        self.assertEqual(exchange(router.service, data), data)
                    time.sleep(0.05)
                for twin in twins:
                    twin.process.stop()
                self.await_both(centre, other)

    def assert_management_says_so(self, twin, centre):
        """By name: our twin at its connectors and for itself, the router between the two for itself."""
        text = "another router in the network has the id twin too"

        def said():
            messages = [row["connectionMsg"] for row in self.rows(twin, "connector", "connectionMsg")]
            return len(messages) == 2 and all(text in message for message in messages) \
                and text in self.rows(twin, "router", "problem")[0]["problem"]
        wait_until("our twin's connectors and router to tell of the other", said, 10, 0.1)
        if centre.product == OURS:
            wait_until("the router between to tell of both", lambda: "two routers use the id twin"
                       in self.rows(centre, "router", "problem")[0]["problem"], 10, 0.1)


if __name__ == "__main__":
    unittest.main()
