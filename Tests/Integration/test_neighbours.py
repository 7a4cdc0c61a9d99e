"""Neighbours that fall silent or misbehave: traffic takes another way, and what they say harms only themselves."""

import random
import signal
import socket
import time
import unittest

from amqp_wire import ATTACH, DETACH, Described, ManagementClient, PeerClosed, Symbol, UByte, UInt, ULong
from harness import SANITIZED, SEED, SLOWNESS, Server, connect, echo, exchange, is_refused, wait_until
from router_peer import RouterPeer
from test_hostile import HostileCase
from test_routing import RoutingCase

# Megabytes a router may grow by while a neighbour does its worst.
CEILING = 150


class Silence(RoutingCase):
    """a is next to c, and reaches it by b too; the direct link is the cheaper one."""

    def setUp(self):
        super().setUp()
        self.a, self.b, self.c = self.routers_named("a", "b", "c")
        self.direct = self.link(self.a, self.c)
        self.link(self.a, self.b, cost=2)
        self.link(self.b, self.c, cost=2)
        self.server = self.keep(Server(echo))
        self.port = self.a.tcp_listener("service")
        self.c.tcp_connector("service", self.server.port)
        self.start_all()
        self.await_service(self.port)
        wait_until("a to reach c directly and by b", lambda: set(self.nodes()) == {"b", "c"}
                   and self.nodes()["c"] == (1, None), 10)

    def nodes(self):
        with ManagementClient(self.a.amqp_port) as management:
            return {row["id"]: (row["cost"], row["nextHop"])
                    for row in management.query("router.node", "id", "cost", "nextHop") if row["cost"]}

    def time_until_works(self):
        started = time.monotonic()

        def works():
            with connect(self.port, 0.3) as connection:
                connection.sendall(b"hello")
                return connection.recv(5) == b"hello"
        wait_until("a new connection to go the other way", works, 10)
        return time.monotonic() - started

    def test_cut_without_a_reset_is_noticed_within_a_second_and_a_half(self):
        times = []
        for _ in range(3):
            self.direct.silent.set()
            times.append(self.time_until_works())
            self.assertEqual(self.nodes()["c"], (4, "b"))
            self.direct.silent.clear()
            wait_until("the direct link to be used again", lambda: self.nodes()["c"] == (1, None), 10)
        print(f"silent link: new connections the other way after {', '.join(f'{t:.2f} s' for t in times)}")
        # The last attempt began before the change and takes up to 0.3 s to give up.
        self.assertLess(max(times), 1.5 * SLOWNESS + 0.3)

    def test_frozen_router_is_gone_within_a_second_and_a_half(self):
        self.b.process.send(signal.SIGSTOP)
        started = time.monotonic()
        try:
            wait_until("b to be unreachable", lambda: "b" not in self.nodes(), 10)
            took = time.monotonic() - started
        finally:
            self.b.process.send(signal.SIGCONT)
        self.assertLess(took, 1.5 * SLOWNESS + 0.2)
        wait_until("b to be back", lambda: "b" in self.nodes(), 10)

    def test_a_busy_link_is_not_taken_for_a_silent_one(self):
        mark = len(self.a.process.log())
        data = random.Random(SEED).randbytes(20_000_000)
        for _ in range(5):
            self.assertEqual(exchange(self.port, data, 60), data)
        self.assertNotIn("silent", self.a.process.log_since(mark))
        self.assertNotIn("silent", self.c.process.log())

    def test_a_router_that_was_frozen_itself_accuses_nobody(self):
        mark = len(self.a.process.log())
        self.a.process.send(signal.SIGSTOP)
        time.sleep(2.5)
        self.a.process.send(signal.SIGCONT)
        wait_until("the service", lambda: exchange(self.port, b"hello", 5) == b"hello", 10)
        self.assertNotIn("silent", self.a.process.log_since(mark))


class Liars(HostileCase):
    """The router `liar` is a neighbour of `far`; `near` and its service go on whatever it says."""

    def liar(self, name="liar", **options):
        connection = self.context().wrap_socket(connect(self.port, timeout=20), server_hostname="127.0.0.1")
        router = RouterPeer(connection, name, **options)
        self.addCleanup(router.close)
        return router

    def nodes(self, router=None):
        with ManagementClient((router or self.far).amqp_port) as management:
            return {row["id"]: row for row in management.query("router.node")}

    def assert_bounded(self, before):
        if not SANITIZED:
            for router, resident in zip((self.near, self.far), before):
                self.assertLess((router.process.resident_kilobytes() - resident) / 1024, CEILING, router.name)

    def resident(self):
        return [router.process.resident_kilobytes() for router in (self.near, self.far)]

    def test_lying_costs_and_sequences(self):
        liar = self.liar().until_neighbour()
        for sequence, peers in ((2, {"far": -5, "near": 0, "x": -(1 << 31)}), (3, {"far": 1, "near": 1 << 62}),
                                (4, {"far": "1", "near": None}), (1 << 62, {"far": 1, "near": 1}), (5, {"far": 1}),
                                (-1, {"far": 1})):
            liar.link_state_sequence, liar.link_state = sequence, peers
            liar.send_link_state()
            liar.advertise()
            liar.step(0.3)
            self.assertEqual((self.nodes()["near"]["cost"], self.nodes()["near"]["nextHop"]), (1, None))
        self.assert_others_go_on()
        liar.close()
        wait_until("the liar to be gone", lambda: "liar" not in self.nodes(), 10)
        self.assert_others_go_on()

    def test_ten_thousand_neighbours_in_one_link_state(self):
        before = self.resident()
        liar = self.liar().until_neighbour()
        for sequence in range(2, 12):
            liar.link_state_sequence = sequence
            liar.link_state = {f"ghost-{sequence}-{number}": 1 for number in range(10_000)}
            liar.send_link_state()
            liar.step(0.1)
        self.assert_others_go_on()
        self.assertLess(len(self.nodes()), 512 + 2)
        self.assert_bounded(before)

    def test_the_id_of_another_router(self):
        false = self.liar("near", instance=int(time.time()) + 50)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            false.step(0.5)
            false.advertise()
            false.send_link_state()
            self.assert_others_go_on()
        self.assert_logged("two routers use the id near")
        self.assertIn("two routers use the id near", self.problem())
        false.close()
        wait_until("nothing to be wrong", lambda: self.problem() == "", 10)

    def test_our_own_id(self):
        false = self.liar("far", instance=int(time.time()) + 50)
        for _ in range(6):
            false.step(0.3)
            false.advertise()
            self.assert_others_go_on()
        self.assert_logged("another router uses our id")
        # This one has no connector that could tell.
        self.assertIn("another router in the network has the id far too", self.problem())

    def problem(self):
        """What the router itself says is wrong."""
        with ManagementClient(self.far.amqp_port) as management:
            return management.query("router")[0]["problem"]

    def test_a_hundred_thousand_addresses(self):
        before = self.resident()
        liar = self.liar().until_neighbour()
        for batch in range(20):
            liar.add_addresses([[f"Mlie-{batch}-{number}", 3, 0] for number in range(5000)])
            liar.step(0.2)
            self.assert_others_go_on()
        # Ten thousand of one router are kept; those of others go on being learnt.
        wait_until("ten thousand to be known", lambda: self.address_count() >= 10_000, 20)
        self.assertLess(self.address_count(), 10_100)
        self.assert_others_go_on()
        self.assert_bounded(before)
        liar.close()
        wait_until("its addresses to be gone", lambda: self.address_count() < 100, 20, 0.2)
        self.assert_others_go_on()

    def address_count(self):
        with ManagementClient(self.far.amqp_port) as management:
            return management.query("routerMetrics")[0]["addrCount"]

    def test_sequence_of_addresses_that_jumps(self):
        liar = self.liar().until_neighbour()
        for sequence in (5, 1 << 40, 2, 1 << 62, 0, -3):
            liar.mobile_sequence = sequence
            liar.add_addresses([["Mjump", 3, 0]])
            liar.step(0.2)
        requests = sum(opcode == "MAR" for opcode, _ in liar.heard)
        self.assertLess(requests, 40)
        self.assert_others_go_on()

    def test_flood_of_attach_and_detach(self):
        before = self.resident()
        liar = self.liar().until_neighbour()
        try:
            for number in range(20_000):
                source = Described(ULong(0x28), ["flood"])
                target = Described(ULong(0x29), [f"flood-{number}"])
                liar.peer.send(ATTACH, f"flood-{number}", UInt(2), number % 2 == 0, UByte(2), UByte(0), source, target,
                               None, None, UInt(0))
                liar.peer.send(DETACH, UInt(2), True)
                if number % 500 == 0:
                    liar.step(0.05)
                if number % 5000 == 0:
                    self.assert_others_go_on()
        except (PeerClosed, OSError):
            pass  # Its own connection may be closed for it.
        self.assert_others_go_on()
        self.assert_bounded(before)

    def test_streams_towards_one_that_gives_no_credit(self):
        before = self.resident()
        listener = self.near.tcp_listener("hole")
        with ManagementClient(self.near.amqp_port) as management:
            management.create("tcpListener", **self.near.entities[-1][1])
        liar = self.liar()
        liar.addresses = [["Mhole", 3, 0]]
        liar.until_neighbour()
        # Both routers ask for its link state; near learns of the address from what comes back.
        wait_until("the listener to open", lambda: liar.step(0.2) and not is_refused(listener), 15)
        clients = []
        for _ in range(300):
            client = connect(listener, 5)
            client.settimeout(0)
            try:
                client.send(bytes(1 << 20))
            except BlockingIOError:
                pass
            clients.append(client)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            try:
                liar.step(0.2)
            except AssertionError:
                break  # The router opened a session for streams; nothing of it is answered.
            self.assert_others_go_on()
        self.assert_others_go_on()
        self.assert_bounded(before)
        liar.close()
        for client in clients:
            client.settimeout(15)
            try:
                self.assertEqual(client.recv(1), b"")
            except ConnectionError:
                pass
            client.close()
        self.assert_others_go_on()


if __name__ == "__main__":
    unittest.main()
